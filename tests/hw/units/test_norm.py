import math
import random
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from amaranth.sim import Simulator

from bivit.hw.units.norm import Norm
from bivit.sim.engine.config import EngineConfig
from bivit.sim.engine.timing import Activity
from bivit.sim.units.norm import NORM_UNITS, NormUnit
from helpers import CLK_PERIOD, command, join, load_memory

KINDS = ("sign_norm", "head_norm")


def engine(rows: int = 5, lanes: int = 8, max_embed_dim: int = 192) -> EngineConfig:
    """A small engine; the widths of the norms depend on `max_embed_dim` and `lanes` only."""
    return EngineConfig(
        rows=rows,
        columns=lanes,
        lanes=lanes,
        dense_lanes=lanes,
        max_tokens=64,
        max_embed_dim=max_embed_dim,
        max_hidden_dim=4 * max_embed_dim,
        max_heads=4,
        max_depth=1,
        max_classes=10,
        max_patch_dim=16,
        max_strip_bytes=64,
        program_words=16,
    )


@dataclass
class Tile:
    """Rows of raw lane values (the residual, or half accumulators), the parameters of one norm, and its reference."""

    unit: NormUnit
    raw: list[list[int]]
    theta: list[int]
    scale: list[int] | None
    eps: int = 1
    mean: int = 0
    x_addr: int = 0
    param_addr: int = 0
    gap: int = 0  # words between rows

    @property
    def channels(self) -> int:
        return len(self.theta)

    @property
    def chunks(self) -> int:
        return -(-self.channels // self.unit.lanes)

    def x(self, row: int) -> list[int]:
        if self.scale is None:
            return [value >> self.unit.shift for value in self.raw[row]]
        return [2 * value * scale for value, scale in zip(self.raw[row], self.scale, strict=True)]

    def stats(self) -> list[tuple[int, int, int]]:
        """(row, S1, R) as docs/semantics.md 2 says."""
        result = []
        for row in range(len(self.raw)):
            x, n = self.x(row), self.channels
            s1, s2 = sum(x), sum(v * v for v in x)
            r = 2 ** (self.unit.theta_frac_bits + self.unit.engine.formats.mean_shift)
            result.append((row, s1, r if self.mean else math.isqrt(n * s2 - s1 * s1 + self.eps)))
        return result

    def bits(self) -> list[tuple[int, int, int]]:
        """(row, chunk, bits of the chunk), channel 0 in the lowest bit, nothing beyond the last channel."""
        result = []
        for row, s1, r in self.stats():
            word = 0
            for c, x in enumerate(self.x(row)):
                word |= (((self.channels * x - s1) << self.unit.theta_frac_bits) >= self.theta[c] * r) << c
            lanes = self.unit.lanes
            result += [(row, k, word >> (k * lanes) & ((1 << lanes) - 1)) for k in range(self.chunks)]
        return result

    def addresses(self) -> list[int]:
        stride = self.chunks + self.gap
        return [self.x_addr + row * stride + k for row in range(len(self.raw)) for k in range(self.chunks)]

    def fill(self, memory: dict[int, int], parameters: dict[int, int], rng: random.Random) -> None:
        """Write x and the parameters; what lies beyond the last channel is anything."""
        p = self.unit
        for at, addr in enumerate(self.addresses()):
            row, chunk = divmod(at, self.chunks)
            memory[addr] = join(self._lanes(self.raw[row], chunk, rng, p.word_bits), [p.word_bits] * p.lanes)
        for chunk in range(self.chunks):
            fields = [self._lanes(self.theta, chunk, rng, p.theta_bits)]
            if self.scale:
                fields.append(self._lanes(self.scale, chunk, rng, p.scale_bits))
            structs = [field for lane in zip(*fields, strict=True) for field in lane]
            widths = [p.theta_bits, p.scale_bits][: len(fields)] * p.lanes
            parameters[self.param_addr + chunk] = join(structs, widths)

    def _lanes(self, values: list[int], chunk: int, rng: random.Random, bits: int) -> list[int]:
        lanes = values[chunk * self.unit.lanes :][: self.unit.lanes]
        return lanes + [rng.getrandbits(bits) for _ in range(self.unit.lanes - len(lanes))]

    def command(self, apply: int) -> dict[str, int]:
        return {
            "apply": apply,
            "rows": len(self.raw),
            "chunks": self.chunks,
            "x_addr": self.x_addr,
            "stride": self.chunks + self.gap,
            "param_addr": self.param_addr,
            "channels": self.channels,
            "eps": self.eps,
            "mean": self.mean,
            "dst_mem": 0,
            "dst_addr": 0,
            "token": 0,
        }


@dataclass
class Trace:
    """What the unit did, each entry with its cycle."""

    x_addr: list[int] = field(default_factory=list)
    stats: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    bits: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    stat_read: list[tuple[int, int]] = field(default_factory=list)


def random_tile(unit: NormUnit, rng: random.Random, rows: int, channels: int, **more: Any) -> Tile:
    """Values, thresholds and scales over their whole ranges; some rows are narrow, so that eps and ties count."""
    low, high = unit.value_min << unit.shift, ((unit.value_max + 1) << unit.shift) - 1
    raw = []
    for _ in range(rows):
        spread = min(high, rng.choice((3, 200, high)))
        raw.append([max(low, rng.randint(-spread - 1, spread)) for _ in range(channels)])
    theta = [rng.choice((0, rng.randint(-300, 300), rng.randint(-(2**15), 2**15 - 1))) for _ in range(channels)]
    scale = [rng.randint(1, 255) for _ in range(channels)] if unit.scale_bits else None
    eps = rng.choice((1, rng.getrandbits(20), rng.getrandbits(48)))
    return Tile(unit, raw, theta, scale, eps=eps, **more)


def run(
    dut: Norm,
    tiles: list[Tile],
    schedule: list[tuple[int, dict[str, int]]],
    cycles: int,
    stat_addr: dict[int, int] | None = None,
) -> Trace:
    """Load the tiles' memories, then issue each command of `schedule` at its cycle; record `cycles` cycles."""
    trace, memory, parameters = Trace(), {}, {}
    rng = random.Random(1)
    for tile in tiles:
        tile.fill(memory, parameters, rng)
    issue = dict(schedule)
    assert len(issue) == len(schedule)

    async def bench(ctx: Any) -> None:
        ctx.set(dut.bank, 1)
        await load_memory(
            ctx,
            dut.load,
            dut.unit.load_memories[dut.unit.name],
            [parameters.get(addr, 0) for addr in range(max(parameters) + 1)],
        )
        ctx.set(dut.bank, 0)
        previous = 0
        for cycle in range(cycles):
            ctx.set(dut._command.issue, cycle in issue)
            ctx.set(dut._command.fields, issue.get(cycle, {}))
            ctx.set(dut.x.data, memory.get(previous, 0))
            previous = ctx.get(dut.x.addr)
            trace.x_addr.append(previous)
            if ctx.get(dut.stat_en):
                trace.stats[cycle] = (ctx.get(dut.stat_row), ctx.get(dut.stat_s1), ctx.get(dut.stat_r))
            if ctx.get(dut.bits.en):
                trace.bits[cycle] = (ctx.get(dut.bits.row), ctx.get(dut.bits.chunk), ctx.get(dut.bits.data))
            if stat_addr is not None:
                ctx.set(dut.stats.addr, stat_addr.get(cycle, 0))
                trace.stat_read.append((ctx.get(dut.stats.data.s1), ctx.get(dut.stats.data.r)))
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(CLK_PERIOD)
    sim.add_testbench(bench)
    sim.run()
    return trace


def activity(config: EngineConfig, tile: Tile, apply: int) -> Activity:
    return tile.unit.timing(command(tile.unit.command, **tile.command(apply)))


def second_pass(config: EngineConfig, tile: Tile) -> int:
    """Earliest distance of the second pass: each row's statistics are read the cycle after they are written.

    Both passes take the same time for a row, so the first row decides.
    """
    first = activity(config, tile, 0)
    ready = first.windows["stats.write"][0] + 1 - activity(config, tile, 1).windows["stats.read"][0]
    return max(first.busy, ready)


def check_tile(config: EngineConfig, tile: Tile) -> None:
    """Both passes, as close as allowed: values and cycles."""
    at = second_pass(config, tile)
    end = at + activity(config, tile, 1).windows["bits.write"][1]
    dut = Norm(tile.unit)
    trace = run(dut, [tile], [(0, tile.command(0)), (at, tile.command(1))], end + 3)
    first, second = activity(config, tile, 0).windows, activity(config, tile, 1).windows
    assert list(trace.stats.values()) == tile.stats()
    assert list(trace.bits.values()) == tile.bits()
    assert trace.x_addr[slice(*first["x.read"])] == tile.addresses()
    assert [trace.x_addr[at + k] for k in range(*second["x.read"])] == tile.addresses()
    assert list(trace.stats) == list(range(*first["stats.write"], tile.chunks))
    assert list(trace.bits) == [at + k for k in range(*second["bits.write"])]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "channels"), [(1, 8), (5, 8), (1, 24), (3, 64), (2, 20), (4, 9)])
