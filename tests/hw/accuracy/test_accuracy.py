"""How far estimates are off: comparisons with what is kept and with what is synthesised now, clocks, and the page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bivit.hw.accuracy import fresh
from bivit.hw.accuracy.clocks import ClockRow, clock_rows, clock_summaries
from bivit.hw.accuracy.compared import EXACT, Compared, compare, estimated_cost, kept_pairs, summaries
from bivit.hw.accuracy.fresh import drawn_pairs, synthesise_pairs
from bivit.hw.accuracy.page import ACCURACY_PAGE, page, render
from bivit.hw.accuracy.pairs import load_campaign
from bivit.hw.accuracy.searches import load_searches
from bivit.hw.synthesis.calibrate import FAMILIES, Measurement, in_fabric, load_measurements, predicted
from bivit.hw.synthesis.calibrated import LARGE_ENGINES
from bivit.hw.synthesis.flows import FLOWS
from bivit.hw.synthesis.synth import WHOLE
from bivit.hw.synthesis.timing_page import SECTIONS
from bivit.sim.errors import BivitError
from bivit.sim.estimate.clocks import CLOCKS
from bivit.sim.estimate.constants import CONSTANTS
from bivit.sim.estimate.cost import Cost
from bivit.sim.estimate.devices import DEVICES

MEASUREMENTS = load_measurements()


def measured(unit: str, engine: str, family: str = "xcup") -> Measurement:
    (found,) = [m for m in MEASUREMENTS if (m.unit, m.engine, m.family) == (unit, engine, family)]
    return found


def row(error: float | None, quantity: str = "luts", unit: str = "run", engine: str = "5x8") -> Compared:
    return Compared(
        engine=engine,
        unit=unit,
        family="xc7",
        quantity=quantity,
        estimated=100 * (1 + (error or 0)),
        synthesised=0 if error is None else 100,
        error=error,
    )


def test_the_page_is_that_of_what_is_kept() -> None:
    assert ACCURACY_PAGE.read_text(encoding="utf-8") == page()


def test_another_error_would_be_another_page() -> None:
    rows = [found for one in kept_pairs(MEASUREMENTS) for found in compare(one)]
    first = next(k for k, found in enumerate(rows) if found.error)
    rows[first] = replace(rows[first], error=9.0)
    assert render(rows, clock_rows(), load_campaign(), load_searches()) != ACCURACY_PAGE.read_text(encoding="utf-8")


def test_pairs_are_counted_by_what_they_are() -> None:
    """Thirty of both kinds that are as predicted; one cycle, or one wrong value, and a pair is not."""
    found = load_campaign()
    assert len({one.seed for one in found.pairs}) == len(found.pairs) >= 30
    assert {one.kind for one in found.pairs} == {"drawn", "sized"}
    assert all(one.agrees and one.values > 0 for one in found.pairs)
    for change in ({"simulated": found.pairs[0].simulated + 1}, {"wrong": 1}):
        changed = replace(found.pairs[0], **change)
        assert not changed.agrees
        text = render([], [], replace(found, pairs=(changed, *found.pairs[1:])), load_searches())
        assert f"{len(found.pairs) - 1} of {len(found.pairs)} runs took the cycles predicted" in text


def test_few_engines_at_random_are_faster_than_the_chosen_one() -> None:
    """Of ten thousand for each network and device: none on most, and none by a tenth; more would be on the page too."""
    found = load_searches()
    assert {(one.net, one.target) for one in found.searches} >= {
        ("deit_tiny", DEVICES["zu9eg"].part),
        ("deit_base", DEVICES["zu9eg"].part),
        ("digits", DEVICES["lfe5u-45f"].part),
    }
    assert 2 * sum(one.beaten for one in found.searches) < len(found.searches)
    for one in found.searches:
        assert one.drawn >= 10_000
        assert one.compiled <= one.fit <= one.legal - one.slower <= one.drawn
        assert one.gain < 0.1
        faster = replace(one, best_interval=0.9 * one.chosen_interval, best_engine="1x8x64")
        assert faster.beaten
        assert faster.gain == pytest.approx(0.1)
        assert "(1x8x64) | 10.0% |" in render([], [], load_campaign(), replace(found, searches=(faster,)))


def test_only_what_the_fit_has_not_seen_is_compared() -> None:
    pairs = kept_pairs(MEASUREMENTS)
    assert all(m.held_out for m in pairs)
    assert {m.family for m in pairs} == set(FAMILIES)
    assert {m.engine for m in kept_pairs(MEASUREMENTS, "ecp5", ["5x8"])} == {"5x8"}
    with pytest.raises(BivitError, match="--family must be one of xcup, xc7, ecp5, got 'ice40'"):
        kept_pairs(MEASUREMENTS, "ice40")
    with pytest.raises(BivitError, match=r"nothing of an engine '4x8' is kept.*5x8"):  # it is fitted
        kept_pairs(MEASUREMENTS, "xcup", ["4x8"])


def test_estimates_are_those_that_users_get() -> None:
    unit, whole = measured("softmax", "5x8"), measured(WHOLE, "arty", "xc7")
    for one in (unit, whole):
        found = {row.quantity: row for row in compare(one)}
        assert found["luts"].synthesised == one.cost.luts
        assert found["luts"].estimated == pytest.approx(predicted(one, CONSTANTS, "luts"), rel=1e-3)
        assert found["luts"].error == pytest.approx(found["luts"].estimated / found["luts"].synthesised - 1)


def test_a_wrong_weight_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONSTANTS["xcup"]["frame"], "luts", {"unit": 2 * CONSTANTS["xcup"]["frame"]["luts"]["unit"]})
    found = {row.quantity: row.error for row in compare(measured("frame", "5x8"))}
    assert found["luts"] == pytest.approx(1, abs=0.05)


def test_multipliers_and_block_memories_are_exact_on_all_that_is_held_out() -> None:
    rows = [found for one in kept_pairs(MEASUREMENTS) for found in compare(one)]
    assert [found for found in rows if found.quantity in EXACT and found.error != 0] == []
    assert any(found.quantity == "dsps" and found.estimated for found in rows)


def test_errors_are_summed_up_by_family_quantity_and_kind() -> None:
    rows = [row(0.1), row(-0.3, engine="arty"), row(0.0), row(0.2, unit=WHOLE), row(0.0, "ffs")]
    found = {(one.of, one.quantity): one for one in summaries(rows)}
    units = found["units", "luts"]
    assert (units.engines, units.rows, units.exact) == (2, 3, 1)
    assert (units.median_error, units.worst_error, units.worst) == (0.1, 0.3, "run/arty")
    assert found["engines", "luts"].worst_error == 0.2
    assert found["units", "ffs"].worst is None
    (undefined,) = summaries([row(0.1), row(None, unit="grid")])
    assert (undefined.median_error, undefined.worst_error, undefined.worst) == (None, None, "grid/5x8")


def test_placed_clocks_are_compared_with_what_estimates_take() -> None:
    rows = {(one.engine, one.unit): one for one in clock_rows()}
    for name, section in SECTIONS.items():
        if section.placed:
            assert rows[name, WHOLE].estimated_mhz == CLOCKS["ecp5"].mhz
    held_out = {name: one.held_out for (name, unit), one in rows.items() if unit == WHOLE}
    assert sorted(held_out.values()) == [False, True, True]  # the slowest of three gives the clock of all
    assert clock_rows("xc7") == []
    assert {one.engine for one in clock_rows(None, ["ulx3s"])} == {"ulx3s"}


def test_nothing_placed_is_unknown_and_not_0() -> None:
    slow = ClockRow(
        engine="a", unit="b", family="ecp5", part="c", estimated_mhz=90, kind="placed", placed_mhz=100, error=-0.1,
        held_out=True,
    )  # fmt: skip
    found = {one.family: one for one in clock_summaries([slow, replace(slow, error=9, held_out=False)], FAMILIES)}
    assert (found["ecp5"].rows, found["ecp5"].median_error, found["ecp5"].worst_error) == (1, 0.1, 0.1)
    assert (found["xcup"].rows, found["xcup"].kind, found["xcup"].median_error) == (0, "assumed", None)


def test_pairs_are_drawn_of_small_engines_by_the_seed() -> None:
    pairs = kept_pairs(MEASUREMENTS)
    drawn = drawn_pairs(pairs, 20, 3)
    assert drawn == drawn_pairs(pairs, 20, 3) != drawn_pairs(pairs, 20, 4)
    assert not {m.engine for m in drawn} & set(LARGE_ENGINES)
    assert WHOLE not in {m.unit for m in drawn}
    with pytest.raises(BivitError, match="--fresh must be 1 to 0"):
        drawn_pairs([m for m in pairs if m.engine == "kv260"], 1, 0)


def test_what_is_synthesised_now_is_compared_with_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = measured("run", "5x8")
    told: list[tuple[int, str]] = []
    asked: list[dict[str, object]] = []

    def synthesised(unit: str, flow: object, family: str, **options: object) -> Cost:
        asked.append({"unit": unit, "flow": flow, "family": family, "anew": options["anew"]})
        return replace(kept.cost, luts=(kept.cost.luts or 0) + 1)

    monkeypatch.setattr(fresh, "synthesise", synthesised)
    rows = {one.quantity: one for one in synthesise_pairs([kept], lambda done, m: told.append((done, m.unit)))}
    assert asked == [{"unit": "run", "flow": in_fabric("5x8", "xcup"), "family": "xcup", "anew": True}]
    assert told == [(0, "run")]
    assert (rows["luts"].agrees, rows["ffs"].agrees) == (False, True)
    assert (rows["luts"].kept, rows["luts"].synthesised) == (kept.cost.luts, (kept.cost.luts or 0) + 1)
    assert rows["luts"].estimated == estimated_cost("run", kept.flow, "xcup").luts


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_sample_of_what_is_kept_is_what_synthesis_gives_now(family: str) -> None:
    quick = [m for m in kept_pairs(MEASUREMENTS, family) if (m.cost.luts or 0) < 600]
    rows = synthesise_pairs(drawn_pairs(quick, 2, 0), lambda done, m: None)
    assert rows
    assert [one for one in rows if not one.agrees] == []
    assert {FLOWS[m.family].fabric for m in quick} == {m.flow.engine.fabric for m in quick}
