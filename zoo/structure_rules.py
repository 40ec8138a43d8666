"""Guidelines on what stands next to what: saturating stacks, bias and dropout beside batch normalization, softmax."""

from collections.abc import Iterator
from typing import Any

import keras

from .departure import Departure, names_of
from .layers.normalizing import BATCH_NORMS, NORMALIZING
from .layers.selu import DROPPING
from .probing import S_SHAPED
from .wiring import WEIGHTED, Wiring, applied_by

layers = keras.layers

_LOGISTIC_KIN = ("sigmoid", "hard_sigmoid", "sparse_sigmoid")
_TANH_KIN = tuple(sorted(set(S_SHAPED) - set(_LOGISTIC_KIN)))
#: How many bounded activations in a row count as deep. Glorot and Bengio (2010, section 3) saw the top of logistic
#: networks with four hidden layers saturate at once, and tanh networks with five layer by layer.
_DEEP = ((_LOGISTIC_KIN, 4), (_TANH_KIN, 5))
_PROBABILITIES = ("softmax", "log_softmax", "sparsemax")


def saturating(wiring: Wiring) -> Iterator[Departure]:
    """Bounded activations in a deep stack, with nothing that normalizes before them."""
    for names, deep in _DEEP:
        hidden = [node for node in wiring.nodes if _saturates(wiring, node, names)]
        inside = {id(node) for node in hidden}
        depth = wiring.most_in_a_row(lambda node, inside=inside: id(node) in inside)
        if depth < deep:
            continue
        said = sorted({applied.name for node in hidden if (applied := applied_by(node.operation)) is not None})
        what = f"{depth} layers of {', '.join(said)} one above another, without normalization"
        why = (
            "Where such a unit saturates its slope is almost 0, and gradients vanish on the way down (Glorot and "
            "Bengio, 2010); the chapter's order is ELU, leaky ReLU, ReLU, tanh, logistic."
        )
        fix = "activation='elu', or batch normalization before each: in zoo.models.dnn.build, batch_norm=True"
        yield Departure("saturating activation", names_of(hidden), what, why, fix)


def _saturates(wiring: Wiring, node: Any, names: tuple[str, ...]) -> bool:
    """Whether a call applies one of these activations to a hidden layer's sums; gates, which multiply, do not count."""
    applied = applied_by(node.operation)
    if applied is None or applied.name not in names or id(node) in wiring.top or id(node) in wiring.branches:
        return False
    users = wiring.users(node)
    if users and all(type(user.operation).__name__ == "Multiply" for user in users):
        return False
    below = wiring.sources(node)
    below += [lower for source in below if isinstance(source.operation, WEIGHTED) for lower in wiring.sources(source)]
    return not any(isinstance(source.operation, NORMALIZING) for source in below)


def bias_before_batch_norm(wiring: Wiring) -> Iterator[Departure]:
    """A bias that batch normalization takes out again."""
    found = []
    for node in wiring.of(WEIGHTED):
        layer, user = node.operation, wiring.next(node)
        plain = getattr(layer, "bias", None) is not None and applied_by(layer) is None and layer.trainable
        if plain and user is not None and _normalizes_channels(user, layer):
            found.append(node)
    if found:
        what = "a bias right before batch normalization"
        why = "Subtracting the mean takes it out again, and beta is there in its place (Ioffe and Szegedy, 2015)."
        spare = sum(node.operation.bias.shape[-1] for node in {id(n.operation): n for n in found}.values())
        yield Departure("bias", names_of(found), what, why, f"use_bias=False, and {spare:,} parameters fewer")


def _normalizes_channels(node: Any, layer: Any) -> bool:
    """Whether a call is live batch normalization along the axis of a layer's units."""
    if not isinstance(node.operation, layers.BatchNormalization) or not node.operation.trainable:
        return False  # fixed statistics subtract a fixed mean, and the bias keeps its effect
    rank = len(node.input_tensors[0].shape)
    first = getattr(layer, "data_format", None) == "channels_first"
    return node.operation.axis % rank == (1 if first else rank - 1)


def batch_norm_after_dropout(wiring: Wiring) -> Iterator[Departure]:
    """Batch normalization whose inputs have another variance in training than in inference."""
    dropped: dict[int, Any] = {}
    above: list[Any] = []
    for node in wiring.nodes:
        cause = next((dropped[id(s)] for s in wiring.sources(node) if dropped.get(id(s)) is not None), None)
        if isinstance(node.operation, DROPPING) and node.operation.rate > 0 and not _drops_branches(node.operation):
            cause = node
        if isinstance(node.operation, BATCH_NORMS) and cause is not None:
            above.append(node)
        if isinstance(node.operation, NORMALIZING):
            cause = None  # what it gives has a variance of its own
        dropped[id(node)] = cause
    if above:
        what = "batch normalization above dropout"
        why = (
            "Dropout raises the variance in training only; the moving variance is then too large in inference (Li et "
            "al., 2018)."
        )
        fix = "drop after the last batch normalization only, such as in a new top: zoo.replace_top(..., dropout=0.3)"
        yield Departure("batch norm after dropout", names_of(above), what, why, fix)


