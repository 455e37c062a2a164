"""Words of the load stream: a weight bit has one place, and streams read back as what was written."""

from dataclasses import replace

import numpy as np
import pytest
from shapes import MODES, TINY, TOKENS, tiny_engine

from bivit.sim.engine.loadstream import build_stream, parse_stream
from bivit.sim.engine.memories import value_groups
from bivit.sim.engine.presets import engine_for
from bivit.sim.network.network import IntNetwork
from bivit.sim.network.random import random_network
from bivit.sim.program.compiler import compile_network
from bivit.sim.program.graph import At, Param, Value
from bivit.sim.program.load_words import load_words
from bivit.sim.units.bit_store import BitStoreUnit


def words_of(network):
    return load_words(network, compile_network(network, tiny_engine()))


def flipped(network, name, index, change):
    tensor = network.tensors[name].copy()
    tensor[index] = change(tensor[index])
    return IntNetwork(network.config, network.formats, {**network.tensors, name: tensor})


@pytest.mark.parametrize("mode", MODES)
def test_streams_read_back(mode):
    words = words_of(random_network(MODES[mode], seed=1))
    engine = tiny_engine()
    read = parse_stream(engine, build_stream(engine, words))
    assert {name: part for name, part in read.items() if any(part.values())} == {
        name: part for name, part in words.items() if any(part.values())
    }
    for name, spec in engine.load_memories.items():
        assert all(0 <= word < 1 << spec.width for part in words[name].values() for word in part)


def test_a_weight_bit_is_one_bit_of_one_word():
    """blocks.1.mlp.fc2, output 9, input 5: block 1, group 1 of 8 columns, column 1, bit 5 of the first step."""
    network = random_network(TOKENS, seed=3)
    other = flipped(network, "blocks.1.mlp.fc2.weight", (9, 0), lambda word: word ^ np.uint64(1 << 5))
    before, after = words_of(network), words_of(other)
    place = compile_network(network, tiny_engine()).place
    at = place.block_steps()["weights_step"] + place.param(Param("weights", "mlp.fc2", 1))
    assert at == place.param(Param("weights", "mlp.fc2", 1), block=1)
    changed = [k for k, (a, b) in enumerate(zip(before["weights"][0], after["weights"][0], strict=True)) if a != b]
    assert changed == [at]
    assert before["weights"][0][at] ^ after["weights"][0][at] == 1 << 64 * 1 + 5
    assert {n for n in before if before[n] != after[n]} == {"weights", "settings"}  # settings: the network's hash


def test_a_threshold_is_one_field_of_one_word():
    network = random_network(TOKENS, seed=3)
    other = flipped(network, "blocks.0.norm2.theta", (11,), lambda theta: theta ^ 1)
    before, after = words_of(network)["sign_norm"][0], words_of(other)["sign_norm"][0]
    assert [k for k, (a, b) in enumerate(zip(before, after, strict=True)) if a != b] == [2 + 11 // 8]
    assert before[3] ^ after[3] == 1 << 16 * (11 % 8)


@pytest.mark.parametrize(("columns", "lanes"), [(8, 8), (16, 8), (32, 8), (64, 8), (32, 16), (64, 32)])
def test_an_engine_for_a_network_holds_it(columns, lanes):
    """Also where a head ends within a group of columns, and the next one begins with a group of its own."""
    for heads, head_dim in [(1, 8), (3, 8), (3, 24), (2, 40), (5, 16), (2, 64), (3, 32)]:
        if head_dim % lanes:
            continue
        config = replace(TINY, embed_dim=heads * head_dim, num_heads=heads, depth=1, img_size=6)
        engine = engine_for(
            config, rows=2, columns=columns, lanes=lanes, dense_lanes=64, program_words=4096, pixel_bytes=4
        )
        network = random_network(config, seed=1)
        program = compile_network(network, engine)
        words = load_words(network, program)
        assert parse_stream(engine, build_stream(engine, words))["weights"] == words["weights"]
        last = program.layout.value_group(heads - 1, program.layout.head_groups - 1)
        assert last < value_groups(engine)
        value = Value("attn.v_sign", (heads - 1, program.layout.head_groups - 1, 0))
        assert program.place.address(At(value)) < BitStoreUnit(engine).memories["value"].depth
