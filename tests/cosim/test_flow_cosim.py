"""Whole networks on a dataflow engine: every tensor, cycle and stall, in every mode; and planted faults, by name."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from flow_random import spread_table
from shapes import MODES, TINY, TOKENS, random_images

from bivit.cosim.flow.case import FlowCase
from bivit.cosim.flow.order import Entry, Operation, order
from bivit.hw.emit import flow_verilog
from bivit.sim.engine.loadstream import build_stream
from bivit.sim.engine.memories import TABLE_BITS
from bivit.sim.engine.presets import engine_for
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.streams import Stream, TileShape
from bivit.sim.mapping.program import FlowProgram
from bivit.sim.network.config import ViTConfig
from bivit.sim.network.random import random_network

#: Holds every mode; heads, channels and tokens fill neither rows nor columns nor words.
LARGEST = replace(TOKENS, embed_dim=24, num_heads=3, depth=3)


class _Middle:
    """Chooses what is in the middle, for a table that does not depend on chance."""

    @staticmethod
    def choice(values: tuple[int, ...]) -> int:
        return values[-1]


def engine(**more: Any) -> FlowConfig:
    array = engine_for(LARGEST, rows=3, columns=8, lanes=8, dense_lanes=8, program_words=64, pixel_bytes=1)
    widths = {"drain_rows": 2, "norm_lanes": 16, "head_norm_lanes": 8, "softmax_lanes": 16, "dense_patches": 2}
    return FlowConfig(engine=array, **{**widths, **more})


@cache
def verilog() -> str:
    return flow_verilog(engine())


def case_of(config: ViTConfig, images: int, **more: Any) -> FlowCase:
    flow = engine()
    table = spread_table(TileShape(config, flow.engine.rows, flow.engine.columns), _Middle())
    options = {"verilog": verilog(), "table": table} | more
    return FlowCase(random_network(config, seed=5), flow, random_images(config, images), **options)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_every_tensor_cycle_and_stall_is_as_predicted(mode: str) -> None:
    """One engine runs them all."""
    case = case_of(MODES[mode], 3)
    result = case.run(stall=0.0)
    assert (result.mismatches, result.first_mismatch, result.registers, result.violations) == (0, None, (), ())
    assert (result.cycles, result.array_busy) == (case.estimate.cycles, case.estimate.array_busy)
    assert result.counters == case.cycles.stalls


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_stalls_of_the_ports_change_no_tensor(seed: int) -> None:
    """Five images: which lane takes an image depends on when its pixels come."""
    case = case_of(TOKENS, 5)
    result = case.run(stall=0.6, seed=seed)
    assert (result.mismatches, result.first_mismatch, result.registers, result.violations) == (0, None, (), ())
    assert result.cycles > case.estimate.cycles


def _places(case: FlowCase) -> dict[str, tuple[str, int, int]]:
    """For each tensor a word that it comes from, and of it a bit whose change is seen: memory, word, bit."""
    layout, flow = case.program.layout, case.flow
    bits, start = flow.engine.formats.residual_bits, flow.engine.acc_bits - 1
    theta = flow.engine.formats.theta_bits - 1
    return {
        "patch_embed": ("positions", 0, bits - 1),
        "blocks.0.norm1": ("sign_norm", 0, theta),
        "blocks.0.attn.qkv": ("preload", layout.preload_addr(0, Stream.QKV, 0), start),
        "blocks.1.attn.v_sign": ("preload", layout.preload_addr(1, Stream.QKV, 2), start),
        "blocks.0.attn.k_norm": ("head_norm", 0, 8 * flow.engine.formats.qk_scale_bits + theta),
        "blocks.0.attn.attn_sign": ("tables", 0, TABLE_BITS - 1),
        "blocks.0.attn.scores": ("preload", layout.preload_addr(0, Stream.SCORES, 1), start),
        "blocks.1.attn.context": ("preload", layout.preload_addr(1, Stream.CONTEXT, 0), start),
        "blocks.0.attn.proj": ("preload", layout.preload_addr(0, Stream.PROJ, 1), start),
        "blocks.1.mlp.act": ("preload", layout.preload_addr(1, Stream.FC1, 3), start),
        "blocks.1.mlp.fc2": ("preload", layout.preload_addr(1, Stream.FC2, 0), start),
        "blocks.0.add1": ("residual", 0, flow.engine.formats.scale_bits + bits - 1),
    }


@pytest.mark.slow
@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_a_wrong_parameter_is_found_at_the_tensor_that_it_makes(stall: float) -> None:
    case = case_of(TINY, 3)
    for tensor, (memory, addr, bit) in _places(case).items():
        words = {name: {first: list(run) for first, run in runs.items()} for name, runs in case.words.items()}
        words[memory][0][addr] ^= 1 << bit
        case.stream = build_stream(case.target, words)
        found = case.run(stall=stall).first_mismatch
        assert found is not None, tensor
        assert (found.tensor, found.kind) == (tensor, "value")


@pytest.mark.slow
def test_a_stall_that_was_not_predicted_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_of(TINY, 2)
    stalls = {**case.cycles.stalls, "keys": case.cycles.stalls["keys"] + 1}
    monkeypatch.setattr(case, "cycles", replace(case.cycles, stalls=stalls))
    (found,) = case.run(stall=0.0).registers
    assert (found.name, found.expected, found.got) == ("keys", stalls["keys"], stalls["keys"] - 1)


@pytest.mark.parametrize("taken", [[], [False, True], [True, False, False, False, True]])
def test_every_operation_comes_once_and_an_image_in_its_blocks_order(taken: list[bool]) -> None:
    """Whichever lane takes an image."""
    flow, images = engine(), 4
    shape = TileShape(TINY, flow.engine.rows, flow.engine.columns)
    program = FlowProgram(random_network(TINY, seed=5), flow, spread_table(shape, _Middle()))
    found = list(order(program, images, taken))
    operations = [one for one in found if isinstance(one, Operation)]
    assert len(set(operations)) == len(operations)
    assert len(operations) == images * TINY.depth * shape.tiles * sum(shape.operations.values())
    entries = [one for one in found if isinstance(one, Entry)]
    assert entries == [Entry(image, tile) for image in range(images) for tile in range(shape.tiles)]
    for image in range(images):
        of_qkv = [(one.block, one.tile, one.number) for one in operations if one[0] == image and one[2] is Stream.QKV]
        assert of_qkv == sorted(of_qkv)
        assert found.index(Entry(image, 0)) < found.index(Operation(image, 0, Stream.QKV, 0, 0))
