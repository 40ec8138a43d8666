"""Training on what a frozen trunk gave once equals training through it, and what forbids that is heeded.

The networks are random, and the oracle is the trunk itself, run in every step (``keep = "none"``). Weights are compared
with how far they moved: an engine rounds otherwise than Keras does. What must be the same is compared by its bytes.
"""

import re
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import hypothesis.strategies as st
import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, assume

import zoo
from zoo import engine, filling
from zoo.boundary import Boundary, augmenting, cut_trunk
from zoo.caching import FeatureSettings
from zoo.card import BlockPattern
from zoo.enforcement import edge_of
from zoo.epochs import Job, Side
from zoo.errors import PlanError
from zoo.feature_cache import FeatureCache
from zoo.feature_store import FeatureStore
from zoo.flattening import flat
from zoo.graph import is_seed_state, one_or_list, operations
from zoo.layers import augmentation
from zoo.planning import BATCH_NORM_MODES
from zoo.progress import Progress
from zoo.stage_result import StageResult
from zoo.train import train_stage
from zoo.trunk_rows import digests_of, trunk_rows
from zoo.views import Views
from zoo.wanted_features import Wanted

from .networks import live, quadrants, small_convnet
from .programs import Drawn, numbers
from .test_feature_store import Lines, asked_of
from .test_random_networks import over_many as over_many_networks
from .test_train import job, one_hot, stage

layers = keras.layers

# A model inside cannot know that what it will be called with is masked.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Layer '.*' .* was passed an input with a mask attached"),
    pytest.mark.timeout(1800),  # 40 networks take many minutes on a busy machine
]

#: How far features may be from what the trunk gives in Keras, as a share of the spread between inputs.
FEATURES = 1e-5
#: How far trained weights may be from those trained through the trunk, as a share of the farthest that one of the
#: variable's weights moved; and for those that hardly move, as a share of their size.
MOVED, SIZE = 1e-3, 1e-6

#: How random networks are trained: on so many examples, the last ones to validate, and with steps of limited length.
COUNT, VAL = 22, 6
RATE: dict[str, Any] = {"learning_rate": 0.05, "global_clipnorm": 1.0}


# Training, from the cache or not


@dataclass(frozen=True)
class Trained:
    """What a run of stages gave: the weights that it began and ended with, by path, and what was said and stored."""

    start: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]
    results: list[StageResult]
    stored: list[Any]
    lines: Lines

    @property
    def bytes(self) -> dict[str, bytes]:
        return {path: value.tobytes() for path, value in self.weights.items()}

    @property
    def losses(self) -> list[float]:
        rows = [row for result in self.results for row in result.history]
        return [row[key] for key in ("loss", "val_loss") for row in rows if key in row]


def variables_of(model: keras.Model) -> dict[str, Any]:
    """All variables but the states of random generators, which move with every draw."""
    return {f"{i} {v.path}": v for i, v in enumerate(model.variables) if not is_seed_state(v)}


def weights_of(model: keras.Model) -> dict[str, np.ndarray]:
    return {path: variable.numpy() for path, variable in variables_of(model).items()}


@contextmanager
def put_back(model: keras.Model) -> Iterator[None]:
    """Afterwards all variables are what they were."""
    before = [(v, v.numpy()) for v in model.variables]
    try:
        yield
    finally:
        for variable, value in before:
            variable.assign(value)


@contextmanager
def trained_as(model: keras.Model, trained: Trained) -> Iterator[None]:
    """With the weights of a run."""
    with put_back(model):
        for path, variable in variables_of(model).items():
            variable.assign(trained.weights[path])
        yield


def run(
    model: keras.Model,
    plans: Sequence[zoo.Plan],
    what: Job,
    *,
    epochs: int = 2,
    later: bool = False,
    between: Callable[[int], None] = lambda index: None,
    keep: str = "disk",
    settings: dict[str, Any] | None = None,
    **optimizer: Any,
) -> Trained:
    """Trains a stage for each plan, with one new store, and puts the network back as it was."""
    lines, stored, results = Lines(), [], []
    start = weights_of(model)
    kept = FeatureSettings(**{"keep": keep} | (settings or {}))
    with put_back(model), FeatureStore(kept, progress=lines) as store:
        for index, plan in enumerate(plans):
            between(index)
            ahead = plans[index + 1 :] if later else ()
            results.append(train_stage(model, plan, stage(epochs, **optimizer), index, what, store, later=ahead))
            stored.append(store.last)
        return Trained(start, weights_of(model), results, stored, lines)


