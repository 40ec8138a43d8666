"""Properties of surgery and of the plan, over random networks; the oracle is each network's own list of calls.

A failure prints the program that built the network, and the blob that draws it again. Nothing is shrunk: every example
is a network of its own, and shrinking would take longer than the timeout.
"""

import importlib
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, Phase, assume, given, settings

import zoo
from zoo.card import BlockPattern
from zoo.copying import clone
from zoo.enforcement import apply
from zoo.errors import PlanError, SurgeryError
from zoo.flattening import flat
from zoo.graph import operations
from zoo.planning import BATCH_NORM_MODES

from .networks import gap
from .programs import Call, Do, Drawn, Value, numbers, plain
from .random_networks import networks

layers = keras.layers

# A model inside cannot know that what it will be called with is masked.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Layer '.*' .* was passed an input with a mask attached"),
    pytest.mark.timeout(900),  # 60 networks take minutes on a busy machine
]

Check = Callable[[Any, Drawn], None]

TOLERANCE = 1e-6


def over_many(check: Check, count: int, also: Sequence[HealthCheck] = ()) -> None:
    """Checks as many networks, the same ones each time; ``also`` are findings of hypothesis that do not matter."""
    how = settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        print_blob=True,
        phases=[Phase.explicit, Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, *also],
    )
    how(given(st.data(), networks())(check))()


def state(drawn: Drawn) -> list[Any]:
    """Everything that must not change: values, switches, names, and what the network gives."""
    model = drawn.model
    held = [(v.path, v.trainable, v.numpy().tobytes()) for v in model.variables]
    switches = [(id(layer), layer.name, layer.trainable) for layer in model._flatten_layers()]
    return [held, switches, [y.tobytes() for y in numbers(model(drawn.x, training=False))]]


@contextmanager
def untouched(drawn: Drawn) -> Iterator[None]:
    before = state(drawn)
    yield
    assert state(drawn) == before, "the original has changed"


def assert_equal(one: np.ndarray, other: np.ndarray, where: str) -> None:
    """Equal to a millionth of how much it differs from input to input."""
    assert one.shape == other.shape, where
    spread = float(np.std(one.astype("float64"), axis=0).max())
    assert float(np.abs(one - other).max()) <= TOLERANCE * spread, where


def assert_gives(network: keras.Model, drawn: Drawn, expected: list[np.ndarray]) -> None:
    """A network gives these outputs, in the structure of the original's."""
    made = network(drawn.x, training=False)
    keras.tree.assert_same_structure(made, drawn.model(drawn.x, training=False))
    for i, (one, other) in enumerate(zip(expected, numbers(made), strict=True)):
        assert_equal(one, other, f"output {i}")


def assert_computes(network: keras.Model, drawn: Drawn, do: Do) -> None:
    """Every layer that is called once gives in a network what it gives in the changed program."""
    parts = {op.name: op for op in network.operations}
    once = {n: s[0].given for n, s in drawn.made(do).items() if len(s) == 1 and n in parts}
    probe = keras.Model(network.inputs, [parts[name].output for name in once])
    x = [drawn.x[t._keras_history.operation.name] for t in network.inputs] if isinstance(drawn.x, dict) else drawn.x
    for name, given_, made in zip(once, once.values(), _listed(probe(x, training=False), len(once)), strict=True):
        for one, other in zip(numbers(given_), numbers(made), strict=True):
            assert_equal(one, other, name)


def _listed(outputs: Any, count: int) -> list[Any]:
    return [outputs] if count == 1 else list(outputs)


# Splitting, and the plan


