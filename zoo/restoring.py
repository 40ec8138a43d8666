"""Restoring some of a model's variables from a file of weights, by name."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras.src.utils.naming import to_snake_case

from .errors import WeightsError, close_matches
from .formats.conversion import converted, is_number
from .formats.opening import opened
from .formats.tensor import Tensor
from .variable_names import Names, Place, is_numbered, places

#: How many names of a list are printed.
_SHOWN = 12
#: What every random generator calls its state.
_SEED_STATE = "seed_generator_state"


@dataclass(frozen=True)
class Restored:
    """What :func:`load_weights` did; printed as a list.

    Attributes:
        restored: The model's variables that were given the file's values.
        unused: The file's tensors, by the file's names, that went nowhere. An optimizer's are not among them, where
            the format tells them apart (in an old TensorFlow checkpoint it does not).
        fresh: The model's variables that are as they were. Random generators' states are not among them.

    Example:
        >>> print(Restored(("low/kernel", "low/bias"), (), ("top/kernel",)))
        2 restored: low/kernel, low/bias
        0 unused in the file
        1 left as it was: top/kernel
    """

    restored: tuple[str, ...]
    unused: tuple[str, ...]
    fresh: tuple[str, ...]

    def __str__(self) -> str:
        left = "left as it was" if len(self.fresh) == 1 else "left as they were"
        lists = (("restored", self.restored), ("unused in the file", self.unused), (left, self.fresh))
        return "\n".join(f"{len(names)} {what}{f': {_some(names)}' if names else ''}" for what, names in lists)


def load_weights(
    model: keras.Model,
    file: str | os.PathLike[str],
    *,
    include: str | Sequence[str] | None = None,
    rename: Mapping[str, str] | None = None,
) -> Restored:
    r"""Gives a model those of a file's weights that match by name; the model's others stay as they are.

    A variable of the model is called ``layer/variable``, such as ``hidden1/kernel``; models and layers around the layer
    come first (``backbone/conv1/kernel``). A layer without a name of its own that is an attribute of a subclassed model
    is called by the attribute (``encoder/kernel``, ``blocks/0/kernel``). A name in the file means the variable of that
    name; where there is none, the only one whose name ends so: ``conv1/kernel`` means ``backbone/conv1/kernel``.
    ``.keras`` and ``.weights.h5`` files number a layer's variables: ``hidden1/0`` is its first. Names that Keras makes
    up (``dense_7``) count on through a session: give names to layers whose weights are to be found again.

    The file is read as data: nothing in it is run, and no network is built from it. Either everything fits and is
    restored, or the model is left as it was. The states of optimizers and random generators are never restored.

    Args:
        model: Any built ``keras.Model``: functional, Sequential, nested or subclassed.
        file: A ``.keras``, ``.h5``, ``.safetensors`` or ``.npz`` file, or a TensorFlow checkpoint: its prefix, its
            ``.index`` file, or a folder with a file named ``checkpoint``.
        include: A regular expression, or several, for the whole name of a variable of the model. Those that match must
            all be in the file. Without it, whatever the file has is restored.
        rename: What the file calls it, and what the model calls it. The first is a regular expression for the beginning
            of a name in the file, up to a ``/``, a ``.`` or its end (the shortest such beginning that matches); the
            second takes its place, may hold its groups (``\1``), and may be empty. The first of them that matches a
            name is used, once.

    Returns:
        The names of what was restored, of what the file has beside it, and of what was left as it was.

    Raises:
        WeightsError: if nothing matches; if a pattern of ``include`` or a beginning in ``rename`` does; if a variable
            that ``include`` names is not in the file; if shapes or types do not fit; if two tensors are for one
            variable or one for two; if the file is missing, damaged, or of another kind.

    Example:
        >>> import keras, numpy as np
        >>> np.savez("old.npz", **{"h1/kernel": np.ones((4, 3)), "h1/bias": np.ones(3), "out/bias": np.ones(2)})
        >>> hidden, top = keras.layers.Dense(3, name="hidden1"), keras.layers.Dense(2, name="top")
        >>> model = keras.Sequential([keras.Input((4,)), hidden, top])
        >>> print(load_weights(model, "old.npz", include="hidden[123]/.*", rename={r"h(\d)": r"hidden\1"}))
        2 restored: hidden1/kernel, hidden1/bias
        1 unused in the file: out/bias
        2 left as they were: top/kernel, top/bias
    """
    found = _variables(model)
    wanted = _included(found, include)
    path = Path(file)
    with opened(path) as held:
        tensors = {name: tensor for name, tensor in held.items() if name.rpartition("/")[2] != _SEED_STATE}
        renamed = _renamed(path, tensors, rename or {})
        pairs = _pairs(path, Names(found, model.name), tensors, renamed, wanted)
        _check_complete(path, pairs, wanted, tensors, explicit=include is not None)
        if include is None and not rename:
            _check_numbers(path, pairs, found, tensors)
        _check_fit(path, pairs, renamed)
        values = {place: _value(path, place, tensor) for place, tensor in pairs.items()}
    for place, value in values.items():
        place.variable.assign(value)
    for layer in {id(place.layer): place.layer for place in values}.values():
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()  # a normalization keeps constants that are made of its variables
    used = {tensor.name for tensor in pairs.values()}
    return Restored(
        restored=tuple(place.name for place in found if place in values),
        unused=tuple(name for name in tensors if name not in used),
        fresh=tuple(place.name for place in found if place not in values),
    )


def _variables(model: keras.Model) -> list[Place]:
    if not isinstance(model, keras.Model):
        what = "This is not a network."
        raise WeightsError(what, expected="a keras.Model", received=type(model).__name__)
    found = places(model)
    if not found:
        what = f"The network '{model.name}' has no variables."
        raise WeightsError(what, fix="Build it first: give it an Input, or call it once.")
    return found


def _included(found: list[Place], include: str | Sequence[str] | None) -> set[Place]:
    """The variables that the user asks for."""
    if include is None:
        return set(found)
    wanted: set[Place] = set()
    for text in [include] if isinstance(include, str) else include:
        pattern = _compiled(text, "include")
        matched = {place for place in found if pattern.fullmatch(place.name)}
        if not matched:
            what = f"The pattern '{text}' matches no variable of the network."
            near = close_matches(text, [place.name for place in found])
            raise WeightsError(what, expected="a regular expression for a whole name", fix=near)
        wanted |= matched
    if not wanted:
        what = "No pattern says what to restore."
        raise WeightsError(what, fix="Leave include out to restore all that the file has.")
    return wanted


def _compiled(text: str, argument: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, TypeError) as reason:
        what = f"'{text}' in {argument} is not a regular expression: {reason}."
        raise WeightsError(what, fix="Write a backslash before a sign that is meant as it stands.") from None


def _renamed(path: Path, tensors: Mapping[str, Tensor], rename: Mapping[str, str]) -> dict[str, str]:
    """The names that the user gives to the file's tensors."""
    patterns = {key: _compiled(key, "rename") for key in rename}
    given: dict[str, str] = {}
    idle = set(rename)
    for name in tensors:
        for key, pattern in patterns.items():
            match = _beginning(pattern, name)
            if match:
                given[name] = _replaced(match, rename[key], name)
                idle.discard(key)
                break
    if idle:
        key = next(key for key in rename if key in idle)
        what = f"Nothing in {path} is renamed by '{key}'."
        beginnings = {name[:end] for name in tensors for end in _ends(name)}
        fix = close_matches(key, beginnings)
        raise WeightsError(what, expected="the beginning of a name that no earlier one takes", fix=fix)
    return given