def assert_alike(cached: Trained, through: Trained) -> None:
    """The weights are the same to a thousandth of how far they moved."""
    for path, reference in through.weights.items():
        if reference.dtype.kind != "f":
            np.testing.assert_array_equal(cached.weights[path], reference, path)
            continue
        moved = np.abs(reference - through.start[path]).max(initial=0.0)
        size = np.abs(through.start[path]).max(initial=1.0)
        gap = np.abs(cached.weights[path] - reference).max(initial=0.0)
        assert gap <= MOVED * moved + SIZE * size, f"{path}: {gap} apart, {moved} moved"
    np.testing.assert_allclose(cached.losses, through.losses, rtol=MOVED, atol=SIZE)


# Random networks


@dataclass(frozen=True)
class Case:
    """A random network with one output to learn, and data for it."""

    model: keras.Model
    inputs: list[np.ndarray]
    job: Job

    @classmethod
    def of(cls, drawn: Drawn, seed: int, count: int = COUNT) -> "Case":
        rng = np.random.default_rng(seed)
        ends = [layers.Flatten(name=f"end{i}")(t) for i, t in enumerate(drawn.model.outputs)]
        whole = layers.Concatenate(name="ends")(ends) if len(ends) > 1 else ends[0]
        top = layers.Dense(3, name="top")
        model = keras.Model(one_or_list(drawn.model.inputs), top(whole), name="random")
        top.kernel.assign(rng.normal(size=top.kernel.shape) / np.sqrt(top.kernel.shape[0]))
        inputs = [_examples(tensor, count, rng) for tensor in model.inputs]
        targets = rng.normal(size=(count, 3)).astype("float32")
        weights = rng.uniform(0.5, 1.5, count).astype("float32") if seed % 2 else None
        return cls(model, inputs, _job(inputs, targets, weights, VAL))

    def frozen(self, plan: zoo.Plan) -> set[str]:
        """The paths of all variables of the plan's frozen layers, but of statistics that adapt."""
        inside = set()
        for op in operations(flat(self.model)):
            row = plan.row_of(op.name)
            if row.frozen and isinstance(op, layers.Layer):
                adapts = row.batch_norm == "adapt"
                inside |= {id(v) for v in op.variables if not (adapts and v.name.startswith("moving_"))}
        return {path for path, v in variables_of(self.model).items() if id(v) in inside}


def _examples(tensor: Any, count: int, rng: np.random.Generator) -> np.ndarray:
    shape = (count, *tensor.shape[1:])
    if tensor.dtype == "int32":
        tokens = rng.integers(0, 7, shape).astype("int32")
        tokens[:, 0] = 1 + np.arange(count) % 6  # padding is 0, and never the first
        return tokens
    x = rng.normal(size=shape).astype("float32")
    if len(shape) == 3:
        x[::2, -1] = 0.0  # where it is masked, these steps are padding
    return x


def _job(inputs: list[np.ndarray], targets: np.ndarray, weights: np.ndarray | None, val: int) -> Job:
    def side(part: slice, weights: np.ndarray | None = None) -> Side:
        return Side(engine.rows_of([x[part] for x in inputs]), targets[part], weights)

    cut = len(targets) - val
    train = side(slice(cut), None if weights is None else weights[:cut])
    loss = keras.losses.MeanSquaredError()
    return Job(train, side(slice(cut, None)), seed=3, batch_size=8, loss=loss, metrics=lambda: [])