def _drops_branches(layer: Any) -> bool:
    """Whether dropout drops an example as a whole: stochastic depth, made of ``Dropout`` with a noise shape."""
    shape = getattr(layer, "noise_shape", None)
    return shape is not None and all(size == 1 for size in tuple(shape)[1:])


def hidden_softmax(wiring: Wiring) -> Iterator[Departure]:
    """Softmax of a hidden layer that goes into the next one."""
    found = []
    for node in wiring.of(WEIGHTED):
        after = wiring.following(node)
        if after.activation is None or after.activation.name not in _PROBABILITIES or id(node) in wiring.top:
            continue
        user = wiring.next(after.call)
        while user is not None and isinstance(user.operation, (*DROPPING, *NORMALIZING, layers.Flatten)):
            user = wiring.next(user)
        if user is not None and isinstance(user.operation, WEIGHTED):
            found.append(node)
    if found:
        why = (
            "Its outputs add up to 1, so that the units compete, and its slopes are tiny: a bottleneck, not a feature."
        )
        fix = "activation='elu' in hidden layers; softmax for the output alone"
        yield Departure("softmax", names_of(found), "softmax in a hidden layer", why, fix)


def softmax_misused(wiring: Wiring) -> Iterator[Departure]:
    """Softmax twice, and softmax of one number."""
    twice, one = [], []
    for node in wiring.nodes:
        applied = applied_by(node.operation)
        if applied is None or applied.name not in _PROBABILITIES:
            continue
        user = wiring.next(node)
        after = None if user is None or isinstance(user.operation, WEIGHTED) else applied_by(user.operation)
        if after is not None and after.name in _PROBABILITIES and applied.name != "log_softmax":
            twice.append(user)
        if isinstance(node.operation, WEIGHTED) and node.outputs[0].shape[-1] == 1:
            one.append(node)
    if twice:
        why = "The second squeezes probabilities together: with ten classes the largest that it can give is 0.23."
        fix = "leave one out: a linear layer below it"
        yield Departure("softmax", names_of(twice), "softmax on what is a probability already", why, fix)
    if one:
        why = "A softmax over one number is always 1: nothing can be learned."
        yield Departure("softmax", names_of(one), "softmax over one unit", why, "activation='sigmoid', or two units")


def linear_pairs(wiring: Wiring) -> Iterator[Departure]:
    """Dense layers one above another with no activation between."""
    found = []
    for node in wiring.of((layers.Dense,)):
        user = wiring.next(node)
        while user is not None and isinstance(user.operation, (layers.Identity, layers.Dropout)):
            user = wiring.next(user)
        if applied_by(node.operation) is not None or _activates(node.operation):
            continue
        if user is not None and isinstance(user.operation, layers.Dense):
            sizes = node.operation.kernel.shape[0], user.operation.units
            if node.operation.units >= min(sizes):  # fewer units than both: a factored matrix, which may be meant
                found.append(node)
    if found:
        why = "Two linear layers are one linear layer: the second adds nothing that the first cannot do."
        fix = "activation='elu', or leave the layer out: zoo.replace_layer, zoo.drop_above"
        yield Departure("linear", names_of(found), "no activation between dense layers", why, fix)


def _activates(layer: Any) -> bool:
    """Whether a layer has an activation that is none of Keras's."""
    return layer.activation is not keras.activations.linear


def much_dropout(wiring: Wiring) -> Iterator[Departure]:
    """Rates that leave next to nothing."""
    found = [node for node in wiring.of((*DROPPING, layers.AlphaDropout)) if node.operation.rate >= 0.8]
    if found:
        what = f"a dropout rate of {max(node.operation.rate for node in found):g}"
        why = "The rate is the share dropped, not the one kept; 0.2 to 0.5 is usual (Srivastava et al., 2014)."
        yield Departure("dropout", names_of(found), what, why, "a rate of 0.5 or less, or 1 minus what stands there")


def keras_leaky_relu(wiring: Wiring) -> Iterator[Departure]:
    """Keras's own meaning of the name ``leaky_relu``."""
    found = []
    for node in wiring.nodes:
        inner = getattr(node.operation, "activation", None)
        if inner is keras.activations.leaky_relu:
            found.append(node)
    if found:
        what = "the slope of 'leaky_relu' left to Keras, which takes 0.2"
        why = "The chapter's leaky ReLU has 0.01, and Keras's layer LeakyReLU 0.3: say which one is meant."
        fix = (
            "zoo.layers.activation('leaky_relu') for 0.01, 'very_leaky_relu' for 0.2, or keras.layers.LeakyReLU(SLOPE)"
        )
        yield Departure("leaky ReLU", names_of(found), what, why, fix)
