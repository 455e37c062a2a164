"""Place and route with nextpnr: the highest clock of a netlist on a part, and the path that sets it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...sim.errors import BivitError, check
from ...sim.system.files import read_json, read_text, scratch_folder
from .floorplan import floorplan
from .netlist import Netlist
from .parts import LARGE, Part
from .path import CriticalPath, Step
from .tools import ToolFailed, ToolTimeout, find_tool

_USED = re.compile(r"^Info:\s+(\w+):\s+(\d+)/\s*(\d+)\s+\d+%", re.M)
_ESTIMATED = re.compile(r"Max frequency for clock\s+'[^']*':\s+([\d.]+) MHz")
_CLOCKED = "posedge "


def place(
    netlist: Mapping[str, Any], part: Part, *, seed: int = 1, timeout_s: float = 1800, default_unit: str = ""
) -> CriticalPath:
    """Place and route a netlist once, and return its critical path.

    Parameters
    ----------
    netlist : mapping
        What Yosys wrote for the part's family, parsed; a unit in a `wrapper.PinWrapper`, so that it has few pins.
    part : Part
    seed : int
        Where the placement begins: each gives another clock.
    timeout_s : float
        Give up after so many seconds.
    default_unit : str
        Unit of what no name says more of.

    Raises
    ------
    BivitError
        When the tool is not installed, fails (its words) or takes too long (what it had reached), or when the design
        is too large for the part: what it needs, and what there is.
    """
    report, _ = routed(netlist, part, seed=seed, timeout_s=timeout_s)
    return critical_path(report, Netlist(netlist, default_unit))


def routed(
    netlist: Mapping[str, Any], part: Part, *, seed: int = 1, timeout_s: float = 1800, wanted: str | None = None
) -> tuple[dict[str, Any], str]:
    """Place and route a netlist once, and return nextpnr's report and a file that it wrote.

    Parameters
    ----------
    netlist, part, seed, timeout_s
        As of `place`.
    wanted : str, optional
        Name of the file, which the arguments of the part name; its text is empty without it.

    Raises
    ------
    BivitError
        As of `place`.
    """
    tool = find_tool(part.tool)
    large = sum(Netlist(netlist).cells.values()) > LARGE
    if large and part.sites is not None:
        netlist = with_places(netlist, floorplan(netlist, part.sites, seed))
    with scratch_folder("bivit-place") as folder:
        for name, text in {"design.json": json.dumps(netlist), **part.files}.items():
            (folder / name).write_text(text, encoding="utf-8")
        arguments = [*part.arguments, "--json", "design.json", "--report", "report.json", "--seed", str(seed)]
        arguments += ["--freq", f"{part.target_mhz:g}", "--timing-allow-fail"]
        arguments += part.large if large else ()
        try:
            tool.run(arguments, folder, timeout_s)
        except ToolFailed as error:
            _check_room(error.written, part)
            raise
        except ToolTimeout as error:
            _check_room(error.written, part)
            raise BivitError(f"{error}{_reached(error.written)}") from error
        made = "" if wanted is None else read_text(folder / wanted, "what nextpnr made")
        return read_report(folder / "report.json"), made


def with_places(netlist: Mapping[str, Any], places: Mapping[str, str]) -> dict[str, Any]:
    """Return a netlist that says where some cells of its top module lie.

    Parameters
    ----------
    netlist : mapping
    places : mapping of str to str
        Places, as nextpnr names them, by cell.
    """
    module = Netlist(netlist).module
    cells = {
        name: {**cell, "attributes": {**cell.get("attributes", {}), "BEL": places[name]}} if name in places else cell
        for name, cell in module["cells"].items()
    }
    modules = {name: {**one, "cells": cells} if one is module else one for name, one in netlist["modules"].items()}
    return {**netlist, "modules": modules}


def read_report(path: Path) -> dict[str, Any]:
    """Return nextpnr's report.

    Parameters
    ----------
    path : Path
    """
    report = read_json(path, "nextpnr's report")
    check(isinstance(report, dict) and {"fmax", "critical_paths"} <= set(report), f"{path} is no report of nextpnr")
    return report


def critical_path(report: Mapping[str, Any], netlist: Netlist) -> CriticalPath:
    """Return the path that sets the clock, from nextpnr's report.

    Paths to and from pins are left out: they say nothing about a unit within a design.

    Parameters
    ----------
    report : mapping
    netlist : Netlist
        What was placed: names, units and loads are from it.

    Raises
    ------
    BivitError
        When there is no path between registers.
    """
    between = [
        found
        for found in report["critical_paths"]
        if found["from"].startswith(_CLOCKED) and found["to"].startswith(_CLOCKED)
    ]
    check(
        bool(between and report["fmax"]), "the design has no path from a register to a register: nothing sets a clock"
    )
    worst = max(between, key=lambda found: sum(piece["delay"] for piece in found["path"]))
    steps = tuple(_steps(worst["path"], netlist))
    return CriticalPath(
        fmax_mhz=round(min(clock["achieved"] for clock in report["fmax"].values()), 2),
        kind="placed",
        logic_ns=round(sum(step.logic_ns for step in steps), 3),
        routing_ns=round(sum(step.routing_ns for step in steps), 3),
        steps=steps,
    )


def _steps(pieces: list[dict[str, Any]], netlist: Netlist) -> list[Step]:
    """Join each cell of a path with the net behind it."""
    steps: list[Step] = []
    unit = netlist.default_unit
    for index, piece in enumerate(pieces):
        if piece["type"] == "routing":
            continue
        behind: dict[str, Any] = pieces[index + 1] if index + 1 < len(pieces) else {"net": "", "delay": 0.0}
        cell = piece["to"]["cell"]
        net = behind["net"] or cell
        bit = netlist.bits.get(net) if behind["net"] else netlist.output(cell)
        signal = net if bit is None else netlist.signal(bit, net)
        unit = netlist.unit((signal, net, cell), unit)
        steps.append(
            Step(
                unit=unit,
                signal=signal,
                cell=netlist.cell_type(cell),
                logic_ns=round(piece["delay"], 3),
                routing_ns=round(behind["delay"], 3),
                fan_out=netlist.loads[bit] if bit is not None and behind["net"] else 0,
            )
        )
    return steps


def _check_room(written: str, part: Part) -> None:
    """Say what a part lacks, where that is why it failed."""
    over = [
        f"{name} {int(used):,} of {int(there):,}"
        for name, used, there in _USED.findall(written)
        if int(used) > int(there)
    ]
    check(not over, f"the design is too large for {part.name}: it needs {', '.join(over)}; take a smaller engine")


def _reached(written: str) -> str:
    """What nextpnr said of the clock before it was stopped."""
    found = _ESTIMATED.findall(written)
    return f"; placed but not routed, nextpnr expected {float(found[-1]):.1f} MHz" if found else ""
