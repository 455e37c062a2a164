"""When each command uses which port, in cycles after its issue: the contract between units, compiler and cycle model.

Offsets count from the issue cycle (`start` high) as 0. A window ``(first, end)`` is half open: the port is given an address, or its
write enable is high, in cycles ``first <= offset < end``. The unit tests assert every number here against the RTL.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Activity:
    """What one command does: `busy` is the first offset at which its unit can be started again."""

    busy: int
    windows: dict[str, tuple[int, int]]
