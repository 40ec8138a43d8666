"""What a run says about a stage's frozen trunk before anything is computed."""

from collections.abc import Sequence

import keras

from .boundary import augmenting
from .caching import caching_line
from .enforcement import edge_of
from .feature_store import FeatureStore
from .job import Job
from .options import Options
from .plan import Plan
from .stage_rows import stage_rows

_FOR_FEATURES = ("engine", "trunk_precision", "cache_size", "feature_dtype")


def trunk_lines(job: Job, store: FeatureStore, plan: Plan, epochs: int, graph: keras.Model) -> list[str]:
    """Whether the trunk of a stage is run once, and by which engine.

    Args:
        job: The run's data.
        store: Where features are kept.
        plan: The stage's plan.
        epochs: How many epochs the stage has at most.
        graph: The flat network.

    Raises:
        DeviceError: if the engine that was asked for cannot run it.
    """
    edge, examples = edge_of(plan, graph), stage_rows(job, epochs)
    views = [f"  each epoch trains on one of {examples.views} views of each example"] if examples.views else []
    if not edge.below:
        own = sorted(augmenting(graph)) if plan.frozen_layers else []
        if own:
            why = f"the network's own {', '.join(own)} changes every example at random"
            views.append(f"  the frozen layers are run in every step: {why}")
        return views
    wanted = store.decide(graph, edge, lambda: examples.rows, augmented=examples.random)
    count = sum(map(len, job.sides.values()))
    lines = [f"  {caching_line(wanted.caching, edge, count, examples.views, wanted.known)}"]
    return [*lines, f"  {wanted.decided}"] if wanted.caching.once else [*views, *lines]


def idle_trunk_options(
    given: Options, keep: str, augmented: bool, plans: Sequence[Plan], graph: keras.Model
) -> list[str]:
    """Notes on options for what is computed once, where nothing is.

    Args:
        given: The options.
        keep: One of :data:`zoo.trunk_options.CACHES`.
        augmented: Whether the examples look different in every epoch.
        plans: The plan of each stage.
        graph: The flat network.
    """
    said = [name for name in _FOR_FEATURES if getattr(given, name) is not None]
    if keep != "none" and not augmented and any(edge_of(plan, graph).below for plan in plans):
        for_disk = keep == "run" and "cache_size" in said
        return ["cache_size changes nothing: what is kept for the run only has no such limit"] if for_disk else []
    return [f"{name} changes nothing: in no stage frozen layers are run once for all epochs" for name in said]