def a_plan(data: Any, model: keras.Model) -> zoo.Plan:
    """A plan with blocks that end at any calls; what learns and the modes of batch norm are drawn too."""
    names = [op.name for op in operations(flat(model))]
    ends = data.draw(st.lists(st.integers(1, len(names) - 1), min_size=1, max_size=3, unique=True).map(sorted))
    parts = [names[i:j] for i, j in zip([0, *ends], [*ends, None], strict=True)]
    patterns = [BlockPattern(f"part{i}", "|".join(map(re.escape, part))) for i, part in enumerate(parts)]
    found = zoo.blocks(model, patterns).names
    how: dict[str, Any] = {"batch_norm": data.draw(st.sampled_from(("frozen", *BATCH_NORM_MODES)))}
    if data.draw(st.booleans()):
        how["upto"] = data.draw(st.sampled_from(found[:-1]))
    else:
        how["train"] = data.draw(st.lists(st.sampled_from(found[1:]), min_size=1, unique=True))
    try:
        return zoo.freeze(model, blocks_of=patterns, **how)
    except PlanError as reason:
        assume("leaves nothing to learn" not in str(reason))
        raise


Check = Callable[[Any, Case, zoo.Plan], None]


def over_many(check: Check, count: int) -> None:
    """Checks as many networks that have a trunk, the same ones each time."""

    def one(data: Any, drawn: Drawn) -> None:
        case = Case.of(drawn, data.draw(st.integers(0, 2**16)))
        plan = a_plan(data, case.model)
        assume(edge_of(plan, flat(case.model)).below)
        with a_home():
            try:
                check(data, case, plan)
            except TypeError as reason:  # Keras calls what is multiplied by a number sparse: it cannot be held then
                assume("'SparseTensor' object is not subscriptable" not in str(reason))
                raise

    over_many_networks(one, count, also=[HealthCheck.filter_too_much])