def _ends(name: str) -> list[int]:
    return [*(m.start() for m in re.finditer(r"[/.]", name)), len(name)]


def _beginning(pattern: re.Pattern[str], name: str) -> re.Match[str] | None:
    """The match of the shortest beginning that ends where a part of the name does."""
    return next((match for end in _ends(name) if (match := pattern.fullmatch(name, 0, end))), None)


def _replaced(match: re.Match[str], text: str, name: str) -> str:
    try:
        return (match.expand(text) + name[match.end() :]).lstrip("/.")
    except (re.error, IndexError, TypeError) as reason:
        what = f"'{text}' in rename cannot take the place of '{match[0]}': {reason}."
        raise WeightsError(what, fix="Its groups are those of the expression before it: \\1 is the first.") from None


def _pairs(
    path: Path, names: Names, tensors: Mapping[str, Tensor], renamed: Mapping[str, str], wanted: set[Place]
) -> dict[Place, Tensor]:
    """Which tensor each wanted variable gets; each has at most one, and each is for at most one."""
    pairs: dict[Place, Tensor] = {}
    for tensor in tensors.values():
        meant = [place for place in names.meant(tensor, renamed.get(tensor.name)) if place in wanted]
        if len(meant) > 1:
            what = f"'{tensor.name}' in {path} could be any of several variables of the network."
            fix = "Say which with include, or with rename."
            raise WeightsError(what, expected="one", received=_some([place.name for place in meant]), fix=fix)
        for place in meant:
            if place in pairs:
                what = f"Two tensors in {path} are for the variable '{place.name}'."
                received = f"'{pairs[place].name}' and '{tensor.name}'"
                raise WeightsError(what, expected="one", received=received, fix="Say with rename which one it is.")
            pairs[place] = tensor
    return pairs


