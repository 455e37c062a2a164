"""docs/timing.md and the clocks of the device table: what the kept figures give, and that units still reach theirs."""

from dataclasses import replace
from pathlib import Path

import pytest
from played import play

from bivit.hw.synthesis.flows import FLOWS
from bivit.hw.synthesis.survey import Job, Speed, survey
from bivit.hw.synthesis.synth import UNIT_COMPONENTS, WHOLE
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
from bivit.sim.mapping.layout import check_fits
from bivit.sim.network.formats import Formats
from bivit.sim.network.presets import vit_preset
from bivit.sim.system.kept_text import content_key

#: What every unit is to reach on ECP5, speed grade 6, by the static model.
LEAST_MHZ = 100.0
#: What every unit is to reach on UltraScale+, speed grade -2, by the static model.
LEAST_MODELLED_MHZ = 250.0
#: Units whose hardware takes more than seconds to convert at 33 x 32; the smaller engines have the same ones.
LARGE = ("grid", "dense", "shadow")
#: Units that are placed quickly enough to be placed in every run of the tests.
QUICK = ("value_sums", "registers", "run", "row_writer")


def speed(mhz: float) -> Speed:
    return Speed(mhz, (mhz, mhz - 1), 4.0, 6.25, 3, "slots.pc[0]", "slots.issue")


def of_all(mhz: float) -> dict[str, Speed | str]:
    return {unit: speed(mhz + k) for k, unit in enumerate(UNIT_COMPONENTS)}


def test_the_page_and_the_clocks_are_those_of_the_figures() -> None:
    figures, tools = load()
    assert PAGE.read_text(encoding="utf-8") == render_page(figures, tools)
    assert clocks(figures) == CLOCKS
    module = CLOCKS_MODULE.read_text(encoding="utf-8")
    assert render_clocks(CLOCKS, module) == module


def test_the_units_of_the_smallest_engine_reach_the_clock() -> None:
    found = load()[0]["smallest"]
    assert set(found) == set(UNIT_COMPONENTS)
    assert slower(found, LEAST_MHZ) == {}


def slower(found: dict[str, Speed | str], mhz: float) -> dict[str, Speed | str]:
    """Units that do not reach a clock, or of which none is known."""
    return {unit: one for unit, one in found.items() if not isinstance(one, Speed) or one.fmax_mhz < mhz}


@pytest.mark.parametrize("section", ["2x8", "4x8"])
def test_every_unit_is_modelled_to_reach_the_clock(section: str) -> None:
    found = load()[0][section]
    assert set(found) == set(UNIT_COMPONENTS) - ({"registers", "loader", "run", "frame"} if section == "4x8" else set())
    assert slower(found, LEAST_MODELLED_MHZ) == {}


@pytest.mark.slow
@pytest.mark.parametrize("section", ["smallest", "2x8", "4x8"])
def test_the_figures_are_of_the_hardware_as_it_is(section: str) -> None:
    measured = designs().get(section, {})
    units = [unit for unit in measured if unit not in LARGE]
    stale = [unit for unit in units if measured[unit] != SECTIONS[section].design(unit)]
    assert stale == [], (
        f"hardware that has changed since its clock was found: "
        f"`python -m bivit.hw.synthesis.timing_page measure {section} --units {' '.join(stale)}`"
    )


def test_the_smallest_engine_runs_the_digits_and_a_smaller_one_does_not() -> None:
    check_fits(vit_preset("digits"), Formats(), SMALLEST)
    smaller = replace(SMALLEST.engine, max_tokens=SMALLEST.engine.max_tokens - 1)
    with pytest.raises(BivitError):
        check_fits(vit_preset("digits"), Formats(), replace(SMALLEST, engine=smaller))


def test_a_page_lists_units_their_paths_and_what_failed() -> None:
    page = render_page({"smallest": {**of_all(110), WHOLE: "not routed; 53.9 MHz expected"}}, {"smallest": "nextpnr 1"})
    path = "10.25 = 4.00 + 6.25 | 3 | `slots.slots.pc[0]` | `slots.slots.issue`"
    assert f"| slots | 120.0 | {path} | 120.0, 119.0 |" in page
    assert "| **all of it** | unknown | not routed; 53.9 MHz expected |" in page
    assert "ECP5 speed grade 6, modelled" in page
    assert "nextpnr 1; `python -m bivit.hw.synthesis.timing_page measure smallest`" in page
    assert "UltraScale+ -2, 0.85 V, modelled" not in page  # sections without figures are left out


def test_the_clock_of_a_family_is_that_of_a_whole_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clocks({"smallest": {**of_all(100.57), WHOLE: speed(54.06)}}) == {}  # modelled where it could be placed
    monkeypatch.setitem(SECTIONS, "smallest", replace(SECTIONS["smallest"], placed=True))
    whole = clocks({"smallest": {**of_all(100.57), WHOLE: speed(54.06)}})
    assert whole == {"ecp5": Clock(54.0, "placed", whole["ecp5"].source)}
    assert "all of it in one piece" in whole["ecp5"].source
    # The slower of two engines; nothing where only units are known, or the whole was not routed.
    engines = {"sim": 260.0, "zcu102": 240.0}
    both = clocks({name: {**of_all(300), WHOLE: speed(mhz)} for name, mhz in engines.items()})
    assert {family: (clock.mhz, clock.kind) for family, clock in both.items()} == {"xcup": (240.0, "modelled")}
    assert clocks({"smallest": of_all(100.57), "sim": {**of_all(260), WHOLE: "not routed"}}) == {}


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
    monkeypatch.setitem(SECTIONS, "smallest", replace(SECTIONS["smallest"], placed=True))
    kept = tmp_path / "timing.json"
    measure(["smallest"], ["run"], seeds=2, jobs=1, timeout_s=60, kept=kept)
    measure(["smallest"], ["slots"], seeds=1, jobs=1, timeout_s=60, kept=kept)
    figures, tools = load(kept)
    assert {unit: found.fmax_seeds for unit, found in figures["smallest"].items()} == {
        "run": (216.67, 226.67),
        "slots": (216.67,),
    }
    assert tools == {"smallest": "yosys 1.0, nextpnr-ecp5 1.0"}
    assert designs(kept) == {"smallest": {unit: content_key(f"{unit} True") for unit in ("run", "slots")}}


def test_every_section_has_all_units() -> None:
    whole = {name for name, section in SECTIONS.items() if section.units == (WHOLE,)}
    assert whole == {"ulx3s", "ecp5_45", "ecp5_25"}  # routed in one piece
    assert all(set(UNIT_COMPONENTS) <= set(section.units) for name, section in SECTIONS.items() if name not in whole)


@pytest.mark.slow
@pytest.mark.parametrize("unit", QUICK)
def test_units_route_above_the_clock(unit: str) -> None:
    row = survey(SMALLEST, "ecp5", [unit], seeds=(1,), timeout_s=600).rows[0]
    assert row.best is not None
    assert row.best.fmax_mhz >= LEAST_MHZ, row.best.steps


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNIT_COMPONENTS)
def test_units_stay_under_the_modelled_period(unit: str) -> None:
    flow = replace(SMALLEST, engine=replace(SMALLEST.engine, fabric=FLOWS["xcup"].fabric))
    path = Job(unit, flow, "xcup", 600).modelled()
    assert path.fmax_mhz >= LEAST_MODELLED_MHZ, path.steps