@contextmanager
def a_home() -> Iterator[None]:
    """A cache with nothing in it."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", folder)
        yield


def learned(case: Case, plan: zoo.Plan, keep: str) -> Trained:
    """What training gives; networks whose statistics cannot be re-estimated are drawn again."""
    try:
        return run(case.model, [plan], case.job, keep=keep, **RATE)
    except PlanError as reason:
        assume("cannot be re-estimated" not in str(reason))
        raise


def assert_stored(case: Case, plan: zoo.Plan, cached: Trained) -> None:
    """What is stored is what the trunk gives in Keras, with the statistics that it was stored with."""
    graph = flat(case.model)
    with trained_as(case.model, cached):
        # zoo.split has the network's own augmentation in the trunk, where it does nothing; in training it is live.
        cut = augmenting(graph)
        trunk = cut_trunk(graph, edge_of(plan, graph)) if cut else zoo.split(case.model, plan)[0]
        expected = numbers(trunk(one_or_list(case.inputs), training=False))
    (stored,) = cached.stored
    for one, other in zip(stored.features.arrays(), expected, strict=True):
        assert one.shape == other.shape
        if other.dtype.kind != "f":
            np.testing.assert_array_equal(one, other)
            continue
        spread = float(np.std(other.astype("float64"), axis=0).max())
        assert np.abs(one - other).max() <= FEATURES * spread


def check_alike(data: Any, case: Case, plan: zoo.Plan) -> None:
    through, cached = (learned(case, plan, keep) for keep in ("none", "disk"))
    assert through.stored == [None]
    assert cached.stored != [None], cached.lines.said
    assert_stored(case, plan, cached)
    assert_alike(cached, through)
    still = case.frozen(plan)
    assert still
    for trained in (through, cached):
        assert all(trained.bytes[path] == trained.start[path].tobytes() for path in still)


def check_bytes(data: Any, case: Case, plan: zoo.Plan) -> None:
    """Cold, warm, and warm for some of the examples, which were computed before in another order."""
    cold, warm = (learned(case, plan, "disk") for _ in range(2))
    assert f"was run on {COUNT} examples" in cold.lines
    assert f"the features of all {COUNT} examples are in the cache" in warm.lines
    known = np.array(data.draw(st.permutations(range(COUNT - VAL))))[: data.draw(st.integers(1, COUNT - VAL - 1))]
    with a_home():
        some = Side(lambda i: case.job.train.read(known[i]), np.zeros((len(known), 1)))
        graph = flat(case.model)
        with trained_as(case.model, cold), FeatureStore() as store:
            assert asked_of(store, graph, edge_of(plan, graph), trunk_rows({"train": some})) is not None
        partly = learned(case, plan, "disk")
        assert f"{len(known)} were in the cache" in partly.lines
    assert cold.bytes == warm.bytes == partly.bytes
    assert cold.losses == warm.losses == partly.losses


def check_stages(data: Any, case: Case, plan: zoo.Plan) -> None:
    """An upper boundary, then a lower one: computed stage by stage, in one pass, or the one from the other."""
    found = [row.block.name for row in plan.rows]
    assume(len(found) > 2)
    top = data.draw(st.integers(1, len(found) - 2))
    uptos = [found[top], found[data.draw(st.integers(0, top - 1))]]
    mode = data.draw(st.sampled_from(["frozen", "fixed_statistics", "train"]))
    blocks = [BlockPattern(row.block.name, "|".join(map(re.escape, row.block.layers))) for row in plan.rows]
    plans = [zoo.freeze(case.model, upto=upto, batch_norm=mode, blocks_of=blocks) for upto in uptos]
    assume(edge_of(plans[1], flat(case.model)).below)
    alone = staged(case, plans)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zoo.filling.WORTH", 0)  # or so few examples would not be worth another way
        with a_home():
            ahead = staged(case, plans, later=True)
        with a_home():
            graph = flat(case.model)
            with FeatureStore() as store:
                asked_of(store, graph, edge_of(plans[1], graph), trunk_rows(case.job.sides))
            above = staged(case, plans, later=True)
    assert alone.bytes == ahead.bytes == above.bytes
    assert alone.losses == ahead.losses == above.losses
    assert_alike(alone, staged(case, plans, "none"))
    ROUTES.append({name for name, part in SAID.items() if any(part in run.lines for run in (ahead, above))})


def staged(case: Case, plans: Sequence[zoo.Plan], keep: str = "disk", **how: Any) -> Trained:
    return run(case.model, plans, case.job, keep=keep, epochs=1, **RATE, **how)


#: The ways of :mod:`zoo.trunk_route`, and by what line of theirs they are known; which of them a check has seen.
SAID = {"one pass": "the same pass computes what later stages need", "from below": "computed from what is known up to"}
ROUTES: list[set[str]] = []

CHECKS: dict[str, Check] = {"alike": check_alike, "bytes": check_bytes, "stages": check_stages}


#: How many networks each is checked on: a stage takes seconds to compile.
COUNTS = {"alike": (4, 40), "bytes": (2, 12), "stages": (1, 8)}


@pytest.mark.parametrize("slow", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", CHECKS)
def test_random_networks(name: str, slow: bool):
    ROUTES.clear()
    over_many(CHECKS[name], COUNTS[name][slow])
    if name == "stages" and slow:
        assert set().union(*ROUTES) == set(SAID), "a way was not taken by any network"


# What forbids to keep what the trunk gives


@dataclass
class Asked:
    """The boundaries that a store was asked for, and how many examples each extraction computed."""

    edges: list[Boundary] = field(default_factory=list)
    computed: list[int] = field(default_factory=list)

    @property
    def below(self) -> set[str]:
        """The layers below the one boundary that was asked for."""
        (edge,) = self.edges
        return {node.operation.name for node in edge.below if isinstance(node.operation, layers.Layer)}

    @property
    def weighty(self) -> set[str]:
        """Those that have weights."""
        (edge,) = self.edges
        return {node.operation.name for node in edge.below if getattr(node.operation, "weights", [])}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    found = Asked()
    get, fill = FeatureStore.get, filling.fill

    def noting(self: FeatureStore, graph: Any, wanted: Wanted, *args: Any, **kwargs: Any) -> Any:
        if wanted.caching.once:
            found.edges.append(wanted.edge)
        return get(self, graph, wanted, *args, **kwargs)

    def counting(*args: Any, **kwargs: Any) -> Any:
        filled = fill(*args, **kwargs)
        found.computed.append(filled.computed)
        return filled

    monkeypatch.setattr(FeatureStore, "get", noting)
    monkeypatch.setattr("zoo.filling.fill", counting)
    return found


def pictures(count: int = 44, val: int = 12, **changes: Any) -> Job:
    x, labels = quadrants(count)
    return job(x.astype("float32"), one_hot(labels, 4), val, **changes)


@pytest.fixture(scope="module")
def convnet() -> keras.Model:
    return small_convnet(4)


def both(model: keras.Model, plans: Sequence[zoo.Plan], what: Job, **how: Any) -> tuple[Trained, Trained]:
    """From the cache where nothing forbids it, and through the trunk in every step."""
    cached = run(model, plans, what, **how)
    return cached, run(model, plans, what, keep="none", **how)


def assert_same(one: Trained, other: Trained) -> None:
    """To the last bit."""
    assert one.bytes == other.bytes
    assert one.losses == other.losses
    assert one.bytes != {path: value.tobytes() for path, value in one.start.items()}


def test_what_nothing_forbids_is_computed_once_for_all_epochs(convnet, home, asked):
    cached, through = both(convnet, [zoo.freeze(convnet, upto="block2")], pictures(), epochs=3)
    assert (len(asked.edges), asked.computed) == (1, [44])
    assert_alike(cached, through)
    assert cached.bytes != through.bytes, "an engine rounds otherwise: else nothing is compared here"


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_every_optimizer_learns_the_same_by_the_engine_of_keras(convnet, home, asked, optimizer):
    """In batches of one size, so that hardly any rounding is left for Adam to make much of."""
    what = pictures(76, val=12, batch_size=64)
    how: dict[str, Any] = {"settings": {"engine": "keras"}, "name": optimizer, "learning_rate": 0.01}
    cached, through = both(convnet, [zoo.freeze(convnet, upto="block2")], what, **how)
    assert asked.computed == [76]
    assert_alike(cached, through)


@pytest.mark.parametrize(
    "augment",
    ["light", ({"name": "CutMix", "alpha": 1.0},), ({"name": "MixUp", "alpha": 1.0},)],
    ids=["augmentation", "CutMix", "MixUp"],
)
def test_examples_that_look_different_every_time_are_not_kept(convnet, home, asked, augment):
    cached, through = both(convnet, [zoo.freeze(convnet, upto="block2")], pictures(augment=augment))
    assert asked.edges == []
    assert_same(cached, through)


def test_as_asked_nothing_is_kept(convnet, home, asked):
    plan = zoo.freeze(convnet, upto="block2")
    one, other = (run(convnet, [plan], pictures(), keep="none") for _ in range(2))
    assert (asked.edges, one.lines.said) == ([], [])
    assert not home.exists()
    assert_same(one, other)


def test_live_statistics_lie_above_the_boundary(convnet, home, asked):
    cached, through = both(convnet, [zoo.freeze(convnet, upto="block1", batch_norm="train")], pictures())
    assert {name.split("_")[0] for name in asked.weighty} == {"block1"}
    moved = {path for path in cached.start if cached.bytes[path] != cached.start[path].tobytes()}
    statistics = {path.split()[1] for path in moved if "moving_" in path}
    assert statistics == {f"block{b}_bn{c}/moving_{v}" for b in (2, 3) for c in (1, 2) for v in ("mean", "variance")}
    assert_alike(cached, through)


def test_frozen_blocks_above_live_statistics_are_run_in_every_step(convnet, home, asked):
    plan = zoo.freeze(convnet, train=["block1", "top"], batch_norm={"block1": "train"})
    cached, through = both(convnet, [plan], pictures())
    assert asked.edges == []
    assert_same(cached, through)


def a_network(*middle: Any, top: str = "softmax") -> keras.Model:
    """A convolution, layers in between, and a dense layer below the top; all but ``top`` may be frozen."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, name="low_conv")(layers.Rescaling(1 / 255, name="low_scale")(inputs))
    x = layers.Flatten(name="low_flat")(x)
    for layer in middle:
        x = layer(x)
    x = layers.Dense(8, activation="tanh", name="high_dense")(x)
    return live(keras.Model(inputs, layers.Dense(4, activation=top, name="top_dense")(x)))


