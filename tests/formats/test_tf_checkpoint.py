"""TensorFlow checkpoints, read as tensors: by name, and of a graph of objects."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.errors import WeightsError
from zoo.formats.tf_checkpoint import opened, prefix_of

layers = keras.layers


def names(file: Path | str) -> list[str]:
    with opened(Path(file)) as tensors:
        return list(tensors)


def said(file: Path, read: str | None = None) -> str:
    with pytest.raises(WeightsError) as caught, opened(file) as tensors:
        if read:
            tensors[read].read()
    return str(caught.value)


def by_name(folder: Path, **values: object) -> Path:
    """As TensorFlow 1 wrote it."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in values.items():
            tf.compat.v1.get_variable(name.replace("__", "/"), initializer=value)
        session.run(tf.compat.v1.global_variables_initializer())
        return Path(tf.compat.v1.train.Saver().save(session, str(folder / "w.ckpt")))


def objects(folder: Path, **held: object) -> Path:
    return Path(tf.train.Checkpoint(**held).save(str(folder / "w")))


def model(name: str = "net") -> keras.Model:
    inputs = keras.Input((4,))
    x = layers.Dropout(0.1, name="drop")(layers.Dense(4, name="low")(inputs))
    return keras.Model(inputs, layers.BatchNormalization(name="norm")(x), name=name)


NAMES = ["low/bias", "low/kernel", "norm/beta", "norm/gamma", "norm/moving_mean", "norm/moving_variance"]


def test_names_shapes_and_types_of_tensorflow_1(tmp_path):
    file = by_name(tmp_path, low__kernel=np.ones((2, 3), "float32"), step=np.int64(7), note="hello", z=np.complex64(1))
    with opened(file) as tensors:
        assert {n: (t.shape, t.dtype) for n, t in tensors.items()} == {
            "low/kernel": ((2, 3), "float32"),
            "step": ((), "int64"),
            "note": ((), "string"),
            "z": ((), "complex64"),
        }
        assert tensors["step"].read() == 7
        np.testing.assert_array_equal(tensors["low/kernel"].read(), np.ones((2, 3)))


def test_the_variables_of_a_network_have_their_own_names(tmp_path):
    found = names(objects(tmp_path, model=model()))
    assert [name for name in found if "seed_generator" not in name] == NAMES


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adafactor"])
def test_the_optimizer_s_are_left_out_though_it_lists_the_network_s_too(optimizer, tmp_path):
    one = model()
    one.compile(optimizer, "mse")
    one.fit(np.ones((4, 4)), np.ones((4, 4)), verbose=0)
    for held in ({"model": one, "optimizer": one.optimizer}, {"opt": one.optimizer, "model": one}, {"model": one}):
        found = names(objects(tmp_path / "-".join(held), **held))
        assert [name for name in found if "seed_generator" not in name] == NAMES


def test_a_variable_that_an_optimizer_lists_is_called_by_the_way_through_the_network(tmp_path):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.low, self.high = keras.Sequential([layers.Dense(3)]), keras.Sequential([layers.Dense(3)])

        def call(self, x):
            return self.high(self.low(x))

    one = Own()
    one.compile("adam", "mse")
    one.fit(np.ones((4, 3)), np.ones((4, 3)), verbose=0)
    found = names(objects(tmp_path, a=one.optimizer, net=one))
    assert found and all(name.startswith(("net/low/", "net/high/", "sequential")) for name in found), found


def test_slots_and_the_counter_of_saves_are_left_out(tmp_path):
    held = tf.Variable(np.ones(3, "float32"), name="low/kernel")
    optimizer = tf.compat.v1.train.AdamOptimizer()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(held)
    optimizer.apply_gradients([(tape.gradient(loss, held), held)])
    assert names(objects(tmp_path, weights=held, optimizer=optimizer)) == ["low/kernel"]


