"""A bench of the softmax: sends jobs as credits allow, frees slots of its results, and notes every cycle."""

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from amaranth.sim import Simulator

from bivit.hw.flow.softmax import Softmax
from bivit.sim.engine.config import EngineConfig
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.softmax import SoftmaxUnit
from helpers import CLK_PERIOD, join, load_memory

Table = list[int]  # Tau, then Exp[1] to Exp[64]


def unit_of(rows: int, columns: int, drain_rows: int, lanes: int, max_tokens: int = 40, **more: Any) -> SoftmaxUnit:
    engine_lanes, fabric = more.pop("engine_lanes", 8), more.pop("fabric", "lut6")
    engine = EngineConfig(
        rows=rows,
        columns=columns,
        lanes=engine_lanes,
        dense_lanes=engine_lanes,
        max_tokens=max_tokens,
        max_embed_dim=64,
        max_hidden_dim=64,
        max_heads=3,
        max_depth=2,
        max_classes=10,
        max_patch_dim=16,
        max_strip_bytes=64,
        program_words=16,
        fabric=fabric,
    )
    widths = {"drain_rows": drain_rows, "norm_lanes": columns, "head_norm_lanes": columns, "softmax_lanes": lanes}
    return SoftmaxUnit(FlowConfig(engine=engine, **widths, **more))


@dataclass
class Job:
    """Scores of one tile and head, of whole words; only those of its rows and keys count.

    With windows `scores` are with their bias, and -1 for pairs that may not attend; `sent` is what comes in, and
    `beside` its first words of bias and masks, and its kind.
    """

    rows: int
    keys: int
    number: int  # table: set * heads + head
    scores: list[list[int]]
    sent: list[list[int]] | None = None
    beside: tuple[int, int, int] = (0, 0, 0)


@dataclass
class Trace:
    """What happened, with its cycle."""

    arrived: list[int] = field(default_factory=list)
    m: list[int] = field(default_factory=list)
    z: list[int] = field(default_factory=list)
    bits: list[tuple[int, int, int, int, int]] = field(default_factory=list)  # cycle, slot, row group, chunk, bits
    sums: list[int] = field(default_factory=list)
    sum_starts: list[int] = field(default_factory=list)
    compares: list[int] = field(default_factory=list)
    compare_starts: list[int] = field(default_factory=list)
    score_free: list[int] = field(default_factory=list)
    full: list[int] = field(default_factory=list)
    freed: list[int] = field(default_factory=list)


def exp_of(table: Table, distance: int) -> int:
    return 1 << 15 if distance == 0 else table[distance]


def reference(p: list[int], table: Table, scored: bool = False) -> tuple[int, int, list[int]]:
    """m, Z and the bits of one row as docs/semantics.md 8 says, with the whole product; without pairs m is 0."""
    m = max(0, *p)
    z = sum(exp_of(table, m - score) for score in p if score >= 0)
    if scored:
        return m, z, [int(score >= 0 and score >= table[0]) for score in p]
    return m, z, [int(score >= 0 and exp_of(table, m - score) << 16 >= table[0] * z) for score in p]


def falling_table(rng: random.Random) -> Table:
    """Entries that fall, to 0 beyond some distance; Tau of any size."""
    most = rng.choice((0, 5, 24, 64, 64))
    exp = [rng.choice((1 << 15, rng.getrandbits(15), rng.getrandbits(8))) for _ in range(most)]
    tau = rng.choice((0, 1, 1 << 16, rng.randrange(65537), rng.randrange(9000), rng.randrange(9000)))
    return [tau, *sorted(exp, reverse=True), *[0] * (64 - most)]


