"""Softmax: attention bits, m and Z of random jobs, and each cycle in which something begins, ends or is credited."""

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import pytest
from amaranth.sim import Simulator

from bivit.hw.flow.softmax import Softmax
from bivit.sim.engine.config import EngineConfig
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.softmax import SoftmaxTimes, SoftmaxUnit
from helpers import CLK_PERIOD, join

Table = list[int]  # Tau, then Exp[1] to Exp[64]


def unit_of(rows: int, columns: int, drain_rows: int, lanes: int, max_tokens: int = 40, **more: Any) -> SoftmaxUnit:
    engine = EngineConfig(
        rows=rows,
        columns=columns,
        lanes=8,
        dense_lanes=8,
        max_tokens=max_tokens,
        max_embed_dim=64,
        max_hidden_dim=64,
        max_heads=3,
        max_depth=2,
        max_classes=10,
        max_patch_dim=16,
        max_strip_bytes=64,
        program_words=16,
        **{name: more.pop(name) for name in ("fabric",) if name in more},
    )
    lane = {"norm_lanes": columns, "head_norm_lanes": columns}
    return SoftmaxUnit(FlowConfig(engine=engine, drain_rows=drain_rows, softmax_lanes=lanes, **lane, **more))


SHAPES = {
    "parts of a row": unit_of(5, 16, 2, 8),
    "a row": unit_of(4, 8, 2, 8, score_slots=2),
    "two rows": unit_of(7, 8, 4, 16, attention_slots=3, score_slots=3),
    "row by row": unit_of(3, 8, 1, 4, attention_slots=2),
    "three rows, all at once": unit_of(6, 8, 6, 24, fabric="lut4"),
    "one lane": unit_of(2, 8, 2, 1),
}


@dataclass
class Job:
    """Scores of one tile and head, of whole words; only those of its rows and keys count."""

    rows: int
    keys: int
    number: int  # table: set * heads + head
    scores: list[list[int]]


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


def reference(p: list[int], table: Table) -> tuple[int, int, list[int]]:
    """m, Z and the bits of one row as docs/semantics.md 8 says, with the whole product."""
    m = max(p)
    z = sum(exp_of(table, m - score) for score in p)
    return m, z, [int(exp_of(table, m - score) << 16 >= table[0] * z) for score in p]


def falling_table(rng: random.Random) -> Table:
    """Entries that fall, to 0 beyond some distance; Tau of any size."""
    most = rng.choice((0, 5, 24, 64, 64))
    exp = [rng.choice((1 << 15, rng.getrandbits(15), rng.getrandbits(8))) for _ in range(most)]
    tau = rng.choice((0, 1, 1 << 16, rng.randrange(65537), rng.randrange(9000), rng.randrange(9000)))
    return [tau, *sorted(exp, reverse=True), *[0] * (64 - most)]


