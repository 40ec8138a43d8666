"""Training that goes on from a file."""

from pathlib import Path

import keras
import numpy as np

from tests.networks import clusters
from tests.test_train import one_hot


def goes_on_from_its_file(model: keras.Model, folder: Path, steps: int) -> None:
    """Trains a compiled network, saves it, and holds that it and what is loaded train to the same bytes.

    Args:
        model: Takes the inputs of ``clusters``, and has three outputs.
        folder: Where it is saved.
        steps: How many steps are taken, before and after.
    """
    x, labels = clusters(16)
    targets = one_hot(labels, 3)
    for _ in range(steps):
        model.train_on_batch(x, targets)
    model.save(folder / "model.keras")
    again = keras.models.load_model(folder / "model.keras")
    for one in (model, again):
        for _ in range(steps):
            one.train_on_batch(x, targets)
    states = [[*one.weights, *one.optimizer.variables] for one in (model, again)]
    for one, other in zip(*states, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=one.path)
