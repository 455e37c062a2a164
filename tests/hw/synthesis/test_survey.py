"""Surveys of units: what is counted, what is kept, and what is said where a tool fails."""

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from random import Random

import pytest
from played import cell, module, play
from small_flow import small_flow

from bivit.hw.synthesis import survey as surveys
from bivit.hw.synthesis.flows import CARRIES, CELLS, FAMILY_NAMES, FLOWS, FREE_CELLS
from bivit.hw.synthesis.netlist import Netlist
from bivit.hw.synthesis.packing import pairs_sharing_a_lut
from bivit.hw.synthesis.path import CriticalPath, Step
from bivit.hw.synthesis.side_by_side import side_by_side
from bivit.hw.synthesis.survey import Cells, Survey, UnitRow, survey
from bivit.hw.synthesis.synth import UNIT_COMPONENTS, WHOLE
from bivit.sim.errors import BivitError

ENGINE = small_flow(fabric="lut4")


def luts(*inputs: set[int]) -> Netlist:
    """Look-up tables with these inputs, each with an output of its own."""
    cells = {
        f"lut{k}": cell(f"LUT{len(found)}", **{f"I{n}": [bit] for n, bit in enumerate(sorted(found))}, O=[1000 + k])
        for k, found in enumerate(inputs)
    }
    return Netlist(module(cells, {}))


# Packed look-up tables


def test_two_functions_share_a_lut_where_they_have_five_inputs_between_them() -> None:
    assert pairs_sharing_a_lut(luts({1, 2, 3}, {3, 4, 5})) == 1
    assert pairs_sharing_a_lut(luts({1, 2, 3}, {3, 4, 5, 6})) == 0
    assert pairs_sharing_a_lut(luts({1, 2, 3, 4, 5, 6}, {1, 2})) == 0  # a LUT6 is full
    assert pairs_sharing_a_lut(luts({1, 2}, {3, 4})) == 0  # nothing in common: nobody would pair them
    assert pairs_sharing_a_lut(luts({1, 2}, {1, 3}, {1, 4})) == 1


def test_those_with_one_partner_get_it() -> None:
    """A chain of four has two pairs; whoever took the middle two would find one."""
    assert pairs_sharing_a_lut(luts({1, 2, 3}, {3, 4, 5}, {5, 6, 7}, {7, 8, 9})) == 2


def test_functions_of_a_carry_chain_pair_within_their_stage_only() -> None:
    found = luts({1, 2}, {1, 3}, {1, 4}).module["cells"]
    chain = cell("CARRY4", S=[1000, 0, 0, 0], DI=[1001, 0, 0, 0], O=[50, 51, 52, 53])
    assert pairs_sharing_a_lut(Netlist(module(found | {"chain": chain}, {}))) == 1
    # Two functions that would pair, each at a stage of its own.
    apart = cell("CARRY4", S=[1000, 1001, 0, 0], DI=[0, 0, 0, 0], O=[50, 51, 52, 53])
    two = luts({1, 2}, {1, 3}).module["cells"]
    assert pairs_sharing_a_lut(Netlist(module(two | {"chain": apart}, {}))) == 0


def test_pairs_are_nearly_as_many_as_can_be() -> None:
    """Against all ways to pair few functions, and never above them."""
    random = Random(5)
    total = best_total = 0
    for _ in range(60):
        inputs = [set(random.sample(range(9), random.randint(2, 4))) for _ in range(8)]
        edges = [
            {a, b} for a, b in combinations(range(8), 2) if inputs[a] & inputs[b] and len(inputs[a] | inputs[b]) <= 5
        ]
        best = max(
            size
            for size in range(5)
            if size == 0 or any(len(set().union(*some)) == 2 * size for some in combinations(edges, size))
        )
        found = pairs_sharing_a_lut(luts(*inputs))
        assert found <= best
        total, best_total = total + found, best_total + best
    assert total >= 0.97 * best_total


# Cells


def test_every_family_has_a_flow_and_no_cell_counts_twice() -> None:
    assert set(FLOWS) == set(FAMILY_NAMES)
    assert set(CELLS).isdisjoint(FREE_CELLS)
    assert set(CELLS) | FREE_CELLS >= CARRIES


# Surveys by tools that are played


