"""The flags of ``zoo finetune``, which are edits of a recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from .default_stages import scratch_stages, transfer_stages
from .errors import RecipeError
from .momentum_cycle import with_momentum
from .recipe import Recipe, parse_recipe, recipe_text
from .recipe_stage import FREEZE_ALL, FREEZE_NONE, StagePart, averages, with_open_patience
from .schedule_option import completed, scheduled


@dataclass(frozen=True)
class Options:
    """The flags of ``zoo finetune``, and the keyword arguments of :func:`zoo.finetune`; ``None`` was not given."""

    seed: int | None = None
    cut: str | None = None
    from_scratch: bool | None = None
    val: float | None = None
    test: float | str | None = None
    limit_per_class: int | None = None
    augment: str | tuple[dict[str, Any], ...] | None = None
    views: int | None = None
    batch_size: int | None = None
    class_weights: str | dict[str, float] | None = None
    target: str | None = None
    label_column: tuple[str, ...] | None = None
    path_column: str | None = None
    text_column: str | None = None
    feature_columns: tuple[str, ...] | None = None
    skip_bad: bool | None = None
    hidden: tuple[int, ...] | None = None
    activation: str | dict[str, Any] | None = None
    dropout: float | None = None
    loss: str | None = None
    label_smoothing: float | None = None
    engine: str | None = None
    trunk_precision: str | None = None
    cache: str | None = None
    cache_size: str | None = None
    feature_dtype: str | None = None
    precision: str | None = None
    threads: int | None = None
    device: str | None = None
    checkpoint_every: float | None = None
    freeze: str | None = None
    head_epochs: int | None = None
    head_learning_rate: float | None = None
    epochs: int | None = None
    optimizer: str | dict[str, Any] | None = None
    learning_rate: float | None = None
    schedule: str | dict[str, Any] | None = None
    momentum: float | None = None
    nesterov: bool | None = None
    weight_decay: float | None = None
    clipnorm: float | None = None
    clipvalue: float | None = None
    global_clipnorm: float | None = None
    layer_decay: float | None = None
    multipliers: dict[str, float] | None = None
    thaw: str | None = None
    batch_norm: str | dict[str, str] | None = None
    patience: int | None = None
    l2_sp: float | dict[str, float] | None = None
    weight_averaging: float | dict[str, Any] | None = None


_PART_OF = {
    **dict.fromkeys(("cut", "from_scratch"), "model"),
    **dict.fromkeys(
        (
            "val", "test", "limit_per_class", "augment", "views", "batch_size", "class_weights", "target",
            "label_column", "path_column", "text_column", "feature_columns", "skip_bad",
        ),
        "data",
    ),
    **dict.fromkeys(("hidden", "activation", "dropout", "loss", "label_smoothing"), "top"),
    **dict.fromkeys(
        (
            "engine", "trunk_precision", "cache", "cache_size", "feature_dtype", "precision", "threads", "device",
            "checkpoint_every",
        ),
        "compute",
    ),
}  # fmt: skip


def with_options(recipe: Recipe, options: Options) -> Recipe:
    """A recipe with flags over it: flags win. Where the recipe has no stages, the default ones are put in.

    Raises:
        RecipeError: if the flags contradict each other, or a value is out of range.
    """
    given = {f.name: _plain(getattr(options, f.name)) for f in fields(options) if getattr(options, f.name) is not None}
    recipe_starts_so = recipe.model.from_scratch
    if "seed" in given:
        recipe = replace(recipe, seed=given["seed"])
    for name in ("model", "data", "top", "compute"):
        changes = {key: value for key, value in given.items() if _PART_OF.get(key) == name}
        recipe = replace(recipe, **{name: replace(getattr(recipe, name), **changes)})
    scratch = recipe.model.from_scratch
    # Stages that freeze pretrained layers say nothing about a network from random weights.
    stages = () if scratch and not recipe_starts_so else recipe.stages
    stages = stages or (scratch_stages() if scratch else transfer_stages(given.get("freeze")))
    recipe = replace(recipe, stages=_edit_stages(stages, given, scratch))
    return parse_recipe(_text(recipe), "the options")


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's, which TOML knows."""
    if isinstance(value, (tuple, list)):
        return tuple(_plain(v) for v in value)
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def _text(recipe: Recipe) -> str:
    try:
        return recipe_text(recipe)
    except (TypeError, AttributeError) as reason:
        what = f"An option has a value that a recipe cannot hold: {reason}."
        raise RecipeError(what, expected="numbers, strings, true or false, and lists and tables of them") from None


