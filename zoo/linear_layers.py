"""Dense and convolutional layers as what they are but for their activation: linear, with a scale and a shift for each
channel that can be moved into their kernel and bias."""

from typing import Any

import keras
import numpy as np

layers = keras.layers


class Linear:
    """A linear layer's kernel and bias, in float64, to be changed.

    Here for ``Dense`` and convolutions, whose kernel is ``(..., inputs / groups, outputs)``.

    Args:
        layer: A built layer of one of the kinds in :data:`KINDS`.
    """

    kernels: tuple[str, ...] = ("kernel",)

    def __init__(self, layer: Any):
        self.layer = layer
        self.values = {name: _wide(getattr(layer, name)) for name in self.kernels}
        self.bias = np.zeros(self.outputs) if layer.bias is None else _wide(layer.bias)

    @property
    def outputs(self) -> int:
        """The number of channels that it gives."""
        return self.values[self.kernels[-1]].shape[-1]

    def scale_outputs(self, scale: np.ndarray, shift: np.ndarray) -> None:
        """From now on it gives ``scale * y + shift``, where it gave y before its activation."""
        last = self.kernels[-1]
        self.values[last] = self.values[last] * self.along_outputs(scale)
        self.bias = self.bias * scale + shift

    def along_outputs(self, scale: np.ndarray) -> np.ndarray:
        """A value for each channel given, as it stands in the kernel."""
        return scale

    def scale_inputs(self, scale: np.ndarray, shift: np.ndarray) -> None:
        """From now on it does to x what it did to ``scale * x + shift``; right only where it pads nothing."""
        kernel = self.values["kernel"]
        self.bias = self.bias + self._summed(kernel * self._along_inputs(shift))
        self.values["kernel"] = kernel * self._along_inputs(scale)

    def _along_inputs(self, values: np.ndarray) -> np.ndarray:
        groups = getattr(self.layer, "groups", 1)
        return np.repeat(values.reshape(groups, -1), self.outputs // groups, axis=0).T

    @staticmethod
    def _summed(kernel: np.ndarray) -> np.ndarray:
        return kernel.sum(axis=tuple(range(kernel.ndim - 1)))

    def rebuilt(self) -> Any:
        """A fresh layer of the same configuration that has a bias, and no penalty or constraint: these were on the
        values before."""
        config = self.layer.get_config()
        off = {key: None for key in config if key.endswith(("_regularizer", "_constraint"))}
        fresh = type(self.layer).from_config({**config, **off, **self.with_bias()})
        fresh.name = self.layer.name
        return fresh

    def with_bias(self) -> dict[str, Any]:
        """What the configuration says of the bias."""
        return {"use_bias": True}

    def assign(self, fresh: Any) -> None:
        """Gives the values to the fresh layer, once it is built."""
        for name, value in (*self.values.items(), ("bias", self.bias)):
            variable = getattr(fresh, name)
            variable.assign(value.astype(variable.dtype))


class _Depthwise(Linear):
    """The kernel is ``(..., inputs, multiplier)``; the outputs of one input stand side by side."""

    @property
    def outputs(self) -> int:
        kernel = self.values["kernel"]
        return kernel.shape[-2] * kernel.shape[-1]

    def along_outputs(self, scale: np.ndarray) -> np.ndarray:
        return scale.reshape(self.values["kernel"].shape[-2:])

    def _along_inputs(self, values: np.ndarray) -> np.ndarray:
        return values[:, None]

    @staticmethod
    def _summed(kernel: np.ndarray) -> np.ndarray:
        return kernel.sum(axis=tuple(range(kernel.ndim - 2))).reshape(-1)


class _Separable(Linear):
    """A depthwise kernel, and after it a pointwise one."""

    kernels = ("depthwise_kernel", "pointwise_kernel")

    def scale_inputs(self, scale: np.ndarray, shift: np.ndarray) -> None:
        depthwise, pointwise = self.values["depthwise_kernel"], self.values["pointwise_kernel"]
        between = _Depthwise._summed(depthwise * shift[:, None])
        self.bias = self.bias + between @ pointwise.reshape(pointwise.shape[-2:])
        self.values["depthwise_kernel"] = depthwise * scale[:, None]


class _Transposed(Linear):
    """The kernel is ``(..., outputs, inputs)``."""

    @property
    def outputs(self) -> int:
        return self.values["kernel"].shape[-2]

    def along_outputs(self, scale: np.ndarray) -> np.ndarray:
        return scale[:, None]


class _Einsum(Linear):
    """Any sum over products; its last output axis stands somewhere in the kernel."""

    @property
    def outputs(self) -> int:
        return self.values["kernel"].shape[self._place]

    @property
    def _place(self) -> int:
        return _kernel_and_output(self.layer)[0].index(last_letter(self.layer) or "")

    def along_outputs(self, scale: np.ndarray) -> np.ndarray:
        return scale.reshape([-1 if i == self._place else 1 for i in range(self.values["kernel"].ndim)])

    def with_bias(self) -> dict[str, Any]:
        return {"bias_axes": last_letter(self.layer)}


#: How each kind of layer lays out its kernel. A subclass may compute anything, and is not one of them.
KINDS: dict[type, type[Linear]] = {
    layers.Dense: Linear,
    layers.Conv1D: Linear,
    layers.Conv2D: Linear,
    layers.Conv3D: Linear,
    layers.DepthwiseConv1D: _Depthwise,
    layers.DepthwiseConv2D: _Depthwise,
    layers.SeparableConv1D: _Separable,
    layers.SeparableConv2D: _Separable,
    layers.Conv1DTranspose: _Transposed,
    layers.Conv2DTranspose: _Transposed,
    layers.Conv3DTranspose: _Transposed,
    layers.EinsumDense: _Einsum,
}


def not_linear(layer: Any) -> str | None:
    """Why a layer's kernel and bias cannot be changed here; ``None`` where they can."""
    if type(layer) not in KINDS:
        return f"'{layer.name}' ({type(layer).__name__}) is no dense or convolutional layer"
    if getattr(layer, "lora_enabled", False):
        return f"'{layer.name}' has an adapter (LoRA)"
    if getattr(layer, "quantization_mode", None):
        return f"'{layer.name}' is quantized ({layer.quantization_mode})"
    if isinstance(layer, layers.EinsumDense) and last_letter(layer) is None:
        return f"'{layer.name}' has no kernel or bias along its last axis alone ({layer.equation})"
    return None


def channel_axis(layer: Any, rank: int) -> int:
    """The axis of the channels that a layer takes and gives."""
    return 1 if getattr(layer, "data_format", None) == "channels_first" else rank - 1


def is_identity(activation: Any) -> bool:
    """Whether an activation changes nothing."""
    return activation is None or activation is keras.activations.linear


def pads(layer: Any) -> bool:
    """Whether a layer takes zeros beyond the borders of what it is given, or less there than inside."""
    if type(layer) in (layers.Dense, layers.EinsumDense):
        return False
    transposed = KINDS[type(layer)] is _Transposed
    return transposed or (layer.padding != "valid" and any(size > 1 for size in layer.kernel_size))


def last_letter(layer: Any) -> str | None:
    """The letter of an ``EinsumDense``'s last output axis, where the kernel has it and any bias lies along it alone."""
    kernel, output = _kernel_and_output(layer)
    letter = output[-1:]
    right = letter.isalpha() and letter in kernel and layer.bias_axes in (None, "", letter)
    return letter if right else None


def _kernel_and_output(layer: Any) -> tuple[str, str]:
    left, output = layer.equation.replace(" ", "").split("->")
    return left.split(",")[1], output


def _wide(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable), "float64")