def test_names_that_are_not_unique_give_way_to_the_way_through_the_objects(tmp_path):
    a, b = (tf.Variable(np.full(2, i, "float32"), name="kernel") for i in (1, 2))
    nameless = tf.Variable(np.ones(2))
    file = objects(
        tmp_path, net=tf.train.Checkpoint(low=tf.train.Checkpoint(_w=a), _high=tf.train.Checkpoint(w=b)), x=nameless
    )
    with opened(file) as tensors:
        assert list(tensors) == ["net/high/kernel", "net/low/kernel", "x"]
        assert tensors["net/low/kernel"].tried == ("net/low/kernel", "low/kernel")
        np.testing.assert_array_equal(tensors["net/high/kernel"].read(), [2, 2])


def test_two_variables_in_one_object_with_one_name_are_called_by_their_keys(tmp_path):
    a, b = (tf.Variable(np.ones(2), name="w") for _ in range(2))
    assert names(objects(tmp_path, net=tf.train.Checkpoint(one=a, two=b))) == ["net/one", "net/two"]


def test_a_folder_s_latest_lies_in_that_folder_whatever_it_says(tmp_path):
    first = by_name(tmp_path / "first", a=np.float32(1))
    moved = tmp_path / "moved"
    first.parent.rename(moved)
    by_name(tmp_path / "first", b=np.float32(1))
    (moved / "checkpoint").write_text(f'model_checkpoint_path: "{first}"\n')
    assert prefix_of(moved) == moved / "w.ckpt" and names(moved) == ["a"]
    (moved / "checkpoint").write_text('model_checkpoint_path: "../first/w.ckpt"\nall_model_checkpoint_paths: "x"\n')
    assert names(moved) == ["a"]


def test_what_is_no_checkpoint_is_refused(tmp_path):
    assert said(tmp_path) == (
        f"The folder {tmp_path} holds no checkpoint. Expected a file 'checkpoint' that names the latest. "
        "Give a checkpoint's prefix, such as variables/variables."
    )
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "w"')
    for file in (tmp_path, tmp_path / "w", tmp_path / "w.index"):
        assert said(file) == f"There is no checkpoint {tmp_path / 'w'}. Expected a file w.index. Check the path."
    (tmp_path / "w.index").write_bytes(b"hello" * 50)
    assert said(tmp_path / "w").startswith(f"{tmp_path / 'w'} cannot be read as a TensorFlow checkpoint. Received ")


def test_a_damaged_checkpoint_is_refused(tmp_path):
    file = by_name(tmp_path, a=np.ones(100, "float32"))
    data, index = (next(tmp_path.glob(f"w.ckpt.{end}*")) for end in ("data", "index"))
    whole, listed = data.read_bytes(), index.read_bytes()
    flipped = bytearray(whole)
    flipped[40] ^= 1
    for content in (bytes(flipped), whole[:100], b""):
        data.write_bytes(content)
        assert said(file, "a").startswith(f"{file} cannot be read as a TensorFlow checkpoint. Received ")
    data.unlink()
    assert said(file, "a").startswith(f"{file} cannot be read as a TensorFlow checkpoint. Received ")
    data.write_bytes(whole)
    for end in (10, 50, len(listed) - 1):
        index.write_bytes(listed[:end])
        assert said(file, "a").startswith(f"{file} cannot be read as a TensorFlow checkpoint. Received ")


def test_a_graph_of_objects_that_leads_nowhere_is_refused(tmp_path):
    """The graph is read as data, and may say anything."""
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    graph = TrackableObjectGraph()
    graph.nodes.add().children.add(node_id=7, local_name="a")
    for text in (graph.SerializeToString(), b"\xff\xff"):
        file = tmp_path / "w"
        tf.raw_ops.SaveV2(
            prefix=str(file),
            tensor_names=["_CHECKPOINTABLE_OBJECT_GRAPH", "a"],
            shape_and_slices=["", ""],
            tensors=[tf.constant(text), tf.constant(1.0)],
        )
        assert said(file).startswith(f"{file} cannot be read as a TensorFlow checkpoint. Received ")
