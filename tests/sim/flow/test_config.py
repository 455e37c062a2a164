"""The configuration of a dataflow engine: what is refused, and what follows from it."""

from dataclasses import replace
from typing import Any

import pytest

from bivit.sim.engine.presets import engine_for
from bivit.sim.errors import BivitError
from bivit.sim.estimate.engine_units import footprints
from bivit.sim.flow.config import LEFT_OUT, FlowConfig
from bivit.sim.flow.machine import load_memories
from bivit.sim.flow.presets import FLOW_ENGINES
from bivit.sim.mapping.layout import check_fits
from bivit.sim.network.formats import Formats
from bivit.sim.network.presets import vit_preset

ARRAY = engine_for(vit_preset("digits"), rows=8, columns=16, lanes=16, dense_lanes=16, program_words=512)


def flow(**changes: Any) -> FlowConfig:
    widths = {"drain_rows": 4, "norm_lanes": 32, "head_norm_lanes": 16, "softmax_lanes": 8}
    return FlowConfig(engine=ARRAY, **{**widths, **changes})


def test_an_engine_may_do_without_head_norm_and_softmax() -> None:
    everything, bare = flow(), flow(head_norm_lanes=0, softmax_lanes=0)
    assert (everything.has_head_norm, everything.has_softmax) == (True, True)
    assert (bare.has_head_norm, bare.has_softmax) == (False, False)
    missing = {"head_norm", "softmax", "tables"}
    assert set(footprints(everything)) - set(footprints(bare)) == missing
    assert set(load_memories(everything)) - set(load_memories(bare)) == {"head_norm", "head_norm_scales", "tables"} & {
        *load_memories(everything)
    }
    heads = 2 * everything.all_heads
    assert load_memories(everything)["norm_eps"].depth - load_memories(bare)["norm_eps"].depth == heads


@pytest.mark.parametrize(
    ("lanes", "config"),
    [("head_norm_lanes", {"attn_mode": "score"}), ("softmax_lanes", {"qk_mode": "threshold"})],
)
def test_a_network_with_another_mode_is_refused_there(lanes: str, config: dict[str, str]) -> None:
    """The message says which mode is allowed, which one was got, and what to do."""
    network = replace(vit_preset("digits"), **config)
    field, mode = LEFT_OUT[lanes]
    bare = flow(**{lanes: 0})
    check_fits(replace(network, **{field: mode}), Formats(), bare)
    message = f"{lanes} 0 runs networks with {field} {mode}, this one has .*; take an engine with {lanes} of 1 or more"
    with pytest.raises(BivitError, match=message):
        check_fits(network, Formats(), bare)


def test_windows_need_both() -> None:
    whole = FLOW_ENGINES["swin"]
    for lanes in LEFT_OUT:
        with pytest.raises(BivitError, match=f"{lanes} must be 1 or more in an engine with windows, got 0"):
            replace(whole, **{lanes: 0})


def test_products_of_look_up_tables_stay_so_in_any_fabric() -> None:
    for products, in_lut4 in ((0, 0), (1, 1), (2, 1)):
        assert flow(products_per_dsp=products).in_fabric("lut4").products_per_dsp == in_lut4


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
        ({"norm_lanes": 0}, r"norm_lanes must divide columns \(16\) or be a multiple of it, got 0"),
        ({"softmax_lanes": -8}, r"softmax_lanes must divide columns \(16\) or be a multiple of it, got -8"),
        ({"products_per_dsp": 3}, "products_per_dsp must be 0, 1 or 2, got 3"),
        ({"drain_rows": 3}, "drain_rows must be a multiple of the 2 rows that norm_lanes 32 takes, got 3"),
        ({"head_norm_lanes": 128, "drain_rows": 8}, "head_norm_lanes must be at most 64, got 128"),
        ({"value_rows": 3}, r"value_rows must be a power of two, at most columns \(\d+\), got 3"),
        ({"images": 9}, "images must be 1 to 8, got 9"),
        ({"staging_slots": 1}, "staging_slots must be 2 to 16, got 1"),
        ({"patch_slots": 17}, "patch_slots must be 0 to 16, got 17"),
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
        ({"edge_banks": 3}, "edge_banks must be 0 to 2, got 3"),
        ({"ring_words": 64}, "ring_words must be 0, got 64: only an engine with streamed weights"),
        ({"ring_words": 64, "weights": "streamed"}, "without windows and with one image in flight"),
        ({"ring_words": 96, "weights": "streamed", "images": 1}, "ring_words must be 0 or a power of two, got 96"),
    ],
)
def test_what_cannot_be_built_is_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(BivitError, match=message):
        flow(**changes)
