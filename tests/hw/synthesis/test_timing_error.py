"""The error of the static timing model: what is kept of it, the fit, and the page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest

from bivit.hw.delays.ecp5 import ECP5
from bivit.hw.delays.table import Figure
from bivit.hw.synthesis.netlist import Netlist
from bivit.hw.synthesis.static_timing import critical_path
from bivit.hw.synthesis.timing_error import SEEN, Compared, Period, fit, load, measure, page
from hand_netlist import Hand


def chain(depth: int, loads: int) -> Hand:
    """A chain of look-up tables between registers, each with so many loads."""
    hand = Hand().cell("from", "TRELLIS_FF", CLK="clk", DI="in", Q="n0")
    for k in range(depth):
        hand.cell(f"c{k}", "LUT4", A=f"n{k}", Z=f"n{k + 1}")
        for spare in range(loads - 1):
            hand.cell(f"x{k}_{spare}", "LUT4", A=f"n{k}", Z=f"y{k}_{spare}")
    return hand.cell("to", "TRELLIS_FF", CLK="clk", DI=f"n{depth}", Q="q")


def period(ns: float, levels: int = 3) -> Period:
    return Period(ns / 2, ns / 2, levels, "a", "b")


def keep(path: Path, rows: list[Compared]) -> None:
    path.write_text(json.dumps([row.to_dict() for row in rows]), encoding="utf-8")


def test_the_kept_error_is_small_enough_on_units_that_the_fit_has_not_seen() -> None:
    kept = load()
    held_out = [one for one in kept if one.held_out and one.placed.levels > 1]
    assert {one.unit for one in kept if not one.held_out} == set(SEEN)
    assert len(held_out) >= 6
    assert median(abs(one.error) for one in held_out) <= 0.15
    assert median(abs(one.error) for one in kept) <= 0.15


def test_the_fit_finds_the_delays_that_made_the_periods(tmp_path: Path) -> None:
    true = replace(ECP5.nets, base=Figure(0.72, "true"), doubling=Figure(0.05, "true"))
    rows, netlists = [], {}
    for unit, (depth, loads) in zip(SEEN, [(2, 1), (4, 2), (6, 8), (3, 16), (5, 4)], strict=True):
        netlist = chain(depth, loads).netlist()
        netlists[unit] = netlist
        path = critical_path(Netlist(netlist), replace(ECP5, nets=true), ends="registers")
        rows.append(Compared(unit, Period.of(path), period(1.0)))
    keep(tmp_path / "kept.json", rows)
    found = fit(tmp_path / "kept.json", netlists.__getitem__)
    assert found.base.ns == pytest.approx(0.72, abs=0.03)
    assert found.doubling.ns == pytest.approx(0.05, abs=0.02)


def test_a_unit_is_routed_and_modelled_again_and_the_others_stay(tmp_path: Path) -> None:
    keep(tmp_path / "kept.json", [Compared(unit, period(4.0), period(9.0)) for unit in ("run", "core")])
    path = critical_path(Netlist(chain(3, 2).netlist()), ECP5)
    measure(["run"], tmp_path / "kept.json", lambda unit: chain(3, 2).netlist(), lambda unit: path)
    found = {one.unit: one for one in load(tmp_path / "kept.json")}
    assert found["core"] == Compared("core", period(4.0), period(9.0))
    assert found["run"].placed == Period.of(path)
    assert found["run"].modelled.levels == 3
    assert found["run"].modelled.ns == pytest.approx(path.period_ns, abs=0.01)


def test_the_page_tells_errors_by_what_the_fit_has_seen() -> None:
    text = page(
        [
            Compared("core", period(10.0), period(11.0)),
            Compared("run", period(10.0), period(8.0)),
            Compared("x", period(10.0, levels=0), period(10.0)),
        ]
    )
    assert "| fitted | 1 | 10.0% | 10.0% |" in text
    assert "| held out | 2 | 10.0% | 20.0% |" in text
    assert "| held out, two levels of logic or more | 1 | 20.0% | 20.0% |" in text
    assert "| run | 10.00 = 5.00 + 5.00 | 8.00 = 4.00 + 4.00 | -20.0% | yes | `b` |" in text
    assert "xcup: UltraScale+ -2, 0.85 V." in text
