"""Fields of words: nothing is cut in silence, and every tensor goes through its fields at both ends of its range."""

from dataclasses import replace

import numpy as np
import pytest
from engines import stream_of, tiny_flow, tiny_program
from extremes import ENDS, extreme_network, tied_network
from shapes import MODES, SWINS, TOKENS, random_images

from bivit.model.integer.run import run_integer
from bivit.sim.engine.fields import field_range, pack_field, pack_fields
from bivit.sim.engine.loadstream import parse_stream
from bivit.sim.errors import BivitError
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.network.network import IntNetwork
from bivit.sim.network.random import random_network
from bivit.sim.reference.run import run_reference


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [1, 8, 48, 64])
def test_a_field_holds_its_range_and_nothing_beyond(bits: int, signed: bool) -> None:
    low, high = field_range(bits, signed=signed)
    for value in (low, 0, high):
        word = pack_field(value, bits, "eps", signed=signed)
        assert word - (word >> bits - 1 << bits if signed else 0) == value
    for value in (low - 1, high + 1):
        with pytest.raises(BivitError, match=rf"eps has {bits} bits and cannot hold {value}: .* {low} to {high}"):
            pack_fields([0, value, 0], bits, "eps", signed=signed)


def unchecked(network: IntNetwork, name: str, value: int) -> IntNetwork:
    """The network with one element that `IntNetwork` would refuse, written past its checks."""
    tensor = network.tensors[name].astype(np.int64)
    tensor.flat[-1] = value
    wrong = replace(network)
    object.__setattr__(wrong, "tensors", network.tensors | {name: tensor})
    return wrong


@pytest.mark.parametrize(
    ("mode", "name", "value"),
    [
        ("softmax", "blocks.0.attn.q_norm.eps", 1 << 48),
        ("softmax", "norm.eps", 1 << 60),
        ("softmax", "blocks.1.norm1.theta", 1 << 15),
        ("softmax", "blocks.1.norm2.theta", -(1 << 15) - 1),
        ("softmax", "blocks.0.attn.k_norm.theta", 1 << 15),
        ("softmax", "blocks.0.attn.k_norm.scale", 256),
        ("softmax", "blocks.0.attn.q_norm.scale", -1),
        ("softmax", "blocks.0.attn.attn_sign.exp", 1 << 17),
        ("softmax", "blocks.1.attn.attn_sign.tau", -1),
        ("softmax", "blocks.0.attn.proj.scale", 1 << 15),
        ("softmax", "blocks.0.mlp.fc2.bias", 1 << 19),
        ("softmax", "patch_embed.proj.weight", 128),
        ("softmax", "patch_embed.proj.scale", 1 << 15),
        ("softmax", "patch_embed.proj.bias", 1 << 47),
        ("softmax", "patch_embed.proj.shift", 65),
        ("softmax", "pos_embed", -(1 << 19) - 1),
        ("softmax", "head.weight", -129),
        ("softmax", "head.bias", 1 << 31),
        ("softmax", "blocks.0.attn.v_sign.theta", 1 << 12),
        ("softmax", "blocks.0.mlp.act.theta", -(1 << 12)),
        ("threshold_qk", "blocks.0.attn.q_norm.theta", 1 << 12),
        ("score", "blocks.0.attn.attn_sign.theta", 1 << 12),
    ],
)
def test_a_parameter_beyond_its_field_is_refused_by_name(mode: str, name: str, value: int) -> None:
    """Behind the checks of the tensors: the one place where words are packed lets nothing through either."""
    wrong = unchecked(random_network(MODES[mode], seed=1), name, value)
    place = name.rpartition(".")[0] if name.endswith(("v_sign.theta", "act.theta")) or mode != "softmax" else name
    place = {
        "patch_embed.proj.shift": "patch_shift",
        "blocks.0.attn.v_sign": "blocks.0.attn.qkv",
        "blocks.0.attn.q_norm": "blocks.0.attn.qkv",
    }.get(place, place)
    with pytest.raises(BivitError, match=rf"{place}.* has \d+ bits and cannot hold -?\d+: its range is"):
        assert tiny_program(wrong).words


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("mode", MODES)
def test_networks_at_the_ends_of_every_range_compile_and_load(mode: str, ends: str) -> None:
    network = extreme_network(MODES[mode], ends, seed=1)
    words, read = tiny_program(network).words, parse_stream(FlowMachine(tiny_flow()), stream_of(network))
    assert all(read[name] == part for name, part in words.items() if any(part.values()))


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("mode", ["softmax", "all_cheap", "two_stages", "words_with_padding"])
def test_both_references_agree_at_the_ends_of_every_range(mode: str, ends: str) -> None:
    config = (MODES | SWINS)[mode]
    network, images = extreme_network(config, ends, seed=2), random_images(config, 2)
    numba, torch = run_reference(network, images, taps="all"), run_integer(network, images, taps="all")
    assert numba.saturations > 0
    assert np.array_equal(numba.logits, torch.logits)
    assert [name for name in numba.taps if not np.array_equal(numba.taps[name], torch.taps[name])] == []


@pytest.mark.parametrize("name", ["norm1", "attn.q_norm", "attn.k_norm"])
def test_a_tied_network_has_ties(name: str) -> None:
    """A tie is a 1 by a comparison that a strict one would miss: ``x >= 0`` where x is 0."""
    network = tied_network(random_network(TOKENS, seed=1))
    raised = {key: t + 1 if key == f"blocks.0.{name}.theta" else t for key, t in network.tensors.items()}
    images, tap = random_images(TOKENS, 2), f"blocks.0.{name}"
    bits, strict = (
        run_reference(replace(network, tensors=tensors), images, taps=[tap]).taps[tap]
        for tensors in (network.tensors, raised)
    )
    assert (bits > strict).mean() > 0.1
    # By no more than the tie: one step of Theta is far less than one of x.
    assert not (bits < strict).any()
