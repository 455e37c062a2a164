"""`bivit estimate --check`: what is kept, what was run now, by which tools, and what fails."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from program import assert_refused, invoke

from bivit.hw.accuracy import fresh
from bivit.hw.synthesis import calibrate
from bivit.hw.synthesis.calibrate import Measurement, load_measurements, load_tools
from bivit.hw.synthesis.tools import find_tool
from bivit.sim.errors import BivitError
from bivit.sim.estimate.cost import Cost


def found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str, code: int = 0
) -> tuple[dict[str, Any], str]:
    done = invoke("estimate", "--check", *arguments, "--json", cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.fixture
def synthesis(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """In place of Yosys: what is kept, and look-up tables beyond that."""
    more = {"luts": 0.0}
    kept = {(m.unit, m.flow, m.family): m for m in load_measurements()}

    def synthesise(unit: str, flow: Any, family: Any, **options: object) -> Cost:
        one: Measurement = kept[unit, flow, family]
        return replace(one.cost, luts=(one.cost.luts or 0) + more["luts"])

    monkeypatch.setattr(fresh, "synthesise", synthesise)
    return more


def test_golden_data_is_said_to_be_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report, _ = found(tmp_path, monkeypatch, "--family", "ecp5")
    assert report["kept"] == "docs/synthesis.json"
    assert report["tools_kept"] == load_tools()
    assert "fresh" not in report
    assert {row["family"] for row in report["rows"]} == {"ecp5"}
    assert {one["quantity"] for one in report["summary"]} == {"luts", "ffs", "dsps", "brams"}
    assert all(one["worst_error"] == 0 for one in report["summary"] if one["quantity"] in ("dsps", "brams"))
    text = invoke("estimate", "--check", "--family", "ecp5", cwd=tmp_path, monkeypatch=monkeypatch).stdout
    assert "golden data: docs/synthesis.json" in text
    assert text.count("not run now") == 2


def test_engines_are_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report, _ = found(tmp_path, monkeypatch, "--engine", "5x8", "--engine", "ulx3s", "--family", "ecp5")
    assert {row["engine"] for row in report["rows"]} == {"5x8", "ulx3s"}
    assert {row["engine"] for row in report["clocks"]} == {"ulx3s"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--check", "--family", "ice40"), "--family must be one of xcup, xc7, ecp5, got 'ice40'"),
        (("--check", "--engine", "ulx4s"), "did you mean ulx3s"),
        (("--check", "digits"), "--check is about no network, got digits"),
        (("--check", "--target", "zcu102"), "--check is about families"),
        (("--check", "--fresh", "100000"), "--fresh must be 1 to"),
        (("--check", "--fresh", "-1"), "--fresh must be 1 to"),
        (("--check", "--seed", "-1"), "seed must be 0 or more, got -1"),
        (("digits", "--fresh", "1"), "--family and --fresh go with --check"),
        (("digits", "--engine", "sim", "--engine", "arty"), "give one --engine, got sim, arty"),
        ((), "give a network"),
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_refused(invoke("estimate", *arguments, cwd=tmp_path, monkeypatch=monkeypatch), message)


def test_what_is_run_now_is_said_to_be_that(
    synthesis: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, _ = found(tmp_path, monkeypatch, "--fresh", "3")
    assert len({(row["unit"], row["engine"], row["family"]) for row in report["fresh"]}) == 3
    assert report["fresh_agrees"] is True
    text = invoke("estimate", "--check", "--fresh", "1", cwd=tmp_path, monkeypatch=monkeypatch).stdout
    assert f"synthesised now, by yosys {find_tool('yosys').version}" in text


def test_other_cells_by_the_same_tools_are_a_failure(
    synthesis: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthesis["luts"] = 1
    report, said = found(tmp_path, monkeypatch, "--fresh", "1", code=1)
    assert report["fresh_agrees"] is False
    assert "not what is kept" in said


def test_other_tools_are_said_and_may_differ(
    synthesis: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthesis["luts"] = 1
    monkeypatch.setattr(calibrate, "tools_here", lambda: {"yosys": "9.9", "amaranth": "1"})
    report, said = found(tmp_path, monkeypatch, "--fresh", "1")
    assert (report["tools_differ"], report["fresh_agrees"]) == (True, False)
    assert "here are yosys 9.9, amaranth 1" in said


def test_what_is_kept_needs_no_yosys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> dict[str, str]:
        raise BivitError("this needs yosys")

    monkeypatch.setattr(calibrate, "tools_here", none)
    report, _ = found(tmp_path, monkeypatch, "--family", "xc7")
    assert (report["tools_here"], report["tools_differ"]) == (None, None)
    refused = invoke("estimate", "--check", "--fresh", "1", cwd=tmp_path, monkeypatch=monkeypatch)
    assert_refused(refused, "this needs yosys")