_OPTIMIZER_KEYS = ("nesterov", "weight_decay")
_CLIP_KEYS = ("clipnorm", "clipvalue", "global_clipnorm")


def _edit_stages(stages: tuple[StagePart, ...], given: Mapping[str, Any], scratch: bool) -> tuple[StagePart, ...]:
    """Stage flags: ``head_...`` go to the stage ``head``, the optimizer's to the last, clipping and patience to all."""
    _refuse_frozen_noise([given.get("freeze"), *(stage.freeze for stage in stages)], scratch)
    if scratch and "by_block" in (given.get("thaw"), *(stage.thaw for stage in stages)):
        what = "A network from random weights has nothing worth freezing, and so nothing to thaw."
        raise RecipeError(what, received="from_scratch with thaw = 'by_block'", fix="Leave one of them out.")
    for key in ("head_epochs", "head_learning_rate"):
        if key in given and (scratch or stages[0].name != "head"):
            what = f"'{key}' is for the stage 'head', which this recipe does not have."
            raise RecipeError(what, fix="Use 'epochs' and 'learning_rate'.")
    for key in ("epochs", "learning_rate"):
        twice = [given[name] for name in (f"head_{key}", key) if name in given]
        if len(stages) == 1 and len(twice) == 2 and twice[0] != twice[1]:
            what = f"'head_{key}' and '{key}' are both for the stage 'head', the only one."
            raise RecipeError(what, received=f"{twice[0]} and {twice[1]}", fix="Leave one of them out.")
    edited = [with_open_patience(completed(stage)) for stage in stages]
    if "head_epochs" in given:
        edited[0] = replace(edited[0], epochs=given["head_epochs"])
    if "head_learning_rate" in given:
        edited[0] = _rated(edited[0], given["head_learning_rate"], None)
    edited[-1] = _edit_last(edited[-1], given)
    if "patience" in given and all(averages(stage) for stage in edited):
        what = "No stage could stop early: each ends with an average of its weights, not with one epoch's."
        fix = "Leave out --patience, or what averages (weight_averaging, use_ema)."
        raise RecipeError(what, received=f"patience = {given['patience']}", fix=fix)
    return tuple(completed(_stopped(_clipped(stage, given), given)) for stage in edited)


def _refuse_frozen_noise(freezes: Sequence[str | None], scratch: bool) -> None:
    frozen = [freeze for freeze in freezes if freeze not in (None, FREEZE_NONE)]
    if scratch and frozen:
        what = "A network from random weights has nothing worth freezing."
        raise RecipeError(what, received=f"from_scratch with freeze = {frozen[0]!r}", fix="Leave one of them out.")


def _clipped(stage: StagePart, given: Mapping[str, Any]) -> StagePart:
    """A stage with clipping as the flags say; Keras takes one kind at a time, so flags replace the recipe's."""
    clips = {key: given[key] for key in _CLIP_KEYS if key in given}
    if not clips:
        return stage
    rest = {key: value for key, value in stage.optimizer.items() if key not in _CLIP_KEYS}
    return replace(stage, optimizer={**rest, **clips})


