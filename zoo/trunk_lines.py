"""What a run says about a stage's frozen trunk before anything is computed."""

from collections.abc import Sequence

import keras

from .batch_shape import batch_of
from .boundary import augmenting, cut_trunk
from .byte_size import size_of
from .caching import bytes_of, caching_line, decide_caching
from .data import Split
from .device import Device
from .enforcement import edge_of
from .engine_choice import decide
from .engines.interface import Setup
from .feature_cache import FeatureCache
from .input_form import InputForm
from .options import Options
from .plan import Plan
from .recipe import Recipe
from .registry import zoo_home
from .trunk_digest import read_trunk

_FOR_FEATURES = ("engine", "trunk_precision", "cache_size", "feature_dtype", "views")


def trunk_lines(
    recipe: Recipe, plan: Plan, graph: keras.Model, form: InputForm, sides: Split, device: Device
) -> list[str]:
    """Whether the trunk of a stage is run once, and by which engine.

    Args:
        recipe: The run's recipe.
        plan: The stage's plan.
        graph: The flat network.
        form: What it takes.
        sides: The split.
        device: Where it is run.

    Raises:
        DeviceError: if the engine that was asked for cannot run it.
    """
    edge, data, compute = edge_of(plan, graph), recipe.data, recipe.compute
    own = sorted(augmenting(graph))
    if not edge.below:
        if not own or not plan.frozen_layers:
            return []
        return [f"  the frozen layers are run in every step: {', '.join(own)} changes every example at random"]
    trunk = cut_trunk(graph, edge)
    digest, unknown = read_trunk(trunk)
    count = sum(len(getattr(sides, name)) for name in ("train", "val", "test"))
    rows = count + len(sides.train) * max(data.views - 1, 0)
    each = bytes_of(trunk, form.shape, compute.feature_dtype)
    limit = (size_of(compute.cache_size) if compute.cache_size else None) or FeatureCache(zoo_home() / "features").limit
    caching = decide_caching(
        edge,
        compute.cache,
        augmented=data.augment != "none",
        views=data.views,
        unknown=unknown,
        needed=None if each is None else each * rows,
        limit=limit,
    )
    lines = [f"  {caching_line(caching, edge, count)}"]
    if caching.once:
        setup = Setup(compute.trunk_precision, batch_of(trunk), device.threads, device.name)
        lines.append(f"  {decide(trunk, compute.engine, rows, setup, None if unknown else digest)}")
    return lines


def idle_trunk_options(given: Options, recipe: Recipe, plans: Sequence[Plan], graph: keras.Model) -> list[str]:
    """Notes on options for what is computed once, where nothing is."""
    said = [name for name in _FOR_FEATURES if getattr(given, name) is not None]
    augmented = recipe.data.augment != "none"
    decided = [
        decide_caching(edge_of(plan, graph), recipe.compute.cache, augmented=augmented, views=recipe.data.views)
        for plan in plans
    ]
    if not said or any(one.once for one in decided):
        return []
    return [f"{name} changes nothing: in no stage frozen layers are run once for all epochs" for name in said]
