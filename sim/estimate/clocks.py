"""Clocks that engines reach on the families, and how each is known; by `python -m bivit.hw.synthesis.timing_page`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: How a clock is known: routed by a place and route tool, by a model of delays, or not at all.
ClockKind = Literal["placed", "modelled", "assumed"]


@dataclass(frozen=True)
class Clock:
    """A clock.

    Parameters
    ----------
    mhz : float
    kind : {"placed", "modelled", "assumed"}
    source : str
        What was placed or modelled.
    """

    mhz: float
    kind: ClockKind
    source: str


#: Clocks that were measured, by family.
CLOCKS: dict[str, Clock] = {
    "ecp5": Clock(
        104.1,
        "placed",
        "the engine `ecp5_45` on LFE5U-45F-6, all of it in one piece (docs/timing.md)",
    ),
}
