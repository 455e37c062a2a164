"""The words of a network for a dataflow engine: an array in numpy finds the reference's taps with nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flow_emulator import Emulator, fields
from shapes import TINY, TOKENS, random_images

from bivit.sim.engine.fields import pack_fields
from bivit.sim.engine.presets import engine_for
from bivit.sim.errors import BivitError
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.head_norm import HeadNormUnit
from bivit.sim.flow.machine import load_memories
from bivit.sim.flow.memories import core_memories, head_eps
from bivit.sim.flow.operation import Way
from bivit.sim.flow.residual_add import ResidualAddUnit
from bivit.sim.flow.settings import WEIGHTED, setting_bits
from bivit.sim.flow.sign_norm import SignNormUnit
from bivit.sim.flow.streams import Part, Stream
from bivit.sim.flow.table import SlotTable
from bivit.sim.mapping import words as words_module
from bivit.sim.mapping.expected import Expected, lane_words
from bivit.sim.mapping.layout import FlowLayout
from bivit.sim.mapping.words import flow_words
from bivit.sim.network.config import ViTConfig
from bivit.sim.network.formats import Formats
from bivit.sim.network.random import random_network
from bivit.sim.reference.run import run_reference

#: Channels, heads, hidden channels and grids that fill nothing evenly; rows, columns and lanes of the engine.
SHAPES = {
    "heads of 24 in two groups of 16": (replace(TOKENS, embed_dim=72, num_heads=3, mlp_ratio=2.0), 3, 16, 8),
    "heads of 40 in two of 32": (replace(TOKENS, embed_dim=80, num_heads=2, mlp_ratio=1.5), 4, 32, 64),
    "heads of 24 in one of 64": (replace(TOKENS, embed_dim=72, num_heads=3, mlp_ratio=1.0), 5, 64, 32),
    "one head of 64": (replace(TINY, embed_dim=64, num_heads=1, img_size=6), 4, 16, 32),
    "one head of 8": (replace(TINY, embed_dim=8, num_heads=1), 1, 8, 8),
    "more tokens than a word": (replace(TINY, img_size=18, embed_dim=24, num_heads=3), 33, 32, 8),
    "a word of tokens, all full": (replace(TINY, img_size=16, embed_dim=128, num_heads=2, mlp_ratio=1.0), 8, 64, 64),
}
#: Any table: which one it is does not matter to the words.
TABLE = SlotTable(tuple(Stream), dict.fromkeys(Stream, 0))
NORMS, QKS, ATTNS = ("layernorm", "mean"), ("layernorm", "threshold"), ("softmax", "score")
#: All modes with two shapes, and with the others those that have all units and none.
CASES = [
    (shape, norm, qk, attn)
    for number, shape in enumerate(SHAPES)
    for norm in NORMS
    for qk in QKS
    for attn in ATTNS
    if number < 2 or NORMS.index(norm) == QKS.index(qk) == ATTNS.index(attn)
]


def flow_for(config: ViTConfig, rows: int, columns: int, lanes: int) -> FlowConfig:
    """An engine that is larger than the network in every way."""
    sizes = {"embed_dim": 2 * config.embed_dim, "num_heads": 2 * config.num_heads, "img_size": config.img_size + 4}
    larger = replace(config, **sizes, depth=config.depth + 1)
    engine = engine_for(larger, rows=rows, columns=columns, lanes=8, dense_lanes=8, program_words=64, pixel_bytes=1)
    side = max(1, lanes // columns)
    widths = {"drain_rows": side, "norm_lanes": lanes, "softmax_lanes": lanes, "head_norm_lanes": min(lanes, 64)}
    return FlowConfig(engine=engine, **widths)


def emulator(config: ViTConfig, flow: FlowConfig, images: int = 2) -> tuple[Emulator, Any]:
    """The emulator of a random network, and the reference's taps."""
    network = random_network(config, seed=3)
    taps = run_reference(network, random_images(config, images), taps="all", threads=1).taps
    expected = Expected.of(network, flow, taps)
    return Emulator(expected.layout, flow_words(network, flow, TABLE), expected), taps


@pytest.mark.parametrize(("shape", "norm", "qk", "attn"), CASES)
def test_words_make_what_the_reference_makes(shape: str, norm: str, qk: str, attn: str) -> None:
    config, *sizes = SHAPES[shape]
    config = replace(config, norm_mode=norm, qk_mode=qk, attn_mode=attn)
    run, taps = emulator(config, flow_for(config, *sizes))
    for image in range(2):
        x = run.run(image, taps["patch_embed"][image])
        assert (x == taps[f"blocks.{config.depth - 1}.add2"][image]).all()
    assert {stream for stream, _ in run.checked} == set(Stream)
    assert ((Stream.SCORES, Way.SCORE) in run.checked) == (attn == "softmax")
    assert ((Stream.QKV, Way.HEAD) in run.checked) == (qk == "layernorm")


#: A memory, and the bit of a field in it that matters to whom reads it.
FAULTS = [("residual", 10), ("sign_norm", 15), ("norm_eps", 45), ("head_norm", 7), ("head_eps", 40), ("tables", 15)]


@pytest.mark.parametrize(("memory", "bit"), FAULTS)
def test_a_wrong_parameter_is_found(memory: str, bit: int) -> None:
    config, *sizes = SHAPES["heads of 24 in two groups of 16"]
    run, taps = emulator(config, flow_for(config, *sizes), images=1)
    name, at = ("norm_eps", head_eps(run.flow)) if memory == "head_eps" else (memory, 1)
    run.memory[name][at] ^= 1 << bit
    with pytest.raises(AssertionError):
        run.run(0, taps["patch_embed"][0])


