"""Engines that read what they do not hold: each has the time for it, and holds its networks."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from bivit.sim.estimate.choice import too_small
from bivit.sim.estimate.devices import device
from bivit.sim.explore.aim import Aim
from bivit.sim.explore.search import candidates
from bivit.sim.explore.streaming import (
    with_one_bank,
    with_one_image,
    with_streamed_edge,
    with_streamed_patches,
    with_streamed_weights,
)
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.edge import EdgeUnit
from bivit.sim.flow.weight_stream import WeightStreamUnit
from bivit.sim.mapping.loads import loads_of
from bivit.sim.network.formats import Formats
from bivit.sim.network.presets import preset

DEIT = preset("deit_small")
AIM = Aim((DEIT,), Formats())


@cache
def edges() -> dict[FlowConfig, str | None]:
    """Every fifth engine that is sized for DeiT-Small, with all streamed that is read once an image."""
    sized = [flow for flow, name in candidates(device("zcu102"), AIM).items() if name is None]
    streamed = with_streamed_weights(dict.fromkeys(sized[::5]), AIM)
    return with_streamed_edge(streamed, AIM)


@pytest.mark.parametrize("alone", [False, True])
def test_passes_are_read_in_time(alone: bool) -> None:
    """Both the array and the port have the time, and the engine holds the network."""
    found = (with_one_image if alone else with_streamed_patches)(edges(), AIM)
    assert len(found) > 10
    for flow in found:
        loads = loads_of(DEIT, flow)
        assert flow.patch_streamed
        assert (flow.images, flow.edge_banks) == ((1, 1) if alone else (2, 2))
        assert loads.cycles["dense"] <= loads.cycles["array"]
        assert loads.cycles["memory"] <= 0.8 * loads.bound
        assert not too_small(DEIT, Formats(), flow)


def test_one_bank_and_the_least_rings() -> None:
    """X is of one image, rings have room for what they must hold, and the engine holds the network."""
    found = with_one_bank(edges(), AIM)
    assert len(found) > 10
    for flow in found:
        assert (flow.images, flow.edge_banks) == (1, 0)
        assert flow.ring_words >= WeightStreamUnit(flow).ring_words(DEIT) > flow.ring_words // 2
        assert flow.patch_slots == 1 + EdgeUnit(flow).strip_passes(DEIT.grid_size)
        loads = loads_of(DEIT, flow)
        assert loads.cycles["dense"] <= 2 * loads.cycles["array"]
        assert loads.binds == "x"
        assert not too_small(DEIT, Formats(), flow)
        small = replace(flow, ring_words=flow.ring_words // 2)
        assert f"ring_words is {small.ring_words}, the network needs" in too_small(DEIT, Formats(), small)


def test_a_narrower_port_would_be_late() -> None:
    flow = next(flow for flow in with_streamed_patches(edges(), AIM) if flow.memory_bits > 64)
    narrow = loads_of(DEIT, replace(flow, memory_bits=flow.memory_bits // 2))
    assert narrow.cycles["memory"] > 0.8 * narrow.bound or narrow.cycles["dense"] > narrow.cycles["array"]


def test_what_is_named_or_read_already_stays() -> None:
    one, other, *_ = edges()
    streamed = with_streamed_patches({one: "named", other: None}, AIM)
    assert len(streamed) <= 1
    assert with_streamed_patches(streamed, AIM) == {}
