"""What a command writes that a co-simulation observes: which piece of its task, at which probe, to which addresses."""

from __future__ import annotations

from dataclasses import dataclass

from ..engine.commands import OperandMemory


@dataclass(frozen=True)
class Written:
    """One piece of a task's tensors, as one of its command's windows writes it; a subclass says to which addresses.

    Parameters
    ----------
    window : str
        Window of the unit's `timing` in which it begins to be written.
    piece : str
        Name of the piece in `sim.program.graph.Task`.
    probe : str
        Where it is seen; of `Bits` the memory's.
    """

    window: str
    piece: str
    probe: str = ""


@dataclass(frozen=True)
class Scalars(Written):
    """One value a write, at `count` addresses from `first` on; at no address without a count."""

    first: int = 0
    count: int | None = None


@dataclass(frozen=True)
class Rows(Written):
    """Rows in chunks of lanes: chunk c of row r is word ``addr + r * stride + c``; no stride is that of whole rows."""

    addr: int = 0
    stride: int = 0


@dataclass(frozen=True, kw_only=True)
class Bits(Written):
    """Bits of a tile, from chunk `chunk` of each row on, in an operand memory, the first row being token `token`."""

    memory: OperandMemory
    addr: int
    token: int = 0
    chunk: int = 0


@dataclass(frozen=True)
class Sums(Written):
    """Drained sums by row and chunk, less the threshold that they start at, piece ``theta`` where there is one."""


@dataclass(frozen=True)
class Padded(Written):
    """One row in chunks of lanes, filled up to whole `groups` of the dense unit."""

    groups: int = 0