@pytest.mark.parametrize(
    ("memory", "stream"), [("weights", stream) for stream in WEIGHTED] + [("preload", stream) for stream in Stream]
)
def test_a_wrong_word_of_any_operation_is_found(memory: str, stream: Stream) -> None:
    config, *sizes = SHAPES["heads of 24 in two groups of 16"]
    config = replace(config, qk_mode="threshold", attn_mode="score")
    run, taps = emulator(config, flow_for(config, *sizes), images=1)
    last = run.shape.operations[stream] - 1
    addr = {"weights": run.layout.weights_addr, "preload": run.layout.preload_addr}[memory](1, stream, last)
    run.memory[memory][addr] ^= 1
    with pytest.raises(AssertionError):
        run.run(0, taps["patch_embed"][0])


@pytest.mark.parametrize("part", Part)
def test_columns_beyond_a_head_must_begin_where_they_do(part: Part) -> None:
    """The second group of a head of 24 has 8 channels in 16 columns."""
    config, *sizes = SHAPES["heads of 24 in two groups of 16"]
    config = replace(config, qk_mode="threshold")
    run, taps = emulator(config, flow_for(config, *sizes), images=1)
    number = run.shape.qkv_order.index((part, 1))
    assert len(run.layout.made(Stream.QKV, number).channels) == 8
    addr, bits = run.layout.preload_addr(0, Stream.QKV, number), run.engine.acc_bits
    starts = fields(run.memory["preload"][addr], bits, 16, signed=True)
    right, wrong = (0, -200) if part is Part.VALUE else (-2 * 64 - 1, 0)
    assert starts[15] == right
    starts[15] = wrong
    run.memory["preload"][addr] = pack_fields(starts, bits, "starts", signed=True)
    with pytest.raises(AssertionError):
        run.run(0, taps["patch_embed"][0])


def test_a_network_that_does_not_fit_is_refused_with_every_limit() -> None:
    flow = flow_for(TINY, 4, 16, 16)
    config = replace(TINY, embed_dim=80, depth=9, num_heads=2)
    with pytest.raises(
        BivitError, match=r"embed_dim at most 32 \(max_embed_dim\), the network has 80; .*depth at most"
    ):
        FlowLayout(config, Formats(), flow)
    with pytest.raises(BivitError, match="number formats"):
        FlowLayout(TINY, Formats(scale_bits=15), flow)
    engine = replace(flow.engine, pixel_bytes=8, max_strip_bytes=64)
    with pytest.raises(BivitError, match="4 bytes, no multiple"):
        FlowLayout(replace(TINY, patch_size=1, img_size=4), Formats(), replace(flow, engine=engine))


def test_heads_that_take_more_column_groups_than_memories_have_are_refused() -> None:
    config = replace(TINY, embed_dim=160, num_heads=4)
    engine = engine_for(config, rows=4, columns=32, lanes=32, dense_lanes=32, program_words=64, pixel_bytes=1)
    flow = FlowConfig(engine=engine, drain_rows=1, norm_lanes=32, head_norm_lanes=32, softmax_lanes=32)
    with pytest.raises(
        BivitError, match="4 heads of 40 channels take 8 column groups, and the engine's memories hold 5"
    ):
        FlowLayout(config, Formats(), flow)


@pytest.mark.parametrize("shape", SHAPES)
def test_words_fill_an_engine_of_the_network_s_own_size(shape: str) -> None:
    config, rows, columns, lanes = SHAPES[shape]
    engine = engine_for(config, rows=rows, columns=columns, lanes=8, dense_lanes=8, program_words=64, pixel_bytes=1)
    flow = replace(flow_for(config, rows, columns, lanes), engine=engine)
    network = random_network(config)
    words = flow_words(network, flow, TABLE)
    memories = core_memories(flow) | {
        name: memory
        for unit in (ResidualAddUnit(flow), SignNormUnit(flow), HeadNormUnit(flow))
        for name, memory in unit.load_memories.items()
    }
    for name, runs in words.items():
        for first, run in runs.items():
            assert first + len(run) <= memories[name].depth
            assert max(run).bit_length() <= memories[name].width
    last = {name: max(first + len(run) for first, run in runs.items()) for name, runs in words.items()}
    assert last["slots"] == len(TABLE.slots) // 2
    assert last["settings"] == len(setting_bits(flow))
    full = {name for name in last if last[name] == memories[name].depth}
    assert full >= {"residual", "sign_norm", "tables", "norm_eps"}


def test_a_table_of_more_slots_than_the_memory_holds_is_refused() -> None:
    flow = flow_for(TINY, 4, 16, 16)
    with pytest.raises(BivitError, match="table_last must be 0 to 63, the network has 64"):
        flow_words(random_network(TINY), flow, replace(TABLE, slots=65 * (Stream.QKV, Stream.FC1)))


def test_words_of_a_unit_are_rows_side_by_side() -> None:
    values = np.arange(15).reshape(3, 5)
    words, valid = lane_words(values, 2, 4)
    assert words.tolist() == [
        [0, 1, 2, 3, 5, 6, 7, 8],
        [4, 0, 0, 0, 9, 0, 0, 0],
        [10, 11, 12, 13, 0, 0, 0, 0],
        [14] + 7 * [0],
    ]
    assert valid.sum() == 15
    assert words[valid].sum() == values.sum()
    assert lane_words(values, 1, 5)[0].tolist() == values.tolist()


def test_a_memory_with_too_few_words_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = flow_for(TINY, 4, 16, 16)
    small = {name: replace(memory, depth=1) for name, memory in load_memories(flow).items()}
    monkeypatch.setattr(words_module, "load_memories", lambda _: small)
    with pytest.raises(BivitError, match=r"its memory weights holds 1 words, the network needs \d+"):
        flow_words(random_network(TINY), flow, TABLE)
