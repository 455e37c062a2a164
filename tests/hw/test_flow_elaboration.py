"""Random dataflow engines of the campaign reach every branch of the generators."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from random import Random

from elaborated import lines_not_run
from engines import ALL_STREAMED
from flow_random import random_engine
from windowed import tiny_swin, windowed_for

from bivit.hw.convert import verilog_text
from bivit.hw.edge.products import Products
from bivit.hw.engine import Engine
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.edge import EdgeUnit

#: An engine with three rows of softmax side by side, in more than 16 lanes; one of single rows; one with two channels
#: a multiplier.
SEEDS = (184, 373, 267)
#: What is never called.
ABSTRACT = "raise NotImplementedError"


def test_a_few_engines_elaborate_every_line_of_the_generators() -> None:
    """Those, one with two banks and many pairs, products too wide for a multiplier block, streamed weights, all
    that can be streamed, in a ring, windows, with one bank of x as well, and with all that can be streamed."""
    flows = [random_engine(Random(seed)) for seed in SEEDS]
    narrow = flows[0].in_fabric("lut4")
    wide = replace(narrow.engine.formats, scale_bits=20)
    flows += [
        replace(flows[2], load_banks=2, dense_patches=3),
        replace(narrow, engine=replace(narrow.engine, formats=wide)),
        replace(flows[1], weights="streamed"),
        replace(flows[0], weights="streamed", edge_weights="streamed"),
        *(replace(flows[0], **ALL_STREAMED, memory_bits=bits) for bits in (64, 512)),
        replace(flows[0], **ALL_STREAMED, images=1, edge_banks=0, patch_slots=16, ring_words=256),
    ]
    flows += [windowed_for([tiny_swin()], columns=8, norm_lanes=lanes, rows=4) for lanes in (4, 16)]
    windows = flows[-1].windows
    assert windows is not None
    flows += [
        replace(flows[-1], **ALL_STREAMED, windows=replace(windows, bias_window=2)),
        replace(windowed_for([tiny_swin()], columns=8, norm_lanes=4, rows=4, together=1), edge_banks=0),
    ]
    engines = [partial(Engine, flow) for flow in flows]
    left = lines_not_run(("array", "flow", "slots", "edge", "fetch", "passes"), engines)
    assert [line for line in left if not line.endswith(ABSTRACT)] == []


def test_channels_that_leave_one_by_one_share_no_multiplier() -> None:
    """In words of x of a column there are no two of a pair; all else is as with `products_per_dsp` 1."""
    alone = replace(random_engine(Random(SEEDS[0])).in_fabric("lut6"), norm_lanes=1, dense_patches=3)
    written = [Products(EdgeUnit(replace(alone, products_per_dsp=products))) for products in (1, 2)]
    one, two = (verilog_text(unit, "products") for unit in written)
    assert one == two
    wide = EdgeUnit(replace(alone, norm_lanes=8, products_per_dsp=2))
    assert len(wide.lane_products) < len(written[1].unit.lane_products)


def test_the_campaign_draws_every_size_and_its_limits() -> None:
    """Over the engines that a campaign of 100 has."""
    drawn = [random_engine(Random(1000 + number)) for number in range(100)]

    def values(name: str) -> set[int]:
        return {getattr(flow, name) for flow in drawn}

    def sides(name: str) -> set[int]:
        return {flow.rows_of(getattr(flow, name)) for flow in drawn}

    assert {flow.engine.columns for flow in drawn} == {8, 16, 32, 64}
    assert {flow.engine.pixel_bytes for flow in drawn} == {1, 2, 4, 8}
    assert {flow.engine.fabric for flow in drawn} == {"lut4", "lut6"}
    assert {1, 2, 3, 4, 5} <= {flow.engine.rows for flow in drawn}
    assert {1, 2, 3, 4, 8} <= values("images")
    assert {1, 2, 3} <= values("dense_patches")
    assert {1, 2, 4, 8} <= values("value_rows")
    assert {flow.dense_patches for flow in drawn if flow.products_per_dsp == 2} >= {1, 2, 3}
    assert all({1, 2} <= sides(name) for name in ("norm_lanes", "head_norm_lanes", "softmax_lanes"))
    assert 3 in sides("norm_lanes") | sides("softmax_lanes")
    assert {(flow.engine.rows > flow.drain_rows, flow.drain_rows > 1) for flow in drawn} == {
        (False, False), (False, True), (True, False), (True, True),
    }  # fmt: skip
    rings = ("residual", "head", "score", "attention", "norm", "context", "hidden", "staging")
    assert all({2, 16} <= values(f"{ring}_slots") for ring in rings)
    assert {1} <= values("context_slots") & values("hidden_slots")
    assert all(isinstance(flow, FlowConfig) for flow in drawn)
