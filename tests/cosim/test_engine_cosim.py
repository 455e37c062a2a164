"""A whole engine and its bus: wrong words and wires are found by name; loads, resets and frames leave no trace."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from engines import stream_of, tiny_build, tiny_case, tiny_verilog
from shapes import TINY, TOKENS, random_images
from simulators import FASTEST_BUILD

from bivit.cosim.scenario import Load, Outcome, Run, Start, Step, Wait, play
from bivit.cosim.session import CosimResult
from bivit.sim.engine.loadstream import LoadError, build_stream
from bivit.sim.engine.registers import ErrorCode
from bivit.sim.network.network import IntNetwork
from bivit.sim.network.random import random_network
from bivit.sim.reference.run import run_reference

pytestmark = pytest.mark.slow


def images_for(config, count=2):
    return random_images(config, count, seed=7)


def cosim(network: IntNetwork, *, count: int = 2, simulator: str = "verilator", **more: object) -> CosimResult:
    return tiny_case(network, images_for(network.config, count), **more).run(stall=0.0, simulator=simulator)


def changed(network: IntNetwork, name: str, index: tuple[int, ...], change) -> IntNetwork:
    tensor = network.tensors[name].copy()
    tensor[index] = change(tensor[index])
    return IntNetwork(network.config, network.formats, {**network.tensors, name: tensor})


@pytest.mark.parametrize(
    ("name", "index", "change", "tensor", "where"),
    [
        ("blocks.1.attn.proj.weight", (5, 0), lambda w: w ^ np.uint64(1), "blocks.1.attn.proj", {"channel": 5}),
        ("blocks.0.mlp.act.theta", (3,), lambda t: 18, "blocks.0.mlp.act", {"channel": 3}),
        ("blocks.0.attn.v_sign.theta", (9,), lambda t: 18, "blocks.0.attn.v_sign", {"head": 1, "channel": 1}),
        ("blocks.1.attn.k_norm.theta", (1,), lambda t: -t - 999, "blocks.1.attn.k_norm", {"head": 1}),
        ("blocks.1.attn.attn_sign.exp", (0, slice(1, None)), lambda e: 0, "blocks.1.attn.attn_sign", {"head": 0}),
        ("blocks.0.mlp.fc2.bias", (7,), lambda b: b + 1, "blocks.0.add2", {"channel": 7}),
        ("patch_embed.proj.weight", (4, 2), lambda w: w ^ 1, "patch_embed", {"channel": 4}),
        ("pos_embed", (3, 6), lambda p: p + 1, "patch_embed", {"token": 3, "channel": 6}),
        ("head.bias", (2,), lambda b: b + 1, "logits", {"class": 2}),
    ],
)
def test_a_changed_parameter_is_found_where_it_is(name, index, change, tensor, where):
    """The engine gets one wrong value; the comparison names the first tensor that it touches."""
    network = random_network(TINY, seed=5)
    result = cosim(network, stream=stream_of(changed(network, name, index, change)))
    assert result.mismatches  # bits of one image may hide what a wrong threshold does
    found = result.first_mismatch
    assert found is not None
    assert found.tensor == tensor
    assert found.expected != found.got
    assert where.items() <= found.where().items()


def test_a_changed_slot_is_found():
    """A slot of the table names another stream: its operation comes too early."""
    network = random_network(TINY, seed=5)
    case = tiny_case(network, images_for(TINY))
    words = {name: {first: list(run) for first, run in runs.items()} for name, runs in case.program.words.items()}
    table = words["slots"][0]
    at = next(k for k, word in enumerate(table) if k > 4 and word % 8 != word // 8)
    table[at] = table[at] % 8 * 9
    case.stream = build_stream(case.machine, words)
    result = case.run(stall=0.0)
    assert result.first_mismatch is not None or result.registers


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


def test_a_refused_load_leaves_no_network_unless_its_header_was_wrong(tmp_path):
    """Wrong checksum, cut short, another engine: each is reported; the last one leaves the network that is there."""
    network, other = random_network(TOKENS, seed=5), random_network(TOKENS, seed=6)
    stream = stream_of(other)
    flipped = bytearray(stream)
    flipped[len(stream) // 2] ^= 1
    broken = {
        LoadError.CRC: bytes(flipped),
        LoadError.LENGTH: stream[: len(stream) // 16 * 8],
        LoadError.ENGINE: stream[:16] + bytes(8) + stream[24:],
    }
    steps: list[Step] = []
    for data in broken.values():
        steps += [Load(stream_of(network)), run_of(network), Load(data), Start(1), Wait(20_000)]
    steps[-2:] = [run_of(network)]
    outcomes = play(tiny_build(), [*steps, Load(stream), run_of(other)], tmp_path, stall=0.2, seed=4)
    expected = run_reference(network, images_for(TOKENS)).logits.tolist()
    assert [outcomes[at].registers["ERROR"] for at in (2, 7, 12)] == list(broken)
    for at in (1, 6, 11, 13):
        assert logits_of(outcomes[at], network) == expected
    for at in (4, 9):
        assert outcomes[at].registers["ERROR"] == ErrorCode.START_WITHOUT_PROGRAM
        assert outcomes[at].registers["NETWORK"] == 0
    assert outcomes[-1].registers["LOADS_BAD"] == len(broken)
    assert logits_of(outcomes[-1], other) == run_reference(other, images_for(TOKENS)).logits.tolist() != expected


def test_with_two_banks_a_refused_load_leaves_the_network_that_is_there(tmp_path):
    """The next one takes its place, and so does the one behind that: each bank is written, and read."""
    networks = [random_network(TOKENS, seed=seed) for seed in (5, 6, 7)]
    broken = bytearray(stream_of(networks[1], 2))
    broken[len(broken) // 2] ^= 1
    steps: list[Step] = [Load(stream_of(networks[0], 2)), Load(bytes(broken)), run_of(networks[0])]
    for network in networks[1:]:
        steps += [Load(stream_of(network, 2)), run_of(network)]
    outcomes = play(tiny_build(2), steps, tmp_path, stall=0.2, seed=4)
    assert outcomes[1].registers["ERROR"] == LoadError.CRC
    for at, network in zip((2, 4, 6), networks, strict=True):
        assert logits_of(outcomes[at], network) == run_reference(network, images_for(TOKENS)).logits.tolist()


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