def random_job(unit: SoftmaxUnit, rng: random.Random, tables: int) -> Job:
    engine, flow = unit.flow.engine, unit.flow
    keys = rng.choice((1, engine.columns, engine.max_tokens, rng.randint(1, engine.max_tokens)))
    low = rng.choice((0, 0, 60, 64))
    groups = -(-keys // engine.columns)
    scores = [
        [rng.randint(low, 64) for _ in range(groups * engine.columns)]
        for _ in range(flow.drain_cycles * flow.drain_rows)
    ]
    return Job(rng.choice((1, engine.rows, rng.randint(1, engine.rows))), keys, rng.randrange(tables), scores)


class Bench:
    """Sends jobs, word by word with pauses and as credits allow; takes bits and frees their slots later."""

    def __init__(
        self,
        unit: SoftmaxUnit,
        tables: list[Table],
        jobs: list[Job],
        *,
        seed: int = 1,
        pause: float = 0.0,
        late: int = 0,
    ):
        self.unit, self.tables, self.jobs = unit, tables, jobs
        self.rng, self.pause, self.late = random.Random(seed), pause, late
        self.trace = Trace()
        self.dut = Softmax(unit)

    def run(self) -> Trace:
        simulator = Simulator(self.dut)
        simulator.add_clock(CLK_PERIOD)
        simulator.add_testbench(self._bench)
        simulator.run()
        return self.trace

    async def load(self, ctx: Any, number: int, table: Table) -> None:
        for k, value in enumerate(table):
            ctx.set(self.dut.table.en, 1)
            ctx.set(self.dut.table.addr, number << 7 | k)
            ctx.set(self.dut.table.data, value)
            await ctx.tick()
        ctx.set(self.dut.table.en, 0)

    async def _bench(self, ctx: Any) -> None:
        for number, table in enumerate(self.tables):
            await self.load(ctx, number, table)
        await ctx.tick().repeat(self.unit.table_cycles)
        words = deque(
            (job, place, data, place == 0, place == count - 1)
            for job in self.jobs
            for count in [len(self._words(job))]
            for place, data in enumerate(self._words(job))
        )
        trace, cycle, credits, deadline = self.trace, 0, self.unit.flow.score_slots, 0
        pending: deque[int] = deque()
        while len(trace.full) < len(self.jobs) or cycle < deadline:
            send = bool(words) and self.rng.random() >= self.pause and (not words[0][3] or credits > 0)
            ctx.set(self.dut.w_en, send)
            self._rubbish(ctx)
            if send:
                job, _, data, first, last = words.popleft()
                ctx.set(self.dut.w_data, data)
                if first:
                    credits -= 1
                    half = len(self.tables) // 2
                    ctx.set(self.dut.w_rows, job.rows)
                    ctx.set(self.dut.w_keys, job.keys)
                    ctx.set(self.dut.w_set, job.number // half)
                    ctx.set(self.dut.w_head, job.number % half)
                if last:
                    trace.arrived.append(cycle)
            free = bool(pending) and pending[0] <= cycle
            ctx.set(self.dut.attention_freed, free)
            if free:
                pending.popleft()
                trace.freed.append(cycle)
            self._note(ctx, cycle)
            if ctx.get(self.dut.score_free):
                credits += 1
            if ctx.get(self.dut.attention_full):
                soonest = max([cycle + 1, *(last + 1 for last in list(pending)[-1:])])
                pending.append(soonest + self.rng.randrange(self.late + 1))
                deadline = cycle + 20
            assert cycle < 60000
            await ctx.tick()
            cycle += 1

    def _words(self, job: Job) -> list[int]:
        engine, flow, words = self.unit.flow.engine, self.unit.flow, []
        for group in range(-(-job.keys // engine.columns)):
            for word in range(flow.drain_cycles):
                rows = job.scores[word * flow.drain_rows : (word + 1) * flow.drain_rows]
                columns = slice(group * engine.columns, (group + 1) * engine.columns)
                scores = [score for row in rows for score in row[columns]]
                words.append(join(scores, [7] * len(scores)))
        return words

    def _rubbish(self, ctx: Any) -> None:
        """What stands at the ports when it does not count."""
        for port in (self.dut.w_data, self.dut.w_rows, self.dut.w_keys, self.dut.w_set):
            ctx.set(port, self.rng.getrandbits(len(port)))

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


def expected_times(unit: SoftmaxUnit, jobs: list[Job], trace: Trace) -> list[SoftmaxTimes]:
    """The recurrence, over the cycles in which scores arrived and slots were freed."""
    times: list[SoftmaxTimes] = []
    for number, job in enumerate(jobs):
        freed = number - unit.flow.attention_slots
        before = times[-1] if times else None
        times.append(
            unit.times(
                job.rows,
                job.keys,
                arrived=trace.arrived[number],
                sum_free=before.sum_end if before else 0,
                compare_free=before.compare_end if before else 0,
                attention_freed=trace.freed[freed] if freed >= 0 else 0,
            )
        )
    return times


def walked(unit: SoftmaxUnit, job: Job, start: int) -> list[tuple[int, int, int]]:
    """Cycle, row group and chunk of every address of a pass."""
    period, chunks = unit.row_cycles(job.keys), unit.chunks(job.keys)
    return [(start + row * period + k, row, k) for row in range(-(-job.rows // unit.rows)) for k in range(chunks)]


def expected_bits(unit: SoftmaxUnit, job: Job, table: Table, row_group: int, chunk: int) -> tuple[int, int]:
    """The bits of a chunk, and which of them belong to rows of the job."""
    word = valid = 0
    for side in range(unit.rows):
        row = row_group * unit.rows + side
        bits = reference(job.scores[row][: job.keys], table)[2]
        for column, bit in enumerate(bits[chunk * unit.columns : (chunk + 1) * unit.columns]):
            word |= bit << (side * unit.columns + column)
        valid |= ((1 << unit.columns) - 1) << (side * unit.columns) if row < job.rows else 0
    return word & valid, valid


def check(unit: SoftmaxUnit, tables: list[Table], jobs: list[Job], **more: Any) -> list[SoftmaxTimes]:
    """All values, their order, and every cycle."""
    trace = Bench(unit, tables, jobs, **more).run()
    flow = unit.flow
    times = expected_times(unit, jobs, trace)
    assert trace.sum_starts == [one.sum_start for one in times]
    assert trace.compare_starts == [one.compare_start for one in times]
    assert trace.score_free == [one.score_free for one in times]
    assert trace.full == [one.attention_full for one in times]
    assert trace.sums == [
        at for job, one in zip(jobs, times, strict=True) for at, *_ in walked(unit, job, one.sum_start)
    ]
    rows = [reference(p[: job.keys], tables[job.number]) for job in jobs for p in job.scores]
    assert trace.m == [m for m, _, _ in rows]
    assert trace.z == [
        reference(p[: job.keys], tables[job.number])[1]
        for job in jobs
        for p in job.scores[: -(-job.rows // unit.rows) * unit.rows]
    ]
    writes = [
        (number, *place)
        for number, (job, one) in enumerate(zip(jobs, times, strict=True))
        for place in walked(unit, job, one.compare_start)
    ]
    assert trace.compares == [at for _, at, _, _ in writes]
    assert [write[:4] for write in trace.bits] == [
        (at + unit.bits_stage, number % flow.attention_slots, row, chunk) for number, at, row, chunk in writes
    ]
    for (number, _, row, chunk), write in zip(writes, trace.bits, strict=True):
        word, valid = expected_bits(unit, jobs[number], tables[jobs[number].number], row, chunk)
        assert (number, row, chunk, write[4] & valid) == (number, row, chunk, word)
    return times


@pytest.mark.parametrize(("pause", "late"), [(0.0, 0), (0.3, 10), (0.0, 300)], ids=["dense", "pauses", "full"])
@pytest.mark.parametrize("shape", SHAPES)
def test_random_jobs(shape: str, pause: float, late: int) -> None:
    unit, rng = SHAPES[shape], random.Random(shape)
    tables = [falling_table(rng) for _ in range(unit.tables)]
    jobs = [random_job(unit, rng, len(tables)) for _ in range(14)]
    check(unit, tables, jobs, pause=pause, late=late)
