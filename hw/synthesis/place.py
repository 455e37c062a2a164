"""Place and route with nextpnr: the highest clock of a netlist on a part, and the path that sets it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...sim.errors import BivitError, check
from ...sim.system.files import read_json, scratch_folder
from .netlist import Netlist
from .path import CriticalPath, Step
from .tools import ToolFailed, ToolTimeout, find_tool
from .wrapper import PINS


@dataclass(frozen=True)
class Part:
    """What a place and route tool is to make a design fit.

    Parameters
    ----------
    name : str
        The vendor's name, with the speed grade.
    tool : str
        The program.
    arguments : tuple of str
        What tells it the part.
    target_mhz : float
        Clock that it is to try for: more than can be reached, so that it tries hard.
    files : mapping of str to str
        Files of constraints that the arguments name, and what is in them: where the four pins are.
    large : tuple of str
        Further arguments for designs of more than `LARGE` cells.
    """

    name: str
    tool: str
    arguments: tuple[str, ...]
    target_mhz: float = 150.0
    files: Mapping[str, str] = field(default_factory=dict)
    large: tuple[str, ...] = ()


#: Cells of a netlist above which a design is large.
LARGE = 20_000

#: Part that a family is placed on. The packages are those with most pins; four are used.
PARTS: dict[str, Part] = {
    "ecp5": Part(
        "LFE5U-85F-6",
        "nextpnr-ecp5",
        ("--85k", "--speed", "6", "--package", "CABGA756", "--lpf-allow-unconstrained"),
        # The other router takes up one net at a time, and of 170,000 some 4,000 were done in 20 minutes.
        large=("--router", "router2"),
    ),
    "nexus": Part(
        "LIFCL-40-9BG400C",
        "nextpnr-nexus",
        ("--device", "LIFCL-40-9BG400C", "--pdc", "pins.pdc"),
        files={
            "pins.pdc": "".join(
                f"ldc_set_location -site {{{site}}} [get_ports {{{pin}}}]\n"
                for pin, site in zip(PINS, ("L13", "G19", "E17", "F13"), strict=True)
            )
        },
    ),
    "gowin": Part(
        "GW2A-LV18PG256C8/I7",
        "nextpnr-himbaechel-gowin",
        ("--device", "GW2A-LV18PG256C8/I7", "--vopt", "family=GW2A-18", "--vopt", "cst=pins.cst"),
        files={
            "pins.cst": "".join(
                f'IO_LOC "{pin}" {site};\n' for pin, site in zip(PINS, ("H11", "T3", "T2", "L14"), strict=True)
            )
        },
    ),
}

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
    tool = find_tool(part.tool)
    with scratch_folder("bivit-place") as folder:
        for name, text in {"design.json": json.dumps(netlist), **part.files}.items():
            (folder / name).write_text(text, encoding="utf-8")
        arguments = [*part.arguments, "--json", "design.json", "--report", "report.json", "--seed", str(seed)]
        arguments += ["--freq", f"{part.target_mhz:g}", "--timing-allow-fail"]
        arguments += part.large if sum(Netlist(netlist).cells.values()) > LARGE else ()
        try:
            tool.run(arguments, folder, timeout_s)
        except ToolFailed as error:
            _check_room(error.written, part)
            raise
        except ToolTimeout as error:
            _check_room(error.written, part)
            raise BivitError(f"{error}{_reached(error.written)}") from error
        report = read_report(folder / "report.json")
    return critical_path(report, Netlist(netlist, default_unit))


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