def a_plan(data: Any, drawn: Drawn) -> zoo.Plan:
    """A plan with derived blocks, or with blocks that end at any calls; its rates and modes are drawn too."""
    names, patterns = list(drawn.made()), []
    if data.draw(st.booleans()):
        ends = data.draw(st.lists(st.integers(1, len(names) - 1), min_size=1, max_size=3, unique=True).map(sorted))
        parts = [names[i:j] for i, j in zip([0, *ends], [*ends, None], strict=True)]
        patterns = [BlockPattern(f"part{i}", "|".join(map(re.escape, part))) for i, part in enumerate(parts)]
    found = zoo.blocks(drawn.model, patterns).names
    assume(len(found) > 1)
    how: dict[str, Any] = {
        "batch_norm": data.draw(st.sampled_from(("frozen", *BATCH_NORM_MODES))),
        "blocks_of": patterns,
    }
    if data.draw(st.booleans()):
        how["upto"] = data.draw(st.sampled_from(found[:-1]))
    else:
        how["train"] = data.draw(st.lists(st.sampled_from(found[1:]), min_size=1, unique=True))
    try:
        return zoo.freeze(drawn.model, **how, layer_decay=data.draw(st.sampled_from([None, 0.5])))
    except PlanError as reason:
        assume("leaves nothing to learn" not in str(reason))
        raise


def learning(drawn: Drawn, plan: zoo.Plan) -> set[int]:
    """The variables that learn, by the rows and the network's own layers."""
    found: set[int] = set()
    for name, layer in drawn.layers.items():
        row = next(row for row in plan.rows if name in row.block.layers)
        still = isinstance(layer, layers.BatchNormalization) and row.batch_norm == "frozen"
        if row.rate > 0 and not still:
            found |= {id(v) for v in layer.variables} & drawn.learnable
    return found


def check_split(data: Any, drawn: Drawn) -> None:
    model, plan = drawn.model, a_plan(data, drawn)
    with untouched(drawn):
        try:
            trunk, head = zoo.split(model, plan)
        except SurgeryError as reason:
            assume(not re.search(r"has no (trunk|head)", str(reason)))
            raise
        whole, parts = model(drawn.x, training=False), head(trunk(drawn.x, training=False), training=False)
    keras.tree.assert_same_structure(whole, parts)
    for one, other in zip(numbers(whole), numbers(parts), strict=True):
        assert gap(one, other) <= TOLERANCE, str(plan)
    below, above = ({id(v) for v in part.variables} for part in (trunk, head))
    assert below | above == {id(v) for v in drawn.variables}
    assert not below & learning(drawn, plan)


def check_plan(data: Any, drawn: Drawn) -> None:
    model, plan = drawn.model, a_plan(data, drawn)
    covered = [
        [id(v) for name in row.block.layers if name in drawn.layers for v in drawn.layers[name].variables]
        for row in plan.rows
    ]
    for variable in drawn.variables:
        assert sum(rows.count(id(variable)) for rows in covered) == 1, variable.path
    counted = {id(v): v.value.numpy().size for v in drawn.variables if v.name != "seed_generator_state"}
    assert sum(row.block.parameters for row in plan.rows) == sum(counted.values())
    learns = learning(drawn, plan)
    assert sum(row.trained for row in plan.rows) == sum(
        v.value.numpy().size for v in model.variables if id(v) in learns
    )
    apply(plan, flat(model))
    assert {id(v) for v in drawn.variables if v.trainable} == learns
    assert learns <= {id(v) for v in model.trainable_variables}


# Dropping, replacing, inserting


def check_drop(data: Any, drawn: Drawn) -> None:
    once = {name: calls[0].given for name, calls in drawn.made().items() if len(calls) == 1}
    cut = data.draw(st.sampled_from(list(once)))
    with untouched(drawn):
        dropped = zoo.drop_above(drawn.model, cut)
        made = numbers(dropped(drawn.x, training=False))
    for one, other in zip(numbers(once[cut]), made, strict=True):
        assert_equal(one, other, cut)
    assert not {id(v) for v in dropped.variables} & {id(v) for v in drawn.model.variables}


@dataclass(frozen=True)
class Edit:
    """A changed copy, and what it must compute: how each call is made now, and what happens to an output."""

    network: keras.Model
    do: Do
    finish: Callable[[Value], Any] = lambda value: value.tensor

    def expected(self, drawn: Drawn) -> list[np.ndarray]:
        return numbers([self.finish(value) for value in drawn.values(self.do)])


