"""The page of widths and units: what the code says, of every field and unit."""

from dataclasses import replace

from bivit.cli.pages.units import UNITS_PAGE, render
from bivit.sim.flow.presets import FLOW_ENGINES


def test_the_page_in_the_docs_is_what_the_engines_say() -> None:
    assert UNITS_PAGE.read_text(encoding="utf-8") == render(FLOW_ENGINES)


def test_a_width_that_changes_changes_its_row() -> None:
    sim = FLOW_ENGINES["sim"]
    before, after = (render({"one": flow}).splitlines() for flow in (sim, replace(sim, score_slots=7)))
    changed = [line for line in after if line not in before]
    assert changed[0] == "| score_slots | 7 |"
    assert [line.split("`")[1] for line in changed[1:]] == ["softmax"]
