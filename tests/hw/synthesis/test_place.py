"""What nextpnr's report says, on reports made by hand; and what is said where it fails."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from played import netlist, report

from bivit.hw.synthesis.netlist import Netlist, unit_of
from bivit.hw.synthesis.parts import PARTS, Part
from bivit.hw.synthesis.place import critical_path, place
from bivit.hw.synthesis.tools import Tool, find_tool
from bivit.sim.errors import BivitError


def test_a_path_is_read_with_units_signals_cells_and_loads() -> None:
    path = critical_path(report(), Netlist(netlist()))
    assert (path.fmax_mhz, path.kind, path.logic_ns, path.routing_ns) == (266.67, "placed", 0.75, 3.0)
    assert [(s.unit, s.signal, s.cell, s.logic_ns, s.routing_ns, s.fan_out) for s in path.steps] == [
        ("matmul", "datapath.matmul.first", "TRELLIS_FF", 0.5, 1.0, 3),
        ("matmul", "first_LUT4_A_Z", "LUT4", 0.25, 2.0, 1),
        ("loader", "loader.state[1]", "TRELLIS_FF", 0.0, 0.0, 0),
    ]
    assert path.period_ns == pytest.approx(3.75, abs=1e-3)


def test_a_slower_cell_gives_a_slower_clock() -> None:
    slow = critical_path(report(lut_ns=4.0), Netlist(netlist()))
    assert (slow.logic_ns, slow.fmax_mhz) == (4.5, 133.33)


def test_a_design_without_registers_has_no_clock() -> None:
    none = report() | {"critical_paths": report()["critical_paths"][:1]}
    with pytest.raises(BivitError, match="no path from a register to a register"):
        critical_path(none, Netlist(netlist()))


def test_names_lead_to_units() -> None:
    names = ("core.array.grid.dot.sum[3]", "core.slots.pc", "matmul", "chain[4]", "datapath.bits", "captured")
    assert [unit_of(name) for name in names] == ["grid", "slots", "", "", "", ""]


# Tools that fail, played by a script


def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Part:
    """A part whose tool is a shell script."""
    tool = Tool("nextpnr-played", ("sh", "-c", script, "nextpnr"), "1.0")
    monkeypatch.setattr("bivit.hw.synthesis.place.find_tool", lambda name: tool)
    return Part("LFE5U-12F", "nextpnr-played", ())


def test_a_report_is_read_from_the_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = place(netlist(), played(tmp_path, monkeypatch, f"echo '{json.dumps(report())}' > report.json"))
    assert found == critical_path(report(), Netlist(netlist()))


def test_a_design_that_is_too_large_is_refused_with_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = """echo 'Info: Device utilisation:
Info:             TRELLIS_COMB:   81126/  24288   334%
Info:               MULT18X18D:      28/     28   100%
ERROR: no Bels remaining' >&2; exit 1"""
    with pytest.raises(BivitError, match=r"too large for LFE5U-12F: it needs TRELLIS_COMB 81,126 of 24,288; take a"):
        place(netlist(), played(tmp_path, monkeypatch, full))


def test_other_errors_are_the_tools_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "echo 'Info: packing\nERROR: CIN driven by a cell of another kind' >&2; exit 1"
    with pytest.raises(BivitError, match=r"nextpnr-played failed: ERROR: CIN driven by a cell of another kind$"):
        place(netlist(), played(tmp_path, monkeypatch, words))
    with pytest.raises(BivitError, match="exit code 3, without a word"):
        place(netlist(), played(tmp_path, monkeypatch, "exit 3"))


def test_a_large_design_is_routed_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "told"
    answer = f"echo \"$@\" >> {told}; echo '{json.dumps(report())}' > report.json"
    part = replace(played(tmp_path, monkeypatch, answer), large=("--router", "router2"))
    place(netlist(), part)
    monkeypatch.setattr("bivit.hw.synthesis.place.LARGE", 3)
    place(netlist(), part)
    small, large = told.read_text(encoding="utf-8").splitlines()
    assert large == f"{small} --router router2"


def test_a_tool_that_takes_too_long_says_what_it_had_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = """echo "Info: Max frequency for clock 'clk': 53.92 MHz" >&2; exec sleep 60"""
    with pytest.raises(BivitError, match=r"in 1 s; .*placed but not routed, nextpnr expected 53\.9 MHz"):
        place(netlist(), played(tmp_path, monkeypatch, slow), timeout_s=1)


def test_a_tool_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BivitError, match="pip install yowasp-nextpnr-nowhere"):
        find_tool("nextpnr-nowhere")


@pytest.mark.parametrize(("native", "taken"), [("0.1", False), ("99.5", True)])
def test_a_native_tool_is_taken_where_it_is_newer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, native: str, taken: bool
) -> None:
    program = tmp_path / "yosys"
    program.write_text(f"#!/bin/sh\necho 'Yosys {native} (git sha1 28ba3cb92)'\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    find_tool.cache_clear()
    try:
        assert (find_tool("yosys").command == (str(program),)) is taken
    finally:
        find_tool.cache_clear()


def test_every_part_has_a_tool_that_is_known() -> None:
    assert set(PARTS) == {"ecp5", "nexus", "gowin"}
    assert all(part.tool.startswith("nextpnr-") for part in PARTS.values())
