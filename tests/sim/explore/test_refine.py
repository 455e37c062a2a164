"""The best engine with more of something: only where parts wait for others, and only what is faster and fits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bivit.sim.estimate.devices import device
from bivit.sim.explore import refine
from bivit.sim.explore.aim import Aim, Found
from bivit.sim.explore.exact import nearly, quick_tables, tried
from bivit.sim.explore.points import point_of
from bivit.sim.explore.refine import refined
from bivit.sim.flow.presets import FLOW_ENGINES
from bivit.sim.network.formats import Formats
from bivit.sim.network.presets import vit_preset

DIGITS = vit_preset("digits")
AIM = Aim((DIGITS,), Formats())


@pytest.fixture(scope="module")
def narrow() -> Found:
    """An engine with a single image, whose parts wait for each other, with its exact cycles."""
    flow = replace(FLOW_ENGINES["arty"], images=1, head_norm_lanes=8)
    return tried(AIM, point_of([DIGITS], flow, device("xc7a100t"), 100.0), None)[0]


def test_more_of_what_is_waited_for_is_faster(narrow: Found) -> None:
    told: list[int] = []
    (found,) = refined(narrow, AIM, lambda what, done, count: told.append(done))
    assert told == list(range(len(told)))
    assert found.point.fits
    assert found.interval_cycles < 0.995 * narrow.interval_cycles
    assert found.point.flow != narrow.point.flow
    assert found.point.report.device == narrow.point.report.device
    # Its cycles are those that everybody gets.
    (again,) = tried(AIM, found.point, None)
    assert again == found


def test_a_second_bank_of_the_edge_is_tried() -> None:
    """An engine of three rows whose images wait for the edge: nothing else that fits helps."""
    flow = replace(FLOW_ENGINES["ulx3s"], edge_banks=1)
    flow = replace(flow, engine=replace(flow.engine, rows=3))
    (best,) = tried(AIM, point_of([DIGITS], flow, device("lfe5u-85f"), 100.0), None)
    (found,) = refined(best, AIM, lambda *_: None)
    assert found.point.flow.edge_banks == 2
    assert found.interval_cycles < best.interval_cycles


def test_nothing_larger_is_taken_where_it_does_not_fit(narrow: Found) -> None:
    small = point_of([DIGITS], narrow.point.flow, device("lfe5u-12f"), 100.0)
    assert not small.fits
    assert refined(replace(narrow, point=small), AIM, lambda *_: None) == []


def test_what_is_at_its_bound_or_waits_for_a_memory_is_left(narrow: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a table was sought")

    monkeypatch.setattr(refine, "quick_tables", never)
    for other in (replace(narrow, interval_cycles=narrow.point.loads.bound), replace(narrow, late=True)):
        assert refined(other, AIM, lambda *_: None) == []
    with pytest.raises(AssertionError, match="sought"):
        refined(narrow, AIM, lambda *_: None)


def test_tables_of_an_engine_with_other_widths_serve_to_compare(narrow: Found) -> None:
    tables = quick_tables([DIGITS], narrow.point.flow)
    slower = replace(narrow.point.flow, head_norm_lanes=1)
    assert nearly([DIGITS], narrow.point.flow, tables) < nearly([DIGITS], slower, tables) < float("inf")
