"""What some tests need of the processor that they run on."""

import functools

import keras
import numpy as np
import pytest

from zoo.engines.bfloat16 import no_bfloat16
from zoo.engines.interface import Setup

#: For tests that compute in bfloat16: without the processor's own, engines refuse it.
needs_bfloat16 = pytest.mark.skipif(
    no_bfloat16(Setup("bfloat16")) is not None, reason="this processor does not multiply numbers of bfloat16"
)


@functools.cache
def takes_channels_first() -> bool:
    """Whether TensorFlow convolves with the channels first here: on a processor it does so by oneDNN alone, which it
    uses where there is AVX-512."""
    try:
        keras.ops.conv(np.ones((1, 1, 3, 3), "float32"), np.ones((2, 2, 1, 1), "float32"), data_format="channels_first")
    except Exception as reason:  # an error of TensorFlow's own, that must not be imported for it
        if "NHWC" in str(reason):
            return False
        raise
    return True
