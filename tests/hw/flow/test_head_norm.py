"""HeadNorm of the dataflow engine: every bit, S1 and R against the definition, every cycle predicted."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator
from flow_norms import flow_config

from bivit.hw.flow.head_norm import HeadNorm
from bivit.sim.flow.head_norm import HeadNormUnit, HeadTimes
from bivit.sim.flow.lane_unit import LONG_AGO
from helpers import CLK_PERIOD, join, load_memory

#: Sets of parameters.
HEADS = 4
#: Lanes, drain rows, rows, channels of a head, columns.
SHAPES = [
    (4, 1, 5, 24, 8),
    (2, 2, 3, 7, 8),
    (8, 1, 5, 32, 8),
    (8, 4, 6, 20, 8),
    (16, 2, 5, 8, 8),
    (16, 4, 7, 29, 8),
    (24, 3, 7, 10, 8),
    (32, 4, 9, 64, 8),
    (16, 2, 4, 20, 16),
    (64, 8, 9, 16, 8),
]


@dataclass
class Job:
    """Sums of one tile and head, half of an accumulator each."""

    rows: int
    head: int
    eps: int
    mean: int
    tag: int
    half: np.ndarray
    arrived: int = 0


class Bench:
    """Drives the unit with random jobs, with pauses as often as said, and notes what comes out, with its cycle."""

    def __init__(self, unit: HeadNormUnit, channels: int, jobs: int, rng: random.Random, late: float):
        self.unit, self.flow, self.channels, self.rng, self.late = unit, unit.flow, channels, rng, late
        self.dut = HeadNorm(unit)
        engine, np_rng = unit.flow.engine, np.random.default_rng(rng.getrandbits(32))
        self.width = -(-channels // engine.columns) * engine.columns
        limit = engine.max_embed_dim // 2
        self.scale = np_rng.integers(1, 256, (HEADS, self.width))
        self.scale[0] = 255
        self.theta = np_rng.integers(-(1 << 15), 1 << 15, (HEADS, self.width))
        self.theta[:, 1::4] = np_rng.choice((-(1 << 15), (1 << 15) - 1, 0), self.theta[:, 1::4].shape)
        self.jobs = []
        for _ in range(jobs):
            spread = rng.choice((2, 20, limit, limit))
            half = np_rng.integers(-min(spread, limit), min(spread, limit) + 1, (engine.rows + 8, self.width))
            if rng.random() < 0.3:
                half[:] = rng.choice((0, -limit, limit))
            rows = rng.choice((1, engine.rows, rng.randint(1, engine.rows)))
            eps = rng.choice((1, rng.getrandbits(20), (1 << 48) - 1))
            tag = rng.getrandbits(unit.tag_bits)
            self.jobs.append(Job(rows, rng.randrange(HEADS), eps, int(rng.random() < 0.3), tag, half))
        self._thetas_at_their_limits()
        self.events: dict[str, list[Any]] = {name: [] for name in ("stats", "bits", "read", "done")}
        self.waiting = 0

    def _thetas_at_their_limits(self) -> None:
        """Of each head's first job: at the values of its first row, or one above."""
        known = set()
        for job in self.jobs:
            if job.head not in known:
                known.add(job.head)
                (s1, r), x = self.stats(job)[0], self.x(job)[0]
                for c in range(0, self.channels, 2):
                    value = ((self.channels * x[c] - s1) << 8) // max(r, 1) + c // 2 % 2
                    self.theta[job.head, c] = min(max(value, -(1 << 15)), (1 << 15) - 1)

    def x(self, job: Job) -> list[list[int]]:
        values = self.scale[job.head] * 2 * job.half
        return values[: job.rows, : self.channels].tolist()

    def stats(self, job: Job) -> list[tuple[int, int]]:
        """S1 and R of each row, as docs/semantics.md says."""
        found, n = [], self.channels
        for row in self.x(job):
            s1, s2 = sum(row), sum(v * v for v in row)
            found.append((s1, 1 << 16 if job.mean else math.isqrt(n * s2 - s1 * s1 + job.eps)))
        return found

    def bits(self, job: Job) -> list[tuple[int, ...]]:
        """Tag, row group, its rows that the tile has, word and lanes of each word of bits."""
        u, x, stats = self.unit, self.x(job), self.stats(job)
        found = []
        for group in range(u.groups(job.rows)):
            here = sum(1 << row for row in range(u.side) if group * u.side + row < job.rows)
            for word in range(u.words(self.channels)):
                lanes = 0
                for lane in range(u.lanes):
                    row, c = group * u.side + lane // u.columns, word * u.columns + lane % u.columns
                    if row < job.rows and c < self.channels:
                        s1, r = stats[row]
                        bit = (self.channels * x[row][c] - s1) << 8 >= int(self.theta[job.head, c]) * r
                        lanes |= int(bit) << lane
                found.append((job.tag, group, here, word, lanes))
        return found

    def run(self) -> None:
        sim = Simulator(self.dut)
        sim.add_clock(CLK_PERIOD)
        sim.add_testbench(self._bench)
        sim.run()

    async def _bench(self, ctx: Any) -> None:
        u, dut = self.unit, self.dut
        words = []
        for head in range(HEADS):
            for at in range(0, self.width, u.columns):
                scales = [int(value) for value in self.scale[head, at : at + u.columns]]
                thetas = [int(value) for value in self.theta[head, at : at + u.columns]]
                words.append(join(scales + thetas, [8] * u.columns + [16] * u.columns))
        ctx.set(dut.bank, 1)
        await load_memory(ctx, dut.load, u.load_memories["head_norm"], words)
        ctx.set(dut.bank, 0)
        driver = self._drive()
        next(driver)
        for cycle in range(400 * len(self.jobs) + 1000):
            inputs = driver.send(cycle)
            for name in ("put", "sums_en", "sums_last", "sums_end"):
                ctx.set(getattr(dut, name), inputs.get(name, 0))
            for name in ("job", "sums"):
                if name in inputs:
                    ctx.set(getattr(dut, name), inputs[name])
            self._note(ctx, cycle)
            await ctx.tick()
            if len(self.events["done"]) == len(self.jobs) and cycle > self.events["done"][-1] + 60:
                return
        raise AssertionError("the unit stands still")

    def _drive(self) -> Iterator[dict[str, Any]]:
        u, g, columns = self.unit, self.flow.drain_rows, self.flow.engine.columns
        cycle = yield {}
        for job in self.jobs:
            while self.waiting == self.flow.head_slots or self.rng.random() < self.late:
                cycle = yield {}
            self.waiting += 1
            words = self.rng.choice((-(-job.rows // g), self.flow.drain_cycles))
            fields = {"rows": job.rows, "channels": self.channels, "eps": job.eps, "mean": job.mean, "tag": job.tag}
            given: dict[str, Any] = {
                "put": 1,
                "job": {**fields, "param_addr": job.head * (self.width // u.columns)},
            }
            for at in range(0, self.width, columns):
                for word in range(words):
                    while self.rng.random() < self.late / 2:
                        cycle = yield {}
                    sums = [int(v) for v in job.half[word * g : (word + 1) * g, at : at + columns].reshape(-1)]
                    last = word == words - 1
                    end = last and at + columns == self.width
                    if end:
                        job.arrived = cycle
                    data = join(sums, [self.flow.engine.acc_bits] * len(sums))
                    cycle = yield {**given, "sums_en": 1, "sums_last": last, "sums_end": end, "sums": data}
                    given = {}
        while True:
            cycle = yield {}

    def _note(self, ctx: Any, cycle: int) -> None:
        dut, events = self.dut, self.events
        if ctx.get(dut.sums_read):
            events["read"].append(cycle)
            self.waiting -= 1
        if ctx.get(dut.done):
            events["done"].append(cycle)
        for name, port in (("stats", dut.stats), ("bits", dut.bits)):
            if ctx.get(port.en):
                events[name].append((cycle, *(ctx.get(port[field]) for field in port.shape().members if field != "en")))


def predicted(bench: Bench) -> tuple[dict[str, list[int]], list[HeadTimes]]:
    """Cycles of all events, from when sums came."""
    u, words = bench.unit, bench.unit.words(bench.channels)
    events: dict[str, list[int]] = {name: [] for name in bench.events}
    times, free, apply_free = [], LONG_AGO, LONG_AGO
    for job in bench.jobs:
        found = u.times(job.rows, bench.channels, job.arrived, free, apply_free)
        times.append(found)
        free, apply_free, pace = found.free, found.apply_free, max(words, u.pace)
        last = found.start + words - 1 + u.root_stage
        events["stats"] += [last + row // u.side * pace + row % u.side for row in range(job.rows)]
        for group in range(u.groups(job.rows)):
            events["bits"] += [found.apply_start + group * pace + word + u.bits_stage for word in range(words)]
        events["read"].append(found.apply_free)
        events["done"].append(found.done)
    return events, times


def run(shape: tuple[int, int, int, int, int], seed: int, late: float, **more: Any) -> Bench:
    lanes, drain, rows, channels, columns = shape
    rng = random.Random(seed)
    config = flow_config(
        rows=rows, columns=columns, dim=64, drain_rows=drain, norm_lanes=columns, **{"head_norm_lanes": lanes, **more}
    )
    bench = Bench(HeadNormUnit(config), channels, 8, rng, late)
    bench.run()
    return bench


def check(bench: Bench) -> None:
    u, slots = bench.unit, bench.flow.head_slots
    stats, bits = [], []
    for number, job in enumerate(bench.jobs):
        place = number % slots * u.most_groups
        stats += [(place + row // u.side, row % u.side, *pair) for row, pair in enumerate(bench.stats(job))]
        bits += bench.bits(job)
    assert [event[1:] for event in bench.events["stats"]] == stats
    assert [event[1:] for event in bench.events["bits"]] == bits
    expected, _ = predicted(bench)
    for name, events in bench.events.items():
        assert [event[0] if isinstance(event, tuple) else event for event in events] == expected[name], name


@pytest.mark.parametrize("late", [0.0, 0.6])
@pytest.mark.parametrize("shape", SHAPES)
def test_random_jobs(shape: tuple[int, int, int, int, int], late: float) -> None:
    check(run(shape, sum(shape), late, head_slots=2 + sum(shape) % 3))


def test_narrow_multiplier_blocks() -> None:
    check(run((8, 2, 3, 20, 8), 7, 0.0, fabric="lut4"))


def test_the_cases_reach_ties_and_wait_for_each_other() -> None:
    bench = run((8, 1, 5, 32, 8), 1, 0.0)
    check(bench)
    ties, n = 0, bench.channels
    for job in bench.jobs:
        (s1, r), x = bench.stats(job)[0], bench.x(job)[0]
        ties += sum((n * x[c] - s1) << 8 == bench.theta[job.head, c] * r for c in range(n))
    assert ties > 0
    _, times = predicted(bench)
    pairs = list(pairwise(times))
    assert any(later.start == earlier.free for earlier, later in pairs)
    assert any(later.apply_start == earlier.apply_free for earlier, later in pairs)


def test_rows_that_come_faster_than_roots_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows a cycle, and one root: without the pace that the description has, the bench sees it."""
    monkeypatch.setattr(HeadNormUnit, "pace", 1)
    bench = run((16, 2, 5, 8, 8), 2, 0.0)
    with pytest.raises(AssertionError, match="assert"):
        check(bench)
