"""How far a moving mean is off, by step, for three momentums and two batch sizes: the formula, and Keras's layer.

    python docs/plots/batch_norm.py

writes ``docs/images/batch_norm.svg``.
"""

from pathlib import Path

import keras
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

OUT = Path(__file__).parents[1] / "images" / "batch_norm.svg"
STEPS, CHANNELS = 3000, 400
STYLES = {0.9: ("#d55e00", "-"), 0.99: ("#0072b2", "--"), 0.999: ("#009e73", "-.")}


def expected(momentum: float, batch: int, steps: np.ndarray) -> np.ndarray:
    """The root mean square error after some steps, in standard deviations, from a start that is one of them off."""
    left = momentum ** (2.0 * steps)
    return np.sqrt(left + (1 - momentum) / (1 + momentum) / batch * (1 - left))


def measured(momentum: float, batch: int, at: np.ndarray) -> list[float]:
    """The same of Keras's layer: its moving mean starts at 0, every channel's mean is 1 and its deviation 1."""
    layer = keras.layers.BatchNormalization(momentum=momentum)
    layer.build((None, CHANNELS))
    train = _training_step(layer)
    rng, errors = np.random.default_rng(0), []
    for step in range(1, STEPS + 1):
        train(rng.normal(1, 1, (batch, CHANNELS)).astype("float32"))
        if step in at:
            errors.append(float(np.sqrt(np.mean((np.asarray(layer.moving_mean) - 1) ** 2))))
    return errors


def _training_step(layer: keras.layers.Layer):
    model = keras.Sequential([keras.Input((CHANNELS,)), layer])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return lambda x: model.train_on_batch(x, x)


def main() -> None:
    """Draws."""
    mpl.rcParams.update({"svg.hashsalt": "zoo", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(1, 2, figsize=(7.3, 3.4), sharey=True, layout="constrained")
    steps, at = np.unique(np.geomspace(1, STEPS, 400).astype(int)), np.array([1, 3, 10, 30, 100, 300, 1000, 3000])
    for axis, batch in zip(axes, (8, 128), strict=True):
        for momentum, (colour, line) in STYLES.items():
            axis.plot(steps, expected(momentum, batch, steps), line, color=colour, label=f"momentum {momentum}")
            axis.plot(at, measured(momentum, batch, at), "o", color=colour, markersize=4)
        axis.set(xscale="log", yscale="log", xlabel="training steps", title=f"batches of {batch}")
        axis.title.set_size(10)
        axis.grid(color="#dddddd", linewidth=0.6)
    axes[0].set_ylabel("error of the moving mean,\nstandard deviations")
    axes[0].legend(frameon=False, fontsize=9, loc="lower left")
    figure.savefig(OUT, metadata={"Date": None})


if __name__ == "__main__":
    main()
