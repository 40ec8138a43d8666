"""Training state, exact and whole."""

import keras
import numpy as np
import pytest

from zoo.checkpoint import CheckpointWriter, load, save, snapshot, weights_digest
from zoo.errors import RunError

from .networks import clusters, dense_net, small_convnet


def trained(seed: int = 0, widths: tuple[int, ...] = (8, 8)) -> keras.Model:
    model = dense_net(widths=widths)
    x = keras.layers.Dropout(0.5, seed=seed, name="dropout")(model.layers[-2].output)
    model = keras.Model(model.inputs[0], keras.layers.Dense(3, activation="softmax", name="output")(x))
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    data = clusters(32)
    for _ in range(3):
        model.train_on_batch(*data)
    return model


def test_everything_comes_back_and_training_goes_on_the_same(tmp_path):
    model, file = trained(), tmp_path / "state.safetensors"
    position = {"stage": 1, "epoch": 3, "history": [{"loss": 0.5}]}
    save(file, model, model.optimizer, position)
    other = trained(seed=5)
    assert load(file, other, other.optimizer) == position
    for one, two in zip(model.variables, other.variables, strict=True):
        np.testing.assert_array_equal(one, two)
    data = clusters(32, seed=1)
    for network in (model, other):
        for _ in range(2):
            network.train_on_batch(*data)
    assert weights_digest(model) == weights_digest(other), "slots, steps and random generators went on together"


def test_the_state_of_another_network_is_refused(tmp_path):
    model, file = trained(), tmp_path / "state.safetensors"
    save(file, model, model.optimizer, {})
    other = trained(widths=(8, 9))
    with pytest.raises(RunError, match=r"is of another network or optimizer. Expected .* tensors; received"):
        load(file, other, other.optimizer)


def test_nothing_is_left_half_written(tmp_path):
    model = trained()
    with pytest.raises(TypeError):
        save(tmp_path / "state.safetensors", model, model.optimizer, {"not json": object()})
    assert list(tmp_path.iterdir()) == []


def test_the_digest_is_of_names_and_bytes():
    model = small_convnet()
    first = weights_digest(model)
    kernel = model.get_layer("block2_conv1").kernel
    old = kernel.numpy()
    kernel.assign(np.nextafter(old, np.inf))
    assert weights_digest(model) != first
    kernel.assign(old)
    assert weights_digest(model) == first


def test_what_is_written_beside_the_run_is_what_was_then(tmp_path):
    """Training goes on while a checkpoint is written: it holds the weights of the moment at which it was asked for."""
    model = trained()
    optimizer = model.optimizer
    then = weights_digest(model)
    with CheckpointWriter() as writer:
        for i in range(3):
            writer.write(tmp_path / f"{i}.safetensors", snapshot(model, optimizer, {"epoch": i}))
        for _ in range(3):
            model.train_on_batch(*clusters(32))
    assert weights_digest(model) != then
    for i in range(3):
        assert load(tmp_path / f"{i}.safetensors", model, optimizer) == {"epoch": i}
        assert weights_digest(model) == then


@pytest.mark.parametrize("again", [False, True])
def test_a_checkpoint_that_cannot_be_written_is_an_error(again, tmp_path):
    """Told by whatever comes next: the next checkpoint, or the end."""
    model = trained()
    optimizer = model.optimizer
    with pytest.raises(OSError), CheckpointWriter() as writer:
        writer.write(tmp_path / "nowhere" / "1.safetensors", snapshot(model, optimizer, {}))
        if again:
            writer.write(tmp_path / "2.safetensors", snapshot(model, optimizer, {}))
            pytest.fail("the first was not told")
