"""Every trap that is known, measured in plain Keras and in zoo.

``python -m tests.traps --write docs/traps.md`` writes the page anew; a test checks that it is true.
"""

import argparse
import inspect
from functools import cache
from pathlib import Path
from types import ModuleType

import keras

from . import traps_in_surgery, traps_in_training, traps_of_optimizers
from .trap import Measure, Trap

PAGE = Path(__file__).parents[1] / "docs" / "traps.md"


def _traps(module: ModuleType) -> dict[str, Measure]:
    found = {name: f for name, f in vars(module).items() if inspect.isfunction(f) and f.__module__ == module.__name__}
    return {name: f for name, f in found.items() if inspect.signature(f).return_annotation is Trap}


GROUPS = {
    "Freezing and training": _traps(traps_in_training),
    "Optimizers": _traps(traps_of_optimizers),
    "Cutting and joining": _traps(traps_in_surgery),
}
TRAPS: dict[str, Measure] = {name: f for group in GROUPS.values() for name, f in group.items()}


@cache
def measured(name: str) -> Trap:
    """What a trap's function measures, once a process."""
    return TRAPS[name]()


def shown(value: float | str) -> str:
    """A figure as the page has it."""
    return f"`{value}`" if isinstance(value, str) else f"{value:.3g}"


def row(name: str) -> str:
    """A trap's row of the page."""
    trap = measured(name)
    told = " ".join((inspect.getdoc(TRAPS[name]) or "").split())
    return f"| {name.replace('_', ' ')} | {told} | {trap.figure} | {shown(trap.plain)} | {shown(trap.ours)} |"


def page() -> str:
    """The documentation page, made by measuring each trap."""
    head = [
        "# Traps",
        "",
        "What is known to go wrong when networks are taken apart, frozen and trained, each as a figure measured in",
        f"plain Keras {keras.__version__} and in zoo. A name in code type is the error that it ends in. It is written",
        "by `python -m tests.traps --write docs/traps.md`, and tests check that each trap is still one in Keras, that",
        "zoo does not fall into it, and that the figures are these.",
    ]
    body = []
    for title, group in GROUPS.items():
        body += ["", f"## {title}", "", "| trap | what happens | figure | plain Keras | zoo |", "|---|---|---|---|---|"]
        body += [row(name) for name in group]
    return "\n".join([*head, *body, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures every trap in plain Keras and in zoo.")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page there instead of printing it")
    arguments = parser.parse_args()
    if arguments.write:
        arguments.write.write_text(page(), encoding="utf-8")
    else:
        print(page())


if __name__ == "__main__":
    main()
