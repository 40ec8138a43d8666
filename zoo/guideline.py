"""The chapter's closing table as code: its defaults, and where a network departs from them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, overload

import keras

from . import initializer_rules, structure_rules, training_rules
from .departure import Departure, Departures
from .errors import PlanError
from .flattening import flat, is_opaque
from .graph import operations
from .layers.optimizers import optimizer as named_optimizer
from .plan import Plan, check_fits
from .text_table import text_table
from .wiring import Wiring


@dataclass(frozen=True)
class Subject:
    """What is judged: a network, read, and how it is to be trained, as far as that is known."""

    model: keras.Model
    wiring: Wiring
    plan: Plan | None
    optimizer: Any
    learning_rate: float | None


Rule = Callable[[Subject], Iterator[Departure]]

#: Every rule by its name, in the order in which departures are listed.
RULES: dict[str, Rule] = {
    "initializer by the activation": lambda s: initializer_rules.initializer(s.wiring),
    "kernels that start equal": lambda s: initializer_rules.constant_kernel(s.wiring),
    "conditions of SELU": lambda s: initializer_rules.selu(s.wiring),
    "alpha dropout for SELU alone": lambda s: initializer_rules.alpha_dropout(s.wiring),
    "saturating activations in a deep stack": lambda s: structure_rules.saturating(s.wiring),
    "slope of leaky ReLU": lambda s: structure_rules.keras_leaky_relu(s.wiring),
    "activation between dense layers": lambda s: structure_rules.linear_pairs(s.wiring),
    "softmax in hidden layers": lambda s: structure_rules.hidden_softmax(s.wiring),
    "softmax twice, or of one": lambda s: structure_rules.softmax_misused(s.wiring),
    "bias before batch normalization": lambda s: structure_rules.bias_before_batch_norm(s.wiring),
    "batch normalization after dropout": lambda s: structure_rules.batch_norm_after_dropout(s.wiring),
    "rate of dropout": lambda s: structure_rules.much_dropout(s.wiring),
    "axes of a norm": lambda s: training_rules.norm_over_wrong_axes(s.wiring),
    "l1 and l2 before batch normalization": lambda s: training_rules.penalty_before_batch_norm(s.wiring),
    "l2 with adaptive rates": lambda s: training_rules.penalty_with_adam(s.wiring, s.optimizer),
    "live batch normalization when frozen": lambda s: training_rules.live_batch_norm(s.wiring, s.plan, s.learning_rate),
    "optimizer": lambda s: training_rules.optimizer_for_depth(s.wiring, s.optimizer),
    "loss and output": lambda s: training_rules.loss_for_output(s.wiring, s.model),
}

#: The chapter's closing table: what, by default, and the call or option.
DEFAULTS = (
    ("initialization", "He", 'initializer="he_normal"; zoo.layers.for_activation("elu")'),
    ("activation", "ELU", 'activation="elu", --hidden 64 --activation elu'),
    ("normalization", "batch normalization", "batch_norm=True"),
    ("regularization", "dropout, early stopping", "dropout=0.2, --dropout 0.2, --patience 5"),
    ("optimizer", "Adam", "--optimizer adam"),
    ("learning rate", "constant, found by trial", "--learning-rate 1e-3"),
    ("start", "a network of a similar task", "zoo.finetune(NETWORK, DATA)"),
)

#: Its exceptions: where, what instead, and the call or option.
EXCEPTIONS = (
    ("the rate is hard to find", "a schedule, such as exponential", "--schedule exponential, zoo.layers.schedule"),
    ("Adam settles badly", "Nesterov momentum and a schedule", "--optimizer sgd --momentum 0.9 --nesterov"),
    ("the data is little", "augmentation", "--augment standard"),
    ("the model has to be sparse", "l1, or FTRL; tiny weights to 0", "zoo.zero_tiny_weights"),
    (
        "prediction has to be fast",
        "fold batch normalization, leaky ReLU",
        'zoo.fold_batch_norm, activation="leaky_relu"',
    ),
    ("the network overfits", "RReLU, more dropout", "--hidden 64 --activation rrelu --dropout 0.5"),
    ("the data is plenty", "PReLU", "--hidden 64 --activation prelu"),
    ("the activation is SELU", "LeCun, alpha dropout, no batch norm", 'zoo.layers.for_activation("selu")'),
    ("it is tanh or logistic", "Xavier; for logistic 4 times as wide", 'zoo.layers.for_activation("tanh")'),
    ("the network is shallow", "no batch normalization", "batch_norm=False"),
    ("the network is reused", "its batch normalization frozen", "--batch-norm frozen"),
)


@dataclass(frozen=True)
class Guidelines:
    """The chapter's default configuration and its exceptions; printed as two tables.

    Attributes:
        defaults: What, by default, and how to say it.
        exceptions: Where, what instead, and how to say it.
    """

    defaults: tuple[tuple[str, str, str], ...] = DEFAULTS
    exceptions: tuple[tuple[str, str, str], ...] = EXCEPTIONS

    def as_dict(self) -> dict[str, Any]:
        """Both tables, as JSON has them."""
        defaults = [dict(zip(("what", "default", "how"), row, strict=True)) for row in self.defaults]
        exceptions = [dict(zip(("where", "instead", "how"), row, strict=True)) for row in self.exceptions]
        return {"defaults": defaults, "exceptions": exceptions}

    def __str__(self) -> str:
        defaults = text_table(("", "by default", "how"), self.defaults)
        return f"{defaults}\n\n{text_table(('where', 'instead', 'how'), self.exceptions)}"


@overload
def guidelines(model: None = None) -> Guidelines: ...
@overload
def guidelines(
    model: keras.Model, *, plan: Plan | None = None, optimizer: Any = None, learning_rate: float | None = None
) -> Departures: ...
def guidelines(
    model: keras.Model | None = None,
    *,
    plan: Plan | None = None,
    optimizer: Any = None,
    learning_rate: float | None = None,
) -> Guidelines | Departures:
    """The chapter's practical guidelines; with a network: where it departs from them, each time with the reason.

    Only what the network's configuration says is read: no data, no values of weights, nothing is changed. Rules on
    initializers matter where training starts from scratch, and say so. A departure need not be a fault: it is what to
    have a reason for.

    Args:
        model: Any Keras model; models inside are taken apart. Where it is compiled, its loss and optimizer count.
        plan: How it is to be frozen; by default its layers' own ``trainable`` counts.
        optimizer: What is to train it, if it is not compiled with it: a Keras optimizer, or its name.
        learning_rate: The rate that it is to be trained at; named where it matters.

    Returns:
        Without a network the default configuration and its exceptions, as tables. With one a list of departures, empty
        where there are none. ``print`` either, or take ``as_dict()``.

    Raises:
        SurgeryError: if the model is not built.
        PlanError: if there is a plan and no network, or the plan is of another network.
        RecipeError: if Keras has no such optimizer.

    Reference:
        The sources of each rule stand in its reason; ``docs/guidelines.md`` lists all rules.

    Example:
        >>> import zoo
        >>> from zoo.models import dnn
        >>> len(zoo.guidelines(dnn.build((8,), 3, depth=20)))
        0
        >>> [departure.rule for departure in zoo.guidelines(dnn.build((8,), 3, depth=20, activation="tanh"))]
        ['saturating activation']
    """
    if model is None:
        if plan is not None:
            what = "A plan says nothing about the guidelines without its network."
            raise PlanError(what, fix="Give both: zoo.guidelines(model, plan=plan).")
        return Guidelines()
    graph = flat(model)
    if plan is not None:
        check_fits(plan, graph)
    if isinstance(optimizer, str):
        optimizer = named_optimizer(optimizer)
    if optimizer is None and getattr(model, "compiled", False):
        optimizer = model.optimizer
    subject = Subject(model, Wiring(graph), plan, optimizer, learning_rate)
    found = [departure for rule in RULES.values() for departure in rule(subject)]
    unread = tuple(operation.name for operation in operations(graph) if is_opaque(operation))
    return Departures(model.name, tuple(found), tuple(RULES), unread)
