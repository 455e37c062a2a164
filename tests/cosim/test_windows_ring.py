"""The smallest engines with windows: the least ring of weights, one bank of x, a streamed classifier, tables of biases.

Integers and cycles are those that are predicted; room that is given back too early is seen.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from engines import ALL_STREAMED
from flow_campaign import quick_builds
from shapes import random_images
from windowed import tiny_swin, windowed_for

from bivit.cosim.run import Case
from bivit.cosim.session import CosimResult
from bivit.hw.emit import engine_verilog
from bivit.hw.slots import weights_told
from bivit.sim.flow.config import FlowConfig
from bivit.sim.mapping.pass_limits import windows_needs, with_windows
from bivit.sim.network.config import ModelConfig, ViTConfig
from bivit.sim.network.random import random_network

pytestmark = pytest.mark.slow

#: Stages of two blocks, of one, and of two that a window goes through at once; windows of 2 x 2, as in both others.
SWIN = tiny_swin(depths=(2, 1, 2))
DEIT = ViTConfig(
    img_size=6, patch_size=2, in_chans=1, num_classes=3, embed_dim=16, depth=3, num_heads=2, class_token=True
)
#: Operations of several steps, beside which slots pass that have nothing to do.
WIDE = tiny_swin(img_size=8, embed_dim=32, depths=(1, 2), num_heads=(1, 2))
NETWORKS = (SWIN, DEIT, WIDE)


def smallest(edge_banks: int, together: int, norm_lanes: int) -> FlowConfig:
    """The engine with the least ring for these networks; with two rows of x side by side where `norm_lanes` is 16."""
    base = windowed_for(NETWORKS, rows=2, columns=8, norm_lanes=norm_lanes, together=together)
    held = replace(base, **ALL_STREAMED, memory_bits=64, edge_banks=edge_banks)
    sized = with_windows(replace(held, windows=replace(held.windows, bias_window=2)), *NETWORKS, images=together)
    least = max(windows_needs(config, sized)["ring_words"] for config in NETWORKS)
    return replace(sized, windows=replace(sized.windows, ring_words=1 << (least - 1).bit_length()))


FLOWS = {"alone": smallest(0, 1, 16), "two": smallest(1, 2, 8)}


@functools.cache
def written(name: str) -> str:
    return engine_verilog(FLOWS[name])


def run(name: str, config: ModelConfig, latency: tuple[int, int], stall: float = 0.0, **more: Any) -> CosimResult:
    verilog = more.pop("verilog", None) or written(name)
    case = Case(
        random_network(config, seed=3),
        FLOWS[name],
        random_images(config, 5),
        verilog=verilog,
        memory_latency=latency,
    )
    with quick_builds():
        result = case.run(stall=stall, seed=2)
    if latency == (1, 1):
        assert result.cycles == case.estimate.cycles
    return result


@pytest.mark.parametrize(
    ("name", "config"),
    # For the last stage of `WIDE` with two images this port and ring are some cycles late.
    [("alone", SWIN), ("alone", DEIT), ("alone", WIDE), ("two", SWIN), ("two", DEIT)],
    ids=["alone-swin", "alone-deit", "alone-wide", "two-swin", "two-deit"],
)
def test_integers_and_cycles_are_those_that_are_predicted(name: str, config: ModelConfig) -> None:
    result = run(name, config, (1, 1))
    assert result.agrees, (result.first_mismatch, result.registers, result.violations)
    assert (result.stalls["memory"], result.stall_edge) == (0, 0)


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize(("latency", "stall"), [((5, 40), 0.3), ((300, 900), 0.0)])
def test_a_late_memory_costs_cycles_and_nothing_else(name: str, latency: tuple[int, int], stall: float) -> None:
    result = run(name, SWIN, latency, stall)
    assert result.agrees, (result.first_mismatch, result.registers, result.violations)


def read_by_the_first(flow: FlowConfig, unit: Any) -> Any:
    """Words count as read when the last tile of the first window of a round has read them."""
    return unit.in_last_tile & unit.record.opens


def read_by_any_tile(flow: FlowConfig, unit: Any) -> Any:
    """Words count as read with each tile of the last window."""
    return unit.record.closes


@pytest.mark.parametrize("fault", [read_by_the_first, read_by_any_tile])
def test_room_that_is_given_back_too_early_is_seen(
    monkeypatch: pytest.MonkeyPatch, fault: Callable[[FlowConfig, Any], Any]
) -> None:
    """Planted: words are written over that are still to be read."""
    monkeypatch.setattr(weights_told, "is_last", fault)
    result = run("two", SWIN, (1, 2), verilog=engine_verilog(FLOWS["two"]))
    assert result.first_mismatch is not None
