"""The critical path of a design: the longest way from a clock edge to the next one, and the clock that it allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...sim.system.result import Result

#: How a clock is known: routed by a place and route tool, or by a model of delays.
PathKind = Literal["placed", "modelled"]


@dataclass(frozen=True)
class Step(Result):
    """One cell of a path, and the net that leads to the next one.

    Parameters
    ----------
    unit : str
        Unit that the cell is in, as in `sim.estimate.units.FOOTPRINTS` where it is one of them; empty outside all.
    signal : str
        Net behind the cell, as Yosys names it once the hierarchy is flat.
    cell : str
        Type of the cell.
    logic_ns : float
        Through the cell; of the last one, its setup time.
    routing_ns : float
        Along the net to the next cell; 0 for the last one.
    fan_out : int
        Loads of the net.
    """

    unit: str
    signal: str
    cell: str
    logic_ns: float
    routing_ns: float
    fan_out: int


@dataclass(frozen=True)
class CriticalPath(Result):
    """The longest path, and the clock that it allows.

    Parameters
    ----------
    fmax_mhz : float
        Highest frequency of the clock.
    kind : {"placed", "modelled"}
    logic_ns, routing_ns : float
        Sums over the steps.
    steps : tuple of Step
        From the register or memory that begins it to the one that ends it.
    """

    fmax_mhz: float
    kind: PathKind
    logic_ns: float
    routing_ns: float
    steps: tuple[Step, ...]

    @property
    def levels(self) -> int:
        """Cells between the two ends."""
        return max(0, len(self.steps) - 2)

    @property
    def period_ns(self) -> float:
        """Shortest period of the clock."""
        return 1000 / self.fmax_mhz
