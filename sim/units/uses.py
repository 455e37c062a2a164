"""What a command occupies beyond its unit: ports of others, and words of memories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from ..engine.commands import OperandMemory
from ..engine.config import EngineConfig
from ..engine.timing import Activity
from ..engine.words import WORD, ceil_div


@dataclass(frozen=True)
class Uses:
    """What one command occupies.

    Parameters
    ----------
    unit : str
        Unit that carries it out.
    activity : Activity
        When it uses what, from its issue on.
    ports : dict of str to str
        Port that each window occupies; windows without an entry occupy none.
    """

    unit: str
    activity: Activity
    ports: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def each(self) -> tuple[tuple[str, int, int], ...]:
        """Unit and ports, with the cycles in which they are used."""
        windows = self.activity.windows
        return (self.unit, 0, self.activity.busy), *((port, *windows[window]) for window, port in self.ports.items())


class Extent(NamedTuple):
    """Words of a memory that a command touches."""

    memory: str
    first: int
    words: int


def with_window(activity: Activity, name: str, window: tuple[int, int]) -> Activity:
    """Return `activity` with one more window, or another one of that name."""
    return Activity(activity.busy, {**activity.windows, name: window})


def bits_written(activity: Activity, store_cycles: int) -> Activity:
    """Move a unit's bits by the cycles that the store takes to write them; until then their destination is kept."""
    first, end = (offset + store_cycles for offset in activity.windows["bits.write"])
    return with_window(with_window(activity, "bits.write", (first, end)), "destination", (0, end))


def bits_to(memory: OperandMemory, unit: str) -> dict[str, str]:
    """Ports of a unit whose bits go to `memory`."""
    return {"bits.write": f"{memory}.write", "destination": f"{unit}.destination"}


def bits_reach(engine: EngineConfig, memory: OperandMemory, addr: int, token: int, rows: int, chunks: int) -> Extent:
    """Words that bits of a tile go to: rows of one word, or words by token."""
    if memory not in (OperandMemory.KEY, OperandMemory.VALUE):
        return Extent(str(memory), addr, ceil_div(chunks, engine.chunks_per_word))
    per_word = engine.columns if memory == OperandMemory.KEY else WORD
    first = token // per_word
    return Extent(str(memory), addr + first, (token + rows - 1) // per_word - first + 1)


def rows_reach(rows: int, stride: int, chunks: int) -> int:
    """Words from the first of a rectangle to its last."""
    return (rows - 1) * stride + chunks
