"""Names of layers that must differ within a network."""

from collections.abc import Collection


def free_name(name: str, taken: Collection[str], joint: str = "_") -> str:
    """A name, numbered where it is taken already.

    Example:
        >>> free_name("top", ["low"]), free_name("top", ["top", "top_2"])
        ('top', 'top_3')
    """
    if name not in taken:
        return name
    return next(f"{name}{joint}{i}" for i in range(2, len(taken) + 3) if f"{name}{joint}{i}" not in taken)
