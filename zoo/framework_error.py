"""What Keras and TensorFlow say of an error, in one line."""

import re

_NOISE = re.compile(r"\x1b\[[0-9;]*m|\{\{[^}]*\}\}|\[Op:[^\]]*\](?: name:)?")


def said_by(reason: Exception) -> str:
    """The first line of an error that says what is wrong, without what only the framework's makers need.

    Example:
        >>> said_by(ValueError("Exception encountered when calling Embedding.call().\\n\\n15 is not in [0, 5)"))
        '15 is not in [0, 5).'
    """
    lines = [_NOISE.sub("", line).strip() for line in str(reason).splitlines()]
    lines = [line for line in lines if line]
    told = [line for line in lines if not line.startswith("Exception encountered when calling")]
    text = (told or lines or [type(reason).__name__])[0].rstrip(".")
    return f"{text[:200]}..." if len(text) > 200 else f"{text}."
