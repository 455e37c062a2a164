"""What `bivit estimate --check --reports` prints: estimates beside what Vivado reports of the implemented design."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...sim.errors import check
from ...sim.system.files import read_json
from ...sim.system.result import Result
from ..shared.net import find_engine
from .estimates import QUANTITY_TITLES, resource_rows

if TYPE_CHECKING:
    from ...hw.accuracy.vivado_reports import Reports
    from ...sim.estimate.devices import Device
    from ...sim.flow.config import FlowConfig

#: Files of a project by which its engine and its board are known.
_ENGINE, _BOARD = Path("engine/engine.json"), "board.json"


@dataclass(frozen=True, kw_only=True)
class ReportedRow(Result):
    """One quantity; `error_percent` is how far the estimate is above what is reported. None is unknown."""

    quantity: str
    estimated: float | None
    estimated_kind: str
    reported: float | None
    error_percent: float | None


@dataclass(frozen=True, kw_only=True)
class Reported(Result):
    """What is printed.

    `scope` is "engine" where the report counts the engine's cells alone, as estimates do, and "design" where DMAs and
    buses are counted too; None without a report of utilisation. `clock_met` is whether the clock was met that was asked
    for.
    """

    engine: str
    target: str
    files: tuple[Path, ...]
    tool: str | None
    design_state: str | None
    scope: str | None
    clock_asked_mhz: float | None
    clock_met: bool | None
    rows: tuple[ReportedRow, ...]


def reported(paths: Sequence[Path], engine: str | None, target: str | None) -> Reported:
    """Compare.

    Parameters
    ----------
    paths : sequence of Path
        Reports, folders with reports, or a project of `bivit build`, which names engine and target.
    engine, target : str, optional
        Where no project names them.

    Raises
    ------
    BivitError
        When engine or target is unknown, the reports are none of Vivado's, or of another part.
    """
    from ...hw.accuracy.vivado_reports import read_reports
    from ...sim.estimate.devices import device

    project = next((path for path in paths if (path / _ENGINE).is_file() and (path / _BOARD).is_file()), None)
    if project is not None:
        engine = engine or str(project / _ENGINE)
        target = target or str(read_json(project / _BOARD, "the report of the build").get("part"))
    check(
        engine is not None and target is not None,
        "give --engine and --target of the reports, or the folder of a project that `bivit build` wrote",
    )
    assert target is not None
    chosen, found = device(target), read_reports(paths)
    name, flow = find_engine(engine, None, chosen)
    _check_part(found, chosen)
    used, timing = found.utilisation, found.timing
    return Reported(
        engine=name,
        target=chosen.name,
        files=found.files,
        tool=used.tool if used else None,
        design_state=used.state if used else None,
        scope=None if used is None else "engine" if used.of_cells else "design",
        clock_asked_mhz=round(1000 / timing.period_ns, 3) if timing else None,
        clock_met=timing.slack_ns >= 0 if timing else None,
        rows=tuple(_rows(found, flow, chosen)),
    )


def _check_part(found: Reports, chosen: Device) -> None:
    """Vivado writes a device with or without its ``xc``."""
    if found.utilisation is None:
        return
    held = found.utilisation.device.lower().removeprefix("xc")
    wanted = chosen.part.split(" ")[0].lower().removeprefix("xc")
    check(
        held.startswith(wanted),
        f"the reports are of {found.utilisation.device}, the estimates would be for {chosen.part}; name their --target",
    )


def _rows(found: Reports, flow: FlowConfig, chosen: Device) -> list[ReportedRow]:
    from ...sim.estimate.resources import estimate_resources

    rows: list[ReportedRow] = []
    if found.utilisation is not None:
        used = {QUANTITY_TITLES[name]: value for name, value in found.utilisation.used.items()}
        estimates = resource_rows(estimate_resources(flow, chosen))
        rows += [_row(one.resource, one.used, one.kind, used.get(one.resource)) for one in estimates]
    if found.timing is not None:
        rows.append(_row("clock, MHz", chosen.clock_mhz, chosen.clock_kind, round(found.timing.fmax_mhz, 2)))
    return rows


def _row(quantity: str, estimated: float | None, kind: str, found: float | None) -> ReportedRow:
    error = round(100 * (estimated / found - 1), 1) if estimated is not None and found else None
    return ReportedRow(quantity=quantity, estimated=estimated, estimated_kind=kind, reported=found, error_percent=error)
