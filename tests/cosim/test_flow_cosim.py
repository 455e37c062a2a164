"""Whole networks on a dataflow engine: every tensor, cycle and stall, in every mode; and planted faults, by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from engines import tiny_case, tiny_flow, tiny_program
from shapes import MODES, TINY, TOKENS, random_images

from bivit.cosim.order import Entry, Operation, order
from bivit.cosim.run import Case
from bivit.sim.engine.loadstream import build_stream
from bivit.sim.engine.memories import TABLE_BITS
from bivit.sim.flow.streams import Stream, TileShape
from bivit.sim.network.config import ViTConfig
from bivit.sim.network.random import random_network
from bivit.sim.timing.plan import first_slot


def case_of(config: ViTConfig, images: int) -> Case:
    return tiny_case(random_network(config, seed=5), random_images(config, images))


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_every_tensor_cycle_and_stall_is_as_predicted(mode: str) -> None:
    """One engine runs them all."""
    case = case_of(MODES[mode], 3)
    result = case.run(stall=0.0)
    assert (result.mismatches, result.first_mismatch, result.registers, result.violations) == (0, None, (), ())
    assert (result.cycles, result.array_busy) == (case.estimate.cycles, case.estimate.array_busy)
    assert result.stalls == case.estimate.stalls
    assert result.before == first_slot(tiny_flow())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_stalls_of_the_ports_change_no_tensor(seed: int) -> None:
    """Five images: which lane takes an image depends on when its pixels come."""
    case = case_of(TOKENS, 5)
    result = case.run(stall=0.6, seed=seed)
    assert (result.mismatches, result.first_mismatch, result.registers, result.violations) == (0, None, (), ())
    assert result.cycles > case.estimate.cycles
    assert result.before == first_slot(tiny_flow())  # every cycle behind it is a step, or a stall with a cause


def _places(case: Case) -> dict[str, tuple[str, int, int]]:
    """For each tensor a word that it comes from, and of it a bit whose change is seen: memory, word, bit."""
    layout, flow = case.program.layout, case.engine
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
        words = {name: {first: list(run) for first, run in runs.items()} for name, runs in case.program.words.items()}
        words[memory][0][addr] ^= 1 << bit
        case.stream = build_stream(case.machine, words)
        found = case.run(stall=stall).first_mismatch
        assert found is not None, tensor
        assert (found.tensor, found.kind) == (tensor, "value")


@pytest.mark.slow
def test_a_stall_that_was_not_predicted_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_of(TINY, 2)
    stalls = {**case.estimate.stalls, "keys": case.estimate.stalls["keys"] + 1}
    monkeypatch.setattr(case, "estimate", replace(case.estimate, stalls=stalls))
    (found,) = case.run(stall=0.0).registers
    assert (found.name, found.expected, found.got) == ("keys", stalls["keys"], stalls["keys"] - 1)


@pytest.mark.parametrize("taken", [[], [False, True], [True, False, False, False, True]])
def test_every_operation_comes_once_and_an_image_in_its_blocks_order(taken: list[bool]) -> None:
    """Whichever lane takes an image."""
    flow, images = tiny_flow(), 4
    shape = TileShape(TINY, flow.engine.rows, flow.engine.columns)
    program = tiny_program(random_network(TINY, seed=5))
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
