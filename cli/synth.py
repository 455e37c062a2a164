"""`bivit synth`: what an engine takes of an FPGA and how fast it is there, by the tools themselves."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..sim.errors import check
from ..sim.system.files import write_json
from ..sim.system.result import INLINE, OPTIONAL, Result, plain
from .shared.common import JsonFlag, messages, show
from .shared.progress import say, step

if TYPE_CHECKING:
    from ..hw.synthesis.path import CriticalPath, PathKind
    from ..hw.synthesis.survey import Cells, Speed, Survey
    from ..sim.flow.config import FlowConfig

#: Placements of one unit, and runs of tools at a time, that a command may be asked for.
_MOST_SEEDS, _MOST_JOBS = 64, 256


@dataclass(frozen=True, kw_only=True)
class Row(Result):
    """One unit; a `problem` says why something is unknown."""

    unit: str
    cells: Cells = field(metadata=INLINE)
    speed: Speed | None = field(default=None, metadata=INLINE)
    problem: str | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class Clock(Result):
    """The clock of what was looked at: that of the whole engine, or of its slowest unit."""

    fmax_mhz: float
    fmax_kind: PathKind
    fmax_of: str
    critical_path: CriticalPath


@dataclass(frozen=True, kw_only=True)
class Synthesis(Result):
    """What `bivit synth` prints; `luts_packed` is an estimate, all others are counts."""

    engine: str
    family: str
    fabric: str
    part: str | None = field(default=None, metadata=OPTIONAL)
    tools: str
    totals: Cells = field(metadata=INLINE)
    luts_per_mac_array: float | None
    luts_per_mac_engine: float | None
    clock: Clock | None = field(default=None, metadata=INLINE)
    units: tuple[Row, ...]


def synth(
    engine: Annotated[
        str, typer.Option(help="Name of an engine, a JSON file with its fields, or a folder with engine.json.")
    ] = "sim",
    family: Annotated[
        str, typer.Option(help="ecp5, xcup (UltraScale+), xcup-uram (with UltraRAM), xc7 (7-series), nexus or gowin.")
    ] = "ecp5",
    unit: Annotated[list[str] | None, typer.Option(help="Unit to look at; may be repeated. All when left out.")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="The whole engine too, in one piece: unit engine.")] = False,
    place: Annotated[
        bool, typer.Option("--place", help="Find the highest clock too: placed and routed, or modelled (xcup, xc7).")
    ] = False,
    part: Annotated[
        str | None,
        typer.Option(help="Part of ECP5: lfe5u-25f, lfe5u-45f or lfe5u-85f; the engine's own when left out."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Placements of each unit; the best counts.")] = 3,
    jobs: Annotated[int | None, typer.Option(help="Runs of tools at a time; one a processor when left out.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that one run of a tool may take.")] = 3600,
    out: Annotated[Path | None, typer.Option(help="File to write the JSON object to as well.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Synthesise an engine's units with Yosys, count their cells and, with --place, find out how fast they are.

    Each unit is counted by itself. What was done before is not done again. On ECP5, Nexus (LIFCL-40-9) and Gowin
    (GW2A-18) the whole engine is placed and routed, which takes minutes for each seed, or, where --unit is given, these
    units by themselves, with registers at their ports. What the tools refuse is said in their words, as most carry
    chains on Nexus. UltraScale+ and 7-series, which no open tool places, are modelled, unit by unit. Packed look-up
    tables are estimated.

    Example: bivit synth --engine ulx3s --family ecp5 --place --seeds 1

    Example: bivit synth --engine sim --family ecp5 --unit slots --place

    Example: bivit synth --engine sim --family xcup

    Example: bivit synth --engine my_engine.json --family ecp5 --whole --place --seeds 1 --out out/synth.json
    """
    check(1 <= seeds <= _MOST_SEEDS, f"seeds must be 1 to {_MOST_SEEDS}, got {seeds}")
    check(jobs is None or 1 <= jobs <= _MOST_JOBS, f"jobs must be 1 to {_MOST_JOBS}, got {jobs}")
    check(timeout > 0, f"timeout must be above 0 seconds, got {timeout:g}")
    from ..hw.synthesis.parts import PARTS
    from ..hw.synthesis.survey import survey
    from ..hw.synthesis.synth import WHOLE, synthesised

    name, flow = _engine_for(engine, family)
    in_one = place and not unit and family in PARTS
    parts = [one for one in synthesised(flow) if one != WHOLE]
    units = tuple(dict.fromkeys([*(unit or parts), *([WHOLE] if whole or in_one else [])]))
    what = units[0] if len(units) == 1 else f"{len(units)} units"
    with step(f"synthesise {what} of engine {name} for {family}") as one:
        found = survey(
            flow,
            family,
            units,
            seeds=range(1, seeds + 1) if place else None,
            placed=[WHOLE] if in_one else None,
            part=_part_for(engine, family, part) if place else None,
            jobs=jobs or os.cpu_count() or 1,
            timeout_s=timeout,
            told=lambda done, total, what: one.at(done, total, what),
        )
    report = _report(name, found, placed=place)
    if out is not None:
        write_json(out, plain(report))
    for row in found.rows:
        if row.problem:
            messages.print(f"{row.unit}: {row.problem}", style="yellow", markup=False, soft_wrap=True)
    if as_json:
        show(report, True, "")
    else:
        _print(report)