def replaced(data: Any, drawn: Drawn) -> Edit:
    """A layer replaced by its equal, by a fresh one (which masks where the old one did not), with a factor on top, or
    taken out."""
    made = drawn.made()
    single = [name for name in drawn.layers if all(len(call.given) == 1 for call in made[name])]
    name = data.draw(st.sampled_from(single))
    old, calls = drawn.layers[name], made[name]
    even = all(len(call.taken) == 1 and call.taken[0].tensor.shape == call.given[0].shape for call in calls)
    kind = data.draw(st.sampled_from(["equal", "fresh", "factor", *["out"] * even]))
    config = {**old.get_config(), "name": "new"}
    if kind == "fresh" and isinstance(old, layers.Embedding):
        config["mask_zero"] = not config["mask_zero"]
    new, factor = type(old).from_config(config), layers.Rescaling(-0.7, name="factor")
    part = {"out": None, "factor": [new, factor]}.get(kind, new)
    network = zoo.replace_layer(drawn.model, re.escape(name), part, keep_weights=kind in ("equal", "factor"))
    assert kind == "out" or network.get_layer("new") is new

    def do(call: Call, taken: list[Value]) -> Any:
        if call.what is not old:
            return plain(call, taken)
        if kind == "out":
            return taken[0].tensor
        given = plain(call, taken, new if kind == "fresh" else old)
        return layers.Rescaling(-0.7)(given) if kind == "factor" else given

    return Edit(network, do)


def a_place(data: Any, drawn: Drawn) -> tuple[str | None, str | None]:
    """A place that can be named: above what is called once and gives one tensor, between two, below what takes one."""
    made = drawn.made()
    several = {name for name, calls in made.items() if len(calls) > 1 or len(calls[0].given) > 1}
    taken = [(value, name) for name, calls in made.items() for call in calls for value in call.taken]
    taken = [(value, name) for value, name in taken if value.tensor.dtype == "float32"]
    between = [(value.maker, name) for value, name in taken if value.maker not in several]
    above = [*(a for a, _ in between), *(v.maker for v in drawn.values() if v.maker not in several)]
    one = {name for name, calls in made.items() if len({id(v) for call in calls for v in call.taken}) == 1}
    forks = [edge for edge in between if len({name for maker, name in between if maker == edge[0]}) > 1]
    places = [[(a, None) for a in above], forks or between, [(None, name) for _, name in taken if name in one]]
    return data.draw(st.sampled_from(data.draw(st.sampled_from([of for of in places if of]))))


def inserted(data: Any, drawn: Drawn) -> Edit:
    """A factor, or nothing, above a layer or an input, below one, or between two."""
    above, below = a_place(data, drawn)
    scale = data.draw(st.sampled_from([1.0, 2.0]))
    kinds = [layers.Identity(name="new"), layers.Activation("linear", name="new")]
    new = layers.Rescaling(2.0, name="new") if scale == 2 else data.draw(st.sampled_from(kinds))
    network = zoo.insert_layer(drawn.model, new, above=above, below=below)
    assert network.get_layer("new") is new

    def through(value: Value) -> Any:
        return layers.Rescaling(2.0)(value.tensor) if scale == 2 else value.tensor

    def do(call: Call, taken: list[Value]) -> Any:
        here = below in (None, drawn.names[id(call)])
        return plain(
            call, [Value(v.maker, through(v) if here and above in (None, v.maker) else v.tensor) for v in taken]
        )

    return Edit(network, do, lambda v: through(v) if below is None and v.maker == above else v.tensor)


def check_edit(edit: Callable[[Any, Drawn], Edit]) -> Check:
    def check(data: Any, drawn: Drawn) -> None:
        with untouched(drawn):
            made = edit(data, drawn)
            expected = made.expected(drawn)
            assert_gives(made.network, drawn, expected)
            assert_computes(made.network, drawn, made.do)
            assert not {id(v) for v in made.network.variables} & {id(v) for v in drawn.model.variables}

    return check


