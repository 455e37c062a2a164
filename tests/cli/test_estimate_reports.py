"""`bivit estimate --check --reports`: estimates beside reports in Vivado's form, which are made up (`vivado_texts`)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from program import assert_refused, invoke
from vivado_texts import timing_text, utilisation_text

from bivit.hw.accuracy.vivado_reports import timing, utilisation
from bivit.sim.errors import BivitError
from bivit.sim.estimate.devices import device
from bivit.sim.estimate.resources import estimate_resources
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.flow.presets import load_engine

ROWS = {"CLB LUTs*": 80_000, "LUT as Logic": 70_000, "CLB Registers": 90_000, "Block RAM Tile": 130.5, "URAM": 57}
ROWS |= {"DSPs": 700}


def test_utilisation_is_read() -> None:
    found = utilisation(utilisation_text(ROWS))
    assert found.used == {"luts": 80_000, "ffs": 90_000, "brams": 130.5, "urams": 57, "dsps": 700}
    assert (found.device, found.state, found.of_cells) == ("xck26-sfvc784-2LV-c", "Routed", False)
    assert utilisation(utilisation_text(ROWS, cells="system_i/engine")).of_cells
    older = utilisation_text({"Slice LUTs": 5, "Slice Registers": 6}, device="7a100tcsg324-1")
    assert utilisation(older).used == {"luts": 5, "ffs": 6}
    with pytest.raises(BivitError, match="has no row of LUTs"):
        utilisation(utilisation_text({"DSPs": 1}))


def test_the_clock_of_most_of_a_design_is_read() -> None:
    clocks = {"clk": (10.0, 7.5, 12), "pll_made": (8.0, -0.333, 50_000), "other": (5.0, 0.0, 0)}
    found = timing(timing_text(clocks, indent="  "))
    assert (found.clock, found.period_ns, found.slack_ns) == ("pll_made", 8.0, -0.333)
    assert found.fmax_mhz == pytest.approx(1000 / 8.333)
    with pytest.raises(BivitError, match="no clock with paths"):
        timing(timing_text({"clk": (10.0, 0.0, 0)}))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder of a project with reports."""
    folder = tmp_path / "kv260"
    (folder / "engine").mkdir(parents=True)
    (folder / "reports").mkdir()
    (folder / "board.json").write_text(json.dumps({"board": "kv260", "part": "k26"}))
    (folder / "engine/engine.json").write_text(json.dumps(FlowMachine(load_engine("kv260")).to_dict()))
    (folder / "reports/utilisation.rpt").write_text(utilisation_text({**ROWS, "CLB LUTs*": 99_000}))
    (folder / "reports/utilisation_engine.rpt").write_text(utilisation_text(ROWS, cells="system_i/engine"))
    (folder / "reports/timing.rpt").write_text(timing_text({"clk_pl_0": (4.0, -1.0, 9000)}))
    return folder


def test_estimates_stand_beside_reports(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = invoke("estimate", "--check", "--reports", project, "--json", cwd=project, monkeypatch=monkeypatch)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    keys = "engine target files tool design_state scope clock_asked_mhz clock_met rows"
    assert list(found) == keys.split()
    assert list(found["rows"][0]) == ["quantity", "estimated", "estimated_kind", "reported", "error_percent"]
    estimates = estimate_resources(load_engine("kv260"), "k26")
    rows = {row["quantity"]: row for row in found["rows"]}
    assert list(rows) == ["LUT", "FF", "DSP", "BRAM", "URAM", "clock, MHz"]
    assert rows["LUT"]["reported"] == 80_000
    assert rows["LUT"]["estimated"] == estimates.total_of("luts")
    assert rows["LUT"]["error_percent"] == round(100 * (estimates.totals.luts / 80_000 - 1), 1)
    assert (rows["URAM"]["estimated"], rows["URAM"]["error_percent"]) == (57, 0.0)
    assert rows["clock, MHz"]["reported"] == 200.0
    assert rows["clock, MHz"]["error_percent"] == round(100 * (device("k26").clock_mhz / 200 - 1), 1)
    assert (found["scope"], found["clock_asked_mhz"], found["clock_met"]) == ("engine", 250.0, False)
    text = invoke("estimate", "--check", "--reports", project, cwd=project, monkeypatch=monkeypatch).stdout
    assert "clock, MHz" in text


def test_files_need_engine_and_target(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ("estimate", "--check", "--reports", "reports/utilisation.rpt", "--json")
    assert_refused(invoke(*whole, cwd=project, monkeypatch=monkeypatch), "give --engine and --target of the reports")
    done = invoke(*whole, "--engine", "kv260", "--target", "kv260", cwd=project, monkeypatch=monkeypatch)
    found = json.loads(done.stdout)
    assert (found["scope"], found["clock_met"], found["clock_asked_mhz"]) == ("design", None, None)
    assert {row["quantity"] for row in found["rows"]} == {"LUT", "FF", "DSP", "BRAM", "URAM"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--check", "--reports", "none"), "there is no file or folder none"),
        (("--check", "--reports", "engine"), "there is no report of utilisation or timing"),
        (("--check", "--reports", "board.json"), "is no report of Vivado's report_utilization"),
        (("--check", "--reports", "reports", "--target", "zcu102"), "the reports are of xck26-sfvc784-2LV-c"),
        (("--check", "--reports", "reports/utilisation.rpt", "--reports", "other.rpt"), "several reports of a kind"),
        (("--check", "--reports", "reports", "--family", "xcup"), "--reports goes with --engine and --target only"),
        (("digits", "--reports", "reports"), "--reports goes with --check"),
    ],
)
def test_what_cannot_be_compared_is_said(
    arguments: tuple[str, ...], message: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "other.rpt").write_text(utilisation_text(ROWS))
    target = () if "--target" in arguments or "digits" in arguments else ("--target", "kv260")
    more = ("--engine", "kv260") if "--check" in arguments else ()
    done = invoke("estimate", *arguments, *target, *more, "--json", cwd=project, monkeypatch=monkeypatch)
    assert_refused(done, message)