BLOCKS = [BlockPattern("low", "low_.*"), BlockPattern("high", "high_.*"), BlockPattern("top", "top_.*")]
THREE = [BLOCKS[0], BlockPattern("middle", "middle_.*"), *BLOCKS[1:]]


@pytest.mark.parametrize("live_dropout", [False, True])
def test_dropout_of_a_block_that_learns_lies_above_the_boundary(home, asked, live_dropout: bool):
    model = a_network(layers.Dropout(0.5, seed=1, name="middle_dropout"))
    plan = zoo.freeze(model, train=["middle", "top"] if live_dropout else ["top"], blocks_of=THREE)
    cached, through = both(model, [plan], pictures(), epochs=3)
    low = {"low_scale", "low_conv", "low_flat"}
    assert asked.below == (low if live_dropout else low | {"middle_dropout", "high_dense"})
    assert_alike(cached, through)
    held = run(model, [zoo.freeze(model, train=["top"], blocks_of=THREE)], pictures(), epochs=3)
    assert (held.losses == cached.losses) != live_dropout


def test_dropout_of_a_block_that_learns_below_all_weights_leaves_nothing_to_keep(home, asked):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = layers.Flatten(name="low_flat")(layers.Dropout(0.5, seed=1, name="middle_dropout")(inputs))
    x = layers.Dense(8, activation="tanh", name="high_dense")(x * (1 / 255))
    model = keras.Model(inputs, layers.Dense(4, activation="softmax", name="top_dense")(x))
    blocks = [BlockPattern("middle", "middle_.*|low_.*|multiply.*"), *BLOCKS[1:]]
    cached, through = both(model, [zoo.freeze(model, train=["middle", "top"], blocks_of=blocks)], pictures())
    assert asked.edges == []
    assert_same(cached, through)


