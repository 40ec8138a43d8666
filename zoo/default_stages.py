"""The stages that a recipe without any gets."""

from .recipe_stage import FREEZE_ALL, FREEZE_NONE, StagePart


def transfer_stages(freeze: str | None) -> tuple[StagePart, ...]:
    """The default stages of transfer: a fresh top on frozen layers first, then the upper layers with it, more slowly.

    Args:
        freeze: The highest block that stays frozen throughout, ``all`` for every block below the top, ``none`` for no
            block; by default the lower half.

    Example:
        >>> [stage.name for stage in transfer_stages(None)], [stage.name for stage in transfer_stages("all")]
        (['head', 'fine-tune'], ['head'])
    """
    head = StagePart("head", 60, {"name": "adam", "learning_rate": 1e-2}, train=("top",))
    if freeze == FREEZE_ALL:
        return (head,)
    tune = StagePart(
        "fine-tune",
        30,
        {"name": "adam", "learning_rate": 3e-4},
        freeze=freeze or "half",
        layer_decay=0.5,
        batch_norm="fixed_statistics",
    )
    return (head, tune)


def scratch_stages() -> tuple[StagePart, ...]:
    """The default stage from random weights: everything learns, batch normalization is live."""
    return (StagePart("scratch", 60, {"name": "adam", "learning_rate": 1e-3}, freeze=FREEZE_NONE, batch_norm="train"),)
