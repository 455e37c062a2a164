"""Measurements side by side, each kept at once; a family is fitted as soon as it is measured."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bivit.hw.synthesis import calibrate
from bivit.hw.synthesis.calibrate import (
    ROOT,
    fit,
    load_measurements,
    load_tools,
    measure,
    render_constants,
    render_report,
    tools_here,
)
from bivit.hw.synthesis.calibrated import ESTIMATED_ENGINES, LARGE_ENGINES, SAMPLED_UNITS, WHOLE_ENGINES
from bivit.hw.synthesis.drawn import drawn_engines
from bivit.hw.synthesis.synth import SYNTHESISED, WHOLE
from bivit.sim.errors import BivitError
from bivit.sim.estimate.constants import CONSTANTS
from bivit.sim.estimate.cost import Cost
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.presets import FLOW_ENGINES


@pytest.fixture
def synthesised(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is synthesised; of `frame` Yosys makes nothing."""
    asked = []

    def synthesise(unit: str, flow: FlowConfig, family: str) -> Cost:
        engine = flow.engine
        asked.append(f"{unit}/{engine.rows}/{engine.fabric}/{family}")
        if unit == "frame":
            raise BivitError("yosys failed")
        return Cost(luts=engine.rows, ffs=2, dsps=3, brams=4)

    monkeypatch.setattr(calibrate, "synthesise", synthesise)
    return asked


def test_what_is_not_there_is_measured_and_kept(synthesised: list[str], tmp_path: Path) -> None:
    path = tmp_path / "synthesis.json"
    measure(path, ["run", "frame", "grid"], ["2x8", "4x8"], ["xc7", "ecp5"], jobs=3)
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept.pop("tools") == tools_here() == load_tools(path)
    assert set(kept) == {
        f"{unit}/{engine}/{family}"
        for unit in ("run", "grid")
        for engine in ("2x8", "4x8")
        for family in ("xc7", "ecp5")
    }
    assert kept["run/4x8/ecp5"] == [4, 2, 3, 4]
    assert len(load_measurements(path)) == len(kept)
    # Only what failed is tried again.
    synthesised.clear()
    measure(path, ["run", "frame"], ["2x8"], ["xc7", "ecp5"], jobs=1)
    assert sorted(synthesised) == ["frame/2/lut4/ecp5", "frame/2/lut6/xc7"]


def test_of_engines_with_pairs_the_unit_that_differs_is_measured(synthesised: list[str], tmp_path: Path) -> None:
    path = tmp_path / "synthesis.json"
    measure(path, ["run", "dense"], ["4x8-paired"], ["xcup", "ecp5"], jobs=1)
    assert synthesised == ["dense/4/lut6/xcup"]
    assert [m.flow.products_per_dsp for m in load_measurements(path)] == [2]


def test_a_family_has_constants_as_soon_as_it_is_measured() -> None:
    measurements = [m for m in load_measurements() if m.family != "xc7"]
    assert "xc7" not in fit(measurements)
    as_series_7 = [
        replace(m, family="xc7") for m in measurements if m.family == "xcup" and m.unit in ("run", "settings")
    ]
    found = fit([*measurements, *as_series_7])
    assert found["xc7"]["run"] == CONSTANTS["xcup"]["run"]
    assert '    "xc7": "' in render_constants(found, load_tools())


def test_figures_of_other_tools_are_not_mixed(synthesised: list[str], tmp_path: Path) -> None:
    path = tmp_path / "synthesis.json"
    path.write_text(json.dumps({"tools": {"yosys": "0.1"}, "run/2x8/xc7": [1, 2, 3, 4]}))
    with pytest.raises(BivitError, match=r"was measured with yosys 0\.1, here is yosys .* delete the file"):
        measure(path, ["grid"], ["2x8"], ["xc7"], jobs=1)
    assert synthesised == []


def test_the_page_is_that_of_the_measurements_and_has_every_named_engine() -> None:
    text = (ROOT / "docs" / "resources.md").read_text(encoding="utf-8")
    assert text == render_report(load_measurements(), CONSTANTS, load_tools())
    # Of engines with windows small ones are synthesised.
    named = {name for name, flow in FLOW_ENGINES.items() if flow.windows is None}
    assert {*WHOLE_ENGINES, *LARGE_ENGINES, *ESTIMATED_ENGINES} == named
    assert {name for name in named if f"\n| {name} | " not in text} == {*ESTIMATED_ENGINES}


def test_drawn_engines_stay_as_they_are_when_more_are_drawn() -> None:
    few, many = drawn_engines(1, 3), drawn_engines(1, 30)
    assert few.items() <= many.items()
    assert len(set(many.values())) == 30
    assert not set(few.values()) & set(drawn_engines(2, 30).values())


def test_drawn_engines_are_measured_whole_and_of_their_units_a_sample(synthesised: list[str], tmp_path: Path) -> None:
    path, engine = tmp_path / "synthesis.json", "drawn-1-0"
    measure(path, list(SYNTHESISED), [engine], ["xcup"], jobs=1)
    assert {m.unit for m in load_measurements(path)} | {"frame"} == {*SAMPLED_UNITS[engine], WHOLE, "frame"}