def test_the_networks_own_augmentation_leaves_nothing_to_keep(home, asked):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = layers.RandomTranslation(0.3, 0.3, seed=1, name="low_shift")(inputs)
    x = layers.Conv2D(4, 3, name="low_conv")(layers.Rescaling(1 / 255, name="low_scale")(x))
    outputs = layers.Dense(4, activation="softmax", name="top_dense")(layers.Flatten(name="low_flat")(x))
    model = keras.Model(inputs, outputs)
    plan = zoo.freeze(model, train=["top"], blocks_of=[BLOCKS[0], BLOCKS[2]])
    cached, through = both(model, [plan], pictures())
    assert asked.edges == []
    assert_same(cached, through)


class Drawing(layers.Layer):
    """Draws in inference too, from seeds of its own."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.seeds = keras.random.SeedGenerator(5)

    def call(self, inputs):
        return inputs + keras.random.normal(keras.ops.shape(inputs), seed=self.seeds)


#: Few examples, and more than a batch; the others are slow.
SOME = [2, *(pytest.param(count, marks=pytest.mark.slow) for count in (44, 64)), 100]


class DrawingAlways(Drawing):
    """As above, and it says that it minds training."""

    def call(self, inputs, training=None):
        return super().call(inputs)


class DrawingElsewhere(layers.Layer):
    """Draws the same for all examples of a batch, from Keras's global seeds."""

    def call(self, inputs):
        return inputs + keras.random.normal((1, inputs.shape[-1]))


def test_a_layer_that_draws_in_inference_too_lies_above_the_boundary(home, asked):
    model = a_network(Drawing(name="low_drawing"))
    cached, through = both(model, [zoo.freeze(model, train=["top"], blocks_of=BLOCKS)], pictures(val=0))
    assert asked.below == {"low_scale", "low_conv", "low_flat"}
    assert_alike(cached, through)


@pytest.mark.parametrize("kind", [DrawingAlways, DrawingElsewhere])
@pytest.mark.parametrize("count", SOME)
def test_a_layer_that_cannot_be_seen_to_draw_is_found_out(home, asked, kind: type, count: int):
    model = a_network(kind(name="low_drawing"))
    cached = run(model, [zoo.freeze(model, train=["top"], blocks_of=BLOCKS)], pictures(count, val=0))
    assert len(asked.edges) == 1
    assert (cached.stored, asked.computed) == ([None], [])
    assert "is run in every step: what it gives for an example changes" in cached.lines
    assert FeatureCache(home / "features").entries() == []


