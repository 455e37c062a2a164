"""Synthesis that is run now of some pairs of engine and unit: is it what is kept, and how far is the estimate off?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from ...sim.errors import check
from ..synthesis.calibrate import Measurement
from ..synthesis.calibrated import LARGE_ENGINES
from ..synthesis.synth import WHOLE, synthesise
from .compared import Compared, compare

#: Seconds that one synthesis may take: those that are drawn take some.
_TIMEOUT_S = 1200.0


@dataclass(frozen=True, kw_only=True)
class Fresh(Compared):
    """One quantity of a unit that was synthesised now.

    Parameters
    ----------
    engine, unit, family, quantity : str
    estimated, synthesised : float
        The second was found now.
    error : float or None
        As of `Compared`.
    kept : float
        What docs/synthesis.json has.
    agrees : bool
        Whether that is what was found now.
    """

    kept: float
    agrees: bool


def drawn_pairs(pairs: Sequence[Measurement], count: int, seed: int) -> list[Measurement]:
    """Return so many pairs at random, of those that take no longer than a minute or so.

    Parameters
    ----------
    pairs : sequence of Measurement
    count : int
    seed : int

    Raises
    ------
    BivitError
        When there are not as many.
    """
    quick = [one for one in pairs if one.unit != WHOLE and one.engine not in LARGE_ENGINES]
    check(
        1 <= count <= len(quick),
        f"--fresh must be 1 to {len(quick)}, the units of small engines that are kept and chosen, got {count}; whole "
        "engines and units of the large ones are left to `bivit synth`",
    )
    return Random(seed).sample(quick, count)


def synthesise_pair(one: Measurement) -> list[Fresh]:
    """Synthesise a pair, whatever is cached, and compare.

    Parameters
    ----------
    one : Measurement

    Raises
    ------
    BivitError
        As `hw.synthesis.synth.synthesise`.
    """
    found = synthesise(one.unit, one.flow, one.family, timeout_s=_TIMEOUT_S, anew=True)
    rows = []
    for row in compare(replace(one, cost=found)):
        kept = getattr(one.cost, row.quantity)
        rows.append(Fresh(**vars(row), kept=kept, agrees=kept == row.synthesised))
    return rows


def synthesise_pairs(pairs: Sequence[Measurement], told: Callable[[int, Measurement], None]) -> list[Fresh]:
    """Synthesise pairs one after the other.

    Parameters
    ----------
    pairs : sequence of Measurement
    told : callable
        Is told of each before it begins: how many are done, and which it is.
    """
    rows: list[Fresh] = []
    for done, one in enumerate(pairs):
        told(done, one)
        rows += synthesise_pair(one)
    return rows
