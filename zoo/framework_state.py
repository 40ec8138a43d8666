"""How the framework computes in this process, whatever it was told to: what flags and processor together led to.

One of the few places that import TensorFlow: Keras has no word for these settings.
"""

from typing import Any

import keras


def framework_state() -> dict[str, Any]:
    """The settings in force that the bits of a result depend on.

    Whether oneDNN computes is decided by TensorFlow itself where ``TF_ENABLE_ONEDNN_OPTS`` does not say: by default
    only on processors with instructions for neural networks (such as AVX512-VNNI). So two machines with the same flags
    may differ here.

    Returns:
        Keras's default type, epsilon, format of images and policy; on TensorFlow also ``onednn``, ``xla`` (whether
        graphs are compiled by it without being asked) and ``deterministic`` (whether every operation must be: what has
        no such implementation is an error then; a processor gives the same bits without).

    Example:
        >>> framework_state()["floatx"]
        'float32'
    """
    found = {
        "floatx": keras.config.floatx(),
        "epsilon": keras.config.epsilon(),
        "image_data_format": keras.config.image_data_format(),
        "dtype_policy": keras.config.dtype_policy().name,
    }
    if keras.backend.backend() != "tensorflow":
        return found
    import tensorflow as tf
    from tensorflow.python.framework.config import is_op_determinism_enabled
    from tensorflow.python.util import _pywrap_util_port

    return {
        **found,
        "onednn": bool(_pywrap_util_port.IsMklEnabled()),
        "xla": bool(tf.config.optimizer.get_jit()),
        "deterministic": bool(is_op_determinism_enabled()),
    }
