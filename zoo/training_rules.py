"""Guidelines on how a network is trained: what is frozen, what holds weights back, loss and optimizer."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from .departure import Departure, names_of
from .graph import operations
from .layers.max_norm import norm_axes
from .normalizing import batch_norms_inside
from .plan import Plan
from .probing import multiplying_weights
from .wiring import WEIGHTED, Applied, Wiring, applied_by

layers = keras.layers
_RECTIFIERS = ("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "softplus")
_CROSSENTROPIES = ("categoricalcrossentropy", "sparsecategoricalcrossentropy", "binarycrossentropy")
_PENALTIES = (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2)


def live_batch_norm(wiring: Wiring, plan: Plan | None, learning_rate: float | None) -> Iterator[Departure]:
    """Live batch normalization in a network that is partly frozen, by a plan or by its layers' switches."""
    rate = "" if learning_rate is None else f", at a learning rate of {learning_rate:g}"
    what = f"live batch normalization in a network that is partly frozen{rate}"
    if plan is None:
        where = _live_above_frozen(wiring)
        why = (
            "Its moving statistics drift to those of the new batches while the weights around them stay those of the "
            "old data: the features change although they are frozen (the traps page measures it)."
        )
        fix = "zoo.freeze_batch_norm(model), or a plan: zoo.freeze(model, upto=BLOCK), which holds them as well"
    else:
        frozen = any(row.frozen for row in plan.rows)
        live = [name for row in plan.rows if frozen and row.batch_norm == "train" for name in row.block.layers]
        where = tuple(norm for name in live for norm in _norms_in(wiring.graph.get_layer(name)))
        why = (
            "Training normalizes by each batch, inference by moving statistics that begin as the old data's and follow "
            "slowly, 1% a step by default: after a short stage the two differ."
        )
        fix = 'zoo.freeze(..., batch_norm="frozen"), or "adapt" for statistics estimated once on the new data'
    if where:
        yield Departure("live batch norm", where, what, why, fix)


def _norms_in(operation: Any) -> dict[str, Any]:
    """The batch normalization that an operation is, or those inside it, by name."""
    if isinstance(operation, layers.BatchNormalization):
        return {operation.name: operation}
    inside = (part for part in batch_norms_inside(operation) if isinstance(part, layers.BatchNormalization))
    return {f"{operation.name}/{part.name}": part for part in inside}


def _live_above_frozen(wiring: Wiring) -> tuple[str, ...]:
    """Live batch normalizations whose inputs come from frozen kernels: of those next below, through additions and all
    else without kernels, none learns."""
    found: list[str] = []
    next_below: dict[int, set[bool]] = {}  # of what a call gives, whether the kernels next below learn
    for node in wiring.nodes:
        operation, own = node.operation, multiplying_weights(node.operation)
        below = set().union(*(next_below[id(source)] for source in wiring.sources(node)))
        if own:
            learning = {id(v) for v in operation.trainable_variables}
            below = {any(id(v) in learning for v in own)}
        next_below[id(node)] = below
        if below == {False} and getattr(operation, "trainable", False):
            found += [name for name, norm in _norms_in(operation).items() if norm.trainable]
    return tuple(dict.fromkeys(found))


def norm_over_wrong_axes(wiring: Wiring) -> Iterator[Departure]:
    """Constraints on a norm that is not that of one unit's incoming weights."""
    kinds = (keras.constraints.MaxNorm, keras.constraints.MinMaxNorm, keras.constraints.UnitNorm)
    found: list[Any] = []
    for layer in operations(wiring.graph):
        for argument, axes in ((isinstance(layer, layers.Layer) and norm_axes(layer)) or {}).items():
            constraint = getattr(layer, argument, None)
            if isinstance(constraint, kinds) and _as_axes(constraint.axis, len(axes)) != sorted(axes):
                found.append(layer)
    if found:
        what = "a limit on the norm over the wrong axes"
        why = (
            "Keras's axis=0 is one unit's incoming weights in a dense layer only; in a convolution a filter keeps many "
            "times the limit (Srivastava et al., 2014, limit each unit's)."
        )
        first = found[0]
        fix = f"zoo.limit_norms(model, LIMIT), or zoo.layers.max_norm(LIMIT, '{type(first).__name__}')"
        yield Departure("max-norm", tuple(dict.fromkeys(layer.name for layer in found)), what, why, fix)


def _as_axes(axis: int | Sequence[int], count: int) -> list[int]:
    rank = count + 1
    return sorted(i % rank if i < 0 else i for i in ([axis] if isinstance(axis, int) else list(axis)))


def penalty_before_batch_norm(wiring: Wiring) -> Iterator[Departure]:
    """A penalty on the size of weights whose size batch normalization takes out again."""
    found = []
    for node in wiring.of(WEIGHTED):
        user = wiring.next(node)
        penalties = [getattr(node.operation, f"{k}_regularizer", None) for k in ("kernel", "depthwise", "pointwise")]
        normalized = user is not None and isinstance(user.operation, layers.BatchNormalization)
        if any(isinstance(p, _PENALTIES) for p in penalties) and normalized and applied_by(node.operation) is None:
            found.append(node)
    if found:
        what = "l1 or l2 on a kernel that batch normalization scales anyway"
        why = (
            "Smaller weights give the same outputs there: the penalty does not simplify the network, it raises the "
            "rate at which these weights turn (van Laarhoven, 2017)."
        )
        fix = "know it, and tune it with the learning rate; penalize the layers without normalization, such as the top"
        yield Departure("penalty", names_of(found), what, why, fix)


