"""Whether a run that is done again can be compared with the first bit by bit: what has to be as it was, and is not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .environment import differences, shown

#: What a flag leads to is in the lock by itself: the flag need not be the same.
JUDGED_BY_EFFECT = {"KERAS_BACKEND", "TF_ENABLE_ONEDNN_OPTS"}
_ANOTHER = "or compare the figures alone: --metrics-only"


@dataclass(frozen=True)
class Obstacle:
    """Something that is not as it was, so that bits cannot be expected to be the same.

    Attributes:
        what: What it is, with what it was and is.
        needs: What would have to match, and how.
    """

    what: str
    needs: str

    def __str__(self) -> str:
        return f"{self.what}. {self.needs}"


def _keras(name: str) -> Callable[[Any], str]:
    return lambda before: f"Set {name} to {before} (keras.config, or ~/.keras/keras.json)."


#: What has to be as it was, by its place in ``compute``: how it is called, and what to do, from what it was.
MUST_MATCH: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "backend": ("Keras's backend", lambda before: f"Set KERAS_BACKEND={before}."),
    "device": ("the device", lambda before: f"It takes {before}, {_ANOTHER}."),
    "threads": (
        "the number of threads",
        lambda before: f"It takes {before}: call it where the framework has not started with others, {_ANOTHER}.",
    ),
    "processor.machine": ("the machine", lambda before: f"It takes {before}, {_ANOTHER}."),
    "processor.features": (
        "the processor's instruction sets",
        lambda before: f"It takes a processor with {shown(before)} and no others of these, {_ANOTHER}.",
    ),
    "gpu.name": ("the GPU", lambda before: f"It takes {before}, {_ANOTHER}."),
    "gpu.compute_capability": ("the GPU's compute capability", lambda before: f"It takes {before}, {_ANOTHER}."),
    "gpu.tf32": ("TF32", lambda before: f"Turn it {_on(before)}: NVIDIA_TF32_OVERRIDE, or tf.config.experimental."),
    "state.onednn": (
        "oneDNN in TensorFlow",
        lambda before: f"Set TF_ENABLE_ONEDNN_OPTS={int(before)} before Python starts.",
    ),
    "state.xla": ("XLA for whole graphs", lambda before: f"Turn it {_on(before)}: tf.config.optimizer.set_jit."),
    "state.deterministic": (
        "deterministic operations",
        lambda before: (
            "Turn them on: tf.config.experimental.enable_op_determinism."
            if before
            else "They are off where no GPU is seen: set CUDA_VISIBLE_DEVICES=-1 before Python starts."
        ),
    ),
    "state.floatx": ("Keras's floatx", _keras("floatx")),
    "state.epsilon": ("Keras's epsilon", _keras("epsilon")),
    "state.image_data_format": ("Keras's image_data_format", _keras("image_data_format")),
    "state.dtype_policy": ("Keras's dtype policy", _keras("the dtype policy")),
}


def obstacles(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Obstacle]:
    """What makes a comparison bit by bit impossible between two environments.

    That are threads, instruction sets, device, backend and settings: another one computes in another order, or by other
    instructions, and the last bits are others by right. Versions are not among them: whether another version gives the
    same bits is worth asking.

    Args:
        before: The environment of the run, as :func:`zoo.lock.environment_of` gives it and a lock holds it.
        now: That of this process.

    Returns:
        Each with what would have to match; empty where nothing is in the way.

    Example:
        >>> for one in obstacles({"compute": {"threads": 2}}, {"compute": {"threads": 3}}):
        ...     print(one.what)
        the number of threads: 2 before, 3 now
    """
    old, new = before.get("compute", {}), now.get("compute", {})
    found = [
        Obstacle(f"{called}: {_said(was)} before, {_said(is_now)} now", needs(was))
        for place, (called, needs) in MUST_MATCH.items()
        if (was := _at(old, place)) is not None and was != (is_now := _at(new, place))
    ]
    return found + _other_flags(old.get("flags", {}), new.get("flags", {}))


def _other_flags(before: Mapping[str, str], now: Mapping[str, str]) -> list[Obstacle]:
    found = []
    for name in sorted({*before, *now} - JUDGED_BY_EFFECT):
        if before.get(name) != now.get(name):
            fix = f"Set {name}={before[name]} before Python starts." if name in before else f"Unset {name} first."
            found.append(Obstacle(f"{name}: {before.get(name, 'not set')} before, {now.get(name, 'not set')} now", fix))
    return found


def reported(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two environments, with what a comparison does not need to be the same, in words."""
    plain = [{**one, "compute": {**one.get("compute", {}), "device_reason": None}} for one in (before, now)]
    return differences(*plain)


def missing_engines(stages: list[Mapping[str, Any]], versions: Mapping[str, str]) -> list[Obstacle]:
    """The engines that ran a run's frozen trunks, as far as their packages are not installed now.

    Args:
        stages: A lock's stages.
        versions: What is installed; see :func:`zoo.environment.versions`.

    Example:
        >>> stage = {"name": "head", "features": {"engine": "openvino", "versions": {"openvino": "2026.1"}}}
        >>> print(*missing_engines([stage], {}))
        the engine openvino, which ran the frozen trunk of the stage 'head', is not there. Install openvino 2026.1.
    """
    found = []
    for stage in stages:
        features = stage.get("features", {})
        lacking = [f"{name} {was}" for name, was in features.get("versions", {}).items() if name not in versions]
        if lacking:
            whose = f"which ran the frozen trunk of the stage '{stage['name']}'"
            what = f"the engine {features['engine']}, {whose}, is not there"
            found.append(Obstacle(what, f"Install {', '.join(lacking)}."))
    return found


def _at(table: Mapping[str, Any], place: str) -> Any:
    """A value by its dotted place; of a device only its kind, since the GPU's number decides nothing."""
    value: Any = table
    for key in place.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return str(value).partition(":")[0] if place == "device" and value is not None else value


def _said(value: Any) -> str:
    return _on(value) if isinstance(value, bool) else shown(value)


def _on(value: Any) -> str:
    return "on" if value else "off"
