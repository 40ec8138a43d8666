"""What a recipe cannot mean, whatever the network: tables that contradict one another, found before anything is loaded.

What only the data or the network can say (a class, a block, a shape) is found when they are there.
"""

from pathlib import Path
from typing import Any

from .errors import close_matches
from .recipe_parts import DataPart, ModelPart, TopPart
from .recipe_stage import FREEZE_NONE, StagePart
from .strict_toml import Table

_FITTING = {
    "classes": ("categorical_crossentropy",),
    "labels": ("binary_crossentropy",),
    "numbers": ("mean_squared_error", "mean_absolute_error", "huber"),
}
#: What is measured beside the loss, by what is predicted.
_MEASURED = {"classes": ("accuracy",), "labels": ("accuracy",), "numbers": ("mae",)}
_COLUMNS = ("path_column", "text_column", "feature_columns")
_BUILTIN = Path(__file__).parent / "data" / "builtin"


def check_model(table: Table, model: ModelPart) -> None:
    """Refuses a builder's arguments for a network that is built already.

    Args:
        table: The table ``[model]``, for file and key.
        model: What was read from it.
    """
    if model.args and not model.from_scratch:
        fix = "A pretrained network's arguments are its card's."
        table.fail("args", "from_scratch = true beside it", model.args, fix)


def check_data(table: Table, data: DataPart) -> None:
    """Refuses shares that leave nothing to train on, columns that contradict one another, and views of nothing.

    Args:
        table: The table ``[data]``, for file and key.
        data: What was read from it.
    """
    below = data.test == "rest" or data.val + float(data.test) < 1
    table.check("val", below, "0 or more, and below 1 together with test", data.val)
    if data.test == "rest" and data.limit_per_class is None:
        table.fail("test", "a share, where no limit_per_class says what is labelled", data.test)
    _check_columns(table, data)
    reason = _no_views(data.augment) if data.views else None
    if reason:
        what = f"There are no views of these examples: {reason}."
        table.refuse("views", what, received=f"views = {data.views}", fix="Leave views out.")


def _check_columns(table: Table, data: DataPart) -> None:
    given = [key for key in _COLUMNS if getattr(data, key)]
    if len(given) > 1:
        what = "A table is of one kind."
        table.refuse(given[1], what, expected=f"one of {', '.join(_COLUMNS)}", received=" and ".join(given))
    for key in given:
        said = getattr(data, key)
        both = [one for one in ((said,) if isinstance(said, str) else said) if one in data.label_column]
        if both:
            what = f"The column {both[0]!r} is given as input and as target."
            table.refuse(key, what, fix="Give it as one of them.")
    named = [*(["label_column"] if data.label_column else []), *given]
    name = data.path.partition(":")[0]
    builtin = name.isidentifier() and (_BUILTIN / f"{name}.py").exists()
    if named and (builtin or data.path.lower().endswith(".npz")):
        of = "built-in data" if builtin else "an .npz"
        what = f"'{data.path}' is {of}, which has no columns."
        table.refuse(named[0], what, fix="Leave it out: it belongs to a .csv.")


def _no_views(augment: Any) -> str | None:
    """Why there can be no views under an augmentation; what only the layers know is left to them."""
    names = [one["name"] for one in augment] if isinstance(augment, tuple) else [augment]
    if any(name.lower() in ("mixup", "cutmix") for name in names):
        return "MixUp and CutMix mix an example with others of its batch, so it has no views of its own"
    if names == ["none"]:
        return "nothing augments the examples, so all views of one would be the same"
    return None


def check_together(table: Table, model: ModelPart, data: DataPart, top: TopPart, stages: tuple[StagePart, ...]) -> None:
    """Refuses tables that contradict one another.

    Args:
        table: The whole recipe, for file and key.
        model: What was read from ``[model]``.
        data: From ``[data]``.
        top: From ``[top]``.
        stages: From ``[[stage]]``.
    """
    names = [stage.name for stage in stages]
    if len(set(names)) != len(names):
        table.fail("stage", "stages of different names", names)
    _check_target(table, data, top)
    kind = _kind_of(data, top)
    for i, stage in enumerate(stages):
        where = f"stage[{i}]", f"the stage '{stage.name}'"
        if model.from_scratch:
            _check_scratch(table, where, stage)
        _check_monitors(table, where, stage, kind)


def _kind_of(data: DataPart, top: TopPart) -> str | None:
    """What is to be predicted, where the recipe says it."""
    if data.target != "auto":
        return data.target
    return next((kind for kind, losses in _FITTING.items() if top.loss in losses), None)


def _check_target(table: Table, data: DataPart, top: TopPart) -> None:
    kind = _kind_of(data, top)
    if kind is None:
        return
    if top.loss not in ("auto", *_FITTING[kind]):
        what = f"The loss '{top.loss}' does not fit {kind}."
        table.refuse("top.loss", what, expected=" | ".join(_FITTING[kind]))
    said = f"data.target = '{kind}'" if data.target != "auto" else f"top.loss = '{top.loss}'"
    if kind == "numbers" and top.label_smoothing:
        what = "Label smoothing needs classes or labels."
        received = f"label_smoothing = {top.label_smoothing} beside {said}"
        table.refuse("top.label_smoothing", what, received=received, fix="Leave it out.")
    if kind != "classes" and data.class_weights != "none":
        what = "Class weights need classes."
        table.refuse("data.class_weights", what, received=f"{said} beside it", fix="Leave one of them out.")
    if kind != "classes" and data.limit_per_class is not None:
        what = "limit_per_class needs classes."
        table.refuse("data.limit_per_class", what, received=f"{said} beside it", fix="Leave the limit out.")


def _check_scratch(table: Table, where: tuple[str, str], stage: StagePart) -> None:
    key, called = where
    if stage.freeze not in (None, FREEZE_NONE):
        what = "A network from random weights has nothing worth freezing."
        received = f"from_scratch with freeze = {stage.freeze!r}"
        table.refuse(f"{key}.freeze", what, received=received, fix="Leave one of them out.", called=called)
    if stage.thaw == "by_block":
        what = "A network from random weights has nothing worth freezing, and so nothing to thaw."
        received = "from_scratch with thaw = 'by_block'"
        table.refuse(f"{key}.thaw", what, received=received, fix="Leave one of them out.", called=called)
    if stage.l2_sp:
        what = "A network from random weights has no pretrained values to stay near."
        received = f"from_scratch with l2_sp in {called}"
        table.refuse(f"{key}.l2_sp", what, received=received, fix="Leave one out.", called=called)


def _check_monitors(table: Table, where: tuple[str, str], stage: StagePart, kind: str | None) -> None:
    key, called = where
    metrics = _MEASURED[kind] if kind else ("accuracy", "mae")
    known = [f"{side}{name}" for side in ("", "val_") for name in ("loss", *metrics)]
    for name, who in (("early_stopping", "Early stopping"), ("reduce_on_plateau", "Performance scheduling")):
        watched = (getattr(stage, name) or {}).get("monitor")
        if watched is not None and watched not in known:
            what = f"{who} cannot watch '{watched}': nobody measures it."
            expected, fix = " | ".join(known), close_matches(watched, known)
            table.refuse(f"{key}.{name}.monitor", what, expected=expected, fix=fix, called=called)
