"""docs/timing.md and the clocks of the device table: what the kept figures give, and that units still reach theirs."""

from dataclasses import replace
from pathlib import Path

import pytest
from played import play

from bivit.hw.synthesis.flows import FLOWS
from bivit.hw.synthesis.survey import WHOLE, Speed, survey
from bivit.hw.synthesis.synth import content_key
from bivit.hw.synthesis.timing_page import (
    CLOCKS_MODULE,
    PAGE,
    SECTIONS,
    SMALLEST,
    clocks,
    designs,
    load,
    measure,
    render_clocks,
    render_page,
)
from bivit.sim.errors import BivitError
from bivit.sim.estimate.clocks import CLOCKS, Clock
from bivit.sim.network.formats import Formats
from bivit.sim.network.presets import vit_preset
from bivit.sim.program.compiler import compile_program
from bivit.sim.units.machine import UNITS

#: What every unit is to reach on ECP5, speed grade 6.
LEAST_MHZ = 100.0
#: What every unit is to reach on UltraScale+, speed grade -2, by the static model.
LEAST_MODELLED_MHZ = 250.0
#: Units whose hardware takes more than seconds to convert at 33 x 32; the smaller engines have the same ones.
LARGE = ("matmul", "dense", "weights")
#: Units that are placed quickly enough to be placed in every run of the tests.
QUICK = ("value_sums", "registers", "logits", "loader", "core")


def speed(mhz: float) -> Speed:
    return Speed(mhz, (mhz, mhz - 1), 4.0, 6.25, 3, "core.pc[0]", "core.issue")


def of_all(mhz: float) -> dict[str, Speed | str]:
    return {unit: speed(mhz + k) for k, unit in enumerate(UNITS)}


def test_the_page_and_the_clocks_are_those_of_the_figures() -> None:
    figures, tools = load()
    assert PAGE.read_text(encoding="utf-8") == render_page(figures, tools)
    assert clocks(figures) == CLOCKS
    module = CLOCKS_MODULE.read_text(encoding="utf-8")
    assert render_clocks(CLOCKS, module) == module


def test_the_units_of_the_smallest_engine_reach_the_clock() -> None:
    figures, _ = load()
    found = figures["smallest"]
    assert set(UNITS) <= set(found)
    assert {name for name in UNITS if not isinstance(found[name], Speed) or found[name].fmax_mhz < LEAST_MHZ} == set()


@pytest.mark.parametrize("section", ["digits_xcup", "deit_tiny_33x32"])
def test_every_unit_is_modelled_to_reach_the_clock(section: str) -> None:
    found = load()[0][section]
    slow = {
        name for name in UNITS if not isinstance(speed := found.get(name), Speed) or speed.fmax_mhz < LEAST_MODELLED_MHZ
    }
    assert slow == set()


@pytest.mark.slow
@pytest.mark.parametrize("section", ["smallest", "digits_xcup", "deit_tiny_33x32"])
def test_the_figures_are_of_the_hardware_as_it_is(section: str) -> None:
    measured = designs()[section]
    units = [unit for unit in UNITS if section == "smallest" or unit not in LARGE]
    stale = [unit for unit in units if measured[unit] != SECTIONS[section].design(unit)]
    assert stale == [], (
        f"hardware that has changed since its clock was found: "
        f"`python -m bivit.hw.synthesis.timing_page measure {section} --units {' '.join(stale)}`"
    )


def test_the_smallest_engine_runs_the_digits_and_a_smaller_one_does_not() -> None:
    compile_program(vit_preset("digits"), Formats(), SMALLEST)
    with pytest.raises(BivitError):
        compile_program(vit_preset("digits"), Formats(), replace(SMALLEST, program_words=1024))


def test_a_page_lists_units_their_paths_and_what_failed() -> None:
    page = render_page({"smallest": {**of_all(110), WHOLE: "not routed; 53.9 MHz expected"}}, {"smallest": "nextpnr 1"})
    assert "| core | 115.0 | 10.25 = 4.00 + 6.25 | 3 | `core.pc[0]` | `core.issue` | 115.0, 114.0 |" in page
    assert "| **all of it** | unknown | not routed; 53.9 MHz expected |" in page
    assert "LFE5U-85F-6, placed and routed" in page
    assert "nextpnr 1; `python -m bivit.hw.synthesis.timing_page measure smallest`" in page
    assert "UltraScale+ -2, 0.85 V, modelled" not in page  # sections without figures are left out


def test_the_clock_of_a_family_is_that_of_a_whole_engine() -> None:
    whole = clocks({"smallest": {**of_all(100.57), WHOLE: speed(54.06)}})
    assert whole == {"ecp5": Clock(54.0, "placed", whole["ecp5"].source)}
    assert "all of it in one piece" in whole["ecp5"].source
    # The slower of two engines; nothing where only units are known, or the whole was not routed.
    engines = {"digits_xcup": 260.0, "deit_tiny_33x32": 240.0}
    both = clocks({name: {**of_all(300), WHOLE: speed(mhz)} for name, mhz in engines.items()})
    assert {family: (clock.mhz, clock.kind) for family, clock in both.items()} == {"xcup": (240.0, "modelled")}
    assert clocks({"smallest": of_all(100.57), "digits_xcup": {**of_all(260), WHOLE: "not routed"}}) == {}


def test_the_module_of_clocks_can_be_read_again() -> None:
    found = {"ecp5": Clock(66.1, "placed", "its slowest unit")}
    text = render_clocks(found, CLOCKS_MODULE.read_text(encoding="utf-8"))
    values: dict[str, object] = {"__name__": "bivit.sim.estimate.clocks"}
    exec(compile(text, "clocks", "exec"), values)
    assert str(values["CLOCKS"]) == str(found)
    assert render_clocks(CLOCKS, text) == CLOCKS_MODULE.read_text(encoding="utf-8")


def test_measured_figures_are_kept_unit_by_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, tmp_path)
    monkeypatch.setattr("bivit.hw.synthesis.survey._text", lambda unit, engine, placed: f"{unit} {placed}")
    kept = tmp_path / "timing.json"
    measure(["smallest"], ["run"], seeds=2, jobs=1, timeout_s=60, kept=kept)
    measure(["smallest"], ["edge"], seeds=1, jobs=1, timeout_s=60, kept=kept)
    figures, tools = load(kept)
    assert {unit: found.fmax_seeds for unit, found in figures["smallest"].items()} == {
        "run": (216.67, 226.67),
        "edge": (216.67,),
    }
    assert tools == {"smallest": "yosys 1.0, nextpnr-ecp5 1.0"}
    assert designs(kept) == {"smallest": {unit: content_key(f"{unit} True") for unit in ("run", "edge")}}


def test_every_section_has_all_units() -> None:
    assert all(set(UNITS) <= set(section.units) for section in SECTIONS.values())


@pytest.mark.slow
@pytest.mark.parametrize("unit", QUICK)
def test_units_route_above_the_clock(unit: str) -> None:
    row = survey(SMALLEST, "ecp5", [unit], seeds=(1,), timeout_s=600).rows[0]
    assert row.best is not None
    assert row.best.fmax_mhz >= LEAST_MHZ, row.best.steps


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS)
def test_units_stay_under_the_modelled_period(unit: str) -> None:
    row = survey(replace(SMALLEST, fabric=FLOWS["xcup"].fabric), "xcup", [unit], seeds=(1,), timeout_s=600).rows[0]
    assert row.best is not None
    assert row.best.fmax_mhz >= LEAST_MODELLED_MHZ, row.best.steps
