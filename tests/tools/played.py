"""Yosys and nextpnr played by shell scripts, and netlists and reports made by hand: tests of what is made of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from threading import RLock
from typing import Any

import pytest

from bivit.hw.synthesis import place, survey, synth, timing_page, tools
from bivit.hw.synthesis.tools import Tool

CLOCK = "posedge clk"
#: Directions of the ports of all cells here.
DIRECTIONS = {
    **dict.fromkeys(("A", "B", "DI", "S", "I", *(f"I{n}" for n in range(6))), "input"),
    **dict.fromkeys(("Z", "Q", "O"), "output"),
}


def cell(kind: str, **connections: list[int]) -> dict[str, Any]:
    """One cell of a netlist."""
    return {"type": kind, "port_directions": {p: DIRECTIONS[p] for p in connections}, "connections": connections}


def module(cells: dict[str, Any], nets: dict[str, list[int]], outputs: list[int] = ()) -> dict[str, Any]:
    """A netlist of one module beside an empty one, as Yosys writes it."""
    top = {
        "attributes": {"top": "0001"},
        "cells": cells,
        "netnames": {name: {"bits": bits} for name, bits in nets.items()},
        "ports": {"out": {"direction": "output", "bits": list(outputs)}},
    }
    return {"modules": {"bare": {"cells": {}, "netnames": {}, "ports": {}}, "top": top}}


def netlist() -> dict[str, Any]:
    """A register of matmul, a LUT that has its name from the net outside, and a register of the loader."""
    cells = {
        "datapath.matmul.first_FF": cell("TRELLIS_FF", DI=[9], Q=[2]),
        "first_LUT4_A": cell("LUT4", A=[2], Z=[3]),
        "other": cell("LUT4", A=[2], Z=[4]),
        "loader.state_FF": cell("TRELLIS_FF", DI=[3], Q=[5]),
    }
    nets = {"first": [2], "datapath.matmul.first": [2], "first_LUT4_A_Z": [3], "loader.state": [8, 5]}
    return module(cells, nets, outputs=[2])


def piece(kind: str, delay: float, cell: str, net: str = "") -> dict[str, Any]:
    """One piece of a path in nextpnr's report."""
    return {"type": kind, "delay": delay, "to": {"cell": cell, "port": "A"}, **({"net": net} if net else {})}


def report(lut_ns: float = 0.25) -> dict[str, Any]:
    """nextpnr's report on `netlist`, with a path from a pin that is longer."""
    path = [
        piece("clk-to-q", 0.5, "datapath.matmul.first_FF"),
        piece("routing", 1.0, "first_LUT4_A", "first"),
        piece("logic", lut_ns, "first_LUT4_A$PACKED"),
        piece("routing", 2.0, "loader.state_FF", "first_LUT4_A_Z"),
        piece("setup", 0.0, "loader.state_FF"),
    ]
    pin = [piece("source", 0, "pin"), piece("routing", 99.0, "loader.state_FF", "first")]
    return {
        "fmax": {"clk": {"achieved": 1000 / (3.5 + lut_ns)}},
        "critical_paths": [
            {"from": "<async>", "to": CLOCK, "path": pin},
            {"from": CLOCK, "to": CLOCK, "path": path},
        ],
    }


#: A seed of n makes the LUT n ns slower.
PLACES = (
    'while [ "$1" != --seed ]; do shift; done; seed=$2; sed "s/SLOW/$seed/" > report.json <<\'END\'\n'
    + json.dumps(report()).replace("266.666", "2SLOW6.666")
    + "\nEND\n"
)


def play(
    monkeypatch: pytest.MonkeyPatch, counted: Path, *, yosys: str = "", nextpnr: str = PLACES
) -> Callable[[], int]:
    """Replace the tools by scripts and keep nothing of what they make but within the test; count their runs.

    Parameters
    ----------
    monkeypatch : MonkeyPatch
    counted : Path
        Folder of the test.
    yosys, nextpnr : str
        Scripts; Yosys writes `netlist` by default.
    """
    log, written = counted / "runs.txt", counted / "written.json"
    log.write_text("", encoding="utf-8")
    written.write_text(json.dumps(netlist()), encoding="utf-8")
    scripts = {"yosys": yosys or f"cp '{written}' unit.json", "nextpnr": nextpnr}

    def find(name: str) -> Tool:
        script = f"echo {name} >> '{log}'; {scripts[name.partition('-')[0]]}"
        return Tool(name, ("sh", "-c", script, name), "1.0")

    for home in (tools, synth, place, survey, timing_page):
        monkeypatch.setattr(home, "find_tool", find)
    kept: dict[str, str] = {}
    one_at_a_time = RLock()

    def keep(kind: str, key: str, make: Callable[[], str], keep: int = 0) -> str:
        with one_at_a_time:
            if key not in kept:
                kept[key] = make()
            return kept[key]

    for home in (synth, survey):
        monkeypatch.setattr(home, "cached_text", keep)
    return lambda: len(log.read_text(encoding="utf-8").split())
