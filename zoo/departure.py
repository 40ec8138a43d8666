"""A place where a network departs from the guidelines, and the list of them."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

#: The width of a printed list, and how many layers of one departure it names.
_WIDTH, _SHOWN = 108, 4


@dataclass(frozen=True)
class Departure:
    """One departure; many layers with the same fault are one.

    Attributes:
        rule: The rule's name, such as ``initializer``.
        layers: The layers concerned, bottom to top; empty where it is the network as a whole.
        what: What departs.
        why: The reason, with its source.
        fix: What to do, naming the call.
        from_scratch: Whether it matters only where training starts from fresh weights.
    """

    rule: str
    layers: tuple[str, ...]
    what: str
    why: str
    fix: str
    from_scratch: bool = False

    @property
    def where(self) -> str:
        """The layers in words, the first ones by name."""
        shown = ", ".join(self.layers[:_SHOWN])
        return shown if len(self.layers) <= _SHOWN else f"{shown} and {len(self.layers) - _SHOWN} more"

    def __str__(self) -> str:
        why = f"{self.why} It matters only where training starts from scratch." if self.from_scratch else self.why
        lines = [f"{self.rule}: {self.what}", *([f"in {self.where}"] if self.layers else []), why, f"Fix: {self.fix}"]
        wrapped = [textwrap.wrap(line, _WIDTH - 4, break_on_hyphens=False, break_long_words=False) for line in lines]
        first, *rest = [line for part in wrapped for line in part]
        return "\n".join([first, *(f"    {line}" for line in rest)])


@dataclass(frozen=True)
class Departures(Sequence[Departure]):
    """What :func:`zoo.guidelines` found in a network: a sequence, printed as a list.

    Attributes:
        network: The network's name.
        found: The departures, in the order of the rules.
        checked: The names of the rules that were asked.
        unread: Models inside whose layers cannot be told apart, so that no rule saw them.
    """

    network: str
    found: tuple[Departure, ...]
    checked: tuple[str, ...]
    unread: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, index: Any) -> Any:
        return self.found[index]

    def __iter__(self) -> Iterator[Departure]:
        return iter(self.found)

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        rows = [{**vars(one), "layers": list(one.layers)} for one in self.found]
        lists = {"checked": list(self.checked), "unread": list(self.unread)}
        return {"network": self.network, "departures": rows, **lists}

    def __str__(self) -> str:
        count = len(self.found)
        head = f"'{self.network}' departs from the guidelines in {count} point{'s' * (count > 1)}"
        if not count:
            head = f"'{self.network}' keeps to the guidelines ({len(self.checked)} rules)"
        unread = [f"not read: '{name}' is opaque: the layers inside it cannot be told apart" for name in self.unread]
        return "\n".join([head, *(str(one) for one in self.found), *unread])


def names_of(nodes: Iterable[Any]) -> tuple[str, ...]:
    """The layers that some calls are of, each once."""
    return tuple(dict.fromkeys(node.operation.name for node in nodes))
