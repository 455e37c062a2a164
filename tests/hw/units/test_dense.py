"""The dense unit against the integer reference: sums, requantizing, addresses, and the offsets of its description."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from bivit.hw.units.dense import Dense
from bivit.sim.bits import signed_range
from bivit.sim.engine.commands import Embed, Logits, Prefix
from bivit.sim.engine.config import EngineConfig
from bivit.sim.engine.timing import Activity
from bivit.sim.network.formats import Formats
from bivit.sim.reference import numbers as norms
from bivit.sim.reference.patches import patch_embed
from bivit.sim.units.dense import DenseUnit
from helpers import CLK_PERIOD, command, join, load_memory

LANES = 8


def engine_of(dense_lanes: int, **changes: Any) -> EngineConfig:
    limits = {"max_tokens": 10, "max_embed_dim": 40, "max_hidden_dim": 64, "max_heads": 1, "max_depth": 1}
    limits |= {"max_classes": 37, "max_patch_dim": 18, "max_strip_bytes": 96, "program_words": 16} | changes
    return EngineConfig(rows=2, columns=8, lanes=LANES, dense_lanes=dense_lanes, **limits)


@dataclass
class Trace:
    """What one command did: (offset, address, word) of its writes, and offsets of its reads."""

    x: list[tuple[int, int, int]] = field(default_factory=list)
    logits: list[tuple[int, int, int]] = field(default_factory=list)
    pixels: list[int] = field(default_factory=list)
    strip_done: list[int] = field(default_factory=list)
    y: list[int] = field(default_factory=list)

    def windows(self) -> dict[str, tuple[int, int]]:
        """First and last use of every port that was used, as in `sim.engine.timing.Activity`."""
        offsets = {
            "x.write": [offset for offset, _, _ in self.x],
            "logits.w": [offset for offset, _, _ in self.logits],
            "pixels.read": self.pixels,
            "y.read": self.y,
        }
        windows = {name: (used[0], used[-1] + 1) for name, used in offsets.items() if used}
        if self.strip_done:
            (last,) = self.strip_done
            windows["strip"] = (0, last + 1)
        return windows


def activity(engine: EngineConfig, op: str, fields: dict[str, int]) -> Activity:
    kinds = {kind.name: kind for kind in (Embed, Prefix, Logits)}
    return DenseUnit(engine).timing(command(kinds[op], **fields))


def run(
    engine: EngineConfig,
    memories: dict[str, list[int]],
    commands: list[tuple[str, dict[str, int]]],
    pixels: bytes = b"",
    y: tuple[int, ...] = (),
) -> tuple[list[Trace], int]:
    """Issue every command as soon as the one before allows it; return their traces and all saturations."""
    dut = Dense(DenseUnit(engine))
    traces = [Trace() for _ in commands]
    saturations = 0
    noise = Random(5)

    def lookup(used: bool, memory: Any, addr: int, limit: int) -> int:
        return memory[addr] if used else noise.randrange(limit)

    async def bench(ctx: Any) -> None:
        nonlocal saturations
        for name, words in memories.items():
            await load_memory(ctx, dut.load, engine.load_memories[name], words)
        ctx.set(dut.bank, 1)
        pixel_1 = 0
        for trace, (op, fields) in zip(traces, commands, strict=True):
            command = getattr(dut.command, op)
            for offset in range(activity(engine, op, fields).busy):
                ctx.set(command.issue, offset == 0)
                # The fields are gone after the issue cycle.
                ctx.set(command.fields, fields if offset == 0 else dict.fromkeys(fields, 0))
                reads = ((dut.pixels.en, trace.pixels), (dut.y.en, trace.y), (dut.strip_done, trace.strip_done))
                for used, seen in reads:
                    if ctx.get(used):
                        seen.append(offset)
                if ctx.get(dut.x_write.en):
                    trace.x.append((offset, ctx.get(dut.x_write.addr), ctx.get(dut.x_write.data)))
                if ctx.get(dut.logit_write.en):
                    trace.logits.append((offset, ctx.get(dut.logit_write.addr), ctx.get(dut.logit_write.data)))
                saturations += ctx.get(dut.saturations)
                pixel_0 = lookup(ctx.get(dut.pixels.en), pixels, ctx.get(dut.pixels.addr), 256)
                y_0 = lookup(ctx.get(dut.y.en), y, ctx.get(dut.y.addr), 1000)
                await ctx.tick()
                ctx.set(dut.y.data, y_0)
                ctx.set(dut.pixels.data, pixel_1)
                pixel_1 = pixel_0
        saturations += ctx.get(dut.saturations)

    simulator = Simulator(dut)
    simulator.add_clock(CLK_PERIOD)
    simulator.add_testbench(bench)
    simulator.run()
    return traces, saturations


@dataclass
class Embedding:
    """A random patch embedding of one strip of an image."""

    patches: np.ndarray
    weight: np.ndarray
    scale: np.ndarray
    bias: np.ndarray
    shift: int
    position: np.ndarray
    prefix: int
    row_bytes: int

    def memories(self, engine: EngineConfig) -> dict[str, list[int]]:
        """Words of the loadable memories."""
        dim, length = self.weight.shape
        padded = -(-dim // engine.dense_lanes) * engine.dense_lanes
        weight = np.zeros((padded, length), dtype=np.int64)
        weight[:dim] = self.weight
        grouped = weight.reshape(-1, engine.dense_lanes, length).transpose(0, 2, 1).reshape(-1, engine.dense_lanes)
        params = [join([int(b), int(s)], [48, 16]) for b, s in zip(self.bias, self.scale, strict=True)]
        return {
            "dense_weights": [join(row, [8] * engine.dense_lanes) for row in grouped.tolist()],
            "patch_params": [join(params[c : c + LANES], [64] * LANES) for c in range(0, dim, LANES)],
            "positions": [join(row, [20] * LANES) for row in self.position.reshape(-1, LANES).tolist()],
        }

    def commands(self, engine: EngineConfig, stride: int) -> list[tuple[str, dict[str, int]]]:
        """Copy the prefix tokens, if there are any, and embed the strip."""
        dim = self.weight.shape[0]
        embed = {
            "token": self.prefix,
            "patches": len(self.patches),
            "groups": -(-dim // engine.dense_lanes),
            "chunks": dim // LANES,
            "stride": stride,
            "patch_rows": self.patches.shape[1],
            "patch_row_bytes": self.patches.shape[2],
            "row_bytes": self.row_bytes,
            "shift": self.shift,
        }
        prefix = {"words": self.prefix * dim // LANES}
        return [("prefix", prefix), ("embed", embed)] if self.prefix else [("embed", embed)]

    def strip(self) -> bytes:
        """The patches as rows of the image, with rows of `row_bytes`."""
        rows = self.patches.transpose(1, 0, 2).reshape(self.patches.shape[1], -1)
        image = np.zeros((rows.shape[0], self.row_bytes), dtype=np.uint8)
        image[:, : rows.shape[1]] = rows
        return image.tobytes()

    def expected(self) -> tuple[np.ndarray, int]:
        """X of all tokens and the saturations, by the integer reference."""
        flat = self.patches.reshape(1, len(self.patches), -1)
        x = np.empty((1, *self.position.shape), dtype=np.int32)
        low, high = signed_range(Formats().residual_bits)
        count = patch_embed(flat, self.weight, self.scale, self.bias, self.shift, self.position, low, high, x)
        return x[0], count


def embedding(
    seed: int, *, dim: int, patches: int, rows: int, length: int, prefix: int, shift: int, extreme: bool = False
) -> Embedding:
    rng = np.random.default_rng(seed)
    count = rows * length
    if extreme:
        weight = rng.choice(np.array([-128, 127], dtype=np.int8), (dim, 1)).repeat(count, axis=1)
        pixels = np.full((patches, rows, length), 255, dtype=np.uint8)
        scale = np.full(dim, (1 << 15) - 1)
        bias = rng.choice([-(1 << 47), (1 << 47) - 1, 0], dim)
        limit = 1 << 19
        position = rng.choice([-limit, limit - 1], (prefix + patches, dim))
    else:
        weight = rng.integers(-128, 128, (dim, count), dtype=np.int8)
        pixels = rng.integers(0, 256, (patches, rows, length), dtype=np.uint8)
        # S = 1 with n = 1 meets a tie every other time; a larger shift uses larger factors.
        scale = np.ones(dim) if shift == 1 else rng.integers(1, 1 << 15, dim)
        bias = rng.integers(-(1 << shift + 10), 1 << shift + 10, dim)
        position = rng.integers(-(1 << 18), 1 << 18, (prefix + patches, dim))
    return Embedding(
        pixels,
        weight,
        scale.astype(np.int32),
        bias.astype(np.int64),
        shift,
        position.astype(np.int32),
        prefix,
        patches * length + 2,
    )


def words_of(x: np.ndarray, stride: int, first: int) -> Iterator[tuple[int, int]]:
    """Address and word of every chunk of x from token `first` on."""
    for token in range(first, len(x)):
        for chunk, values in enumerate(x[token].reshape(-1, LANES).tolist()):
            yield token * stride + chunk, join(values, [20] * LANES)


EMBEDDINGS = {
    "one chunk a group": (8, embedding(1, dim=24, patches=3, rows=2, length=6, prefix=2, shift=14)),
    "ties": (16, embedding(2, dim=32, patches=2, rows=3, length=4, prefix=0, shift=1)),
    "last group with one chunk of two": (16, embedding(3, dim=40, patches=2, rows=1, length=7, prefix=1, shift=17)),
    "more chunks than pixels": (32, embedding(4, dim=40, patches=3, rows=1, length=2, prefix=1, shift=13)),
    "one pixel, one patch, one chunk": (16, embedding(5, dim=8, patches=1, rows=1, length=1, prefix=1, shift=13)),
    "saturation": (16, embedding(6, dim=32, patches=2, rows=3, length=6, prefix=1, shift=21, extreme=True)),
    "largest shift": (16, embedding(7, dim=32, patches=2, rows=3, length=6, prefix=1, shift=40, extreme=True)),
    "smallest shift": (16, embedding(8, dim=16, patches=2, rows=3, length=6, prefix=1, shift=1, extreme=True)),
}


@pytest.mark.parametrize("case", EMBEDDINGS)
def test_embed_and_prefix(case: str) -> None:
    dense_lanes, e = EMBEDDINGS[case]
    engine = engine_of(dense_lanes)
    stride = e.weight.shape[0] // LANES  # prefix tokens are copied word by word, so tokens follow each other
    commands = e.commands(engine, stride)
    traces, saturations = run(engine, e.memories(engine), commands, e.strip())
    expected, count = e.expected()
    writes = [(addr, word) for trace in traces for _, addr, word in trace.x]
    assert writes == list(words_of(expected, stride, 0))
    assert saturations == count
    assert (count > 0) == (case in ("saturation", "smallest shift", "largest shift"))
    assert [t.windows() for t in traces] == [activity(engine, *command).windows for command in commands]


def test_strips_follow_each_other_at_busy_with_a_stride() -> None:
    engine, stride = engine_of(16), 7
    e = embedding(9, dim=24, patches=3, rows=2, length=3, prefix=0, shift=12)
    op, fields = e.commands(engine, stride)[0]
    e.position = np.concatenate([e.position, e.position[::-1] - 5])
    commands = [(op, fields), (op, fields | {"token": 3})]
    traces, _ = run(engine, e.memories(engine), commands, e.strip())
    e.patches = np.concatenate([e.patches, e.patches])
    expected = list(words_of(e.expected()[0], stride, 0))
    assert [(addr, word) for trace in traces for _, addr, word in trace.x] == expected
    assert [t.windows() for t in traces] == [activity(engine, op, fields).windows] * 2


def classifier(seed: int, classes: int, rows: int, dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights and biases, the first class with the weights that give the largest sum; and y of pooled rows."""
    rng = np.random.default_rng(seed)
    pooled = rng.integers(-(1 << 19), 1 << 19, (1, rows, dim))
    pooled[0, 0] = np.where(np.arange(dim) % 2, -(1 << 19), (1 << 19) - 1)
    weight = rng.integers(-128, 128, (classes, rows * dim), dtype=np.int8)
    bias = rng.integers(-(1 << 30), 1 << 30, classes).astype(np.int32)
    y = norms.normalise(pooled, 1, Formats().head_frac_bits, Formats()).y
    weight[0] = np.where(y.reshape(-1) < 0, -128, 127)
    return weight, bias, y


