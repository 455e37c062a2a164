"""When a command uses which port, in cycles after its issue: the contract between units, compiler and cycle model.

What each command does is said by the unit that carries it out (`sim.units`); the unit tests assert every number against
the RTL.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Activity:
    """What one command does: offsets count from its issue cycle, the unit's start, as 0.

    Parameters
    ----------
    busy : int
        First offset at which its unit can be started again.
    windows : dict of str to tuple of int
        By port, ``(first, end)``, half open: the port is given an address, or its write enable is high, in cycles
        ``first <= offset < end``.
    """

    busy: int
    windows: dict[str, tuple[int, int]]
