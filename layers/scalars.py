"""What counts as a number where an argument has to be one: Python's and NumPy's, and never ``True``."""

import math
from numbers import Integral, Real
from typing import Any, TypeGuard


def number(value: Any, least: float = -math.inf) -> TypeGuard[float]:
    """Whether a value is a finite number, and not below another.

    Example:
        >>> import numpy as np
        >>> number(np.float32(0.5)), number(-1, least=0), number(math.nan), number(True), number("1")
        (True, False, False, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value) and float(value) >= least


def whole(value: Any, least: int) -> TypeGuard[int]:
    """Whether a value is a whole number, and not below another.

    Example:
        >>> import numpy as np
        >>> whole(np.int64(2), 1), whole(0, 1), whole(2.0, 1), whole(True, 1)
        (True, False, False, False)
    """
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least
