"""What is to be done for one image, as a graph: tasks, and the values that they read and write.

A graph knows no order, no address and no time. A value is logical, such as the bits of norm1 of tile 3, whichever
memory they will lie in; `sim.program.place` gives it a slot there. Tasks are listed so that they could run one after
the other: every value is written before it is read, and that is all that the list says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ..engine.commands import Command


class Value(NamedTuple):
    """What tasks hand to each other.

    Parameters
    ----------
    name : str
        Its kind, one of those that `sim.program.place` gives slots to.
    at : tuple of int
        Which one: tile or token, then head, then group, as far as the kind has them.
    """

    name: str
    at: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}[{','.join(map(str, self.at))}]" if self.at else self.name


class Param(NamedTuple):
    """Parameters that a task reads: the `item`-th run of words of tensor `name` in a loadable memory."""

    memory: str
    name: str
    item: int = 0

    def __str__(self) -> str:
        return f"{self.memory}:{self.name}[{self.item}]"


class At(NamedTuple):
    """A place that a command is told: where a value or parameter lies, and words from there."""

    what: Value | Param
    offset: int = 0


@dataclass(frozen=True)
class Piece:
    """A rectangle of one tensor of docs/network.md, a tap or a parameter.

    Parameters
    ----------
    name : str
        Its name, without the block's prefix.
    index : tuple of int or range
        What of each axis; an integer leaves the axis out.
    units : int
        How many of the tensor's units one unit of the hardware is.
    """

    name: str
    index: tuple[int | range, ...]
    units: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements along each of its axes."""
        return tuple(len(axis) for axis in self.index if isinstance(axis, range))

    def where(self, *at: int) -> tuple[int, ...]:
        """Return the tensor's index of an element of the rectangle; past its end, the index goes on counting."""
        inner = iter(at)
        return tuple(axis if isinstance(axis, int) else axis.start + next(inner) for axis in self.index)


@dataclass(frozen=True)
class Where:
    """Where in the network a task stands, for reports.

    Parameters
    ----------
    layer : str
        Tensor that it works on, without the block's prefix.
    tile, token, head, column : int, optional
        Tile, first token, head and first channel, where the task has one.
    row : int, optional
        Row of the classifier.
    part : str
        Which of q, k and v, or which pass.
    """

    layer: str
    tile: int | None = None
    token: int | None = None
    head: int | None = None
    column: int | None = None
    row: int | None = None
    part: str = ""

    def __str__(self) -> str:
        named = {name: getattr(self, name) for name in ("tile", "token", "head", "column", "row")}
        known = [f"{name} {value}" for name, value in named.items() if value is not None]
        return " ".join([self.layer, *([self.part] if self.part else []), *known])


ByWindow = Mapping[str, tuple[Value, ...]]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One command to give, before anything is placed.

    Parameters
    ----------
    command : type of Command
        Its kind.
    where : Where
        Where in the network it stands.
    fields : dict of str to int
        Fields of the command that follow from shapes alone.
    at : dict of str to At
        What lies where the other fields point, by the field's name without ``_addr``.
    reads, writes : dict of str to tuple of Value
        Values that are read and written, by the window of its `Activity` in which it happens.
    pieces : dict of str to Piece
        The tensors that it makes, and a parameter that they stand on; names as in `sim.program.expected`.
    """

    command: type[Command]
    where: Where
    fields: Mapping[str, int] = field(default_factory=dict)
    at: Mapping[str, At] = field(default_factory=dict)
    reads: ByWindow = field(default_factory=dict)
    writes: ByWindow = field(default_factory=dict)
    pieces: Mapping[str, Piece] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.command.name} of {self.where}: {_values(self.reads)} -> {_values(self.writes)}"


@dataclass(frozen=True)
class Graph:
    """The tasks of a section of an image."""

    name: str
    tasks: tuple[Task, ...]

    def __str__(self) -> str:
        return "\n".join([f"{self.name}: {len(self.tasks)} tasks", *(f"  {task}" for task in self.tasks)])


def _values(by_window: ByWindow) -> str:
    """Name values, those that differ in their number only together."""
    found: dict[str, list[Value]] = defaultdict(list)
    for values in by_window.values():
        for value in values:
            found[value.name].append(value)
    few = [str(group[0]) if len(group) == 1 else f"{group[0]} .. {group[-1]}" for group in found.values()]
    return ", ".join(few) or "nothing"