def test_random_tiles(kind: Any, rows: int, channels: int) -> None:
    config = engine()
    rng = random.Random(rows * channels)
    unit = NORM_UNITS[kind](config)
    check_tile(config, random_tile(unit, rng, rows, channels, x_addr=1000, param_addr=7, gap=rng.randrange(3)))


@pytest.mark.parametrize(("lanes", "max_embed_dim"), [(16, 64), (32, 1024), (64, 64)])
@pytest.mark.parametrize("kind", KINDS)
def test_other_widths(kind: Any, lanes: int, max_embed_dim: int) -> None:
    config = engine(rows=2, lanes=lanes, max_embed_dim=max_embed_dim)
    check_tile(config, random_tile(NORM_UNITS[kind](config), random.Random(lanes), 2, 64))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("eps", [1, 2**48 - 1])
def test_extreme_rows(kind: Any, eps: int) -> None:
    """All lowest, all highest, half and half (the largest V), with the most channels and extreme thresholds."""
    config = engine()
    unit = NORM_UNITS[kind](config)
    n = unit.max_channels
    low, high = unit.value_min << unit.shift, ((unit.value_max + 1) << unit.shift) - 1
    raw = [[low] * n, [high] * n, [low, high] * (n // 2), [0] * n, [high] + [low] * (n - 1)]
    theta = [(-(2**15), 2**15 - 1, 0, 256, -256)[c % 5] for c in range(n)]
    scale = [255] * n if unit.scale_bits else None
    tile = Tile(unit, raw, theta, scale, eps=eps)
    largest = max(n * sum(v * v for v in tile.x(k)) - sum(tile.x(k)) ** 2 + 2**48 - 1 for k in range(5))
    assert largest.bit_length() == unit.v_bits
    check_tile(config, tile)


@pytest.mark.parametrize("mean", [0, 1])
def test_ties_give_one(mean: int) -> None:
    """Thresholds on the value itself, and one above it: equality is a 1."""
    config = engine()
    unit = NORM_UNITS["sign_norm"](config)
    # N*x - S1 is +-256 = 1 * 2^mean_shift in mode mean; with the square root it is +-24, and R = isqrt(577) = 24.
    raw = [[v << unit.shift for v in ((32, -32) * 4 if mean else (3, -3) * 4)]]
    theta = [1, -1, 2, 0, 1, -2, 0, -1] if mean else [256, -256, 257, -255, 256, -257, 255, -256]
    tile = Tile(unit, raw, theta, None, eps=1, mean=mean)
    n, x, (_, s1, r) = tile.channels, tile.x(0), tile.stats()[0]
    assert sum((n * x[c] - s1) << 8 == theta[c] * r for c in range(n)) == 4
    assert tile.bits() == [(0, 0, 0b11110011)]
    check_tile(config, tile)


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_are_read_as_early_as_the_windows_say(kind: Any) -> None:
    """One cycle before `second_pass` a row is compared with what its row memory held before, so its bits differ."""
    config = engine(rows=1)
    unit = NORM_UNITS[kind](config)
    scale = [1] * 8 if unit.scale_bits else None
    before = Tile(unit, [[40 << unit.shift] * 8], [0] * 8, scale)
    after = Tile(unit, [[-40 << unit.shift] * 8], [0] * 8, scale, x_addr=1)
    assert before.bits() == after.bits() == [(0, 0, 255)]
    at = second_pass(config, after)
    for early, bits in ((0, 255), (1, 0)):
        schedule = [(0, before.command(0)), (100, after.command(0)), (100 + at - early, after.command(1))]
        assert list(run(Norm(NORM_UNITS[kind](config)), [before, after], schedule, 200).bits.values()) == [(0, 0, bits)]


@pytest.mark.parametrize("kind", KINDS)
def test_commands_back_to_back(kind: Any) -> None:
    """Commands at the `busy` of the one before: only first passes; then first, second, second with other thresholds."""
    config = engine(rows=3)
    unit, rng = NORM_UNITS[kind](config), random.Random(5)
    shapes = [(1, 8), (1, 5), (2, 8), (3, 24), (2, 17), (1, 16), (3, 8), (1, 8)]
    tiles = [
        random_tile(unit, rng, *shape, x_addr=40 * k, param_addr=6 * k, gap=k % 2, mean=k // 2 % 2)
        for k, shape in enumerate(shapes)
    ]
    others = [replace(tile, theta=tile.theta[::-1], param_addr=tile.param_addr + 3) for tile in tiles]
    schedule, stats, bits, at = [], {}, {}, 0

    def issue(tile: Tile, apply: int, after: int) -> None:
        nonlocal at
        schedule.append((at, tile.command(apply)))
        windows = activity(config, tile, apply).windows
        if apply:
            bits.update(zip(range(at + windows["bits.write"][0], at + 999), tile.bits(), strict=False))
        else:
            stats.update(zip(range(at + windows["stats.write"][0], at + 999, tile.chunks), tile.stats(), strict=False))
        at += after

    for tile in tiles:
        issue(tile, 0, activity(config, tile, 0).busy)
    for tile, other in zip(tiles, others, strict=True):
        issue(tile, 0, second_pass(config, tile))
        issue(tile, 1, activity(config, tile, 1).busy)
        issue(other, 1, activity(config, other, 1).busy)
    trace = run(Norm(NORM_UNITS[kind](config)), tiles + others, schedule, at + 60)
    assert (trace.stats, trace.bits) == (stats, bits)


def test_second_reader_of_the_row_memory() -> None:
    config = engine(rows=3)
    tile = random_tile(NORM_UNITS["sign_norm"](config), random.Random(9), 3, 16)
    end = activity(config, tile, 0).windows["stats.write"][1]
    # The last row is written in cycle end - 1; its address is given in cycle end, its data is there one cycle later.
    trace = run(
        Norm(NORM_UNITS["sign_norm"](config)),
        [tile],
        [(0, tile.command(0))],
        end + 4,
        stat_addr={end + k: 2 - k for k in range(3)},
    )
    assert [trace.stat_read[end + 1 + k] for k in range(3)] == [stat[1:] for stat in reversed(tile.stats())]