@pytest.mark.parametrize(
    ("dense_lanes", "classes", "rows", "dim", "weight_addr"),
    [(16, 37, 2, 24, 5), (32, 33, 1, 8, 0), (8, 3, 1, 40, 11), (32, 5, 2, 8, 3)],
)
def test_logits(dense_lanes: int, classes: int, rows: int, dim: int, weight_addr: int) -> None:
    engine = engine_of(dense_lanes)
    weight, bias, y = classifier(11, classes, rows, dim)
    groups = -(-classes // dense_lanes)
    padded = np.zeros((groups * dense_lanes, rows * dim), dtype=np.int64)
    padded[:classes] = weight
    biases = np.zeros(groups * dense_lanes, dtype=np.int64)
    biases[:classes] = bias
    words = padded.reshape(groups, dense_lanes, -1).transpose(0, 2, 1).reshape(-1, dense_lanes).tolist()
    memories = {
        "dense_weights": [0] * weight_addr + [join(word, [8] * dense_lanes) for word in words],
        "head_bias": [join(chunk, [32] * LANES) for chunk in biases.reshape(-1, LANES).tolist()],
    }
    fields = {"inputs": rows * dim, "groups": groups, "weight_addr": weight_addr}
    traces, _ = run(engine, memories, [("logits", fields)] * 2, y=tuple(y.reshape(-1).tolist()))
    expected = np.zeros(groups * dense_lanes, dtype=np.int64)
    expected[:classes] = norms.classify(y, weight, bias)[0]
    chunks = [join(chunk, [32] * LANES) for chunk in expected.reshape(-1, LANES).tolist()]
    for trace in traces:
        assert [(addr, word) for _, addr, word in trace.logits] == list(enumerate(chunks))
        assert trace.windows() == activity(engine, "logits", fields).windows


def test_logits_after_embed_and_before_it() -> None:
    engine = engine_of(16)
    e = embedding(12, dim=24, patches=2, rows=1, length=4, prefix=1, shift=10)
    memories = e.memories(engine)
    at = len(memories["dense_weights"])
    memories["dense_weights"] += [join([k] * 16, [8] * 16) for k in (-128, 127, 3)]
    memories["head_bias"] = [join([c] * LANES, [32] * LANES) for c in (7, -9)]
    fields = {"inputs": 3, "groups": 1, "weight_addr": at}
    commands = [("logits", fields), *e.commands(engine, 3), ("logits", fields)]
    traces, _ = run(engine, memories, commands, e.strip(), y=(1, -2, 300))
    logit = -128 - 254 + 900
    assert [(a, w) for t in traces for _, a, w in t.x] == list(words_of(e.expected()[0], 3, 0))
    for trace in (traces[0], traces[-1]):
        assert [w for _, _, w in trace.logits] == [join([logit + c] * LANES, [32] * LANES) for c in (7, -9)]


def test_accumulator_holds_the_largest_patch_and_row() -> None:
    assert DenseUnit(engine_of(8, max_patch_dim=1023)).acc_bits == (255 * 128 * 1023).bit_length() + 1 == 26
    assert DenseUnit(engine_of(8, max_embed_dim=1016)).acc_bits == 28