def _engine_for(name: str, family: str) -> tuple[str, FlowConfig]:
    """Return an engine in the logic that suits a family, unless its file says another."""
    from ..hw.synthesis.flows import FLOWS, check_family
    from ..sim.flow.presets import fabric_for, load_engine

    fabric = FLOWS[check_family(family)].fabric
    flow = fabric_for(load_engine(name), name, fabric)
    if flow.engine.fabric != fabric:
        say(f"{name} is written in {flow.engine.fabric}; {fabric} suits {family} better: set it in the file")
    return name, flow


def _part_for(engine: str, family: str, part: str | None) -> str | None:
    """Return the name of the part to place on: the one that is asked for, or that a named engine is made for."""
    from ..hw.synthesis.parts import ECP5_PARTS
    from ..sim.flow.presets import ABOUT

    target = ABOUT[engine].target if engine in ABOUT else None
    return part or (target if family == "ecp5" and target in ECP5_PARTS else None)


def _report(name: str, found: Survey, *, placed: bool) -> Synthesis:
    """Return what is printed."""
    from ..hw.synthesis.parts import PARTS
    from ..hw.synthesis.survey import part_name
    from ..hw.synthesis.tools import find_tool

    part = PARTS.get(found.family) if placed else None
    tools = ["yosys", *([part.tool] if part else [])]
    limit, path = found.limit, found.limit.best if found.limit else None
    return Synthesis(
        engine=name,
        family=found.family,
        fabric=found.flow.engine.fabric,
        part=part_name(found.family, found.part) if placed else None,
        tools=", ".join(str(find_tool(tool)) for tool in tools),
        totals=found.totals,
        luts_per_mac_array=found.luts_per_mac_array,
        luts_per_mac_engine=found.luts_per_mac_engine,
        clock=Clock(fmax_mhz=path.fmax_mhz, fmax_kind=path.kind, fmax_of=limit.unit, critical_path=path)
        if limit and path
        else None,
        units=tuple(Row(unit=row.unit, cells=row.cells, speed=row.speed, problem=row.problem) for row in found.rows),
    )


def _print(report: Synthesis) -> None:
    """Print the report: the path of the slowest as a table of its own, rows without what does not fit a terminal."""
    values = report.to_dict()
    path = values.pop("critical_path", None)
    values["units"] = [
        {name: value for name, value in row.items() if name not in ("fmax_seeds", "problem")} for row in values["units"]
    ]
    widest = max(values["units"], key=len)
    values["units"] = [{name: row.get(name, "") for name in widest} for row in values["units"]]
    if path:
        values[f"path of {values['fmax_of']}, {values['fmax_kind']}"] = path["steps"]
    show(values, False, f"engine {report.engine} on {report.part or report.family}")
