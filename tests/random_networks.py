"""Random functional networks, each with the program that it was built from."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import hypothesis.strategies as st
import keras
import numpy as np
from hypothesis import assume

from .networks import live
from .programs import Call, Drawn, Form, Program, as_list, in_inference, numbers, plainly, with_state

layers = keras.layers

BATCH, STEPS, SIDE = 8, 4, 4
ACTIVATIONS = ("tanh", "elu", "gelu", "linear")


class _Builder:
    """A network in the making: each step makes calls on tensors that are there already."""

    def __init__(self, draw: Any, inside: "_Builder | None" = None, chain: bool = False):
        self.draw, self.chain = draw, chain
        self.depth = inside.depth + 1 if inside else 0
        self.tensors: list[Any] = []
        self.program = Program(())
        self._count: Counter[str] = Counter()
        self._closed: set[int] = set()
        #: What can be called again, with the shapes that it takes: in a model inside, the network's own layers too.
        self._known: list[tuple[Call, list[tuple[int, ...]]]] = []
        self._own = inside._own if inside else self._known
        if inside:
            self._known += [known for known in self._own if not known[0].inside]

    def input(self, name: str, shape: tuple[int, ...], dtype: str = "float32") -> int:
        self.tensors.append(keras.Input(shape, dtype=dtype, name=name))
        self.program.inputs += (name,)
        return len(self.tensors) - 1

    def call(self, what: Any, *takes: int, form: Form = plainly, inside: Program | None = None) -> tuple[int, ...]:
        made = keras.tree.flatten(form(what, [self.tensors[i] for i in takes]))
        gives = tuple(range(len(self.tensors), len(self.tensors) + len(made)))
        self.tensors += made
        name = made[0]._keras_history.operation.name
        self.program.calls.append(Call(what, form, takes, gives, name, inside))
        if isinstance(what, layers.Layer) and not isinstance(what, (layers.Embedding, layers.MultiHeadAttention)):
            self._known.append((self.program.calls[-1], [self.shape(i) for i in takes]))
        return gives

    def layer(self, kind: type, *takes: int, form: Form = plainly, **config: Any) -> tuple[int, ...]:
        """Calls a new layer."""
        return self.call(kind(**config, name=self.name(kind.__name__.lower())), *takes, form=form)

    def name(self, kind: str) -> str:
        """A name; the layers of different models inside bear the same ones, and three neighbours share a beginning."""
        self._count[kind] += 1
        return f"{'in' if self.depth else 'b'}{1 + len(self.program.calls) // 3}_{kind}{self._count[kind]}"

    def shape(self, i: int) -> tuple[int, ...]:
        return tuple(self.tensors[i].shape[1:])

    def pick(self, among: Sequence[int] = ()) -> int:
        """A tensor, one of the last more often."""
        found = list(among or [i for i, t in enumerate(self.tensors) if t.dtype == "float32"])
        found = [i for i in found if i not in self._closed]
        return found[-1] if self.chain else self.draw(st.sampled_from(found[-2:] + found))

    def wide(self, i: int, width: int) -> int:
        return i if self.shape(i)[-1] == width else self.layer(layers.Dense, i, units=width)[0]

    def vector(self, i: int) -> int:
        """A tensor as one vector for each example."""
        if len(self.shape(i)) == 1:
            return i
        pools = [(layers.GlobalAveragePooling2D, {}), (layers.Flatten, {})]
        if len(self.shape(i)) == 2:
            pools = [(layers.GlobalAveragePooling1D, {}), (layers.GRU, {"units": 3})]
        kind, config = self.draw(st.sampled_from(pools))
        return self.layer(kind, i, **config)[0]

    def sequence(self) -> int:
        i = self.pick()
        if len(self.shape(i)) == 3:
            high, wide, channels = self.shape(i)
            return self.layer(layers.Reshape, i, target_shape=(high, wide * channels))[0]
        return i if len(self.shape(i)) == 2 else self.layer(layers.RepeatVector, i, n=STEPS)[0]

    def image(self) -> int:
        found = [i for i in range(len(self.tensors)) if len(self.shape(i)) == 3]  # never closed: those are sequences
        if found:
            return self.pick(found)
        flat = self.wide(self.vector(self.pick()), SIDE * SIDE)
        return self.layer(layers.Reshape, flat, target_shape=(SIDE, SIDE, 1))[0]

    def sinks(self) -> list[int]:
        """What nothing takes: the first output of each call none of whose outputs is taken, and unused inputs."""
        taken = {i for call in self.program.calls for i in call.takes}
        unused = [i for i in range(len(self.program.inputs)) if i not in taken]
        calls = [call for call in self.program.calls if not taken & set(call.gives)]
        return [call.gives[0] for call in calls] + [self.layer(layers.Dense, i, units=3)[0] for i in unused]

    # Steps

    def step(self) -> None:
        steps = [self.dense, self.normalize, self.normalize, self.switch, self.arithmetic]
        if not self.chain:
            steps += [self.recur, self.attend, self.convolve, self.several]
            steps += [self.join] * 2 + [self.again] * 3
        if self.depth < 2 and not self.chain:
            steps += [self.model] * 3 + [self.sequential]
        self.draw(st.sampled_from(steps))()

    def dense(self) -> None:
        units, activation = self.draw(st.integers(2, 4)), self.draw(st.sampled_from(ACTIVATIONS))
        self.layer(layers.Dense, self.pick(), units=units, activation=activation)

    def normalize(self) -> None:
        i = self.pick()
        kinds = [layers.BatchNormalization] * 3 + [layers.LayerNormalization] * (self.shape(i)[-1] > 2)
        self.layer(self.draw(st.sampled_from(kinds)), i)

    def switch(self) -> None:
        """What differs between training and inference, or holds no weights."""
        kinds = [
            (layers.Dropout, {"rate": 0.5}),
            (layers.GaussianNoise, {"stddev": 0.5}),
            (layers.Rescaling, {"scale": 3.0}),
        ]
        kinds += [(layers.Activation, {"activation": name}) for name in ACTIVATIONS]
        kind, config = self.draw(st.sampled_from(kinds))
        fixed = kind is layers.Dropout and not self.chain and self.draw(st.booleans())
        self.layer(kind, self.pick(), form=in_inference if fixed else plainly, **config)

    def arithmetic(self) -> None:
        """A raw operation, which no layer holds."""
        if self.chain:
            return self.dense()
        kinds = [lambda t: t * 2, lambda t: 1.0 - t, lambda t: t[..., :2], lambda t: keras.ops.tanh(t)]
        self.call(self.draw(st.sampled_from(kinds)), self.pick())

    def join(self) -> None:
        one, other = self.pick(), self.pick()
        if self.shape(one)[:-1] != self.shape(other)[:-1]:
            one, other = self.vector(one), self.vector(other)
        kind = self.draw(st.sampled_from([layers.Add, layers.Multiply, layers.Concatenate, "minus", "join"]))
        if kind in (layers.Add, layers.Multiply, "minus"):
            other = self.wide(other, self.shape(one)[-1])
        if kind == "minus":
            self.call(lambda a, b: a - b, one, other)
        elif kind == "join":
            self.call(lambda tensors: keras.ops.concatenate(tensors, axis=-1), one, other, form=as_list)
        else:
            self.layer(kind, one, other, form=as_list)

    def again(self) -> None:
        """Calls a layer or a model once more, wherever tensors fit."""
        if not self._known:
            return self.normalize()
        call, shapes = self.draw(st.sampled_from(self._known))
        takes = []
        for shape in shapes:
            fit = [i for i in range(len(self.tensors)) if self.shape(i) == shape and i not in self._closed]
            if len(shape) > 1 and not fit:
                return self.normalize()
            takes.append(self.pick(fit) if len(shape) > 1 else self.wide(self.vector(self.pick()), shape[0]))
        self.call(call.what, *takes, form=call.form, inside=call.inside)

    def attend(self) -> None:
        """What sees a mask only on the tensor that carries it, on tensors that nothing else takes: Keras's attention
        takes the masks off its inputs, so that a network that uses them elsewhere too depends on the order of calls."""
        carrying = [i for i, t in enumerate(self.tensors) if getattr(t, "_keras_mask", None) is not None]
        carrying = [i for i in carrying if i not in self._closed]
        values = self.pick(carrying) if carrying and self.draw(st.booleans()) else self.sequence()
        own = [self.layer(layers.Rescaling, i, scale=1.5)[0] for i in (self.sequence(), values)]
        self._closed |= set(own)
        self.layer(layers.MultiHeadAttention, *own, num_heads=1, key_dim=2)

    def recur(self) -> None:
        kind = self.draw(st.sampled_from([layers.LSTM, layers.SimpleRNN, layers.Bidirectional, layers.TimeDistributed]))
        i = self.sequence()
        if kind is layers.Bidirectional:
            self.layer(kind, i, layer=layers.SimpleRNN(2, return_sequences=True))
        elif kind is layers.TimeDistributed:
            self.layer(kind, i, layer=layers.Dense(3))
        else:
            self.layer(kind, i, units=3, return_sequences=True)

    def convolve(self) -> None:
        kinds = [layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.MaxPooling2D, layers.Conv1D]
        kind = self.draw(st.sampled_from(kinds))
        if kind is layers.MaxPooling2D:
            self.layer(kind, self.image(), pool_size=2, strides=self.draw(st.sampled_from([1, 2])), padding="same")
        elif kind is layers.DepthwiseConv2D:
            self.layer(kind, self.image(), kernel_size=2, padding="same")
        else:
            i = self.sequence() if kind is layers.Conv1D else self.image()
            self.layer(kind, i, filters=2, kernel_size=2, padding="same", activation="tanh")

    def several(self) -> None:
        """Several outputs, of which some may stay unused."""
        if self.draw(st.booleans()):
            self.call(lambda t: keras.ops.split(t, 2, axis=-1), self.wide(self.pick(), 4))
            return
        _, *states = self.layer(layers.LSTM, self.sequence(), units=3, return_sequences=True, return_state=True)
        if self.draw(st.booleans()):
            self.layer(layers.LSTM, self.sequence(), *states, form=with_state, units=3)

    def model(self) -> None:
        takes = [self.pick() for _ in range(self.draw(st.integers(1, 2)))]
        inner = _Builder(self.draw, self)
        starts = [inner.input(f"in{k}", self.shape(i)) for k, i in enumerate(takes)]
        for _ in range(self.draw(st.integers(1, 3))):
            inner.step()
        ends = inner.sinks()
        inner.program.outputs = ends
        model = keras.Model(*([inner.tensors[i] for i in of] for of in (starts, ends)), name=self.name("model"))
        form = as_list if len(takes) > 1 else self.draw(st.sampled_from([plainly, in_inference]))
        self.call(model, *takes, form=form, inside=inner.program)

    def sequential(self) -> None:
        i = self.pick()
        inner = _Builder(self.draw, self, chain=True)
        inner.input("start", self.shape(i))
        for _ in range(self.draw(st.integers(1, 3))):
            inner.step()
        inner.program.outputs = [len(inner.tensors) - 1]
        stack = [keras.Input(self.shape(i)), *(call.what for call in inner.program.calls)]
        self.call(keras.Sequential(stack, name=self.name("sequential")), i, inside=inner.program)


def _begin(builder: _Builder, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The inputs, at least one, and a batch for each; padding is 0, and never the first of a text."""
    kinds = builder.draw(st.lists(st.sampled_from(["vector", "sequence", "image", "tokens"]), min_size=1, max_size=3))
    shapes = {"vector": (4,), "sequence": (STEPS, 3), "image": (SIDE, SIDE, 2), "tokens": (STEPS,)}
    batch = {}
    for name, kind in zip(("z", "a", "m"), kinds, strict=False):  # which is not their order by name
        builder.input(name, shapes[kind], "int32" if kind == "tokens" else "float32")
        batch[name] = rng.normal(size=(BATCH, *shapes[kind])).astype("float32")
    for i, (kind, x) in enumerate(zip(kinds, batch.values(), strict=True)):
        if kind == "tokens":
            tokens = rng.integers(0, 7, (BATCH, STEPS)).astype("int32")
            tokens[:, 0] = 1 + np.arange(BATCH) % 6
            batch[builder.program.inputs[i]] = tokens
            builder.layer(layers.Embedding, i, input_dim=7, output_dim=3, mask_zero=builder.draw(st.booleans()))
        elif kind == "sequence" and builder.draw(st.booleans()):
            x[::2, -1] = 0.0
            builder.layer(layers.Masking, i)
    return batch


