"""What the softmax says of its own times: literal cycles of a few jobs."""

from dataclasses import astuple, replace

import pytest
from small_flow import small_flow
from softmax_windows import LIMITS

from bivit.sim.engine.presets import engine_for
from bivit.sim.errors import BivitError
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.machine import load_memories
from bivit.sim.flow.softmax import SoftmaxUnit
from bivit.sim.network.presets import vit_preset

ARRAY = engine_for(vit_preset("digits"), rows=8, columns=16, lanes=16, dense_lanes=16, program_words=512)


def unit(lanes: int, drain_rows: int = 4) -> SoftmaxUnit:
    """Of an array of 8 x 16."""
    widths = {"norm_lanes": 16, "head_norm_lanes": 16, "softmax_lanes": lanes}
    return SoftmaxUnit(FlowConfig(engine=ARRAY, drain_rows=drain_rows, **widths))


def test_lanes_are_parts_of_a_row_or_rows_side_by_side() -> None:
    shapes = [(one.rows, one.columns, one.pieces, one.word_rows) for one in map(unit, (8, 16, 32))]
    assert shapes == [(1, 8, 2, 4), (1, 16, 1, 4), (2, 16, 1, 2)]


def test_a_pass_takes_a_cycle_a_chunk_and_rows_side_by_side_a_cycle_each() -> None:
    assert [[one.row_cycles(keys) for keys in (1, 9, 16, 17)] for one in map(unit, (8, 16, 32))] == [
        [1, 2, 2, 3],
        [1, 1, 1, 2],
        [2, 2, 2, 2],
    ]


def test_the_stages_of_the_smallest_engine() -> None:
    one = unit(16)
    assert (one.top_stage, one.sum_stage, one.limit_stage, one.count_stage) == (5, 8, 15, 32)
    assert unit(64, drain_rows=8).count_stage == 32  # rows side by side change nothing but what follows the first
    lut4 = SoftmaxUnit(replace(one.flow, engine=replace(one.flow.engine, fabric="lut4")))
    assert lut4.multiply_cycles == one.multiply_cycles  # one block or two: operands, products, and their sum


def test_one_job_that_waits_for_nothing() -> None:
    """8 rows of 16 keys: scores at 0, SUM from 6, the first row's count after a cycle and 32 stages."""
    times = unit(16).times(8, 16, arrived=0)
    assert astuple(times) == (6, 14, 39, 47, 47, 50)


def test_what_a_job_waits_for() -> None:
    one = unit(16)
    times = one.times(8, 16, arrived=0, sum_free=20, compare_free=70, attention_freed=60)
    assert (times.sum_start, times.compare_start) == (20, 70)
    assert one.times(8, 16, arrived=0, attention_freed=60).compare_start == 62
    assert one.times(1, 1, arrived=0).sum_end == 8  # the least job


def windows(flow: FlowConfig) -> SoftmaxUnit:
    """The same with windows."""
    return SoftmaxUnit(replace(flow, windows=LIMITS))


def test_bias_comes_from_a_memory_before_m() -> None:
    """A cycle more, or two in fabric lut4, from the address to the word; and nothing else is another."""
    one, other = unit(16), windows(unit(16).flow)
    assert (one.store_stage, other.top_stage, other.store_stage) == (1, 6, 3)
    assert astuple(other.times(8, 16, arrived=0)) == (7, 15, 40, 48, 48, 51)
    lut4 = windows(one.flow.in_fabric("lut4"))
    assert (lut4.top_stage, lut4.store_stage, lut4.load_memories["bias"].read_cycles) == (7, 4, 2)
    assert (other.count_stage, other.memories["scores"]) == (one.count_stage, one.memories["scores"])
    assert set(other.memories) - set(one.memories) == {"theta"}


def test_bias_and_masks_are_loaded_with_windows_only() -> None:
    flow = small_flow()
    found = load_memories(replace(flow, windows=LIMITS))
    scores = flow.drain_rows * flow.engine.columns
    assert {"bias", "masks"} <= {name for name in found if name not in load_memories(flow)}
    assert (found["bias"].width, found["bias"].depth) == (6 * scores, LIMITS.bias_words)
    assert (found["masks"].width, found["masks"].depth) == (2 * scores, LIMITS.mask_words)
    assert list(found) == sorted(found, key=lambda name: found[name].id)


def test_a_word_of_bias_that_no_stream_can_fill_is_refused() -> None:
    """64 beats of 64 bits hold the bias of 682 scores."""
    array = replace(ARRAY, columns=64, rows=16)
    wide = replace(unit(16).flow, engine=array, norm_lanes=64, head_norm_lanes=64, softmax_lanes=64)
    assert windows(replace(wide, drain_rows=10)).load_memories["bias"].beats == 60
    with pytest.raises(BivitError, match=r"drain_rows \* columns of at most 682, got 704"):
        windows(replace(wide, drain_rows=11))
    assert SoftmaxUnit(replace(wide, drain_rows=11)).load_memories == {}
