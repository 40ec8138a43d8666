"""Every random choice follows from one seed: independent streams, each known by what it is for."""

import hashlib

import numpy as np


def derive(seed: int, *purpose: str | int) -> int:
    """A seed for one purpose: 31 bits that are a pure function of seed and purpose.

    Args:
        seed: The user's seed.
        purpose: What it is for, such as ``("batches", stage, epoch)``.

    Returns:
        An integer from 0 to 2**31 - 1 (every Keras backend takes it).

    Example:
        >>> derive(7, "top") == derive(7, "top"), derive(7, "top") == derive(8, "top")
        (True, False)
    """
    return int.from_bytes(_hash(seed, purpose)[:4], "little") & 0x7FFFFFFF


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """NumPy's Philox generator for one purpose; its stream does not depend on any other's."""
    return np.random.Generator(np.random.Philox(key=int.from_bytes(_hash(seed, purpose), "little")))


def _hash(seed: int, purpose: tuple[str | int, ...]) -> bytes:
    text = "/".join(str(part) for part in (seed, *purpose))
    return hashlib.blake2b(text.encode(), digest_size=16, person=b"zoo seeds").digest()