def _end(builder: _Builder) -> Any:
    """The outputs: everything ends in one of at most three, and a tensor from the middle may be one more."""
    sinks = builder.sinks()
    count = builder.draw(st.integers(1, min(3, len(sinks))))
    ends = []
    for k in range(count):
        parts = [builder.vector(i) for i in sinks[k::count]]
        whole = builder.layer(layers.Concatenate, *parts, form=as_list)[0] if len(parts) > 1 else parts[0]
        ends.append(builder.layer(layers.Dense, whole, units=3)[0])
    ends += [builder.pick()] * builder.draw(st.booleans())
    structures = [ends, dict(zip("zyxw", ends, strict=False)), {"some": ends[:1], "others": ends[1:]}]
    return builder.draw(st.sampled_from(structures))


def _settle(model: keras.Model, x: Any, rng: np.random.Generator) -> None:
    """Values from the seed for every variable; the statistics of batch normalization are those of a batch."""
    for variable in model.variables:
        if variable.name == "seed_generator_state":
            variable.assign(rng.integers(0, 2**16, 2))
        elif variable.name == "gamma":
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif not variable.name.startswith("moving_"):
            variable.assign(rng.normal(size=variable.shape) / np.sqrt(np.prod(variable.shape[:-1])))
    live(model, x)