@pytest.mark.parametrize("count", SOME)
def test_examples_that_mind_their_neighbours_are_not_kept(home, asked, count: int):
    model = a_network(lambda x: x - keras.ops.mean(x, axis=0, keepdims=True))
    blocks = [BlockPattern("low", "low_.*|mean.*|subtract.*"), *BLOCKS[1:]]
    plan = zoo.freeze(model, train=["top"], blocks_of=blocks)
    cached, through = both(model, [plan], pictures(count, val=0))
    assert len(asked.edges) == 1
    assert (cached.stored, asked.computed) == ([None], [])
    assert "is run in every step: what it gives for an example changes" in cached.lines
    assert FeatureCache(home / "features").entries() == []
    assert_same(cached, through)


def an_open_one(several: bool) -> tuple[keras.Model, Job]:
    """Sequences of any length, and beside them a vector, or not."""
    keras.utils.set_random_seed(0)
    inputs = [keras.Input((None, 3), name="steps"), *[keras.Input((2,), name="beside")] * several]
    x = layers.Dense(4, activation="tanh", name="low_dense")(inputs[0])
    x = layers.GlobalAveragePooling1D(name="high_pool")(layers.Dense(4, name="high_dense")(x))
    x = layers.Concatenate(name="high_join")([x, inputs[1]]) if several else x
    model = keras.Model(one_or_list(inputs), layers.Dense(3, name="top_dense")(x))
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype("float32") for shape in ((22, 5, 3), (22, 2))][: 1 + several]
    return model, _job(arrays, rng.normal(size=(22, 3)).astype("float32"), None, 6)


def test_sizes_that_the_examples_fix_are_known(home, asked):
    model, what = an_open_one(several=False)
    cached, through = both(model, [zoo.freeze(model, upto="low", blocks_of=BLOCKS)], what)
    assert asked.computed == [22]
    assert_alike(cached, through)


def test_sizes_that_stay_open_are_not_kept(home, asked):
    model, what = an_open_one(several=True)
    cached, through = both(model, [zoo.freeze(model, upto="low", blocks_of=BLOCKS)], what)
    assert (cached.stored, asked.computed) == ([None], [])
    assert_same(cached, through)


class Own(layers.Layer):
    """Code that may change without its configuration."""

    def call(self, inputs):
        return inputs * 0.5


def test_code_of_ones_own_is_kept_for_the_run_only(home, asked):
    model = a_network(Own(name="low_own"))
    plan = zoo.freeze(model, train=["top"], blocks_of=BLOCKS)
    cached, through = both(model, [plan, plan], pictures())
    again = run(model, [plan, plan], pictures())
    assert asked.computed == [44, 44], "once in each run, for both of its stages"
    assert list((home / "features").iterdir()) == []
    assert_alike(cached, through)
    assert_same(cached, again)


# From stage to stage


def test_statistics_are_estimated_anew_before_anything_is_kept(convnet, home, asked):
    plan = zoo.freeze(convnet, upto="block2", batch_norm="adapt")
    cached, through = both(convnet, [plan], pictures())
    (stored,) = cached.stored
    assert asked.computed == [44]
    with trained_as(convnet, cached):
        expected = np.asarray(zoo.split(convnet, plan)[0](pictures(val=0).train.read(np.arange(44)), training=False))
    (found,) = stored.features.arrays()
    assert np.abs(found - expected).max() <= FEATURES * np.std(expected, axis=0).max()
    assert_alike(cached, through)


def test_what_the_plan_said_before_statistics_were_estimated_anew_is_forgotten(home, tmp_path):
    """The decision that is printed is of the network as it was: its key would name other features."""
    keys = []
    for mode in ("adapt", "frozen"):
        net = zoo.replace_top(zoo.load("glyphs"), cut="features", classes=10)
        plan = zoo.freeze(net, train=["top"], batch_norm=mode)
        run = zoo.finetune(
            net, "digits", plan=plan, out=tmp_path / mode, limit_per_class=2, epochs=1, progress=Progress(quiet=True)
        )
        keys.append(tomllib.loads((run.folder / "recipe.lock").read_text())["stage"][0]["features"]["key"])
    assert keys[0] != keys[1]


MANY = 8 * 64 + 12


