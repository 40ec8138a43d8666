"""Converting an array to another type, where its numbers stay what they are."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def converted(values: "np.ndarray", dtype: str) -> "np.ndarray":
    """The same numbers in another type: floats of any width are rounded to it, all else must be kept exactly.

    Args:
        values: Floats, integers or booleans.
        dtype: A type's name, such as ``float32`` or ``bfloat16``.

    Raises:
        ValueError: if a number does not survive, or the array holds none; says why.

    Example:
        >>> import numpy as np
        >>> converted(np.array([1, 2], "int64"), "float32")
        array([1., 2.], dtype=float32)
    """
    import ml_dtypes  # noqa: F401 - gives NumPy the names bfloat16 and float8
    import numpy as np

    to = np.dtype(dtype)
    if not (is_number(values.dtype.name) and is_number(to.name)):
        what = f"{values.dtype.name} is no kind of number that a network holds"
        raise ValueError(what)
    with np.errstate(over="ignore", invalid="ignore"):
        result = values.astype(to)
        kept = _kept(values, result)
    if not kept:
        what = f"its {values.dtype.name} numbers do not survive as {to.name}"
        raise ValueError(what)
    return result


def is_number(dtype: str) -> bool:
    """Whether a type, by its name, is one of floats, integers or booleans.

    Example:
        >>> is_number("bfloat16"), is_number("complex64"), is_number("object")
        (True, False, False)
    """
    return dtype == "bool" or dtype.startswith(("float", "bfloat", "int", "uint"))


def _kept(values: "np.ndarray", result: "np.ndarray") -> bool:
    import numpy as np

    if _is_float(values.dtype) and _is_float(result.dtype):
        return bool(np.array_equal(np.isfinite(values), np.isfinite(result)))
    if not values.size:
        return True
    return (
        _within(values, result.dtype)
        and _within(result, values.dtype)
        and bool((result.astype(values.dtype) == values).all())
    )


def _is_float(dtype: "np.dtype[Any]") -> bool:
    return "float" in dtype.name


def _within(values: "np.ndarray", dtype: "np.dtype[Any]") -> bool:
    """Whether all numbers lie in an integer type's range: outside it a conversion wraps or stops at the last number,
    as the machine has it, and on the way back it may look right."""
    import numpy as np

    if dtype.kind not in "iu":
        return True
    if _is_float(values.dtype) and not np.isfinite(values).all():
        return False
    exact = float if _is_float(values.dtype) else int  # Python compares these exactly
    bounds = np.iinfo(dtype)
    return bounds.min <= exact(values.min()) and exact(values.max()) <= bounds.max
