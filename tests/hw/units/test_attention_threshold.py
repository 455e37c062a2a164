import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from amaranth.sim import Simulator

from bivit.hw.units.attention_threshold import AttentionThreshold
from bivit.sim.engine import commands
from bivit.sim.engine.config import EngineConfig
from bivit.sim.engine.timing import Activity
from bivit.sim.units.attention_threshold import AttentionThresholdUnit
from helpers import CLK_PERIOD, join, load_memory

Table = list[int]  # Tau, then Exp[1] to Exp[64], as the words of the loadable memory


def engine(rows: int = 3, lanes: int = 8, columns: int = 16, max_tokens: int = 48) -> EngineConfig:
    return EngineConfig(
        rows=rows,
        columns=columns,
        lanes=lanes,
        dense_lanes=lanes,
        max_tokens=max_tokens,
        max_embed_dim=64,
        max_hidden_dim=64,
        max_heads=2,
        max_depth=2,
        max_classes=10,
        max_patch_dim=16,
        max_strip_bytes=64,
        program_words=16,
    )


def exp_of(table: Table, distance: int) -> int:
    return 1 << 15 if distance == 0 else table[distance]


def reference(scores: list[list[int]], table: Table, lanes: int) -> tuple[list, list, list]:
    """(row, m), (row, Z) and (row, chunk, bits) as docs/semantics.md 8 says, with the whole product."""
    tops, sums, bits = [], [], []
    for row, p in enumerate(scores):
        m = max(p)
        z = sum(exp_of(table, m - score) for score in p)
        word = sum((exp_of(table, m - score) << 16 >= table[0] * z) << j for j, score in enumerate(p))
        tops.append((row, m))
        sums.append((row, z))
        bits += [(row, k, word >> (k * lanes) & ((1 << lanes) - 1)) for k in range(-(-len(p) // lanes))]
    return tops, sums, bits


@dataclass
class Trace:
    """What the unit did, each entry with its cycle."""

    m: dict[int, tuple[int, int]] = field(default_factory=dict)
    z: dict[int, tuple[int, int]] = field(default_factory=dict)
    bits: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    table_writes: list[int] = field(default_factory=list)

    def values(self) -> tuple[list, list, list]:
        return list(self.m.values()), list(self.z.values()), list(self.bits.values())


@dataclass
class Bench:
    """Tables (the first one in use) and scores to begin with, then what is issued or written in which cycle."""

    config: EngineConfig
    tables: list[Table]
    scores: list[list[int]]
    loads: list[tuple[int, int]] = field(default_factory=list)  # cycle, table
    starts: list[tuple[int, int, int]] = field(default_factory=list)  # cycle, rows, keys
    writes: list[tuple[int, int, int, int]] = field(default_factory=list)  # cycle, row, chunk, word

    def run(self, cycles: int) -> Trace:
        dut, trace = AttentionThreshold(AttentionThresholdUnit(self.config)), Trace()
        loads, starts = dict(self.loads), {cycle: rest for cycle, *rest in self.starts}
        writes = {cycle: rest for cycle, *rest in self.writes}
        assert (len(loads), len(starts), len(writes)) == (len(self.loads), len(self.starts), len(self.writes))

        async def bench(ctx: Any) -> None:
            await self._prepare(ctx, dut)
            for cycle in range(cycles):
                rows, keys = starts.get(cycle, (0, 0))
                ctx.set(dut.command.attention.issue, cycle in starts)
                ctx.set(dut.command.attention.fields, {"rows": rows, "keys": keys})
                ctx.set(dut.command.table.issue, cycle in loads)
                ctx.set(dut.command.table.fields, {"param_addr": 65 * loads.get(cycle, 0)})
                self._write(ctx, dut, writes.get(cycle))
                if ctx.get(dut.m_en):
                    trace.m[cycle] = (ctx.get(dut.m_row), ctx.get(dut.m_value))
                if ctx.get(dut.z_en):
                    trace.z[cycle] = (ctx.get(dut.z_row), ctx.get(dut.z_value))
                if ctx.get(dut.bits.en):
                    trace.bits[cycle] = (ctx.get(dut.bits.row), ctx.get(dut.bits.chunk), ctx.get(dut.bits.data))
                if ctx.get(dut.tables.write_en):
                    trace.table_writes.append(cycle)
                await ctx.tick()

        sim = Simulator(dut)
        sim.add_clock(CLK_PERIOD)
        sim.add_testbench(bench)
        sim.run()
        return trace

    async def _prepare(self, ctx: Any, dut: AttentionThreshold) -> None:
        """Load the tables and fill the score memory, with anything beyond the last key; then load the first table."""
        spec, lanes = self.config.load_memories["tables"], self.config.lanes
        ctx.set(dut.bank, 1)
        await load_memory(ctx, dut.load, spec, [word for table in self.tables for word in table])
        ctx.set(dut.bank, 0)
        rng = random.Random(3)
        for row, p in enumerate(self.scores):
            padded = [*p, *(rng.randrange(128) for _ in range(-len(p) % lanes))]
            for chunk in range(len(padded) // lanes):
                word = join(padded[chunk * lanes : (chunk + 1) * lanes], [7] * lanes)
                self._write(ctx, dut, [row, chunk, word])
                await ctx.tick()
        self._write(ctx, dut, None)
        ctx.set(dut.command.table.issue, 1)
        await ctx.tick()
        ctx.set(dut.command.table.issue, 0)
        await ctx.tick().repeat(70)

    @staticmethod
    def _write(ctx: Any, dut: AttentionThreshold, write: list[int] | None) -> None:
        row, chunk, word = write or (0, 0, 0)
        ctx.set(dut.score_en, write is not None)
        ctx.set(dut.score_row, row)
        ctx.set(dut.score_chunk, chunk)
        ctx.set(dut.score_data, word)


def falling_table(rng: random.Random, tau: int, head_dim: int = 64) -> Table:
    """Entries that fall to 0 beyond the head dimension."""
    exp = [rng.choice((1 << 15, rng.getrandbits(15), rng.getrandbits(8))) for _ in range(head_dim)]
    return [tau, *sorted(exp, reverse=True), *[0] * (64 - head_dim)]


def attention(config: EngineConfig, rows: int, keys: int) -> Activity:
    return AttentionThresholdUnit(config).timing(commands.Attention(rows=rows, keys=keys, dst_addr=0))


def check(config: EngineConfig, scores: list[list[int]], table: Table) -> None:
    """One command at cycle 0: values, and the cycles of the bits."""
    plan = attention(config, len(scores), len(scores[0]))
    first, end = plan.windows["bits.write"]
    trace = Bench(config, [table], scores, starts=[(0, len(scores), len(scores[0]))]).run(end + 3)
    assert trace.values() == reference(scores, table, config.lanes)
    assert list(trace.bits) == list(range(first, end))


@pytest.mark.parametrize("lanes", [8, 16])
@pytest.mark.parametrize(("rows", "keys"), [(1, 1), (1, 8), (1, 21), (1, 48), (2, 16), (3, 9), (3, 47)])
def test_random_scores(lanes: int, rows: int, keys: int) -> None:
    rng = random.Random(100 * rows + keys)
    head_dim = rng.choice((64, 24))
    low = rng.randrange(head_dim)
    scores = [[rng.randint(low, head_dim) for _ in range(keys)] for _ in range(rows)]
    tau = rng.choice((1, 65536 // keys, rng.randrange(65537)))
    check(engine(lanes=lanes), scores, falling_table(rng, tau, head_dim))


@pytest.mark.parametrize("tau", [0, 1, 16384, 16385, 65536])
def test_equal_scores_and_extreme_tau(tau: int) -> None:
    """Four equal scores: Z is 4 * 2^15 and Tau 16384 a tie, which is a 1. A lone key has its 1 at any Tau."""
    scores = [[64] * 4, [0] * 4, [37, 37, 37, 37]]
    table = falling_table(random.Random(1), tau)
    expected = 15 if tau <= 16384 else 0
    assert reference(scores, table, 8)[2] == [(row, 0, expected) for row in range(3)]
    check(engine(), scores, table)
    check(engine(), [[5]], table)


def test_the_farthest_scores() -> None:
    """m - p over 0 to 64, with entries that are all different, at the lowest Tau that tells them apart."""
    scores = [[64, 0, 1, 63, 32, 33, 64, 0, 2], [64, *[0] * 8], [0] * 9]
    table = [20000, *(32000 - 400 * k for k in range(64))]
    check(engine(), scores, table)
    check(engine(), scores, [6000, *[1 << 15] * 64])


@pytest.mark.parametrize(("tau", "ones"), [(16, True), (17, False), (65536, False)])
def test_the_most_keys(tau: int, ones: bool) -> None:
    """4095 keys at the same score: the largest Z; with Tau = 65536 the limit is far beyond its 17 bits."""
    config = engine(rows=1, lanes=64, columns=64, max_tokens=4095)
    scores, table = [[9] * 4095], [tau, *[1 << 15] * 64]
    _, [(_, z)], bits = reference(scores, table, 64)
    assert z == 4095 << 15
    assert all(word == ((1 << 64) - 1 >> (k == 63)) * ones for _, k, word in bits)
    check(config, scores, table)


@pytest.mark.parametrize("exp", range(6))
def test_the_limit_is_rounded_up(exp: int) -> None:
    """Tau*Z / 2^16 is 2^15 + exp / 4: any fraction above Exp[0] is above it."""
    scores, table = [[40, 40, 40, 40, 39]], [16384, exp, *[0] * 63]
    assert reference(scores, table, 8)[2] == [(0, 0, 0 if exp else 15)]
    check(engine(rows=1), scores, table)


def test_limits_that_do_not_fit_17_bits() -> None:
    """Tau*Z / 2^16 of 2^17 and a little more must not wrap to a limit that every key passes."""
    config = engine(rows=1, lanes=16)
    for exp in (0, 1, 2, 3, 4):
        check(config, [[40, 40, 40, 40, 39]], [65536, exp, *[0] * 63])


def test_commands_back_to_back() -> None:
    """Every command at the `busy` of the one before: tables, and tiles of one chunk to many."""
    config, rng = engine(), random.Random(7)
    tables = [falling_table(rng, tau) for tau in (2730, 5000, 0, 40000)]
    scores = [[rng.randint(30, 40) for _ in range(48)] for _ in range(3)]
    bench, expected, at, current = Bench(config, tables, scores), ([], [], {}), 0, 0
    table_windows = []
    many, few, one = (3, 48), (2, 11), (1, 1)
    for size in (one, many, one, None, (1, 2), few, None, None, (3, 8), one, None, (1, 40), few):
        if size is None:
            current = (current + 1) % len(tables)
            bench.loads.append((at, current))
            plan = AttentionThresholdUnit(config).timing(commands.Table(param_addr=0))
            table_windows += [at + offset for offset in range(*plan.windows["tables.write"])]
        else:
            rows, keys = size
            bench.starts.append((at, rows, keys))
            plan = attention(config, rows, keys)
            tops, sums, bits = reference([p[:keys] for p in scores[:rows]], tables[current], 8)
            expected[0].extend(tops)
            expected[1].extend(sums)
            expected[2].update(zip((at + k for k in range(*plan.windows["bits.write"])), bits, strict=True))
        at += plan.busy
    trace = bench.run(at + 10)
    assert (list(trace.m.values()), list(trace.z.values()), trace.bits) == expected
    assert trace.table_writes == table_windows


@pytest.mark.parametrize(("rows", "keys"), [(1, 8), (3, 16)])
def test_scores_are_read_in_their_window(rows: int, keys: int) -> None:
    """A write shows from the next cycle on: in the window's last cycle it is too late, in the one before it is not."""
    config = engine()
    table = [30000, *[0] * 64]
    scores = [[20] + [10] * (keys - 1) for _ in range(rows)]
    first, end = attention(config, rows, keys).windows["scores.read"]
    unchanged = reference(scores, table, 8)[2]

    def outcome(cycle: int, row: int, chunk: int, score: int) -> tuple[tuple[int, int], list[tuple[int, int, int]]]:
        """First m, and all bits, when the unit runs while one chunk is overwritten with equal scores."""
        write = (cycle, row, chunk, join([score] * 8, [7] * 8))
        trace = Bench(config, [table], scores, starts=[(0, rows, keys)], writes=[write]).run(end + 9)
        return trace.m[min(trace.m)], list(trace.bits.values())

    last = rows - 1, keys // 8 - 1
    assert outcome(end - 1, *last, 20)[1] == unchanged
    assert outcome(end - 2, *last, 20)[1] == [*unchanged[:-1], (*last, 255)]
    assert outcome(first, 0, 0, 30)[0] == (0, 20)
    assert outcome(first - 1, 0, 0, 30)[0] == (0, 30)


def test_tables_are_read_in_their_window() -> None:
    """A table's write shows from the next cycle on; here Exp[1] decides Z and the second bit."""
    config = engine()
    tables, scores = [[20000, 30000, *[0] * 63], [20000, *[0] * 64]], [[6, 5]]
    assert [reference(scores, table, 8)[1:] for table in tables] == [
        ([(0, 62768)], [(0, 0, 3)]),
        ([(0, 32768)], [(0, 0, 1)]),
    ]
    first, end = attention(config, 1, 2).windows["tables.read"]
    write = AttentionThresholdUnit(config).timing(commands.Table(param_addr=0)).windows["tables.write"][0] + 1

    def outcome(written: int) -> tuple[Any, Any]:
        trace = Bench(config, tables, scores, starts=[(20, 1, 2)], loads=[(20 + written - write, 1)]).run(80)
        (_, z), (_, _, bits) = *trace.z.values(), *trace.bits.values()
        return z, bits

    assert outcome(first - 1) == (32768, 1)
    assert outcome(first) == (62768, 1)
    assert outcome(end - 2) == (62768, 1)
    assert outcome(end - 1) == (62768, 3)