check_replace, check_insert = check_edit(replaced), check_edit(inserted)


# Copies: the original stays as it is, also while they are trained


def an_edit(data: Any, drawn: Drawn) -> Edit:
    return data.draw(st.sampled_from([replaced, inserted]))(data, drawn)


def check_training(data: Any, drawn: Drawn) -> None:
    with untouched(drawn):
        network = an_edit(data, drawn).network
        before = [v.numpy().tobytes() for v in network.variables]
        with tf.GradientTape() as tape:
            loss = sum(tf.reduce_mean(y**2) for y in keras.tree.flatten(network(drawn.x, training=True)))
        learns = network.trainable_variables
        for variable, step in zip(learns, tape.gradient(loss, [v.value for v in learns]), strict=True):
            if step is not None:  # an output that nothing takes
                variable.assign_sub(0.1 * tf.convert_to_tensor(step))
        assert [v.numpy().tobytes() for v in network.variables] != before


def check_copies(data: Any, drawn: Drawn) -> None:
    model = drawn.model
    with untouched(drawn):
        expected = numbers(model(drawn.x, training=False))
        graph, copy = flat(model), clone(model)
        assert_gives(graph, drawn, expected)
        assert_gives(copy, drawn, expected)
    assert {id(v) for v in graph.variables} == {id(v) for v in drawn.variables}
    assert not {id(v) for v in copy.variables} & {id(v) for v in model.variables}
    assert not any(isinstance(op, keras.Model) for op in operations(graph))
    held = [[(v.trainable, v.numpy().tobytes()) for v in network.variables] for network in (graph, copy)]
    assert held[0] == held[1]
    assert len(copy.trainable_variables) == len(graph.trainable_variables)


def check_saving(data: Any, drawn: Drawn) -> None:
    network = an_edit(data, drawn).network
    with tempfile.TemporaryDirectory() as folder:
        network.save(f"{folder}/edited.keras")
        loaded = keras.saving.load_model(f"{folder}/edited.keras")
    assert_gives(loaded, drawn, numbers(network(drawn.x, training=False)))


CHECKS = {
    "split": check_split,
    "plan": check_plan,
    "drop": check_drop,
    "replace": check_replace,
    "insert": check_insert,
    "training": check_training,
    "copies": check_copies,
    "saving": check_saving,
}


