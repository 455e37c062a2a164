"""Engines that hold as little as can be: x of one image, a ring of weights, a pass of pixels and the next one.

Integers and cycles are those that are predicted, a late memory costs time, and room that is given back too early is
seen.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
from engines import ALL_STREAMED, streamed_flow
from flow_campaign import quick_builds
from shapes import TINY, TOKENS, random_images

from bivit.cosim.run import Case
from bivit.cosim.session import CosimResult
from bivit.hw.emit import engine_verilog
from bivit.hw.slots import weights_told
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.weight_stream import WeightStreamUnit
from bivit.sim.mapping.loads import loads_of
from bivit.sim.network.config import ViTConfig
from bivit.sim.network.random import random_network

pytestmark = pytest.mark.slow

NETWORKS = {"deep": replace(TINY, depth=5), "tokens": replace(TOKENS, depth=3)}
IMAGES = 4


@functools.cache
def smallest() -> FlowConfig:
    """The engine with the least ring for these networks, a bank of x, and the fewest passes of pixels."""
    flow = streamed_flow(**ALL_STREAMED, memory_bits=64, images=1, edge_banks=0, patch_slots=2)
    array = replace(flow.engine, max_depth=5, program_words=256)
    least = max(WeightStreamUnit(flow).ring_words(config) for config in NETWORKS.values())
    return replace(flow, engine=array, ring_words=1 << (least - 1).bit_length())


@functools.cache
def written() -> str:
    return engine_verilog(smallest())


def run(name: str, latency: tuple[int, int], stall: float = 0.0, verilog: str = "") -> tuple[Case, CosimResult]:
    config = NETWORKS[name]
    case = Case(
        random_network(config, seed=3),
        smallest(),
        random_images(config, IMAGES),
        verilog=verilog or written(),
        memory_latency=latency,
    )
    with quick_builds():
        return case, case.run(stall=stall, seed=2)


@pytest.mark.parametrize("name", NETWORKS)
def test_integers_and_cycles_are_those_that_are_predicted(name: str) -> None:
    case, result = run(name, (1, 1))
    assert result.agrees, (result.first_mismatch, result.registers, result.violations)
    assert (result.stalls["memory"], result.stall_edge) == (0, 0)
    assert result.cycles == case.estimate.cycles


@pytest.mark.parametrize(("latency", "stall"), [((5, 40), 0.3), ((300, 900), 0.0)])
def test_a_late_memory_costs_cycles_and_nothing_else(latency: tuple[int, int], stall: float) -> None:
    _, result = run("deep", latency, stall)
    assert result.agrees, (result.first_mismatch, result.registers, result.violations)


def test_images_take_their_turn_in_the_bank() -> None:
    """Each is embedded when the one before has left: no image is faster than both together."""
    config: ViTConfig = NETWORKS["deep"]
    case, _ = run("deep", (1, 1))
    assert loads_of(config, smallest()).cycles["x"] * (IMAGES - 1) < case.estimate.cycles
    twice = replace(smallest(), edge_banks=1)
    assert "x" not in loads_of(config, twice).cycles


def test_room_that_is_given_back_too_early_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: words count as read with each tile, and are written over while they are still to be read."""
    monkeypatch.setattr(weights_told, "is_last", lambda flow, unit: 1)
    _, result = run("deep", (1, 2), verilog=engine_verilog(smallest()))
    assert result.first_mismatch is not None
