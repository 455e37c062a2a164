"""The cycle model of the dataflow: every cycle has its cause, credits hold, and what locks up is said."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from flow_runs import QUICK, flow_for, replayed

from bivit.sim.flow.streams import Stream, TileShape
from bivit.sim.flow.table import GRAIN, Places, SlotTable, slot_table
from bivit.sim.mapping.search import first_lines, search
from bivit.sim.network.presets import vit_preset
from bivit.sim.timing.plan import Edge, Latencies, plan_of
from bivit.sim.timing.replay_state import ANSWERED, FINISHED, NOW, STALLS, Cause

DIGITS = vit_preset("digits")
SHAPE = TileShape(DIGITS, 4, 16)
WIDTHS = {"drain_rows": 2, "norm_lanes": 16, "head_norm_lanes": 16, "softmax_lanes": 16}
FLOW = flow_for(DIGITS, 4, 16, **WIDTHS)
#: A little more than the blocks take, and banks enough.
EDGE = Edge(embed=1100, tail=600, classify=20, banks=4)


def rate(images: int = 9, edge: Edge = EDGE):  # type: ignore[no-untyped-def]
    def cycles(table: SlotTable) -> float | None:
        slots, state = replayed(DIGITS, FLOW, table, images, edge=edge)
        finished = state.images[FINISHED]
        return None if slots < 0 else float(finished[-3] - finished[2]) / (images - 5)

    return cycles


def plan():  # type: ignore[no-untyped-def]
    empty = SlotTable(tuple(Stream), dict.fromkeys(Stream, 0))
    return plan_of(DIGITS, FLOW, empty, 1, edge=QUICK)


@pytest.fixture(scope="module")
def table() -> SlotTable:
    found = search(SHAPE, plan(), rate(), tries=20)
    assert found is not None
    return found[0]


def test_a_short_search_fills_nine_tenths_of_the_array(table: SlotTable) -> None:
    ideal = SHAPE.tiles * SHAPE.tile_steps * DIGITS.depth
    cycles = rate()(table)
    assert cycles is not None
    assert ideal <= cycles
    assert SHAPE.packing * ideal / cycles >= 0.9


@pytest.mark.parametrize("images", [1, 2, 3, 8])
def test_every_cycle_is_a_step_or_has_a_cause(table: SlotTable, images: int) -> None:
    slots, state = replayed(DIGITS, FLOW, table, images, edge=EDGE)
    assert slots > 0
    steps = images * DIGITS.depth * SHAPE.tiles * SHAPE.tile_steps
    assert state.clock[NOW] == steps + state.clock[STALLS:].sum()
    assert (state.images[ANSWERED] > state.images[FINISHED]).all()
    assert state.clock[STALLS + Cause.IDLE] + state.clock[STALLS + Cause.GHOST] >= EDGE.embed


def test_images_leave_in_order_and_one_alone_is_not_later_than_among_others(table: SlotTable) -> None:
    _, alone = replayed(DIGITS, FLOW, table, 1, edge=EDGE)
    _, many = replayed(DIGITS, FLOW, table, 6, edge=EDGE)
    answered = many.images[ANSWERED]
    assert (answered[1:] > answered[:-1]).all()
    assert alone.images[ANSWERED, 0] <= answered[0]


def test_a_slower_unit_and_a_smaller_ring_cost_cycles(table: SlotTable) -> None:
    cycles = rate()(table)
    for change in ({"head_norm_lanes": 2}, {"norm_lanes": 4}, {"drain_rows": 1}, {"score_slots": 2, "head_slots": 2}):
        slots, state = replayed(DIGITS, replace(FLOW, **change), table, 9, edge=EDGE)
        finished = state.images[FINISHED]
        assert slots < 0 or (finished[-3] - finished[2]) / 4 > cycles, change


def test_scores_before_their_keys_lock_up_and_the_slot_is_told(table: SlotTable) -> None:
    eager = SlotTable(table.slots, {**table.lag, Stream.QKV: table.lag[Stream.QKV] + 40 * SHAPE.operations[Stream.QKV]})
    slots, _ = replayed(DIGITS, FLOW, eager, 2, edge=EDGE)
    assert slots < 0


def test_more_latency_is_never_faster(table: SlotTable) -> None:
    _, before = replayed(DIGITS, FLOW, table, 4)
    slower = Latencies(**{name: value + 9 for name, value in vars(Latencies.of(FLOW)).items()})
    slots, after = replayed(DIGITS, FLOW, table, 4, latencies=slower)
    assert slots > 0
    assert after.images[ANSWERED, 0] > before.images[ANSWERED, 0]


def test_the_same_seed_gives_the_same_table() -> None:
    one, two = (search(SHAPE, plan(), rate(7), tries=6, seed=5) for _ in range(2))
    assert one == two
    assert one != search(SHAPE, plan(), rate(7), tries=6, seed=6)


@pytest.mark.parametrize("seed", range(20))
def test_a_table_serves_every_streams_operations_in_order(seed: int) -> None:
    chance = random.Random(seed)
    period = GRAIN * SHAPE.tile_steps
    line = Places(
        {one: chance.randrange(6 * period) for one in Stream},
        {one: chance.randrange(period // 4, period + 1) for one in Stream},
        {},
    )
    table = slot_table(SHAPE, line)
    for stream, operations in SHAPE.operations.items():
        assert table.slots.count(stream) == operations
        # In a late round, each slot's operation is the one whose place on the line comes then.
        places = line.of(stream, operations)
        rounds = range(10, 12)
        order = sorted((place + (turn - place // period) * period, place) for turn in rounds for place in places)
        served = [(turn * operations + slot - table.lag[stream]) for turn in rounds for slot in range(operations)]
        assert [places[one % operations] for one in served] == [place for _, place in order]


def test_first_lines_leave_each_stream_behind_the_one_that_it_needs() -> None:
    for line in first_lines(SHAPE, plan().durations):
        begins = [line.phase[stream] for stream in Stream]
        assert begins == sorted(begins)
        assert len(set(begins)) == len(begins)
