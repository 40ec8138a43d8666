"""What features depend on, as one digest: the name under which they are kept."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

#: Raised when the meaning of a key changes, so that what was kept before is not found any more.
SCHEMA = 1


def feature_key(trunk: str, inputs: str, engine: Mapping[str, Any], dtype: str) -> str:
    """The SHA-256 of everything but the example that the bits of a feature depend on.

    Args:
        trunk: The trunk's digest: its graph and the bytes of its weights.
        inputs: How an example becomes what the trunk takes: form, resampling, decoder and its version.
        engine: The engine's settings: name, precision, batch, threads, device, versions, processor, flags.
        dtype: What is stored.

    Example:
        >>> feature_key("ab", "image 8x8", {"engine": "keras", "batch": 64}, "float32")[:8]
        '7af0ae9e'
    """
    text = json.dumps([SCHEMA, trunk, inputs, dict(engine), dtype], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
