"""What a part of an engine takes of an FPGA, where unknown is not the same as nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from ..errors import check


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Resources of a unit; None means unknown.

    Parameters
    ----------
    luts : float, optional
        Look-up tables of the family, those used as shift registers, memory and carry logic included.
    ffs : float, optional
        Flip-flops.
    dsps : float, optional
        Multiplier blocks.
    brams : float, optional
        Block memories of the family: 36 kbit (a half of one counts 0.5), or 18 kbit on ECP5.
    urams : float, optional
        UltraRAM blocks of 288 kbit; none unless said.
    """

    luts: float | None
    ffs: float | None
    dsps: float | None
    brams: float | None
    urams: float | None = 0

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of the quantities that are unknown."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) is None)

    def __add__(self, other: Cost) -> Cost:
        """Add; what is unknown on either side is unknown in the sum."""
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in _NAMES}
        return Cost(**{name: None if a is None or b is None else a + b for name, (a, b) in pairs.items()})


_NAMES = tuple(f.name for f in fields(Cost))
#: Takes nothing.
NOTHING = Cost(luts=0, ffs=0, dsps=0, brams=0)


def total(costs: Mapping[str, Cost]) -> Cost:
    """Add the costs of named units.

    Raises
    ------
    BivitError
        When a quantity of a unit is unknown: its name and the quantity.
    """
    for name, cost in costs.items():
        check(
            not cost.unknown,
            f"the total is unknown because {' and '.join(cost.unknown)} of {name} are; "
            "leave the unit out or synthesise it",
        )
    result = NOTHING
    for cost in costs.values():
        result += cost
    return result