@pytest.mark.parametrize("count", [4, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", CHECKS)
def test_random_networks(name: str, count: int):
    over_many(CHECKS[name], count)


def features(drawn: Drawn) -> set[str]:
    """What a network has of what makes networks difficult."""
    made, calls = drawn.made(), drawn.program.calls
    inside = [id(call.inside) for call in calls if call.inside]
    taken = [value.tensor for of in made.values() for call in of for value in call.taken]
    has = {
        "several inputs": len(drawn.program.inputs) > 1,
        "several outputs": len(keras.tree.flatten(drawn.program.outputs)) > 1,
        "a dictionary of inputs": isinstance(drawn.x, dict),
        "a dictionary of outputs": isinstance(drawn.program.outputs, dict),
        "a shared layer": any(len(of) > 1 for of in made.values()),
        "a skip": len({id(t) for t in taken}) < len(taken),
        "a model inside": bool(inside),
        "a model called twice": len(set(inside)) < len(inside),
        "equal names": any(drawn.names[id(call)] != call.name for call, _ in drawn.program.walk()),
        "batch normalization": any(isinstance(layer, layers.BatchNormalization) for layer in drawn.layers.values()),
        "a mask": any(getattr(tensor, "_keras_mask", None) is not None for tensor in taken),
        "several outputs of a call": any(len(call.gives) > 1 for call in calls if not call.inside),
        "a raw operation": len(drawn.layers) < len(made),
        "dropout": any(isinstance(layer, layers.Dropout) for layer in drawn.layers.values()),
        "a frozen layer": any(not layer.trainable for layer in drawn.layers.values()),
    }
    return {name for name, found in has.items() if found}


def test_the_program_is_what_the_network_computes_and_networks_have_everything():
    found: Counter[str] = Counter()

    def check(_: Any, drawn: Drawn) -> None:
        found.update(features(drawn))
        for one, other in zip(numbers(drawn.model(drawn.x, training=False)), drawn.oracle(), strict=True):
            assert gap(one, other) <= TOLERANCE

    over_many(check, 50)
    assert len(found) == 15, found


# Every property can fail: a fault is planted, and must be seen


def _swapping(run: Callable[..., None]) -> Callable[..., None]:
    """Exchanges what a call takes, where it takes two tensors of one shape."""

    def turned(operation: Any, args: Any, kwargs: Any) -> Any:
        given = keras.tree.flatten(args)
        if len(given) == 2 and given[0] is not given[1] and given[0].shape == getattr(given[1], "shape", None):
            args = keras.tree.pack_sequence_as(args, given[::-1])
        return operation(*args, **kwargs)

    return lambda nodes, values, runner=None: run(nodes, values, turned)


def _without_statistics(copy: Callable[..., None]) -> Callable[..., None]:
    def copied(source: Any, target: Any) -> None:
        if not isinstance(source, layers.BatchNormalization):
            copy(source, target)

    return copied


def _twice(freeze: Callable[..., zoo.Plan]) -> Callable[..., zoo.Plan]:
    """Has the highest row cover the lowest one's layers too."""

    def doubled(*args: Any, **kwargs: Any) -> zoo.Plan:
        plan = freeze(*args, **kwargs)
        low, high = plan.rows[0].block, plan.rows[-1].block
        both = replace(high, layers=(*high.layers, *low.layers))
        return replace(plan, rows=(*plan.rows[:-1], replace(plan.rows[-1], block=both)))

    return doubled


def _too_deep(boundary: Callable[..., Any]) -> Callable[..., Any]:
    return lambda graph, frozen: boundary(graph, frozenset(op.name for op in operations(graph)[:-1]))


def _sharing(copy: type) -> type:
    return type("Sharing", (copy,), {"layer": lambda self, operation: operation})


def _to_all(edges: Callable[..., Any]) -> Callable[..., Any]:
    return lambda graph, above, below: edges(graph, above, None if above else below)


FAULTS: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "tensors exchanged": ("split", "zoo.boundary.run", _swapping),
    "masks lost": ("split", "zoo.boundary._heeds_masks", lambda _: lambda operation: False),
    "a trunk that learns": ("split", "zoo.surgery.boundary", _too_deep),
    "a row too much": ("plan", "zoo.freeze", _twice),
    "what learns is miscounted": ("plan", "zoo.plan.learns", lambda _: lambda *args: True),
    "frozen batch norm left on": ("plan", "zoo.enforcement.learns", lambda _: lambda leaf, rate, mode: rate > 0),
    "a cut at another layer": ("drop", "zoo.surgery._output_of", lambda _: lambda graph, name: graph.outputs[0]),
    "statistics not copied, dropping": ("drop", "zoo.copying.copy_layer", _without_statistics),
    "statistics not copied, replacing": ("replace", "zoo.editing.copy_layer", _without_statistics),
    "weights not handed down": ("replace", "zoo.editing._hand_down", lambda _: lambda old, part: None),
    "every taker, not one": ("insert", "zoo.editing._edges", _to_all),
    "layers shared with the original": ("training", "zoo.editing.Copy", _sharing),
    "nothing copied": ("copies", "zoo.copying.copy_layer", lambda _: lambda source, target: None),
    "a network that loses its weights": ("saving", "keras.saving.load_model", lambda load: _shaken(load)),
}


def _shaken(load: Callable[..., keras.Model]) -> Callable[..., keras.Model]:
    def loaded(path: str) -> keras.Model:
        model = load(path)
        model.trainable_variables[-1].assign_add(model.trainable_variables[-1] + 0.01)
        return model

    return loaded


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_seen(fault: str, monkeypatch: pytest.MonkeyPatch):
    name, target, plant = FAULTS[fault]
    where, attribute = target.rsplit(".", 1)
    module = importlib.import_module(where)
    with monkeypatch.context() as patch:
        patch.setattr(module, attribute, plant(getattr(module, attribute)))
        with pytest.raises(AssertionError):
            over_many(CHECKS[name], 60)


# What random networks found, each in its smallest form


def test_a_mask_that_only_attention_sees_reaches_the_head():
    """Keras hands it over on the tensor, not in the call: the head would attend to padding."""
    keras.utils.set_random_seed(0)
    words, numbers_ = keras.Input((4,), dtype="int32"), keras.Input((4, 3))
    text = layers.Embedding(7, 3, mask_zero=True, name="embed")(words)
    x = layers.MultiHeadAttention(1, 2, name="attend")(layers.Dense(3, name="low")(numbers_), text)
    outputs = layers.Dense(2, name="top")(layers.Flatten(name="flat")(x))
    model = keras.Model([words, numbers_], outputs)
    rng = np.random.default_rng(0)
    x = [np.array([[1, 2, 0, 0], [3, 4, 5, 6], [6, 0, 0, 0]], "int32"), rng.normal(size=(3, 4, 3)).astype("float32")]
    trunk, head = zoo.split(model, zoo.freeze(model, upto="low", blocks_of=[BlockPattern("low", "embed|low")]))
    assert gap(model(x), head(trunk(x))) <= TOLERANCE


def test_attention_takes_the_mask_off_for_what_comes_later():
    """So it is in Keras: the second attention of this network attends to padding; its head must do so too."""
    keras.utils.set_random_seed(0)
    words = keras.Input((4,), dtype="int32")
    x = layers.Embedding(7, 3, mask_zero=True, name="embed")(words)
    x = layers.Add(name="add")([x, layers.MultiHeadAttention(1, 2, name="first")(x, x)])
    x = layers.MultiHeadAttention(1, 2, name="second")(x, x)
    model = keras.Model(words, layers.Dense(2, name="top")(layers.Flatten(name="flat")(x)))
    model.get_layer("embed").embeddings.assign(np.random.default_rng(0).normal(0, 1, (7, 3)))
    x = np.array([[1, 2, 0, 0], [3, 4, 5, 6], [6, 0, 0, 0]], "int32")
    for low in ("embed", "embed|first", "embed|first|add"):
        plan = zoo.freeze(model, upto="low", blocks_of=[BlockPattern("low", low), BlockPattern("high", ".*")])
        trunk, head = zoo.split(model, plan)
        assert gap(model(x), head(trunk(x))) <= TOLERANCE, low


def test_a_model_inside_can_be_taken_apart_where_a_mask_goes_in():
    words = keras.Input((4,), dtype="int32")
    inner_in = keras.Input((4, 3))
    inner = keras.Model(inner_in, layers.Dense(3, name="inner_dense")(inner_in), name="inner")
    x = inner(layers.Embedding(7, 3, mask_zero=True, name="embed")(words))
    model = keras.Model(words, layers.GlobalAveragePooling1D(name="mean")(x))
    tokens = np.array([[1, 2, 0, 0], [3, 4, 5, 6]], "int32")
    assert "inner_dense" in [op.name for op in operations(flat(model))]
    assert gap(model(tokens), flat(model)(tokens)) <= TOLERANCE


def test_inputs_in_a_list_of_one_stay_in_it():
    """Keras warns of anything else than the structure that a model was made with."""
    inputs, x = keras.Input((3,)), np.ones((2, 3), "float32")
    model = keras.Model([inputs], layers.Dense(2, name="top")(layers.Dense(3, name="low")(inputs)))
    trunk, head = zoo.split(model, zoo.freeze(model, upto="low"))
    np.testing.assert_array_equal(head(trunk([x])), model([x]))
    np.testing.assert_array_equal(zoo.drop_above(model, "top")([x]), model([x]))