def _stopped(stage: StagePart, given: Mapping[str, Any]) -> StagePart:
    """A stage that stops early, unless it ends with an average: then one epoch's weights would replace that."""
    if "patience" not in given or averages(stage):
        return stage
    before = stage.early_stopping or {"monitor": "val_loss", "min_delta": 0.0}
    return replace(stage, early_stopping={**before, "patience": given["patience"]})


def _edit_last(stage: StagePart, given: Mapping[str, Any]) -> StagePart:
    optimizer = given.get("optimizer")
    if optimizer is not None and not isinstance(optimizer, (str, dict)):
        what = "An optimizer is given by its name and arguments, so that the recipe can say it."
        fix = 'For example: optimizer={"name": "lion", "learning_rate": 1e-4}.'
        raise RecipeError(what, received=type(optimizer).__name__, fix=fix)
    if isinstance(optimizer, str):
        # A rate that suits one optimizer suits no other: another's is its own default in Keras.
        same = optimizer.lower() == str(stage.optimizer["name"]).lower() and "learning_rate" in stage.optimizer
        optimizer = {"name": optimizer, **({"learning_rate": stage.optimizer["learning_rate"]} if same else {})}
    optimizer = {**(optimizer or stage.optimizer), **{key: given[key] for key in _OPTIMIZER_KEYS if key in given}}
    optimizer = with_momentum(optimizer, given["momentum"]) if "momentum" in given else optimizer
    changes: dict[str, Any] = {key: given[key] for key in ("epochs", "batch_norm") if key in given}
    if "thaw" in given and not _trains_the_top_alone(stage, given):  # there it changes nothing, and the plan says so
        changes["thaw"] = given["thaw"]
    if "layer_decay" in given:
        changes |= {"layer_decay": given["layer_decay"], "multipliers": None}
    if isinstance(given.get("batch_norm"), dict):  # what it does not name stays as the stage says
        before = stage.batch_norm if isinstance(stage.batch_norm, dict) else {"default": stage.batch_norm}
        changes["batch_norm"] = {**before, **given["batch_norm"]}
    if "multipliers" in given:
        changes |= {"layer_decay": given.get("layer_decay"), "multipliers": given["multipliers"]}
    if "freeze" in given and stage.train != ("top",):
        changes |= {"freeze": given["freeze"], "train": None}
        changes |= {"thaw": "at_once"} if given["freeze"] == FREEZE_ALL else {}
    elif given.get("freeze") not in (None, FREEZE_ALL):
        what = f"The recipe's last stage '{stage.name}' trains the top alone: everything below is frozen."
        fix = "Use another recipe, or leave the recipe out."
        raise RecipeError(what, received=f"freeze = {given['freeze']!r}", fix=fix)
    edited = _regularized(replace(stage, optimizer=optimizer, **changes), given)
    return _rated(edited, given.get("learning_rate"), given.get("schedule"))


def _trains_the_top_alone(stage: StagePart, given: Mapping[str, Any]) -> bool:
    freeze = given.get("freeze", stage.freeze)
    return stage.train == ("top",) or freeze == FREEZE_ALL


def _rated(stage: StagePart, rate: Any, schedule: Any) -> StagePart:
    """A stage with another rate, or another schedule for it; a number for the rate replaces a schedule."""
    if isinstance(rate, dict) and schedule is None:
        rate, schedule = None, rate
    if schedule is None and isinstance(stage.optimizer.get("learning_rate"), dict) and rate is not None:
        schedule = "constant"
    if schedule is not None:
        return scheduled(stage, schedule, rate)
    return stage if rate is None else replace(stage, optimizer={**stage.optimizer, "learning_rate": rate})


def _regularized(stage: StagePart, given: Mapping[str, Any]) -> StagePart:
    """A stage with L2-SP and an average of its weights as the flags say."""
    for key, short in (("l2_sp", "alpha"), ("weight_averaging", "start")):
        if key in given:
            value = given[key]
            stage = replace(stage, **{key: value if isinstance(value, dict) else {short: value}})
    return stage
