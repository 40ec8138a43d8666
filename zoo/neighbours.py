"""Trunks that let the examples of a batch see one another."""

from .errors import CacheError


class NeighboursMatter(CacheError):
    """What a trunk gives for an example depends on the others in its batch: its features cannot be kept."""

    def __init__(self) -> None:
        what = "What this trunk gives for an example changes with the other examples of its batch."
        expected = "the same features, to the last bit, in every batch"
        super().__init__(what, expected=expected, fix="Its features cannot be kept: --no-cache.")
