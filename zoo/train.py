"""Stages: the plan is applied, what it thaws is trained, and the rest is audited."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import keras
import numpy as np

from .adaptation import adapt
from .array_digests import variable_digests
from .boundary import Boundary, cut_trunk
from .checkpoint import weights_digest
from .checkpoints import Checkpoints
from .enforcement import adapting, apply, audit, edge_of, frozen_digests, multipliers_of
from .epochs import Job, Side, diverged, run_epochs
from .feature_store import FeatureStore
from .flattening import flat
from .layers import by_variable, optimizer
from .plan import Plan
from .progress import Progress
from .recipe_stage import StagePart, averaged_by_the_optimizer
from .stage_checks import features_are_gone
from .stage_network import StageNetwork, held_head
from .stage_result import StageResult
from .stage_rows import stage_rows
from .stage_state import StageState
from .starting_point import l2_sp
from .stopping import check_averaging, check_monitor, early_stopping, performance_scheduling
from .weight_averaging import WeightAveraging


def _stepper(progress: Progress, what: str) -> Callable[[int, int], None]:
    return lambda done, total: progress.step(what, done, total, "examples")


def train_stage(
    network: keras.Model,
    plan: Plan,
    stage: StagePart,
    index: int,
    job: Job,
    store: FeatureStore,
    start: Mapping[str, np.ndarray] | None = None,
    later: Sequence[Plan] = (),
    *,
    checkpoints: Checkpoints | None = None,
    known: Mapping[int, str] | None = None,
) -> StageResult:
    """Trains one stage: applies the plan, trains what it thaws, and audits that the rest did not move.

    Or the rest of one: where ``checkpoints`` has one of it, nothing is re-estimated or started anew.

    Args:
        network: A functional or Sequential model; its variables are trained in place.
        plan: The plan of this stage.
        stage: Epochs, optimizer, early stopping.
        index: The stage's number, from 0: random choices depend on it.
        job: Data, loss, seed.
        store: Where features are kept from stage to stage.
        start: What L2-SP pulls weights to: what :func:`zoo.starting_point.start_of` gave when the run began, without
            the new layers; by default what all of them are now.
        later: The plans of the stages after it: what they will need is computed in the same pass.
        checkpoints: Where its state is kept; by default nowhere.
        known: What :func:`zoo.array_digests.variable_digests` gave for the network's variables as they are now.

    Returns:
        The history and the digest.

    Raises:
        PlanError: if a frozen variable moved.
        RecipeError: if Keras has no such optimizer or argument, or early stopping watches a figure that does not exist.
        ZooError: if training diverged.
        Interrupted: if the run was asked to end; its state is kept.
    """
    state = StageState(checkpoints or Checkpoints(), index, stage.name)
    check_monitor(stage, [metric.name for metric in job.metrics()])
    check_averaging(stage, job.callbacks)
    graph = flat(network)
    apply(plan, graph)
    if state.point is not None:
        state.point.restore(graph)
    elif _adapted(graph, plan, stage, job, store) or known is None:
        state.frozen = frozen_digests(plan, graph)
    else:
        state.frozen = frozen_digests(plan, graph, known)
    with _pulled(graph, stage, start), _averaging(stage, job) as averaging:
        model, train, val, state.features = _assemble(graph, plan, stage, job, store, later, state.held_features)
        made = _optimizer(stage, model, multipliers_of(plan, graph), stage.epochs * job.steps)
        model.compile(optimizer=made, loss=job.loss, weighted_metrics=job.metrics())
        # A slot that starts as a copy of its variable (schedule-free) would lose it if a compiled step made it.
        model.optimizer.build(model.trainable_variables)
        stopping = early_stopping(stage, bool(len(val)))
        watching = [*stopping, *performance_scheduling(stage, bool(len(val)), job.progress)]
        watching += [callback for callback in averaging if callback not in job.callbacks]
        history = run_epochs(model, (train, val), stage, index, job, model.random_states(graph), watching, state)
    if not all(np.isfinite(v.numpy()).all() for v in graph.weights):
        raise diverged(stage, "weights are no longer finite")
    now = variable_digests(graph.variables)
    result = StageResult(
        stage.name,
        tuple(history),
        stopping[0].best_epoch + 1 if stopping else len(history),
        state.seconds,
        audit(plan, graph, state.frozen, now),
        weights_digest(graph, now),
        averaged_by_the_optimizer(stage) or any(callback.averaged for callback in averaging),
        state.features,
        np.array(state.losses, "float32"),
    )
    state.end(result)
    return result


def features_of(
    network: keras.Model, plan: Plan, stage: StagePart, job: Job, store: FeatureStore, held: Mapping[str, Any]
) -> None:
    """Has a store hold the features of a stage that is finished, as it does when the stage has just ended.

    Args:
        network: The network as it is now.
        plan: The stage's plan.
        stage: The stage.
        job: Data and settings.
        store: The store.
        held: What the features are that the stage trained on.
    """
    graph = flat(network)
    apply(plan, graph)
    _assemble(graph, plan, stage, job, store, (), held)


def _adapted(graph: keras.Model, plan: Plan, stage: StagePart, job: Job, store: FeatureStore) -> bool:
    """Re-estimates the statistics that the plan has adapt to the new data: once, before anything of the stage."""
    names = adapting(plan, graph)
    if names:
        store.forget()
        adapt(graph, names, job.train.read, len(job.train), step=_stepper(job.progress, "batch-norm statistics"))
        found = f"of {len(names)} batch-norm layers re-estimated on {len(job.train)} training examples"
        job.progress.line(f"stage {stage.name}: the statistics {found}, then fixed")
    return bool(names)


def _assemble(
    graph: keras.Model,
    plan: Plan,
    stage: StagePart,
    job: Job,
    store: FeatureStore,
    later: Sequence[Plan],
    held: Mapping[str, Any] | None = None,
) -> tuple[StageNetwork, Side, Side, Mapping[str, Any]]:
    """The network that a stage trains, its sides, and what is known of the features that these are, if they are.

    A stage that goes on trains as it did before: on the same features, or with the trunk in every step; ``held`` says
    which, and is ``None`` where a stage starts.

    Raises:
        RunError: if it trained on features that cannot be had any more.
    """
    edge = edge_of(plan, graph)
    head = held_head(graph, edge, plan)
    examples = stage_rows(job, stage.epochs)
    stored = None
    if held is None or held:
        wanted = store.decide(graph, edge, lambda: examples.rows, augmented=examples.random)
        later_edges = unchanged_below(graph, plan, later)
        stored = store.get(graph, wanted, lambda: examples.rows, later=later_edges, stage=stage.name)
    store.forget()
    if held and stored is None:
        raise features_are_gone(stage.name, held)
    if stored is not None:
        network = StageNetwork([], None, head, job.precision, graph)
        facts = {**stored.facts, "trunk": stored.trunk}
        return network, stored.side("train", examples.train), stored.side("val", job.val), facts
    trunk = cut_trunk(graph, edge) if edge.below else None
    layers = [] if examples.views else examples.layers
    network = StageNetwork(layers, trunk, head, job.precision, graph, mixes=job.mixing is not None)
    return network, examples.train, job.val, {}


def unchanged_below(graph: keras.Model, plan: Plan, later: Sequence[Plan]) -> list[Boundary]:
    """The boundaries of later stages below which nothing changes until then.

    Args:
        graph: The flat network.
        plan: The plan of the stage of now.
        later: Those of the stages after it, in order.

    Returns:
        Each boundary once, without that of now.
    """
    here = edge_of(plan, graph)
    found, places = [], {here.places}
    for number, one in enumerate(later):
        edge = edge_of(one, graph)
        weighty = {node.operation.name for node in edge.below if getattr(node.operation, "weights", [])}
        before = [plan, *later[:number]]
        adapted = {name for other in [*before[1:], one] for name in adapting(other, graph)}
        still = all(weighty <= other.frozen_layers for other in before) and not weighty & adapted
        if edge.below and still and edge.places not in places:
            places.add(edge.places)
            found.append(edge)
    return found


@contextmanager
def _averaging(stage: StagePart, job: Job) -> Iterator[list[WeightAveraging]]:
    """What ends a stage with the mean of its weights; the user's own has the training side while the stage lasts."""
    own = [callback for callback in job.callbacks if isinstance(callback, WeightAveraging)]
    lent = [callback for callback in own if callback.x is None]
    for callback in lent:
        callback.x = job.train
    try:
        yield own or ([WeightAveraging(**stage.weight_averaging, x=job.train)] if stage.weight_averaging else [])
    finally:
        for callback in lent:
            callback.x = None


def _pulled(
    graph: keras.Model, stage: StagePart, start: Mapping[str, np.ndarray] | None
) -> AbstractContextManager[Any]:
    """What holds the reused weights near their start while a stage lasts, where it asks for it."""
    if stage.l2_sp is None:
        return nullcontext()
    return l2_sp(graph, stage.l2_sp["alpha"], stage.l2_sp["beta"], start=start)


def _optimizer(
    stage: StagePart, model: StageNetwork, rates: Mapping[int, float], steps: int
) -> keras.optimizers.Optimizer:
    """The stage's optimizer, with each variable's multiple of its rate."""
    arguments = dict(stage.optimizer)
    made = optimizer(arguments.pop("name"), steps=steps, **arguments)
    return by_variable(made, [rates[id(v)] for v in model.trainable_variables])