@pytest.mark.parametrize(("mode", "ahead"), [("adapt", False), ("train", True)])
def test_a_stage_that_estimates_anew_is_not_computed_ahead(convnet, home, asked, mode: str, ahead: bool):
    plans = [
        zoo.freeze(convnet, upto="block2"),
        zoo.freeze(convnet, upto="block1", batch_norm="adapt" if mode == "adapt" else "train"),
    ]
    what = pictures(MANY)
    together = run(convnet, plans, what, epochs=1, later=True)
    assert (SAID["one pass"] in together.lines) == ahead
    assert asked.computed == ([MANY] if ahead else [MANY, MANY])
    with a_home():
        assert_same(together, run(convnet, plans, what, epochs=1))
    assert_alike(together, run(convnet, plans, what, keep="none", epochs=1))


def test_what_learns_before_a_later_stage_is_not_computed_ahead(convnet, home, asked):
    """The second stage trains what is frozen again in the third."""
    plans = [zoo.freeze(convnet, upto=upto) for upto in ("block2", None, "block1")]
    what = pictures(MANY)
    together = run(convnet, plans, what, epochs=1, later=True)
    assert SAID["one pass"] not in together.lines
    assert asked.computed == [MANY, MANY]
    assert_alike(together, run(convnet, plans, what, keep="none", epochs=1))


def test_a_weight_that_is_moved_between_stages_is_seen(convnet, home, asked):
    plan = zoo.freeze(convnet, upto="block2")

    def moving(index: int) -> None:
        if index == 1:
            kernel = convnet.get_layer("block1_conv1").kernel
            kernel.assign(kernel * 1.2)

    cached, through = both(convnet, [plan, plan, plan], pictures(), epochs=1, between=moving)
    assert asked.computed == [44, 44]
    assert cached.stored[0].facts["key"] != cached.stored[1].facts["key"] == cached.stored[2].facts["key"]
    assert_alike(cached, through)


# Views


class ByHand(Side):
    """The views of a side, each made before anything is trained: one for the epochs with even numbers, one for odd."""

    def at(self, epoch: int) -> Side:
        first = len(self) * (epoch % 2)
        return Side(lambda indices: self.read(first + indices), self.targets, self.weights)


def viewed(**changes: Any) -> Job:
    return pictures(augment="light", views=2, **changes)


def by_hand(*order: int) -> Job:
    plain = pictures(augment="none")
    known = digests_of(plain.train)
    read = Views(augmentation("light"), ["light", None], plain.seed, 2).reader(plain.train.read, known)
    views = [read(view * len(known) + np.arange(len(known))) for view in order]
    return replace(plain, train=ByHand(engine.rows_of([np.concatenate(views)]), plain.train.targets))


def test_epochs_train_on_one_view_after_the_other(convnet, home, asked):
    plan = zoo.freeze(convnet, upto="block2")
    cached = run(convnet, [plan], viewed(), epochs=3)
    assert asked.computed == [2 * 32 + 12]
    assert_alike(cached, run(convnet, [plan], by_hand(0, 1), keep="none", epochs=3))
    with pytest.raises(AssertionError):
        assert_alike(cached, run(convnet, [plan], by_hand(1, 0), keep="none", epochs=3))


def test_views_are_the_same_warm_and_kept_for_the_run(convnet, home, asked):
    plans = [zoo.freeze(convnet, upto=upto) for upto in ("block2", "block1")]
    cold, warm = (run(convnet, plans, viewed(), epochs=3) for _ in range(2))
    assert asked.computed == [76, 76]
    assert_same(cold, warm)
    assert_same(cold, run(convnet, plans, viewed(), keep="run", epochs=3))
    assert_same(cold, run(convnet, plans, viewed(), epochs=3, settings={"memory": 1000}))


def test_one_view_more_costs_its_own_examples_and_another_seed_all_of_them(convnet, home, asked):
    plan = zoo.freeze(convnet, upto="block2")
    two = run(convnet, [plan], viewed())
    three = run(convnet, [plan], replace(viewed(), views=3), epochs=3)
    other = run(convnet, [plan], viewed(seed=8))
    assert asked.computed == [76, 32, 64]
    first, more, strange = (run_.stored[0].features.arrays()[0] for run_ in (two, three, other))
    np.testing.assert_array_equal(first[:64], more[:64])
    np.testing.assert_array_equal(first[64:], strange[64:], "the validation side has no views")
    assert not any(np.array_equal(one, another) for one, another in zip(first[:64], strange[:64], strict=True))
