"""A network as calls of operations."""

import keras

from zoo.flattening import flat
from zoo.graph import calls, leaves, operations, takes_training

from .networks import NETWORKS, shared

layers = keras.layers


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
