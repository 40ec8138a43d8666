"""Keeping a plan: what it switches before training, and the proof afterwards that nothing frozen moved."""

from collections.abc import Mapping

import keras

from .array_digests import variable_digests
from .boundary import Boundary, augmenting, boundary, draws_in_training
from .errors import PlanError
from .flattening import flat
from .graph import is_seed_state, operations, takes_training
from .plan import Plan, Row, is_batch_norm, leaf_layers, learnable, learns


def apply(plan: Plan, graph: keras.Model) -> None:
    """Sets the ``trainable`` of every leaf layer that holds variables as the plan says.

    Raises:
        PlanError: if the plan does not cover a layer.
    """
    for operation in operations(graph):
        row = plan.row_of(operation.name)
        for leaf in leaf_layers([operation]):
            if leaf.variables:
                leaf.trainable = learns(leaf, row.rate, row.batch_norm)
                may_move = {id(v) for v in learnable(leaf)}
                for variable in leaf._trainable_variables:
                    variable.trainable = leaf.trainable and id(variable) in may_move


def multipliers_of(plan: Plan, graph: keras.Model) -> dict[int, float]:
    """The rate's multiplier of each variable that learns, by the variable's ``id``."""
    return {
        id(variable): plan.row_of(operation.name).rate
        for operation in operations(graph)
        for leaf in leaf_layers([operation])
        for variable in leaf.trainable_variables
    }


def held_in_inference(plan: Plan, operation: object, live: frozenset[str] = frozenset()) -> bool:
    """Whether an operation runs as in inference while the network trains: all of a frozen block does (no dropout, fixed
    statistics) but the network's ``live`` augmentation, and batch normalization whose statistics are fixed."""
    if not isinstance(operation, keras.layers.Layer) or not takes_training(operation) or operation.name in live:
        return False
    row = plan.row_of(operation.name)
    return row.frozen or (is_batch_norm(operation) and row.batch_norm != "train")


def adapting(plan: Plan, graph: keras.Model) -> list[str]:
    """The names of the batch normalizations whose statistics are to be re-estimated before training."""
    found = [op.name for op in operations(graph) if is_batch_norm(op)]
    return [name for name in found if plan.row_of(name).batch_norm == "adapt"]


def edge_of(plan: Plan, graph: keras.Model) -> Boundary:
    """The deepest frozen boundary of a flat network under a plan: what lies below need not be run in every step."""
    return boundary(graph, plan.frozen_layers, augmenting(graph))


def silenced(plan: Plan, graph: keras.Model) -> list[str]:
    """The names of the layers that are random in training, and are held because their blocks are frozen."""
    live = augmenting(graph)
    return [op.name for op in operations(graph) if draws_in_training(op) and held_in_inference(plan, op, live)]


def frozen_digests(plan: Plan, graph: keras.Model, known: Mapping[int, str] | None = None) -> dict[str, str]:
    """The SHA-256 of everything that must not move under a plan: frozen weights, and statistics that are not live.

    Args:
        plan: The plan.
        graph: The flat network.
        known: What :func:`zoo.array_digests.variable_digests` gave for its variables as they are now.
    """
    held = _held(plan, graph)
    found = variable_digests(held.values()) if known is None else known
    return {name: found[id(variable)] for name, variable in held.items()}


def _held(plan: Plan, graph: keras.Model) -> dict[str, keras.Variable]:
    held: dict[str, keras.Variable] = {}
    for operation in operations(graph):
        row = plan.row_of(operation.name)
        for leaf in leaf_layers([operation]):
            moving = {id(v) for v in _moving(leaf, row)}
            for variable in leaf.variables:
                if id(variable) not in moving and not is_seed_state(variable):
                    held[f"{operation.name}: {variable.path} {len(held)}"] = variable
    return held


def _moving(leaf: keras.layers.Layer, row: Row) -> list[keras.Variable]:
    """The variables of a leaf layer that training may move."""
    if not learns(leaf, row.rate, row.batch_norm):
        return []
    if is_batch_norm(leaf) and row.batch_norm != "train":
        return list(leaf._trainable_variables)
    fixed = {id(v) for v in leaf._trainable_variables} - {id(v) for v in learnable(leaf)}
    return [v for v in leaf.variables if id(v) not in fixed]


def audit(plan: Plan, graph: keras.Model, before: Mapping[str, str], known: Mapping[int, str] | None = None) -> int:
    """Checks that everything frozen is byte-identical to what it was.

    Args:
        plan: The plan that was trained under.
        graph: The flat network.
        before: What :func:`frozen_digests` gave before training.
        known: What :func:`zoo.array_digests.variable_digests` gave for the network's variables as they are now.

    Returns:
        How many frozen variables were compared.

    Raises:
        PlanError: if one moved.
    """
    after = frozen_digests(plan, graph, known)
    moved = sorted(name for name in before if after.get(name) != before[name])
    if moved:
        what = f"The plan was not kept: {len(moved)} frozen variable(s) moved during training: {', '.join(moved[:5])}."
        fix = "A callback or a layer of your own writes to them; the run's result is not what the plan says."
        raise PlanError(what, expected="every frozen weight and statistic byte-identical", fix=fix)
    return len(before)


def trainable_switches(model: keras.Model) -> dict[int, bool]:
    """What ``trainable`` says, to be put back after training: of every leaf layer with variables, by the ``id`` of its
    list of them, and of every variable, by its own."""
    leaves = [leaf for leaf in leaf_layers(operations(flat(model))) if leaf.variables]
    said = {id(leaf._trainable_variables): leaf.trainable for leaf in leaves}
    return said | {id(v): v.trainable for leaf in leaves for v in leaf.variables}


def restore_switches(model: keras.Model, switches: dict[int, bool]) -> None:
    """Puts back what :func:`trainable_switches` gave: a saved result is not frozen behind its user's back."""
    for leaf in leaf_layers(operations(flat(model))):
        leaf.trainable = switches.get(id(leaf._trainable_variables), leaf.trainable)
        for variable in leaf.variables:
            variable.trainable = switches.get(id(variable), variable.trainable)
