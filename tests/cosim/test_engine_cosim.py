"""Whole networks on the whole engine: every tap and cycle, in every mode; and planted faults, found by name."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from engines import stream_of, tiny_build, tiny_verilog
from shapes import MODES, TINY, TOKENS, tiny_engine
from simulators import FASTEST_BUILD

from bivit.cosim.run import Case, run_cosim
from bivit.cosim.scenario import Load, Outcome, Run, Step, play
from bivit.cosim.session import CosimResult
from bivit.sim.engine.commands import Matmul
from bivit.sim.engine.loadstream import LoadError, build_stream
from bivit.sim.engine.registers import ErrorCode
from bivit.sim.network.network import IntNetwork
from bivit.sim.network.random import random_network
from bivit.sim.program.compiler import compile_network
from bivit.sim.program.cycles import estimate_cycles
from bivit.sim.program.load_words import load_words
from bivit.sim.reference.run import run_reference

pytestmark = pytest.mark.slow


def images_for(config, count=2):
    shape = (count, config.img_size, config.img_size, config.in_chans)
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


def cosim(network: IntNetwork, *, count: int = 2, **more: object) -> CosimResult:
    options = {"verilog": tiny_verilog(), "stall": 0.0} | more
    return run_cosim(network, tiny_engine(), images_for(network.config, count), **options)


@pytest.mark.parametrize("mode", MODES)
def test_every_tap_and_cycle_is_as_predicted(mode):
    """One engine runs them all; without stalls the counters equal the estimate, exactly."""
    network = random_network(MODES[mode], seed=5)
    result = cosim(network)
    assert (result.mismatches, result.first_mismatch) == (0, None)
    estimate = estimate_cycles(compile_network(network, tiny_engine()), 2)
    assert result.cycles == estimate.cycles
    assert result.array_busy == estimate.array_busy
    assert result.stall_pixels == estimate.stall_pixels
    assert result.stall_logits == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_stalls_change_no_number_and_are_accounted_for(seed):
    case = Case(random_network(TOKENS, seed=5), tiny_engine(), images_for(TOKENS, 3), verilog=tiny_verilog())
    plain, stalled = case.run(stall=0.0), case.run(stall=0.5, seed=seed)
    assert plain.mismatches == stalled.mismatches == 0
    assert stalled.stall_logits == 0  # the queue takes what the reader leaves
    assert stalled.cycles == plain.cycles + stalled.stall_pixels - plain.stall_pixels


def changed(network: IntNetwork, name: str, index: tuple[int, ...], change) -> IntNetwork:
    tensor = network.tensors[name].copy()
    tensor[index] = change(tensor[index])
    return IntNetwork(network.config, network.formats, {**network.tensors, name: tensor})


@pytest.mark.parametrize(
    ("name", "index", "change", "tensor", "where"),
    [
        ("blocks.1.attn.proj.weight", (5, 0), lambda w: w ^ np.uint64(1), "blocks.1.attn.proj", {"channel": 5}),
        ("blocks.0.mlp.act.theta", (3,), lambda t: t + 2, "blocks.0.mlp.fc1", {"channel": 3}),
        ("blocks.0.attn.v_sign.theta", (9,), lambda t: t + 2, "blocks.0.attn.qkv", {"channel": 2 * 16 + 9}),
        ("blocks.1.attn.k_norm.scale", (1, 2), lambda s: s ^ 1, "blocks.1.attn.k_norm.s1", {"head": 1}),
        ("blocks.1.attn.attn_sign.exp", (0, 3), lambda e: e - 1, "blocks.1.attn.attn_sign.z", {"head": 0}),
        ("blocks.0.mlp.fc2.bias", (7,), lambda b: b + 1, "blocks.0.add2", {"channel": 7}),
        ("patch_embed.proj.weight", (4, 2), lambda w: w ^ 1, "patch_embed", {"channel": 4}),
        ("pos_embed", (3, 6), lambda p: p + 1, "patch_embed", {"token": 3, "channel": 6}),
        ("head.bias", (2,), lambda b: b + 1, "head", {"class": 2}),
    ],
)
def test_a_changed_parameter_is_found_where_it_is(name, index, change, tensor, where):
    """The engine gets one wrong value; the comparison names the first tensor that it touches."""
    network = random_network(TINY, seed=5)
    result = cosim(network, stream=stream_of(changed(network, name, index, change)))
    assert result.mismatches == 2
    found = result.first_mismatch
    assert found is not None
    assert found.tensor == tensor
    assert found.expected != found.got
    assert where.items() <= found.where().items()


def test_a_changed_program_word_is_found():
    """An instruction of the first block writes its hidden bits from channel 8 on instead of 0."""
    network, engine = random_network(TINY, seed=5), tiny_engine()
    program = compile_network(network, engine)
    commands = [instruction.command for instruction in program.instructions]
    at = next(k for k, each in enumerate(commands) if isinstance(each, Matmul) and each.preload_addr == 6)
    wrong = replace(program.instructions[at], command=replace(commands[at], dst_chunk=commands[at].dst_chunk + 1))
    instructions = (*program.instructions[:at], wrong, *program.instructions[at + 1 :])
    words = load_words(network, replace(program, instructions=instructions))
    result = cosim(network, stream=build_stream(engine, words))
    assert result.first_mismatch is not None
    assert result.first_mismatch.tensor == "blocks.0.mlp.act"
    assert result.first_mismatch.kind == "address"


def test_a_stuck_wire_in_the_verilog_is_found():
    """Bit 2 of the sum of the dot unit in row 0, column 2 is stuck at 0."""
    instance = re.search(r"\n  \S+  dot_0_2 \(.*?\.o\(([^)]*)\).*?\);", tiny_verilog(), re.S)
    assert instance is not None
    stuck = f"\n  wire [31:0] stuck;\n  assign {instance[1].strip()} = stuck & ~32'd4;"
    text = tiny_verilog().replace(instance[0], stuck + instance[0].replace(instance[1], "stuck"))
    result = cosim(random_network(TINY, seed=5), count=1, verilog=text, simulator=FASTEST_BUILD)
    found = result.first_mismatch
    assert found is not None
    assert found.tensor == "blocks.0.attn.qkv"
    assert found.where()["channel"] % 8 == 2
    assert found.where()["token"] % 3 == 0


def run_of(network: IntNetwork, *, cut: int = 0, reset_after: int | None = None) -> Run:
    pixels = [image.tobytes() for image in images_for(network.config)]
    return Run([image[: len(image) - cut] for image in pixels], 50_000, reset_after)


def logits_of(outcome: Outcome, network: IntNetwork) -> list[list[int]]:
    values = [value for value, _, _ in outcome.logits]
    classes = network.config.num_classes
    return [values[at : at + classes] for at in range(0, len(values), classes)]


def test_a_refused_load_leaves_the_network_that_runs(tmp_path):
    """Wrong checksum, cut short, another engine: each is reported, and the old network still gives its logits."""
    network, other = random_network(TOKENS, seed=5), random_network(TOKENS, seed=6)
    stream = stream_of(other)
    flipped = bytearray(stream)
    flipped[len(stream) // 2] ^= 1
    broken = {
        LoadError.CRC: bytes(flipped),
        LoadError.LENGTH: stream[: len(stream) // 16 * 8],
        LoadError.ENGINE: stream[:16] + bytes(8) + stream[24:],
    }
    steps: list[Step] = [Load(stream_of(network)), run_of(network)]
    for data in broken.values():
        steps += [Load(data), run_of(network)]
    outcomes = play(tiny_build(), [*steps, Load(stream), run_of(other)], tmp_path, stall=0.2, seed=4)
    expected = run_reference(network, images_for(TOKENS)).logits.tolist()
    assert [outcome.registers["ERROR"] for outcome in outcomes[2:-2:2]] == list(broken)
    for outcome in outcomes[1:-2:2]:
        assert logits_of(outcome, network) == expected
    assert outcomes[-1].registers["LOADS_BAD"] == len(broken)
    assert logits_of(outcomes[-1], other) == run_reference(other, images_for(TOKENS)).logits.tolist() != expected


@pytest.mark.parametrize("cycles", [40, 700, 2000])
def test_a_reset_in_mid_image_leaves_no_trace(cycles, tmp_path):
    network = random_network(TOKENS, seed=5)
    load = Load(stream_of(network))
    outcomes = play(tiny_build(), [load, run_of(network, reset_after=cycles), load, run_of(network)], tmp_path)
    assert not outcomes[1].finished
    assert outcomes[1].registers["STATUS"] == 0
    assert logits_of(outcomes[3], network) == run_reference(network, images_for(TOKENS)).logits.tolist()


def test_a_wrong_pixel_frame_is_reported_and_forgotten(tmp_path):
    """TLAST a beat early: the run ends with an error, and the next one is right."""
    network = random_network(TOKENS, seed=5)
    broken = run_of(network, cut=4)
    broken = replace(broken, images=broken.images[:1])
    outcomes = play(tiny_build(), [Load(stream_of(network)), broken, run_of(network)], tmp_path)
    assert outcomes[1].registers["ERROR"] == ErrorCode.PIXEL_FRAME
    assert outcomes[2].registers["ERROR"] == ErrorCode.NONE
    assert logits_of(outcomes[2], network) == run_reference(network, images_for(TOKENS)).logits.tolist()
