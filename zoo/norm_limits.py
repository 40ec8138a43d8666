"""Max-norm set on the layers of a network that exists already."""

import textwrap

import keras

from .errors import SurgeryError
from .flattening import flat
from .graph import operations
from .layer_pattern import layers_matching
from .layers.max_norm import max_norm, norm_axes
from .retracing import forget_steps

#: Where the weight lies that a constraint's argument is for: Keras's attributes, in the order in which they are tried.
_WEIGHTS = {
    "kernel_constraint": ("_kernel", "kernel"),
    "depthwise_constraint": ("depthwise_kernel", "kernel"),
    "pointwise_constraint": ("pointwise_kernel",),
    "embeddings_constraint": ("_embeddings",),
}


class Limited(tuple[str, ...]):
    """The names of the layers whose norms were set a limit, bottom to top; ``print`` gives them in lines.

    Attributes:
        limit: The largest l2 norm; ``None`` where it was taken off.
    """

    limit: float | None = None

    def __str__(self) -> str:
        what = "no max-norm" if self.limit is None else f"max-norm {self.limit:g}"
        text = f"{what} on {len(self)} layer{'' if len(self) == 1 else 's'}: {', '.join(self)}"
        return textwrap.fill(text, 100, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False)


def limit_norms(model: keras.Model, limit: float | None, *, layers: str | None = None) -> Limited:
    r"""Limits the norm of each unit's incoming weights, in layers that exist already, from the next step on.

    .. math:: w \leftarrow w \cdot \min\!\left(1, \frac{r}{\lVert w \rVert_2}\right)

    after every step of the optimizer, for weights that learn; :func:`zoo.layers.max_norm` has the axes for each kind of
    layer. The constraint is Keras's own and stands in the layer's configuration too: the saved network, and copies of
    it, have it.

    Args:
        model: A Keras model; it is changed in place, its weights are not.
        limit: The largest l2 norm ``r``, above 0; ``None`` takes the constraints off.
        layers: The layers, a regular expression for the whole name; all whose kind has axes by default.

    Returns:
        The names of the layers, bottom to top: a tuple, which ``print`` puts into lines.

    Raises:
        RecipeError: if the limit is not above 0.
        SurgeryError: if none of the layers is of such a kind; normalization and recurrent layers are not, and are left
            as they are.

    Reference:
        Srivastava et al., "Dropout", 2014, section 5.1.

    Example:
        >>> import zoo
        >>> net = zoo.load("glyphs")
        >>> print(zoo.limit_norms(net, 3.0, layers="block1_.*conv.*|top.*"))
        max-norm 3 on 3 layers: block1_conv1, block1_conv2, top_output
    """
    graph = flat(model)
    meant = layers_matching(graph, layers)
    candidates = [op for op in operations(graph) if op.name in meant and getattr(op, "weights", [])]
    found = [op for op in candidates if norm_axes(op) is not None]
    if not found:
        what = f"None of the layers of '{model.name}' that are meant takes a max-norm."
        expected = "dense layers, convolutions, embeddings"
        raise SurgeryError(what, expected=expected, received=", ".join(sorted(meant))[:80])
    limited = {id(_weight(layer, argument)) for layer in found for argument in norm_axes(layer) or {}}
    # A layer of a model inside may have a twin under another name in the flat network: the configuration is its own's.
    for layer in [*found, *model._flatten_layers()]:
        for argument in norm_axes(layer) or {}:
            if layer.built and id(_weight(layer, argument)) in limited:
                constraint = None if limit is None else max_norm(limit, layer, argument)
                setattr(layer, argument, constraint)
                _weight(layer, argument).constraint = constraint
    forget_steps(model)
    names = Limited(layer.name for layer in found)
    names.limit = limit
    return names


def _weight(layer: keras.layers.Layer, argument: str) -> keras.Variable:
    found = (getattr(layer, name, None) for name in _WEIGHTS[argument])
    return next(weight for weight in found if isinstance(weight, keras.Variable))