def test_a_survey_counts_and_times_every_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, seen = play(monkeypatch, tmp_path), []
    found = survey(ENGINE, "ecp5", ["frame", "run"], seeds=(1, 2), jobs=2, told=lambda *now: seen.append(now))
    assert [row.unit for row in found.rows] == ["frame", "run"]
    assert found.rows[0].cells == Cells(luts_raw=2, luts_packed=None, ffs=2, carry=0, dsps=0, brams=0)
    assert found.total("luts_raw") == 4
    assert found.total("luts_packed") is None
    assert [path.fmax_mhz for path in found.rows[1].paths] == [216.67, 226.67]  # by seed
    speed = found.rows[1].speed
    assert speed is not None
    assert (speed.fmax_mhz, speed.levels, speed.begins, speed.ends) == (
        *(226.67, 1),
        *("datapath.matmul.first", "loader.state[1]"),
    )
    assert found.limit in found.rows
    assert [done for done, total, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert {total for _, total, _ in seen} == {6}
    # Two units with pins and without, each placed twice; the second time nothing runs.
    assert runs() == 2 * 2 + 2 * 2
    assert survey(ENGINE, "ecp5", ["frame", "run"], seeds=(1, 2), jobs=2) == found
    assert runs() == 8


def test_what_was_kept_is_not_used_for_another_design_seed_or_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = play(monkeypatch, tmp_path)
    survey(ENGINE, "ecp5", ["logits_queue"], seeds=(1,))
    assert runs() == 3
    survey(ENGINE, "ecp5", ["logits_queue"], seeds=(2,))
    assert runs() == 4
    survey(small_flow(fabric="lut4", queue_logits=256), "ecp5", ["logits_queue"], seeds=(1,))
    assert runs() == 7
    part = replace(surveys.PARTS["ecp5"], target_mhz=99.0)
    monkeypatch.setitem(surveys.PARTS, "ecp5", part)
    survey(ENGINE, "ecp5", ["logits_queue"], seeds=(1,))
    assert runs() == 8


def test_a_unit_that_a_tool_refuses_says_so_and_the_others_come_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    yosys = f"""if grep -q max_level unit.il; then echo 'ERROR: no way to map $mul' >&2; exit 1; fi
cp '{tmp_path / "written.json"}' unit.json"""
    play(monkeypatch, tmp_path, yosys=yosys)
    monkeypatch.setattr(surveys, "_text", lambda unit, engine, placed: "max_level" if unit == "frame" else unit)
    found = survey(ENGINE, "ecp5", ["frame", "run"], seeds=(1,))
    refused, good = found.rows
    assert refused == UnitRow("frame", Cells(), (), "yosys failed: ERROR: no way to map $mul")
    assert good.problem is None
    assert found.total("luts_raw") is None
    assert found.limit is good


def test_a_survey_of_which_nothing_came_through_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, tmp_path, nextpnr="echo 'ERROR: CIN driven by a constant' >&2; exit 1")
    with pytest.raises(BivitError, match="run: nextpnr-nexus failed: ERROR: CIN driven by a constant"):
        survey(ENGINE, "nexus", ["run"], seeds=(1,))
    row = survey(ENGINE, "nexus", ["run"], seeds=(1,), strict=False).rows[0]
    assert row.cells.luts_raw == 2
    assert row.best is None
    assert survey(ENGINE, "nexus", ["run"]).rows[0].problem is None


def test_unknown_names_are_refused_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = play(monkeypatch, tmp_path)
    with pytest.raises(BivitError, match="no unit 'logits'; there are registers"):
        survey(ENGINE, "ecp5", ["run", "logits"])
    with pytest.raises(BivitError, match="family must be one of xcup, xc7, ecp5, nexus, gowin, xcup-uram, got 'ice40'"):
        survey(ENGINE, "ice40", ["run"])
    assert runs() == 0


def test_the_timing_model_is_asked_for_parts_that_nothing_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Step("", "state", "FDRE", 1.0, 2.0, 3)
    asked = []

    def model(netlist: dict, family: str) -> CriticalPath:
        asked.append(family)
        return CriticalPath(333.3, "modelled", 1.0, 2.0, (step, replace(step, unit="loader")))

    play(monkeypatch, tmp_path)
    two = {"modules": {"top": luts({1, 2}, {1, 3}).module}}
    (tmp_path / "written.json").write_text(json.dumps(two), encoding="utf-8")
    monkeypatch.setattr(surveys, "modelled_timing", model)
    found = survey(ENGINE, "xc7", ["run"], seeds=(1, 2, 3))
    assert asked == ["xc7"]  # once: a model has no seeds
    assert [one.unit for one in found.rows[0].paths[0].steps] == ["run", "loader"]
    assert found.rows[0].cells.luts_packed == 1  # the two share an input


# What follows from rows


def path_of(mhz: float) -> CriticalPath:
    return CriticalPath(mhz, "placed", 1.0, 1.0, (Step("a", "b", "c", 1.0, 1.0, 1),))


def rows(*units: str, luts: int = 100) -> tuple[UnitRow, ...]:
    return tuple(UnitRow(unit, Cells(luts, None, 1, 1, 1, 1), (path_of(50 + k),)) for k, unit in enumerate(units))


def test_luts_for_each_product_are_those_of_the_array_and_of_all() -> None:
    macs = ENGINE.engine.rows * ENGINE.engine.columns * 64
    found = Survey(ENGINE, "ecp5", rows(*UNIT_COMPONENTS))
    assert found.luts_per_mac_array == 100 / macs
    assert found.luts_per_mac_engine == 100 * len(UNIT_COMPONENTS) / macs
    some = Survey(ENGINE, "ecp5", rows("grid", "run"))
    assert (some.luts_per_mac_array, some.luts_per_mac_engine) == (100 / macs, None)
    whole = Survey(ENGINE, "ecp5", (*rows("run"), UnitRow(WHOLE, Cells(7000, None, 1, 1, 1, 1))))
    assert (whole.luts_per_mac_array, whole.luts_per_mac_engine) == (None, 7000 / macs)


def test_the_whole_sets_the_clock_where_it_is_known_else_the_slowest_unit() -> None:
    units = rows("run", "loader")
    assert Survey(ENGINE, "ecp5", units).limit is units[0]
    whole = UnitRow(WHOLE, Cells(), (path_of(80),))
    assert Survey(ENGINE, "ecp5", (*units, whole)).limit is whole
    failed = UnitRow(WHOLE, Cells(), (), "not routed")
    assert Survey(ENGINE, "ecp5", (*units, failed)).limit is units[0]


def test_an_error_that_no_user_causes_ends_all() -> None:
    told = []
    with pytest.raises(ZeroDivisionError):
        side_by_side({"good": lambda: 1, "bad": lambda: 1 // 0}, 1, lambda name, result: told.append((name, result)))
    assert told == [("good", 1)]
