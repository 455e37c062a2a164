"""Estimates of units and engines beside what synthesis says of them, quantity by quantity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from ...sim.errors import check, near
from ...sim.estimate.cost import Cost
from ...sim.estimate.devices import DEVICES, Family
from ...sim.estimate.engine_units import footprints
from ...sim.estimate.resources import CALIBRATED, unit_cost
from ...sim.estimate.units import REST
from ...sim.flow.config import FlowConfig
from ...sim.system.result import Result
from ..synthesis.calibrate import FAMILIES, Measurement
from ..synthesis.synth import WHOLE

#: Quantities of a `Cost` that synthesis counts for every family.
COUNTED = ("luts", "ffs", "dsps", "brams")
#: Those of them that follow rules, which are to be exact.
EXACT = ("dsps", "brams")


@dataclass(frozen=True, kw_only=True)
class Compared(Result):
    """One quantity of a unit of an engine; unit `engine` is all of it.

    Parameters
    ----------
    engine, unit, family, quantity : str
    estimated, synthesised : float
        Cells before packing.
    error : float or None
        Relative, of the estimate; None where synthesis found nothing and the estimate is not 0.
    """

    engine: str
    unit: str
    family: str
    quantity: str
    estimated: float
    synthesised: float
    error: float | None


@dataclass(frozen=True, kw_only=True)
class Summary(Result):
    """Errors of one quantity on one family.

    Parameters
    ----------
    family, quantity : str
    of : {"units", "engines"}
    engines, rows : int
        Engines, and comparisons.
    exact : int
        Comparisons without any error.
    median_error, worst_error : float or None
        Of the sizes of the errors; None without comparisons, or where a relative error is not defined.
    worst : str or None
        Unit and engine of the worst.
    """

    family: str
    quantity: str
    of: str
    engines: int
    rows: int
    exact: int
    median_error: float | None
    worst_error: float | None
    worst: str | None


def kept_pairs(
    measurements: Sequence[Measurement], family: str | None = None, engines: Sequence[str] = ()
) -> list[Measurement]:
    """Return measurements that the fit has not seen, of one family and some engines.

    Parameters
    ----------
    measurements : sequence of Measurement
    family : str, optional
        All when left out.
    engines : sequence of str
        All when empty.

    Raises
    ------
    BivitError
        When there is no such family, or nothing of such an engine was measured and held out: those that there are.
    """
    check(family is None or family in FAMILIES, f"--family must be one of {', '.join(FAMILIES)}, got {family!r}")
    held_out = [m for m in measurements if m.held_out and m.unit != REST and family in (None, m.family)]
    known = sorted({m.engine for m in held_out})
    for name in engines:
        check(
            name in known,
            f"nothing of an engine {name!r} is kept{f' for {family}' if family else ''}; there are "
            f"{', '.join(known)}{near(name, known)}",
        )
    return [m for m in held_out if not engines or m.engine in engines]


def estimated_cost(unit: str, flow: FlowConfig, family: Family) -> Cost:
    """Return what `sim.estimate` says of a unit, or of all of an engine.

    Parameters
    ----------
    unit : str
        Name in `footprints` of it, or "engine".
    flow : FlowConfig
        In the family's fabric.
    family : {"xcup", "xc7", "ecp5"}
    """
    dsp_bits = next(one.dsp_bits for one in DEVICES.values() if one.family == family and one.architecture in CALIBRATED)
    units = footprints(flow) if unit == WHOLE else (unit,)
    first, *others = (unit_cost(one, flow, family, dsp_bits) for one in units)
    return sum(others, first)


def compare(one: Measurement) -> Iterator[Compared]:
    """Yield a comparison for each quantity.

    Parameters
    ----------
    one : Measurement
    """
    estimate = estimated_cost(one.unit, one.flow, one.family)
    for name in COUNTED:
        estimated, synthesised = getattr(estimate, name), getattr(one.cost, name)
        yield Compared(
            engine=one.engine,
            unit=one.unit,
            family=one.family,
            quantity=name,
            estimated=estimated,
            synthesised=synthesised,
            error=relative_error(estimated, synthesised),
        )


def relative_error(estimated: float, actual: float) -> float | None:
    """Return the relative error of an estimate; None where there is nothing that it could be relative to.

    >>> relative_error(9, 10), relative_error(0, 0), relative_error(1, 0)
    (-0.1, 0.0, None)
    """
    if actual:
        return (estimated - actual) / actual
    return None if estimated else 0.0


def summaries(rows: Iterable[Compared]) -> Iterator[Summary]:
    """Yield the errors of each family, units and whole engines apart, and quantity, of those that have any of it.

    Parameters
    ----------
    rows : iterable of Compared
    """
    groups: dict[tuple[str, bool, str], list[Compared]] = {}
    for row in (row for row in rows if row.estimated or row.synthesised):
        groups.setdefault((row.family, row.unit == WHOLE, row.quantity), []).append(row)
    for family in FAMILIES:
        for whole in (False, True):
            for quantity in COUNTED:
                of = groups.get((family, whole, quantity))
                if of:
                    yield _summary(of, "engines" if whole else "units")


def _summary(rows: list[Compared], of: str) -> Summary:
    sizes = [None if row.error is None else abs(row.error) for row in rows]
    known = [size for size in sizes if size is not None]
    defined = len(known) == len(sizes)
    worst = max(rows, key=lambda row: float("inf") if row.error is None else abs(row.error))
    return Summary(
        family=rows[0].family,
        quantity=rows[0].quantity,
        of=of,
        engines=len({row.engine for row in rows}),
        rows=len(rows),
        exact=sum(row.estimated == row.synthesised for row in rows),
        median_error=median(known) if defined else None,
        worst_error=max(known) if defined else None,
        worst=None if worst.error == 0 else f"{worst.unit}/{worst.engine}",
    )
