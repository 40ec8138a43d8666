"""A network as calls of operations."""

import keras
import numpy as np
import pytest

from zoo.errors import SurgeryError
from zoo.graph import calls, flat, leaves, operations, run, takes_training

from .networks import NETWORKS, gap, nested, sequential, shared, siamese, values

layers = keras.layers


@pytest.mark.parametrize("name", NETWORKS)
def test_flat_computes_the_same_with_the_same_layers(name: str):
    build, inputs = NETWORKS[name]
    model, x = build(), inputs()
    before = values(model)
    graph = flat(model)
    assert gap(model(x, training=False), graph(x, training=False)) == 0
    assert {id(v) for v in graph.weights} == {id(v) for v in model.weights}
    assert not any(isinstance(op, keras.Model) for op in operations(graph))
    assert values(model) == before


def test_calls_come_after_those_whose_outputs_they_take():
    for build, _ in NETWORKS.values():
        graph = flat(build())
        known = {id(t) for t in graph.inputs}
        for node in calls(graph):
            assert all(id(t) in known for t in node.input_tensors)
            known |= {id(t) for t in node.outputs}


def test_a_shared_layer_has_one_operation_and_two_calls():
    graph = flat(shared())
    assert [node.operation.name for node in calls(graph)].count("twice") == 2
    assert [op.name for op in operations(graph)].count("twice") == 1


def test_a_layer_shared_with_another_model_keeps_to_its_own_graph():
    """``layer.output`` would be that of the first model."""
    inputs = keras.Input((4,))
    common = layers.Dense(4, name="common")
    keras.Model(inputs, common(inputs))
    other = keras.Input((4,))
    model = keras.Model(other, layers.Dense(2, name="top")(common(layers.Dense(4, name="first")(other))))
    assert [node.operation.name for node in calls(flat(model))] == ["first", "common", "top"]


def test_a_models_inside_are_inlined_at_any_depth():
    model = nested()
    outer = keras.Sequential([keras.Input((8, 8, 1)), model, layers.Softmax(name="softmax")])
    names = [op.name for op in operations(flat(outer))]
    assert names == ["stem", "inner1_conv", "inner1_bn", "inner2_conv", "pool", "top", "softmax"]


def test_inputs_and_outputs_keep_their_structure():
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="inner")])
    model = keras.Model({"a": a, "b": b}, {"sum": inner(a) + inner(b), "a": inner(a)})
    x = {"a": np.ones((2, 3), "float32"), "b": np.zeros((2, 3), "float32")}
    graph = flat(model)
    assert set(graph(x, training=False)) == {"sum", "a"}
    np.testing.assert_array_equal(graph(x, training=False)["sum"], model(x, training=False)["sum"])


def test_run_goes_into_models_inside():
    model = siamese()
    seen: list[str] = []

    def runner(operation, args, kwargs):
        seen.append(operation.name)
        return operation(*args, **kwargs)

    new = keras.Input((6,))
    table = {id(model.inputs[0]): new}
    run(calls(model), table, runner)
    assert seen.count("inner_dense") == 2
    assert table[id(model.outputs[0])].shape == (None, 3)


class Own(keras.Model):
    """A model whose graph nobody can see."""

    def __init__(self):
        super().__init__(name="own")
        self.dense = layers.Dense(2)

    def call(self, inputs):
        return self.dense(inputs)


@pytest.mark.parametrize(
    ("made", "received"),
    [
        (Own, "a subclassed model"),
        (lambda: keras.Sequential([layers.Dense(2)], name="own"), "a Sequential model that is not built"),
    ],
)
def test_a_network_without_a_graph_is_refused(made, received: str):
    with pytest.raises(SurgeryError, match=f"The layers of 'own' cannot be told apart.*received {received}"):
        flat(made())


def test_what_is_no_network_is_refused():
    with pytest.raises(SurgeryError, match=r"This is not a network. Expected a keras.Model; received str."):
        flat("glyphs")  # type: ignore[arg-type]


def test_two_layers_of_one_name_are_refused():
    def part():
        return keras.Sequential([keras.Input((4,)), layers.Dense(4, name="same")])

    inputs = keras.Input((4,))
    model = keras.Model(inputs, part()(part()(inputs)), name="twins")
    with pytest.raises(SurgeryError, match="'twins' has several layers called 'same'"):
        flat(model)


def test_leaves_are_the_layers_that_hold_variables():
    bidirectional = layers.Bidirectional(layers.LSTM(3, name="inner"))
    bidirectional.build((None, 4, 2))
    assert [type(leaf).__name__ for leaf in leaves(bidirectional)] == ["LSTMCell", "LSTMCell"]
    assert [leaf.name for leaf in leaves(layers.Dense(2, name="alone"))] == ["alone"]


def test_takes_training_looks_inside():
    assert takes_training(layers.TimeDistributed(layers.Dropout(0.5)))
    assert takes_training(layers.BatchNormalization())
    assert not takes_training(layers.ReLU())
    assert not takes_training(keras.ops.add)


def test_sequential_counts_as_a_graph():
    assert len(calls(flat(sequential()))) == 7