def _check_complete(
    path: Path, pairs: Mapping[Place, Tensor], wanted: set[Place], tensors: Mapping[str, Tensor], *, explicit: bool
) -> None:
    missing = [place.name for place in wanted if place not in pairs] if explicit or not pairs else []
    if not missing:
        return
    missing = sorted(missing)
    holds = _some(list(tensors)) or "no tensors"
    if not pairs:
        what = f"Nothing in {path} matches the network."
        fix = "Say with rename what the file calls the layers."
        raise WeightsError(what, expected=f"such names as {_some(missing)}", received=holds, fix=fix)
    what = f"{path} does not have all that include asks for: {_some(missing)}."
    fix = "Narrow include, or say with rename what the file calls them."
    raise WeightsError(
        what, expected=f"{len(wanted)} variables", received=f"{len(pairs)}; the file has {holds}", fix=fix
    )


def _check_numbers(
    path: Path, pairs: Mapping[Place, Tensor], found: list[Place], tensors: Mapping[str, Tensor]
) -> None:
    """Refuses layers that Keras named itself where only some of the names meet: its numbers count on through a session,
    so that `dense_1` may be the second layer in the file and the first in the model."""
    saved = {name.rpartition("/")[0].rpartition("/")[2] for name in tensors}
    for kind in {to_snake_case(type(place.layer).__name__) for place in pairs}:
        numbered = re.compile(rf"{kind}(_\d+)?")
        ours = {place.layer.name for place in found if numbered.fullmatch(place.layer.name)}
        theirs = {name for name in saved if numbered.fullmatch(name)}
        if ours & theirs and ours - theirs and theirs - ours:
            what = f"Keras has numbered the layers itself, and in {path} otherwise: they may be shifted."
            fix = "Name the layers where they are made, or say with rename or include which is which."
            raise WeightsError(what, expected=_some(sorted(ours)), received=_some(sorted(theirs)), fix=fix)


def _check_fit(path: Path, pairs: Mapping[Place, Tensor], renamed: Mapping[str, str]) -> None:
    """Refuses wrong numbers of variables, wrong types and wrong shapes, before anything is read."""
    for place, tensor in pairs.items():
        by_number = tensor.count is not None and is_numbered(renamed.get(tensor.name, tensor.name))
        if by_number and tensor.count != place.count:
            layer = place.name.rpartition("/")[0]
            what = f"The layer '{layer}' has another number of variables in {path}, where they are numbered, not named."
            fix = "Build the layer as it was saved, or save the weights by name."
            raise WeightsError(what, expected=str(place.count), received=str(tensor.count), fix=fix)
    for place, tensor in pairs.items():
        if not is_number(tensor.dtype):
            what = f"'{tensor.name}' in {path} cannot be given to '{place.name}'."
            raise WeightsError(what, expected="numbers", received=tensor.dtype, fix="Leave it out with include.")
    wrong = [
        f"\n  '{place.name}' has {tuple(place.variable.shape)}; '{tensor.name}' in the file has {tensor.shape}"
        for place, tensor in pairs.items()
        if tuple(place.variable.shape) != tensor.shape
    ]
    if wrong:
        what = f"The shapes in {path} do not fit.{''.join(wrong)}\n"
        raise WeightsError(what, fix="Leave those variables out with include, or build the layers as they were.")


def _value(path: Path, place: Place, tensor: Tensor) -> np.ndarray:
    """The tensor's numbers in the variable's type."""
    try:
        return converted(tensor.read(), keras.backend.standardize_dtype(place.variable.dtype))
    except ValueError as reason:
        what = f"'{tensor.name}' in {path} cannot be given to '{place.name}': {reason}."
        fix = "Save it in the variable's type, or leave it out with include."
        raise WeightsError(what, fix=fix) from None


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
