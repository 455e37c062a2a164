"""ResidualAdd with statistics, and SignNorm behind it: every value against the definition, every cycle predicted."""

import random
from typing import Any

import pytest
from flow_norms import Bench, flow_config, scenario

from bivit.sim.flow.lane_unit import LONG_AGO
from bivit.sim.flow.residual_add import ResidualAddUnit
from helpers import signed

#: Lanes, drain rows, rows, channels: parts of a row, whole rows, several of them; odd rows, channels that end anywhere.
SHAPES = [
    (4, 1, 5, 24),
    (4, 2, 3, 13),
    (8, 1, 5, 32),
    (8, 4, 6, 20),
    (16, 2, 5, 8),
    (16, 4, 7, 29),
    (24, 3, 7, 16),
    (2, 1, 2, 5),
]


def predicted(bench: Bench) -> dict[str, list[Any]]:
    """Cycles of all events, from when jobs and credits came."""
    case, add, norm = bench.case, bench.add_unit, bench.norm_unit
    events: dict[str, list[Any]] = {name: [] for name in bench.events}
    free = roots_free = norm_free = LONG_AGO
    credits = {ring: [LONG_AGO] * bench.flow.norm_slots + bench.credits[ring] for ring in range(2)}
    taken = [0, 0]
    for tile, group, given in case.steps:
        job = add.times(tile.rows, bench.arrived[given], free)
        free = job.free
        events["read"] += [] if tile.load else [job.read]
        words = range(job.written + 1 - add.groups(tile.rows) * add.parts, job.written + 1)
        events["x_write"] += [] if tile.load else words
        events["staged"] += words if tile.norm else []
        if group < case.groups - 1:
            continue
        events["written"] += [] if tile.load else [job.written]
        events["finished"] += [job.written] if tile.final else []
        if not tile.norm:
            continue
        roots = add.roots(tile.rows, job.summed, roots_free)
        roots_free = roots.free
        side = add.side
        events["stats"] += [
            roots.start + row // side * add.root_pace + row % side + add.root_stage for row in range(tile.rows)
        ]
        credit = credits[tile.ring][taken[tile.ring]]
        taken[tile.ring] += 1
        apply = norm.times(tile.rows, case.channels, roots.rooted, norm_free, credit=credit)
        norm_free = apply.free
        pace = max(norm.words(case.channels), norm.least_pace)
        events["bits"] += [
            apply.start + norm.bits_stage + at * pace + word
            for at in range(norm.groups(tile.rows))
            for word in range(norm.words(case.channels))
        ]
        events["staging_free"].append(apply.free)
        events[f"full{tile.ring}"].append(apply.full)
    return events


def cycles(events: list[Any]) -> list[int]:
    return [event[0] if isinstance(event, tuple) else event for event in events]


def check_values(bench: Bench) -> None:
    """X, S1, R and bits, of the tile's rows and channels; what lies beyond gives no bits."""
    case, add, norm = bench.case, bench.add_unit, bench.norm_unit
    bits = bench.flow.engine.formats.residual_bits
    for tile in case.tiles:
        for addr, row, column in bench.words(tile):
            for lane in range(add.lanes):
                place = (row + lane // add.columns, column + lane % add.columns)
                if place[0] < tile.rows and place[1] < case.channels:
                    assert signed(bench.written[addr] >> lane * bits, bits) == tile.new[place]
    order = [tile for tile, group, _ in case.steps if group == case.groups - 1]
    stats, found = iter(bench.events["stats"]), iter(bench.events["bits"])
    slots = [0, 0]
    for tile in (tile for tile in order if tile.norm):
        for row in range(tile.rows):
            place = (tile.slot * add.most_groups + row // add.side, row % add.side)
            assert next(stats)[1:] == (*place, *tile.stats[row])
        for group in range(norm.groups(tile.rows)):
            for word in range(norm.words(case.channels)):
                expected = 0
                for lane in range(norm.lanes):
                    row, channel = group * norm.side + lane // norm.columns, word * norm.columns + lane % norm.columns
                    if row < tile.rows and channel < case.channels:
                        expected |= case.bit(tile, row, channel) << lane
                assert next(found)[1:] == (tile.ring, slots[tile.ring], group, word, expected)
        slots[tile.ring] = (slots[tile.ring] + 1) % bench.flow.norm_slots
    assert next(stats, None) is None
    assert next(found, None) is None
    assert bench.saturations == sum(tile.saturated for tile in case.tiles)


def run(shape: tuple[int, int, int, int], seed: int, late: float, owing: float = 0.0, **more: Any) -> Bench:
    lanes, drain, rows, channels = shape
    rng = random.Random(seed)
    config = flow_config(rows=rows, drain_rows=drain, norm_lanes=lanes, **more)
    bench = Bench(scenario(config, channels, 12, rng), rng, late, owing)
    bench.run()
    return bench


def check(bench: Bench) -> None:
    check_values(bench)
    expected = predicted(bench)
    for name, events in bench.events.items():
        assert cycles(events) == expected[name], name
    # A tile's slot is given back when its bits are on their way, in the order of the last groups.
    order = [tile for tile, group, _ in bench.case.steps if group == bench.case.groups - 1]
    assert [slot for _, slot in bench.events["staging_free"]] == [tile.slot for tile in order if tile.norm]


@pytest.mark.parametrize(("late", "owing"), [(0.0, 0.0), (0.5, 0.5)])
@pytest.mark.parametrize("shape", SHAPES)
def test_random_jobs(shape: tuple[int, int, int, int], late: float, owing: float) -> None:
    check(run(shape, sum(shape), late, owing))


def test_narrow_multiplier_blocks() -> None:
    check(run((8, 2, 3, 20), 7, 0.0, fabric="lut4"))


def test_the_cases_reach_limits_ties_and_waits() -> None:
    """What the random jobs are for does occur in them."""
    bench = run((8, 1, 5, 32), 46, 0.2, 0.8, norm_slots=2, staging_slots=2)
    check(bench)
    assert bench.saturations > 0
    ties = 0
    for tile in (tile for tile in bench.case.tiles if tile.norm):
        n, (s1, r) = bench.case.channels, tile.stats[0]
        x = tile.new[0, :n] >> bench.flow.engine.formats.norm_shift
        ties += int(((n * x - s1) << 8 == bench.case.theta[tile.layer, :n] * r).sum())
    assert ties > 0
    starved = predicted(bench)
    bench.credits = {0: [LONG_AGO] * 12, 1: [LONG_AGO] * 12}
    assert predicted(bench) != starved


def test_jobs_that_come_too_close_lose_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row's sums are read in the cycle of their write: the bench sees it."""
    monkeypatch.setattr(ResidualAddUnit, "least_cycles", 2)
    bench = run((8, 1, 1, 32), 3, 0.0, residual_slots=8)
    with pytest.raises(AssertionError, match="assert"):
        check_values(bench)


def test_a_wrong_latency_is_seen() -> None:
    bench = run((8, 1, 2, 16), 4, 0.0)
    check(bench)
    bench.arrived = {job: cycle + 1 for job, cycle in bench.arrived.items()}
    with pytest.raises(AssertionError, match="read"):
        check(bench)
