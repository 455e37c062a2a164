"""Clocks that estimates take, beside those of engines and units that were placed and routed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median

from ...sim.estimate.clocks import CLOCKS
from ...sim.system.result import Result
from ..synthesis import timing_error, timing_page
from ..synthesis.survey import Speed, part_name
from ..synthesis.synth import WHOLE

#: Engine of the units that were both modelled and placed.
MODELLED_ENGINE = "smallest"


@dataclass(frozen=True, kw_only=True)
class ClockRow(Result):
    """The clock of an engine (unit `engine`) or of one of its units.

    Parameters
    ----------
    engine, unit, family, part : str
    estimated_mhz : float
        What an estimate takes.
    kind : {"placed", "modelled"}
        How that is known: from another engine of the family that was placed, or by the static model.
    placed_mhz : float
        Placed and routed.
    error : float
        Relative, of the estimate.
    held_out : bool
        Whether the estimate has not seen it.
    """

    engine: str
    unit: str
    family: str
    part: str
    estimated_mhz: float
    kind: str
    placed_mhz: float
    error: float
    held_out: bool


@dataclass(frozen=True, kw_only=True)
class ClockSummary(Result):
    """Errors of the clocks of one family that an estimate has not seen; None where nothing was placed."""

    family: str
    kind: str
    rows: int
    median_error: float | None
    worst_error: float | None


def clock_rows(family: str | None = None, engines: Iterable[str] = ()) -> list[ClockRow]:
    """Return what is kept of placed clocks, whole engines first.

    Parameters
    ----------
    family : str, optional
        All when left out.
    engines : iterable of str
        All when empty.
    """
    chosen = set(engines)
    return [
        row for row in (*_engines(), *_units()) if family in (None, row.family) and (not chosen or row.engine in chosen)
    ]


def _engines() -> Iterator[ClockRow]:
    """Engines that were placed whole, beside the clock that every estimate of their family takes."""
    figures, _ = timing_page.load()
    for name, section in timing_page.SECTIONS.items():
        placed, clock = figures.get(name, {}).get(WHOLE), CLOCKS.get(section.family)
        if section.placed and isinstance(placed, Speed) and clock is not None and clock.kind == "placed":
            yield ClockRow(
                engine=name,
                unit=WHOLE,
                family=section.family,
                part=section.part,
                estimated_mhz=clock.mhz,
                kind=clock.kind,
                placed_mhz=placed.fmax_mhz,
                error=clock.mhz / placed.fmax_mhz - 1,
                held_out=f"`{name}`" not in clock.source,
            )


def _units() -> Iterator[ClockRow]:
    """Units of the smallest engine that the static model and nextpnr were both asked about."""
    for one in timing_error.load():
        yield ClockRow(
            engine=MODELLED_ENGINE,
            unit=one.unit,
            family="ecp5",
            part=part_name("ecp5", None),
            estimated_mhz=1000 / one.modelled.ns,
            kind="modelled",
            placed_mhz=1000 / one.placed.ns,
            error=one.placed.ns / one.modelled.ns - 1,
            held_out=one.held_out,
        )


def clock_summaries(rows: Iterable[ClockRow], families: Iterable[str]) -> Iterator[ClockSummary]:
    """Yield the errors of each family, whole engines and units apart; a row without numbers where nothing was placed.

    Parameters
    ----------
    rows : iterable of ClockRow
    families : iterable of str
    """
    held_out = [row for row in rows if row.held_out]
    for family in families:
        kinds = {row.kind for row in held_out if row.family == family}
        for kind in sorted(kinds) or ["assumed"]:
            errors = [abs(row.error) for row in held_out if (row.family, row.kind) == (family, kind)]
            yield ClockSummary(
                family=family,
                kind=kind,
                rows=len(errors),
                median_error=median(errors) if errors else None,
                worst_error=max(errors, default=None),
            )
