"""Sizes in bytes, as people write and read them."""

import re

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def size_of(text: str) -> int | None:
    """The bytes that a size says; ``None`` where it says none.

    Args:
        text: A number with a unit: ``500 MB``, ``20GB``, ``1.5 TB``; units count in thousands.

    Example:
        >>> size_of("1.5 GB"), size_of("20gb"), size_of("plenty")
        (1500000000, 20000000000, None)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)B?\s*", text.upper())
    if found is None:
        return None
    return round(float(found[1]) * _UNITS[found[2]])


def size_said(count: int) -> str:
    """A size for people.

    Example:
        >>> size_said(1_500_000_000), size_said(20_000_000), size_said(8400)
        ('1.5 GB', '20.0 MB', '8 kB')
    """
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count / 1e3:.0f} kB"
