"""What every reader of weights gives: named arrays whose shapes are known before any of them is read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import WeightsError

if TYPE_CHECKING:
    import numpy as np

#: Deflate packs at most about 1,032 to 1: what claims more holds a lie.
MAX_RATIO = 1100


@dataclass(frozen=True, eq=False)
class Tensor:
    """An array in a file.

    Attributes:
        name: What the file calls it.
        shape: Its shape, from the header.
        dtype: Its type, by NumPy's name; ``bfloat16`` too.
        read: Reads it, while the file is open.
        tried: The names to look for in a model, one after the other, where ``name`` is not all that the file says.
        count: How many numbered variables its layer has in the file, where the last part of its name is such a number;
            ``None`` where it is a name.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    read: "Callable[[], np.ndarray]"
    tried: tuple[str, ...] = ()
    count: int | None = None


@contextmanager
def reading(file: Path, form: str) -> Iterator[None]:
    """Tells whatever goes wrong inside as the file's fault: it is not ours, and anything may be in it.

    Args:
        file: The file, for the message.
        form: What it should be, such as ``an .npz file``.
    """
    try:
        yield
    except WeightsError:
        raise
    except MemoryError:
        what = f"{file} does not fit in memory."
        raise WeightsError(what) from None
    except Exception as reason:  # readers of untrusted bytes raise whatever their parser raises
        what = f"{file} cannot be read as {form}."
        said = str(reason).strip().splitlines() or [type(reason).__name__]
        raise WeightsError(what, received=said[0].rstrip(".")) from reason


def by_name(file: Path, tensors: list[Tensor]) -> dict[str, Tensor]:
    """The tensors of a file by their names.

    Raises:
        WeightsError: if two have the same.
    """
    table = {tensor.name: tensor for tensor in tensors}
    if len(table) != len(tensors):
        names = [tensor.name for tensor in tensors]
        twice = next(name for name in names if names.count(name) > 1)
        what = f"{file} has two tensors called '{twice}'."
        raise WeightsError(what, fix="Save the weights again.")
    return table
