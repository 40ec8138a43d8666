"""What a stage computes: augmentation, the frozen trunk, and the head that learns."""

from typing import Any

import keras

from .boundary import Boundary, augmenting, cut_head
from .enforcement import held_in_inference
from .graph import Runner, is_seed_state
from .layers import Inference
from .layers.mixing import Mix, mixed
from .plan import Plan


class StageNetwork(keras.Model):
    """Augmentation, the frozen trunk in inference, and the head.

    The trunk is called with ``training=False`` here, in a ``call`` of our own: inside a functional model Keras would
    overrule it.

    Args:
        augment: Layers on the raw inputs, random only in training.
        trunk: What lies below the boundary; ``None`` where there is none, or where its features are the inputs.
        head: What lies above it.
        precision: The dtype policy; ``mixed_float16`` has the optimizer scale the loss.
        network: The whole network that trunk and head were cut from.
        mixes: Whether batches come as :meth:`to_be_mixed` gives them while training.
    """

    def __init__(
        self,
        augment: list[Any],
        trunk: keras.Model | None,
        head: keras.Model,
        precision: str,
        network: Any = None,
        *,
        mixes: bool = False,
    ):
        super().__init__(dtype=precision, autocast=False)  # raw inputs keep their 32 bits
        self.augment, self.trunk, self.head = augment, trunk, head
        self._mixes = mixes
        self._whole = (lambda: network) if network is not None else None  # not tracked: its layers are here already
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Calls one after the other."""
        mixing = self._mixes and training
        x, *mix = inputs if mixing else (inputs,)
        for layer in self.augment:
            x = layer(x, training=training)
        if mixing:
            x = mixed(x, *mix)  # after the layers: they would move what the targets count
        if self.trunk is not None:
            x = self.trunk(x, training=False)
        return self.head(x, training=training)

    @staticmethod
    def to_be_mixed(x: Any, mix: Mix) -> tuple[Any, Any, Any]:
        """A batch together with how its examples are mixed."""
        return x, mix.partner.astype("int32"), mix.keep

    @property
    def network(self) -> keras.Model | None:
        """The whole network; it shares its layers with what is trained here."""
        return self._whole() if self._whole is not None else None

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Saves the whole network: what a callback that saves models means."""
        (self.network or super()).save(*args, **kwargs)

    def save_weights(self, *args: Any, **kwargs: Any) -> None:
        """Saves the weights of the whole network."""
        (self.network or super()).save_weights(*args, **kwargs)

    @property
    def losses(self) -> list[Any]:
        """The regularization of what learns, and of what it goes through.

        What lies below the boundary cannot be changed any more; its share of the loss would be there or not, depending
        on whether the trunk is run in every step or was computed once.
        """
        return self.head.losses

    def random_states(self, graph: keras.Model) -> dict[str, Any]:
        """The states of all random generators, by names that do not depend on where the network is cut.

        Args:
            graph: The flat network that trunk and head were cut from.
        """
        inside = {id(v) for v in self.variables}
        states = {}
        for kind, holders in (("augment", self.augment), ("network", [graph])):
            found = [v for holder in holders for v in holder.variables if is_seed_state(v)]
            states |= {f"{kind}{i}": v for i, v in enumerate(found) if id(v) in inside}
        return states


def held_head(graph: keras.Model, edge: Boundary, plan: Plan) -> keras.Model:
    """The head in which everything that the plan holds in inference runs as in inference."""
    return cut_head(graph, edge, _holding(plan, augmenting(graph)))


def _holding(plan: Plan, live: frozenset[str]) -> Runner:
    """Runs what the plan holds in inference as in inference; a shared layer is wrapped once, so it stays one layer."""
    wrapped: dict[int, Any] = {}

    def runner(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if id(operation) not in wrapped:
            wrapped[id(operation)] = Inference(operation) if held_in_inference(plan, operation, live) else operation
        return wrapped[id(operation)](*args, **kwargs)

    return runner
