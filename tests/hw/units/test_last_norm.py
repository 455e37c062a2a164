"""The last norm and its divider against the integer reference, with the offsets of its description."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from bivit.hw.parts.divider import Divider
from bivit.hw.units.last_norm import LastNorm, check_y_range
from bivit.sim.engine.commands import Normalise, Pool
from bivit.sim.engine.config import EngineConfig
from bivit.sim.engine.timing import Activity
from bivit.sim.errors import BivitError
from bivit.sim.network.formats import Formats
from bivit.sim.reference import numbers as norms
from bivit.sim.units.last_norm import LastNormUnit
from helpers import CLK_PERIOD, command, join

LANES = 8
FORMATS = Formats()
LOW, HIGH = -(1 << FORMATS.residual_bits - 1), (1 << FORMATS.residual_bits - 1) - 1


def engine_of(**changes: Any) -> EngineConfig:
    limits = {"max_tokens": 9, "max_embed_dim": 24, "max_hidden_dim": 64, "max_heads": 1, "max_depth": 1}
    limits |= {"max_classes": 10, "max_patch_dim": 12, "max_strip_bytes": 64, "program_words": 16} | changes
    return EngineConfig(rows=2, columns=8, lanes=LANES, dense_lanes=8, **limits)


def last_norm_of(engine: EngineConfig) -> LastNorm:
    return LastNorm(LastNormUnit(engine))


@pytest.mark.parametrize(("power", "divisor_bits"), [(36, 28), (0, 3), (9, 5)])
def test_divider(power: int, divisor_bits: int) -> None:
    dut, rng = Divider(power, divisor_bits), Random(1)
    top = (1 << divisor_bits) - 1
    divisors = [1, 2, 3, top, top - 1, *(rng.randint(1, top) >> rng.randrange(divisor_bits) or 1 for _ in range(10))]
    results = []

    async def bench(ctx: Any) -> None:
        for divisor in divisors:
            ctx.set(dut.start, 1)
            ctx.set(dut.divisor, divisor)
            await ctx.tick()
            ctx.set(dut.start, 0)
            ctx.set(dut.divisor, 0)
            cycles = 1
            while not ctx.get(dut.done):
                await ctx.tick()
                cycles += 1
            results.append((cycles, ctx.get(dut.quotient)))

    simulate(dut, bench)
    assert results == [(dut.latency, (1 << power) // divisor) for divisor in divisors]


def simulate(dut: Any, bench: Any) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(CLK_PERIOD)
    simulator.add_testbench(bench)
    simulator.run()


@dataclass
class Trace:
    """What one command did: (offset, address, value) of writes, offsets of reads, and Q."""

    x_write: list[tuple[int, int, int]] = field(default_factory=list)
    y_write: list[tuple[int, int, int]] = field(default_factory=list)
    x_read: list[int] = field(default_factory=list)
    stats_read: list[int] = field(default_factory=list)
    q: list[int] = field(default_factory=list)

    def windows(self) -> dict[str, tuple[int, int]]:
        """First and last use of every port that was used."""
        offsets = {
            "stats.read": self.stats_read,
            "x.read": self.x_read,
            "x.write": [offset for offset, _, _ in self.x_write],
            "y.write": [offset for offset, _, _ in self.y_write],
        }
        return {name: (used[0], used[-1] + 1) for name, used in offsets.items() if used}


def activity(engine: EngineConfig, op: str, fields: dict[str, int]) -> Activity:
    return LastNormUnit(engine).timing(command(Pool if op == "pool" else Normalise, **fields))


def run(
    engine: EngineConfig, commands: list[tuple[str, dict[str, int]]], x: dict[int, int], stats: dict[int, tuple]
) -> tuple[list[Trace], list[int]]:
    """Issue every command as soon as the one before allows it; reads and writes `x`. Return traces and the last y."""
    dut = last_norm_of(engine)
    traces = [Trace() for _ in commands]
    noise, y = Random(2), []

    async def bench(ctx: Any) -> None:
        for trace, (op, fields) in zip(traces, commands, strict=True):
            for offset in range(activity(engine, op, fields).busy):
                ctx.set(getattr(dut.command, op).issue, offset == 0)
                ctx.set(getattr(dut.command, op).fields, fields if offset == 0 else dict.fromkeys(fields, 0))
                s1, r, word = noise.randrange(99), noise.randrange(1, 99), noise.randrange(1 << 99)
                if ctx.get(dut.stats.en):
                    trace.stats_read.append(offset)
                    s1, r = stats[ctx.get(dut.stats.addr)]
                if ctx.get(dut.x_read.en):
                    trace.x_read.append(offset)
                    word = x[ctx.get(dut.x_read.addr)]
                if ctx.get(dut.q_en):
                    trace.q.append(ctx.get(dut.q_value))
                if ctx.get(dut.x_write.en):
                    trace.x_write.append((offset, ctx.get(dut.x_write.addr), ctx.get(dut.x_write.data)))
                    x[ctx.get(dut.x_write.addr)] = ctx.get(dut.x_write.data)
                if ctx.get(dut.y_write.en):
                    trace.y_write.append((offset, ctx.get(dut.y_write.addr), ctx.get(dut.y_write.data)))
                await ctx.tick()
                ctx.set(dut.stats.data, {"s1": s1, "r": r})
                ctx.set(dut.x_read.data, word)
        for address in range(2 * engine.max_embed_dim):
            ctx.set(dut.y.addr, address)
            await ctx.tick()
            y.append(ctx.get(dut.y.data))

    simulate(dut, bench)
    return traces, y


def words_of(rows: np.ndarray, stride: int, first: int = 0) -> dict[int, int]:
    """Words of x by address; the last chunk of a row is filled up with what no channel may see."""
    padded = np.full((len(rows), -(-rows.shape[1] // LANES) * LANES), HIGH)
    padded[:, : rows.shape[1]] = rows
    return {
        first + row * stride + chunk: join(values, [FORMATS.residual_bits] * LANES)
        for row in range(len(rows))
        for chunk, values in enumerate(padded[row].reshape(-1, LANES).tolist())
    }


def extremes(rows: int, channels: int, seed: int) -> np.ndarray:
    """Random rows; the first is all lowest, the second all highest but one."""
    x = np.random.default_rng(seed).integers(LOW, HIGH + 1, (rows, channels))
    x[0] = LOW
    if rows > 1:
        x[1] = HIGH
        x[1, 0] = LOW
    return x


@pytest.mark.parametrize(
    ("tokens", "channels", "stride", "fill"),
    [
        (9, 24, 3, None),
        (1, 8, 1, None),
        (8, 16, 5, None),
        (2, 24, 3, None),
        (9, 8, 1, LOW),
        (8, 8, 2, HIGH),
        (9, 8, 1, -1),
    ],
)
def test_pool(tokens: int, channels: int, stride: int, fill: int | None) -> None:
    engine = engine_of()
    rows = extremes(tokens, channels, 3) if fill is None else np.full((tokens, channels), fill)
    shift = (tokens - 1).bit_length()
    fields = {"tokens": tokens, "chunks": channels // LANES, "stride": stride, "shift": shift, "dst_addr": 60}
    commands = [("pool", fields), ("pool", fields | {"dst_addr": 77})]
    traces, _ = run(engine, commands, words_of(rows, stride), {})
    pooled = norms.pool(rows[np.newaxis], 1, shift)[0]
    for trace, first in zip(traces, (60, 77), strict=True):
        assert [(a, w) for _, a, w in trace.x_write] == list(words_of(pooled, stride, first).items())
        assert trace.windows() == activity(engine, "pool", fields).windows
        assert trace.x_read == list(range(1, 1 + tokens * channels // LANES))


def reference(rows: np.ndarray, eps: int) -> norms.NormResult:
    return norms.normalise(rows[np.newaxis], eps, FORMATS.head_frac_bits, FORMATS)


@pytest.mark.parametrize("channels", [24, 8, 20, 2])
@pytest.mark.parametrize("eps", [1, 10**6])
def test_normalise(channels: int, eps: int) -> None:
    engine, stride = engine_of(), 3
    rows = extremes(4, channels, 4)
    # Hardly any variance, where Q is largest: all equal but for one step of x.
    rows[2] = 7 << FORMATS.norm_shift
    rows[2, 1] += 1 << FORMATS.norm_shift
    expected = reference(rows, eps)
    slots = {2: 0, 0: 63, 3: 5, 1: 1}  # row: slot
    stats = {slot: (int(expected.s1[0, row]), int(expected.r[0, row])) for row, slot in slots.items()}
    commands = [
        ("normalise", {"row": slot, "x_addr": 40 + row * stride, "channels": channels, "y_addr": row % 2 * 24})
        for row, slot in slots.items()
    ]
    traces, y = run(engine, commands, words_of(rows, stride, 40), stats)
    for trace, row in zip(traces, slots, strict=True):
        values = expected.y[0, row].tolist()
        assert [(a, w) for _, a, w in trace.y_write] == [(row % 2 * 24 + c, v) for c, v in enumerate(values)]
        assert trace.q == [int(expected.q[0, row])]
        assert trace.windows() == activity(engine, "normalise", {"channels": channels}).windows
        first = trace.x_read[0]
        assert trace.x_read == list(range(first, first + channels, LANES))
    # Rows 2 and 0 went to the same place, and 3 and 1.
    assert y[:channels] == expected.y[0, 0].tolist()
    assert y[24 : 24 + channels] == expected.y[0, 1].tolist()


def test_normalise_of_what_was_pooled() -> None:
    engine = engine_of()
    rows = extremes(5, 16, 6)
    pooled = norms.pool(rows[np.newaxis], 1, 3)[0]
    expected = reference(pooled, 3)
    pool = {"tokens": 5, "chunks": 2, "stride": 2, "shift": 3, "dst_addr": 10}
    normalise = {"row": 0, "x_addr": 10, "channels": 16, "y_addr": 0}
    commands = [("pool", pool), ("normalise", normalise), ("pool", pool)]
    traces, y = run(engine, commands, words_of(rows, 2), {0: (int(expected.s1[0, 0]), int(expected.r[0, 0]))})
    assert y[:16] == expected.y[0, 0].tolist()
    assert [t.windows() for t in traces] == [activity(engine, *command).windows for command in commands]


@pytest.mark.parametrize("channels", [8, 192, 1024])
def test_y_fits_its_bits_in_the_worst_rows(channels: int) -> None:
    # One channel against all the others, the steps as small and as large as x allows, and the smallest Eps.
    rows = np.zeros((4, channels), dtype=np.int64)
    rows[0, 0], rows[1, 0] = 1 << FORMATS.norm_shift, -1 << FORMATS.norm_shift
    rows[2], rows[3] = LOW, HIGH
    rows[2, 0], rows[3, 0] = HIGH, LOW
    y = reference(rows, 1).y
    assert 2**14 > int(np.abs(y).max()) >= int((channels - 2) ** 0.5 * 2**FORMATS.head_frac_bits)


def test_a_y_that_does_not_fit_is_refused() -> None:
    check_y_range(engine_of(max_embed_dim=1016, formats=Formats(head_frac_bits=9)))
    with pytest.raises(BivitError, match=r"got max_embed_dim 1016 and head_frac_bits 10; lower head_frac_bits"):
        check_y_range(engine_of(max_embed_dim=1016, formats=Formats(head_frac_bits=10)))