@st.composite
def networks(draw: Any) -> Drawn:
    """Random functional networks that are alive, each with a batch and with its program."""
    seed, before = draw(st.integers(0, 2**16)), random.getstate()
    random.seed(seed)  # Keras takes its own seeds from there, and hypothesis wants it back as it was
    try:
        return _network(draw, np.random.default_rng(seed))
    finally:
        random.setstate(before)


def _network(draw: Any, rng: np.random.Generator) -> Drawn:
    builder = _Builder(draw)
    batch = _begin(builder, rng)
    for _ in range(draw(st.integers(3, 7))):
        builder.step()
    program = builder.program
    program.outputs = _end(builder)
    inputs: Any = dict(zip(program.inputs, builder.tensors, strict=False))
    x: Any = batch
    if draw(st.booleans()):
        inputs, x = (list(of.values()) for of in (inputs, batch))
    outputs = keras.tree.map_structure(builder.tensors.__getitem__, program.outputs)
    model = keras.Model(inputs, outputs, name="random")
    _settle(model, x, rng)
    assume(all(float(y.std(axis=0).max()) > 0.01 for y in numbers(model(x, training=False))))
    drawn = Drawn(model, x, program)
    for name in draw(st.lists(st.sampled_from(sorted(drawn.layers)), max_size=2)):
        drawn.layers[name].trainable = False  # by its user, before
    return drawn
