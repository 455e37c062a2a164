"""Engines that are sized: every width the smallest that is idle enough, and near the named engines of their shape."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bivit.sim.errors import BivitError
from bivit.sim.estimate.choice import too_small
from bivit.sim.explore.sizing import Wish, sized, wishes
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.presets import FLOW_ENGINES
from bivit.sim.mapping.loads import loads_of
from bivit.sim.network.config import ViTConfig
from bivit.sim.network.formats import Formats
from bivit.sim.network.presets import vit_preset

TINY = vit_preset("deit_tiny")
#: Widths, and the parts that wait for them.
PARTS = {
    "norm_lanes": ("residual_add", "sign_norm"),
    "head_norm_lanes": ("head_norm",),
    "softmax_lanes": ("softmax",),
    "value_rows": ("row_writer",),
}


def sized_for(config: ViTConfig, wish: Wish) -> FlowConfig:
    flow = sized([config], Formats(), wish, "lut6")
    assert flow is not None
    return flow


def halved(flow: FlowConfig, field: str) -> FlowConfig | None:
    """The engine with half of a width, in rows that any width takes; None where that is no legal one."""
    width = getattr(flow, field)
    try:
        return replace(flow, **{field: width // 2}) if width > 1 else None
    except BivitError:
        return None


@pytest.mark.parametrize("net", ["digits", "fashion", "deit_tiny"])
@pytest.mark.parametrize("slack", [0.7, 0.95, 1.25])
def test_widths_are_the_smallest_that_keep_the_slack(net: str, slack: float) -> None:
    config, compared = vit_preset(net), 0
    for wish in wishes([config], (2,), (slack,)):
        flow = sized([config], Formats(), wish, "lut6")
        if flow is None:
            continue
        cycles = loads_of(config, flow).cycles
        for field, parts in PARTS.items():
            assert all(cycles[part] <= slack * cycles["array"] for part in parts)
            smaller = halved(flow, field)
            if smaller is not None:
                less = loads_of(config, smaller).cycles
                assert any(less[part] > slack * less["array"] for part in parts), (wish, field)
                compared += 1
    assert compared > 5


@pytest.mark.parametrize(("name", "slack"), [("zcu102", 0.95), ("kv260", 1.25)])
def test_named_engines_are_nearly_found(name: str, slack: float) -> None:
    """The array in as much use with no more lanes than a person gave it."""
    named = FLOW_ENGINES[name]
    wish = Wish(named.engine.rows, named.engine.columns, 2, slack)
    flow = sized_for(TINY, wish)
    assert loads_of(TINY, flow).bound <= 1.1 * loads_of(TINY, named).bound
    for field in ("norm_lanes", "head_norm_lanes", "softmax_lanes"):
        assert getattr(flow, field) <= getattr(named, field)
    assert flow.dense_patches * flow.dense_channels <= 1.1 * named.dense_patches * named.dense_channels


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("net", ["digits", "fashion"])
def test_they_hold_their_network_and_its_table(net: str, images: int) -> None:
    config = vit_preset(net)
    flows = [
        flow for wish in wishes([config], (images,), (0.95,)) if (flow := sized([config], Formats(), wish, "lut4"))
    ]
    assert len(flows) > 5
    for flow in flows:
        assert not too_small(config, Formats(), flow)
        assert (flow.engine.fabric, flow.images) == ("lut4", images)


def test_units_that_no_network_needs_are_left_out() -> None:
    """Both are there as soon as one network of several needs them."""
    lean, digits = vit_preset("digits_lean"), vit_preset("digits")
    for configs, there in (
        ([lean], (False, False)),
        ([replace(lean, qk_mode="layernorm")], (True, False)),
        ([lean, digits], (True, True)),
    ):
        flow = sized(configs, Formats(), Wish(4, 16, 2, 0.95), "lut4")
        assert flow is not None
        assert (flow.has_head_norm, flow.has_softmax) == there
        assert not any(too_small(config, Formats(), flow) for config in configs)
        assert all(there) == (not too_small(digits, Formats(), flow))


def test_one_engine_holds_several_networks() -> None:
    configs = [vit_preset("digits"), vit_preset("fashion")]
    flow = sized(configs, Formats(), Wish(4, 16, 2, 0.95), "lut4")
    assert flow is not None
    assert not any(too_small(config, Formats(), flow) for config in configs)


def test_rows_fill_tiles_evenly() -> None:
    rows = {wish.rows for wish in wishes([TINY], (2,), (1.0,))}
    tokens = TINY.num_tokens
    assert {1, 2, 11, 33, 66} <= rows
    for count in rows:
        tiles = -(-tokens // count)
        assert count == 1 or -(-tokens // (count - 1)) > tiles, "one row less would do as well"


def test_a_shape_without_legal_widths_gives_none() -> None:
    assert sized([TINY], Formats(), Wish(66, 64, 2, 0.01), "lut6") is None


def test_beats_of_pixels_are_as_wide_as_many_small_patches_allow() -> None:
    """A row of them has to lie in the ring of patches, one a word at least."""
    small = replace(vit_preset("digits"), img_size=16, patch_size=1, in_chans=3)
    found = {
        size
        for wish in wishes([small], (2,), (0.95,))
        if (flow := sized([small], Formats(), wish, "lut6"))
        for size in [flow.engine.pixel_bytes]
    }
    assert found
    assert max(found) < 16
    assert sized_for(vit_preset("deit_tiny"), Wish(33, 32, 2, 0.95)).engine.pixel_bytes == 16
