"""Block tables for one image in flight: what a greedy array does in a block, replayed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flow_runs import flow_for, replayed

from bivit.sim.errors import BivitError
from bivit.sim.flow.streams import Stream, TileShape
from bivit.sim.flow.table import SlotTable
from bivit.sim.mapping.greedy import block_table
from bivit.sim.network.presets import vit_preset
from bivit.sim.timing.plan import Edge, plan_of
from bivit.sim.timing.replay_state import FINISHED, NOW, STALLS

DEEP = replace(vit_preset("digits"), depth=7)
WIDTHS = {"drain_rows": 2, "norm_lanes": 16, "head_norm_lanes": 16, "softmax_lanes": 16}
ROOMY = {
    "residual_slots": 8,
    "head_slots": 8,
    "score_slots": 6,
    "attention_slots": 6,
    "norm_slots": 4,
    "context_slots": 4,
    "staging_slots": 8,
}
FLOW = flow_for(DEEP, 4, 16, images=1, **WIDTHS, **ROOMY)
SHAPE = TileShape(DEEP, 4, 16)
PRIORITY = (Stream.SCORES, Stream.CONTEXT, Stream.PROJ, Stream.FC1, Stream.FC2, Stream.QKV)


def table_of(priority: tuple[Stream, ...], flow=FLOW) -> SlotTable:  # type: ignore[no-untyped-def]
    empty = SlotTable(tuple(Stream), dict.fromkeys(Stream, 0))
    edge = Edge(embed=1, tail=1, classify=1, banks=8)
    return block_table(plan_of(DEEP, flow, empty, 2, edge=edge), priority)


def test_a_table_of_a_block_has_every_operation_once_and_fills_seven_tenths() -> None:
    table = table_of(PRIORITY)
    assert {one: table.slots.count(one) for one in Stream} == {
        one: SHAPE.tiles * number for one, number in SHAPE.operations.items()
    }
    edge = Edge(embed=900, tail=600, classify=20, banks=4)
    slots, state = replayed(DEEP, FLOW, table, 4, edge=edge)
    assert slots > 0
    ideal = DEEP.depth * SHAPE.tiles * SHAPE.tile_steps
    assert state.clock[NOW] == 4 * ideal + state.clock[STALLS:].sum()
    finished = state.images[FINISHED]
    assert SHAPE.packing * ideal / ((finished[-1] - finished[0]) / 3) >= 0.7


def test_more_room_is_not_slower() -> None:
    narrow = replace(FLOW, residual_slots=2, head_slots=2, score_slots=2, staging_slots=2)
    cycles = []
    for flow in (narrow, FLOW):
        slots, state = replayed(DEEP, flow, table_of(PRIORITY, flow), 3)
        assert slots > 0
        cycles.append(state.images[FINISHED, -1])
    assert cycles[1] <= cycles[0]


def test_the_same_table_comes_out_twice_and_another_for_another_priority() -> None:
    assert table_of(PRIORITY) == table_of(PRIORITY)
    assert table_of(PRIORITY) != table_of(PRIORITY[::-1])


def test_a_priority_that_leaves_a_stream_out_is_refused() -> None:
    with pytest.raises(BivitError, match="no stream can go on"):
        table_of(PRIORITY[:-1])
