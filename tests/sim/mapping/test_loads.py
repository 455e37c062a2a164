"""Loads of an engine's parts: no order of the work gets below the largest, and shipped tables come near it."""

from dataclasses import replace

import pytest

from bivit.sim.flow.presets import FLOW_ENGINES
from bivit.sim.mapping.loads import Loads, loads_of
from bivit.sim.mapping.pass_program import schedule_of
from bivit.sim.mapping.shipped import shipped_cycles
from bivit.sim.network.formats import Formats
from bivit.sim.network.presets import preset, vit_preset

TINY = vit_preset("deit_tiny")
#: Of engines that are made for a network, what the bound is of the cycles, at least.
NEAR = 0.94


@pytest.mark.parametrize("engine", FLOW_ENGINES)
@pytest.mark.parametrize("network", ["deit_tiny", "deit_small", "digits", "fashion", "cifar"])
def test_no_shipped_table_is_faster_than_the_loads_allow(engine: str, network: str) -> None:
    config, flow = vit_preset(network), FLOW_ENGINES[engine]
    found = shipped_cycles(config, flow)
    if found is not None:  # not every engine holds every network, nor has a table for it
        assert loads_of(config, flow).bound <= found[1]


@pytest.mark.parametrize(
    ("engine", "network"),
    [("swin", "swin_fashion"), ("swin", "swin_cifar"), ("swin", "swin_tiny"), ("swin_zcu102", "swin_tiny")],
)
def test_loads_of_passes_are_below_the_cycles_and_that_of_the_array_are_its_steps(engine: str, network: str) -> None:
    config, flow = preset(network), FLOW_ENGINES[engine]
    loads, found = loads_of(config, flow), shipped_cycles(config, flow)
    assert found is not None
    assert loads.bound <= found[1]
    schedule = schedule_of(config, Formats(), flow)
    assert loads.cycles["array"] == sum(one.steps for one in schedule.passes)
    # The norm of patches takes each token by itself.
    assert loads.cycles["patch_norm"] >= config.num_tokens


@pytest.mark.parametrize(
    ("engine", "network"),
    [
        ("sim", "deit_tiny"),
        ("zcu102", "deit_tiny"),
        ("kv260", "deit_tiny"),
        ("vck190", "deit_small"),
        ("ulx3s", "fashion"),
    ],
)
def test_the_bound_is_near_where_an_engine_is_made_for_a_network(engine: str, network: str) -> None:
    config, flow = vit_preset(network), FLOW_ENGINES[engine]
    found = shipped_cycles(config, flow)
    assert found is not None
    assert NEAR * found[1] <= loads_of(config, flow).bound


def test_what_binds_is_what_is_made_smaller() -> None:
    flow = FLOW_ENGINES["zcu102"]
    assert loads_of(TINY, flow).binds == "dense"
    assert loads_of(TINY, replace(flow, softmax_lanes=32)).binds == "softmax"
    assert loads_of(TINY, replace(flow, norm_lanes=32)).binds == "residual_add"
    assert loads_of(TINY, replace(flow, head_norm_lanes=16)).binds == "head_norm"
    assert (
        loads_of(TINY, replace(flow, drain_rows=6, norm_lanes=64, softmax_lanes=96)).cycles["drain"]
        == 2 * (loads_of(TINY, flow).cycles["drain"])
    )
    slow = replace(flow, engine=replace(flow.engine, pixel_bytes=1))
    assert loads_of(TINY, slow).binds == "pixels"


def test_a_unit_without_work_has_none() -> None:
    """Its load is there, and 0."""
    assert loads_of(replace(TINY, qk_mode="threshold"), FLOW_ENGINES["zcu102"]).cycles["head_norm"] == 0


def test_a_bank_is_busy_with_patches_and_blocks_one_after_the_other() -> None:
    """Without a bank beside those in flight; with one both are at work at a time."""
    flow = replace(FLOW_ENGINES["ulx3s"], images=1, edge_banks=0)
    config = vit_preset("digits")
    loads = loads_of(config, flow)
    assert loads.binds == "x"
    patches = loads.cycles["dense"] - config.num_classes // flow.dense_channels * config.embed_dim
    assert 0 < loads.cycles["x"] - loads.in_turn <= patches
    assert "x" not in loads_of(config, replace(flow, edge_banks=1)).cycles
    assert loads_of(config, replace(flow, images=2)).cycles["x"] == -(-loads.cycles["x"] // 2)


def test_shares_are_of_what_binds() -> None:
    loads = Loads(
        {"array": 50, "softmax": 100, "dense": 25}, ({"array": 20, "softmax": 90}, {"array": 30, "softmax": 10})
    )
    assert (loads.bound, loads.in_turn, loads.binds) == (120, 120, "softmax")
    assert list(loads.shares.items()) == [("softmax", 1.0), ("array", 0.5), ("dense", 0.25)]
