"""What each preset makes of the same eight images of the shipped data.

    python docs/plots/augmentation.py

writes ``docs/images/augmentation.svg``.
"""

from pathlib import Path

import keras
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

import zoo
from zoo.input_form import InputForm
from zoo.layers import PRESETS, augmentation, mixing

OUT = Path(__file__).parents[1] / "images" / "augmentation.svg"

#: The first example of each of these classes: handwritten digits, then printed characters.
DIGITS, CHARACTERS = ("2", "3", "6", "7"), ("R", "H", "e", "4")
SEED = 0


def originals() -> tuple[np.ndarray, tuple[str, ...]]:
    """The eight images as they are stored, and their classes."""
    form = InputForm("image", (8, 8, 1))
    images = []
    for source, names in (("digits", DIGITS), ("characters", CHARACTERS)):
        data = zoo.open_data(source)
        values = np.asarray(data.target.values)
        images.append(data.batch([int(np.argmax(values == data.classes.index(name))) for name in names], form))
    return np.concatenate(images), (*DIGITS, *CHARACTERS)


def changed(preset: str, images: np.ndarray, classes: tuple[str, ...]) -> tuple[np.ndarray, list[str]]:
    """The images after a preset, and what each target then is, where it is mixed."""
    x = images
    keras.utils.set_random_seed(SEED)
    for i, layer in enumerate(augmentation(preset)):
        layer.generator.state.assign([SEED + i, 0])
        x = np.asarray(layer(x, training=True))
    mix = mixing(preset)
    if mix is None:
        return x, [""] * len(classes)
    drawn = mix.draw(len(x), x.shape[1:], SEED)
    pairs = zip(classes, drawn.partner, drawn.share, strict=True)
    return np.asarray(drawn.inputs(x)), [f"{s:.0%} {own}\n{1 - s:.0%} {classes[j]}" for own, j, s in pairs]


def main() -> None:
    """Draws."""
    mpl.rcParams.update({"svg.hashsalt": "zoo", "font.size": 10})
    images, classes = originals()
    presets = tuple(PRESETS)
    figure, axes = plt.subplots(len(presets), len(classes), figsize=(7.3, 6.4), layout="constrained")
    for preset, row in zip(presets, axes, strict=True):
        made, targets = changed(preset, images, classes)
        for image, target, axis in zip(made, targets, row, strict=True):
            axis.imshow(image[..., 0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.set_xlabel(target, fontsize=9, labelpad=2)
        row[0].set_ylabel(preset, fontsize=10)
    figure.savefig(OUT, metadata={"Date": None})


if __name__ == "__main__":
    main()