def job_of(unit: SoftmaxUnit, scores: list[list[int]], number: int) -> Job:
    """Scores of a tile, in words filled up with anything."""
    rng, flow, keys = random.Random(len(scores)), unit.flow, len(scores[0])
    width = -(-keys // flow.engine.columns) * flow.engine.columns
    rows = [*scores, *([] for _ in range(flow.drain_cycles * flow.drain_rows - len(scores)))]
    padded = [[*row, *(rng.randint(0, 64) for _ in range(width - len(row)))] for row in rows]
    return Job(len(scores), keys, number, padded)


def random_job(
    unit: SoftmaxUnit,
    rng: random.Random,
    *,
    rows: int | None = None,
    keys: int | None = None,
    number: int | None = None,
) -> Job:
    engine = unit.flow.engine
    rows = rows or rng.choice((1, engine.rows, rng.randint(1, engine.rows)))
    most = engine.max_tokens
    keys = keys or rng.choice((1, min(engine.columns, most), most, rng.randint(1, most)))
    low = rng.choice((0, 0, 60, 64))
    scores = [[rng.randint(low, 64) for _ in range(keys)] for _ in range(rows)]
    return job_of(unit, scores, rng.randrange(unit.tables) if number is None else number)


class Bench:
    """Sends jobs, word by word with pauses and as credits allow; takes bits and frees their slots later.

    `writes` are more words of tables: cycle, then table, word and value. With windows `contents` are what the memories
    of bias and masks hold, `step` whether jobs move on in them, and `scored` is mode `score`.
    """

    def __init__(
        self,
        unit: SoftmaxUnit,
        tables: list[Table],
        jobs: list[Job],
        *,
        seed: int = 1,
        pause: float = 0.0,
        late: int = 0,
        writes: dict[int, tuple[int, int, int]] | None = None,
        contents: dict[str, list[int]] | None = None,
        step: int = 1,
        scored: bool = False,
    ):
        self.unit, self.tables, self.jobs = unit, tables, jobs
        self.rng, self.pause, self.late = random.Random(seed), pause, late
        self.writes, self.contents, self.step, self.scored = writes or {}, contents or {}, step, scored
        self.trace, self.dut = Trace(), Softmax(unit)
        self.credits, self.pending = unit.flow.score_slots, deque[int]()
        self.words = deque((job, *word) for job in jobs for word in self._words(job))

    def run(self) -> Trace:
        simulator = Simulator(self.dut)
        simulator.add_clock(CLK_PERIOD)
        simulator.add_testbench(self._bench)
        simulator.run()
        return self.trace

    async def _bench(self, ctx: Any) -> None:
        for number in {job.number for job in self.jobs}:
            for k, value in enumerate(self.tables[number]):
                self._write(ctx, (number, k, value))
                await ctx.tick()
        self._write(ctx, None)
        await self._windows(ctx)
        await ctx.tick().repeat(self.unit.table_cycles)
        trace, cycle, end = self.trace, 0, 0
        while len(trace.full) < len(self.jobs) or cycle < end:
            self._send(ctx, cycle)
            self._write(ctx, self.writes.get(cycle))
            freed = bool(self.pending) and self.pending[0] <= cycle
            ctx.set(self.dut.attention_freed, freed)
            if freed:
                trace.freed.append(cycle)
                self.pending.popleft()
            self._note(ctx, cycle)
            self.credits += ctx.get(self.dut.score_free)
            if ctx.get(self.dut.attention_full):
                soonest = max([cycle, *self.pending]) + 1
                self.pending.append(soonest + self.rng.randrange(self.late + 1))
                end = cycle + 20
            assert cycle < 9000, "it hangs"
            await ctx.tick()
            cycle += 1

    async def _windows(self, ctx: Any) -> None:
        """Fill bias and masks, in the bank that is then used, and set what stays."""
        if self.unit.flow.windows is None:
            return
        ctx.set(self.dut.bank, 1)
        for name, words in self.contents.items():
            await load_memory(ctx, self.dut.load, self.unit.load_memories[name], words)
        ctx.set(self.dut.bank, 0)
        ctx.set(self.dut.w_step, self.step)
        ctx.set(self.dut.scored, self.scored)

    def _write(self, ctx: Any, write: tuple[int, int, int] | None) -> None:
        number, k, value = write or (0, 0, 0)
        ctx.set(self.dut.table.en, write is not None)
        ctx.set(self.dut.table.addr, number << 7 | k)
        ctx.set(self.dut.table.data, value)

    def _words(self, job: Job) -> list[tuple[int, bool, bool]]:
        """The words of a job, and which is its first and its last."""
        engine, flow, words = self.unit.flow.engine, self.unit.flow, []
        for group in range(-(-job.keys // engine.columns)):
            for word in range(flow.drain_cycles):
                rows = (job.sent or job.scores)[word * flow.drain_rows : (word + 1) * flow.drain_rows]
                columns = slice(group * engine.columns, (group + 1) * engine.columns)
                scores = [score for row in rows for score in row[columns]]
                words.append(join(scores, [7] * len(scores)))
        return [(word, place == 0, place == len(words) - 1) for place, word in enumerate(words)]

    def _send(self, ctx: Any, cycle: int) -> None:
        """The next word, or rubbish."""
        dut = self.dut
        send = bool(self.words) and self.rng.random() >= self.pause and (not self.words[0][2] or self.credits > 0)
        ctx.set(dut.w_en, send)
        windows = () if self.unit.flow.windows is None else (dut.w_bias, dut.w_mask, dut.w_kind)
        for port in (dut.w_data, dut.w_rows, dut.w_keys, dut.w_set, *windows):
            ctx.set(port, self.rng.getrandbits(len(port)))
        if not send:
            return
        job, word, first, last = self.words.popleft()
        ctx.set(dut.w_data, word)
        if first:
            self.credits -= 1
            number, head = divmod(job.number, self.unit.flow.engine.max_heads)
            for port, value in (
                (dut.w_rows, job.rows),
                (dut.w_keys, job.keys),
                (dut.w_set, number),
                (dut.w_head, head),
                *zip(windows, job.beside, strict=False),
            ):
                ctx.set(port, value)
        if last:
            self.trace.arrived.append(cycle)

    def _note(self, ctx: Any, cycle: int) -> None:
        dut, trace = self.dut, self.trace
        if ctx.get(dut.m_en):
            trace.m += [ctx.get(dut.m_value[row]) for row in range(self.unit.flow.drain_rows)]
        if ctx.get(dut.z_en):
            trace.z.append(ctx.get(dut.z_value))
        if ctx.get(dut.bits_en):
            place = (ctx.get(port) for port in (dut.bits_slot, dut.bits_row, dut.bits_chunk, dut.bits))
            trace.bits.append((cycle, *place))
        for signal, cycles in (
            (dut.sums.walk.active, trace.sums),
            (dut.compare.walk.active, trace.compares),
            (dut.score_free, trace.score_free),
            (dut.attention_full, trace.full),
        ):
            if ctx.get(signal):
                cycles.append(cycle)
        for signal, cycles in ((dut.sums.start, trace.sum_starts), (dut.compare.start, trace.compare_starts)):
            if ctx.get(signal):
                cycles.append(cycle + 1)