def penalty_with_adam(wiring: Wiring, optimizer: Any) -> Iterator[Departure]:
    """An l2 penalty in the loss under an optimizer that rescales gradients."""
    names = ("Adam", "Nadam", "Adamax", "RMSprop", "Adagrad", "Adadelta")
    kind = type(optimizer).__name__.removesuffix("ByVariable")
    if optimizer is None or kind not in names:
        return
    penalized = [layer for layer in operations(wiring.graph) if _has_l2(layer)]
    if penalized:
        what = f"l2 in the loss with {kind}"
        why = (
            "The penalty's gradient is divided by the gradients' own size: it is not weight decay (Loshchilov and "
            "Hutter, 2019)."
        )
        fix = 'optimizer "adamw" with weight_decay, in place of the regularizers: --optimizer adamw --weight-decay 1e-4'
        yield Departure("penalty", tuple(layer.name for layer in penalized), what, why, fix)


def _has_l2(layer: Any) -> bool:
    penalties = [getattr(variable, "regularizer", None) for variable in getattr(layer, "trainable_weights", ())]
    return any(type(p) is keras.regularizers.L2 or (isinstance(p, keras.regularizers.L1L2) and p.l2) for p in penalties)


def optimizer_for_depth(wiring: Wiring, optimizer: Any) -> Iterator[Departure]:
    """AdaGrad on a deep network, and gradient descent without momentum."""
    kind = type(optimizer).__name__.removesuffix("ByVariable")
    depth = wiring.most_in_a_row(lambda node: isinstance(node.operation, WEIGHTED))
    if kind == "Adagrad" and depth >= 5:
        why = "The sum of squares only grows, and so its steps shrink until they are too small to arrive."
        yield Departure("optimizer", (), f"AdaGrad on {depth} layers", why, 'optimizer "adam", or "rmsprop"')
    if kind == "SGD" and not optimizer.momentum:
        why = "Keras's default is none; with 0.9 the step becomes up to ten times as long where the slope is steady."
        fix = "--momentum 0.9 --nesterov: keras.optimizers.SGD(RATE, momentum=0.9, nesterov=True)"
        yield Departure("optimizer", (), "gradient descent without momentum", why, fix)


def loss_for_output(wiring: Wiring, model: keras.Model) -> Iterator[Departure]:
    """A compiled loss that takes the outputs for something else than they are."""
    loss = getattr(model, "loss", None) if getattr(model, "compiled", False) else None
    if loss is None or isinstance(loss, (list, tuple, dict)) or len(wiring.graph.outputs) != 1:
        return
    last = next((node for node in reversed(wiring.nodes) if wiring.is_output(node)), None)
    applied = None if last is None else applied_by(last.operation)
    if applied is None and (last is None or not _is_linear(last.operation)):
        return
    name, logits = _loss(loss)
    if name in _CROSSENTROPIES:
        yield from _crossentropy(last, applied, logits)
    elif applied is not None and applied.name in ("relu", "relu6"):
        why = "A unit whose sum is negative for every example gives 0, has slope 0 and never learns again."
        fix = "no activation, or 'softplus' for numbers that cannot be negative"
        yield Departure("output", names_of([last]), f"{applied.name} as the output", why, fix)


def _is_linear(operation: Any) -> bool:
    return isinstance(operation, WEIGHTED) and operation.activation is keras.activations.linear


def _loss(loss: Any) -> tuple[str, bool]:
    """A loss's name as Keras spells the function, and whether it takes logits."""
    found = keras.losses.get(loss)
    name = getattr(found, "__name__", "") or type(found).__name__
    return name.replace("_", "").lower(), bool(getattr(found, "from_logits", False))


def _crossentropy(last: Any, applied: Applied | None, logits: bool) -> Iterator[Departure]:
    where = names_of([last])
    if logits and applied is not None and applied.name in ("softmax", "sigmoid"):
        why = f"The loss applies {applied.name} by itself: it is applied twice, and gradients are small."
        yield Departure("loss", where, f"from_logits=True on outputs of {applied.name}", why, "from_logits=False")
    if not logits and applied is None:
        why = "The loss takes the outputs for probabilities and clips them to 0 to 1: outside there is no gradient."
        fix = "from_logits=True in the loss, or activation='softmax' (one of several) or 'sigmoid' in the top"
        yield Departure("loss", where, "linear outputs with a loss that expects probabilities", why, fix)
    if applied is not None and applied.name in _RECTIFIERS:
        why = f"{applied.name} gives no probabilities: it is not bounded by 1."
        fix = "activation='softmax' (one of several) or 'sigmoid' (any of several) in the top"
        yield Departure("loss", where, f"{applied.name} as the output of a classifier", why, fix)
