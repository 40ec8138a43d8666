"""Sizes in bytes: as people write and read them, and of numbers."""

import re
from fractions import Fraction
from typing import Any

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
#: The types whose names do not say their bits; a text counts as its reference and a few letters.
_NAMELESS = {"bool": 1, "string": 16}


def size_of(text: Any) -> int | None:
    """The bytes that a size says; ``None`` where it says none, or is no text.

    Args:
        text: A number with a unit: ``500 MB``, ``20GB``, ``1.5 TB``; units count in thousands.

    Example:
        >>> size_of("1.5 GB"), size_of("20gb"), size_of("plenty")
        (1500000000, 20000000000, None)
    """
    if not isinstance(text, str):
        return None
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)B?\s*", text.upper())
    if found is None:
        return None
    return round(Fraction(found[1]) * _UNITS[found[2]])


def size_said(count: int, unit: int = 1000) -> str:
    """A size for people.

    Args:
        count: The bytes.
        unit: How many bytes are a kB. Of a single example's tensors it is 1024: most are a power of two.

    Example:
        >>> size_said(1_500_000_000), size_said(20_000_000), size_said(8400)
        ('1.5 GB', '20.0 MB', '8 kB')
        >>> size_said(8 * 8 * 32 * 4, 1024), size_said(40, 1024)
        ('8.0 kB', '40 B')
    """
    for power, name in ((3, "GB"), (2, "MB")):
        if count >= unit**power:
            return f"{count / unit**power:.1f} {name}"
    if unit == 1000:
        return f"{count / unit:.0f} kB"
    return f"{count} B" if 0 < count < 0.05 * unit else f"{count / unit:.1f} kB"


def dtype_bytes(name: str) -> int:
    """The bytes of one number of a type, by Keras's or NumPy's name of it; of less than a byte, 1.

    Raises:
        ValueError: if it is no such name.

    Example:
        >>> [dtype_bytes(name) for name in ("bfloat16", "float8_e4m3fn", "int4", "bool", "complex128")]
        [2, 1, 1, 1, 16]
    """
    if name in _NAMELESS:
        return _NAMELESS[name]
    bits = re.match(r"(?:b?float|u?int|complex)([0-9]+)", name)
    if bits is None:
        what = f"'{name}' is no type of numbers."
        raise ValueError(what)
    return max(int(bits[1]) // 8, 1)
