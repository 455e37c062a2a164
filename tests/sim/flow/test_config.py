"""The configuration of a dataflow engine: what is refused, and what follows from it."""

from typing import Any

import pytest

from bivit.sim.engine.presets import engine_for
from bivit.sim.errors import BivitError
from bivit.sim.flow.config import FlowConfig
from bivit.sim.network.presets import vit_preset

ARRAY = engine_for(vit_preset("digits"), rows=8, columns=16, lanes=16, dense_lanes=16, program_words=512)


def flow(**changes: Any) -> FlowConfig:
    widths = {"drain_rows": 4, "norm_lanes": 32, "head_norm_lanes": 16, "softmax_lanes": 8}
    return FlowConfig(engine=ARRAY, **{**widths, **changes})


def test_lanes_are_whole_rows_or_even_parts_of_one() -> None:
    engine = flow()
    assert [engine.rows_of(lanes) for lanes in (8, 16, 32)] == [1, 1, 2]
    assert [engine.columns_of(lanes) for lanes in (8, 16, 32)] == [8, 16, 16]
    assert [flow(drain_rows=rows).drain_cycles for rows in (2, 4, 6, 8)] == [4, 2, 2, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drain_rows": 9}, r"drain_rows must be 1 to rows \(8\), got 9"),
        ({"drain_rows": 0}, r"drain_rows must be 1 to rows \(8\), got 0"),
        ({"norm_lanes": 24}, r"norm_lanes must divide columns \(16\) or be a multiple of it, got 24"),
        ({"softmax_lanes": 0}, r"softmax_lanes must divide columns \(16\) or be a multiple of it, got 0"),
        ({"drain_rows": 3}, "drain_rows must be a multiple of the 2 rows that norm_lanes 32 takes, got 3"),
        ({"head_norm_lanes": 128, "drain_rows": 8}, "head_norm_lanes must be at most 64, got 128"),
        ({"value_rows": 3}, r"value_rows must be a power of two, at most columns \(\d+\), got 3"),
        ({"images": 9}, "images must be 1 to 8, got 9"),
        ({"staging_slots": 1}, "staging_slots must be 2 to 16, got 1"),
        ({"load_banks": 0}, "load_banks must be 1 or 2, got 0"),
        (
            {"lut_memories": ("value",)},
            "lut_memories may have weights, preload, dense_weights, positions, x, ring, norm, query, bits, keys, "
            "values, got 'value'",
        ),
        (
            {"block_memories": ("x", "ring"), "lut_memories": ("keys", "x")},
            "a memory is in block_memories or in lut_memories, got x in both",
        ),
        ({"edge_banks": 3}, "edge_banks must be 1 or 2, got 3"),
    ],
)
def test_what_cannot_be_built_is_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(BivitError, match=message):
        flow(**changes)
