"""Softmax: attention bits, m and Z of random jobs, and each cycle in which something begins, ends or is credited."""

import random
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from amaranth.hdl import Fragment, Shape
from softmax_bench import Bench, Job, Table, Trace, falling_table, job_of, random_job, reference, unit_of

from bivit.hw.flow import exp_search
from bivit.hw.flow.softmax import Softmax
from bivit.sim.flow import softmax as description
from bivit.sim.flow.softmax import SoftmaxTimes, SoftmaxUnit

SHAPES = {
    "parts of a row": unit_of(5, 16, 2, 8),
    "a row": unit_of(4, 8, 2, 8, score_slots=2, attention_slots=2),
    "two rows": unit_of(7, 8, 4, 16, attention_slots=3, score_slots=3),
    "row by row": unit_of(3, 8, 1, 4, attention_slots=2),
    "three rows, all at once": unit_of(6, 8, 6, 24, fabric="lut4", attention_slots=2),
    "one lane": unit_of(2, 8, 2, 1, max_tokens=20, score_slots=2, attention_slots=2),
}


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


@pytest.mark.parametrize(("pause", "late"), [(0.0, 0), (0.3, 10), (0.0, 120)], ids=["dense", "pauses", "full"])
@pytest.mark.parametrize("shape", SHAPES)
def test_random_jobs(shape: str, pause: float, late: int) -> None:
    unit, rng = SHAPES[shape], random.Random(f"{shape} {late}")
    tables = [falling_table(rng) for _ in range(unit.tables)]
    check(unit, tables, [random_job(unit, rng) for _ in range(7)], pause=pause, late=late)


def test_passes_overlap() -> None:
    """Jobs that are all there: the bits of one are made while the next is summed, and neither pass ever waits."""
    unit, rng = SHAPES["parts of a row"], random.Random(4)
    tables = [falling_table(rng)] * unit.tables
    times = check(unit, tables, [random_job(unit, rng, rows=5, keys=40) for _ in range(4)])
    busy = 5 * unit.row_cycles(40)
    assert [b.sum_start - a.sum_end for a, b in pairwise(times)] == [0] * 3
    assert [b.compare_start - a.compare_start for a, b in pairwise(times)] == [busy] * 3


def test_a_full_ring_of_attention_waits_for_its_credit() -> None:
    unit, rng = SHAPES["a row"], random.Random(5)
    tables = [falling_table(rng)] * unit.tables
    times = check(unit, tables, [random_job(unit, rng, rows=1, keys=1) for _ in range(4)], late=200)
    waits = [one.compare_start - one.sum_start for one in times]
    assert waits[1] == waits[0] < waits[2]


@pytest.mark.parametrize("shape", ["parts of a row", "two rows"])
def test_ties_and_extreme_limits(shape: str) -> None:
    """Four equal scores: Z is 4 * 2^15, Tau 16384 a tie, which is a 1, and with any fraction above it none is."""
    unit = SHAPES[shape]
    all_equal, drop = [1 << 15] * 64, [0] * 64
    tables = [
        *([16384, *drop], [16385, *drop], [1 << 16, *drop]),
        *([0, *all_equal], [16384, 1, *[0] * 63], [6000, *all_equal]),
    ]
    four, five, far = [40] * 4, [*[40] * 4, 39], [64, 0, 1, 63, 32, 33, 64, 0, 2]
    jobs = [
        *(job_of(unit, [four, [64] * 4, [0] * 4], number) for number in range(4)),
        *(job_of(unit, [five], number) for number in (0, 3, 4)),
        *(job_of(unit, [far, [64, *[0] * 8]], number) for number in (3, 5)),
        *(job_of(unit, [[5]], number) for number in (0, 2, 3)),
    ]
    bits = [reference(job.scores[0][: job.keys], tables[job.number])[2] for job in jobs]
    assert [sum(one) for one in bits] == [4, 0, 0, 4, 4, 5, 0, 9, 9, 1, 1, 1]
    check(unit, tables, jobs)


def test_the_most_keys() -> None:
    """1016 keys at the same score: the largest Z; with Tau = 65536 the limit is far beyond its 17 bits."""
    unit = unit_of(1, 8, 1, 8, max_tokens=1016)
    tables = [[tau, *[1 << 15] * 64] for tau in (64, 65, 65536)]
    jobs = [job_of(unit, [[9] * 1016], number) for number in range(3)]
    assert [sum(reference([9] * 1016, table)[2]) for table in tables] == [1016, 0, 0]
    check(unit, tables, jobs)


def test_a_table_is_seen_in_time() -> None:
    """A word is seen by the scores whose m - p comes `table_cycles` later, in the last lane too, and not before."""
    unit = SHAPES["three rows, all at once"]
    tables = [[0] * 65 for _ in range(unit.tables)]
    job = job_of(unit, [[64, *[63] * 7]] * 3, 4)
    (start,) = Bench(unit, tables, [job]).run().sum_starts
    last = start + unit.row_cycles(8) - 1 - (unit.rows - 1)  # its one chunk is in the first of its cycles

    def sums(write: int) -> list[int]:
        return Bench(unit, tables, [job], writes={write: (4, 1, 5)}).run().z

    in_time = last + unit.index_stage - unit.table_cycles
    assert sums(in_time) == [32768 + 7 * 5] * 3
    assert sums(in_time + 1) == [32768 + 7 * 5] * 2 + [32768]


def test_one_set_is_written_while_the_other_is_used() -> None:
    unit, rng = SHAPES["parts of a row"], random.Random(8)
    heads = unit.flow.engine.max_heads
    tables, rubbish = [falling_table(rng) for _ in range(unit.tables)], falling_table(rng)
    jobs = [random_job(unit, rng, number=rng.randrange(heads)) for _ in range(5)]
    words = [(heads + head, k, rubbish[k]) for head in range(heads) for k in range(65)]
    check(unit, tables, jobs, writes=dict(enumerate(words)))


def test_a_strict_comparison_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: Exp[0] > limit in place of >=."""
    monkeypatch.setattr(exp_search, "EXP_ZERO", exp_search.EXP_ZERO - 1)
    unit = SHAPES["a row"]
    with pytest.raises(AssertionError):
        check(unit, [[16384, *[0] * 64]] * unit.tables, [job_of(unit, [[40] * 4], 0)])


def test_a_cycle_too_few_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted in the description: a credit that is seen at once."""
    monkeypatch.setattr(description, "CREDIT_CYCLES", 1)
    with pytest.raises(AssertionError):
        test_a_full_ring_of_attention_waits_for_its_credit()


def memories_of(fragment: Fragment) -> Iterator[tuple[int, int]]:
    """Width and depth of every memory below `fragment`."""
    for sub, *_ in fragment.subfragments:
        if hasattr(sub, "_data"):
            yield Shape.cast(sub._data.shape).width, sub._data.depth
        yield from memories_of(sub)


@pytest.mark.parametrize("shape", ["parts of a row", "three rows, all at once"])
def test_the_described_memories_are_those_of_the_rtl(shape: str) -> None:
    """Counts are a memory for each row side by side, and Exp one for each lane; delay lines are the RTL's own."""
    unit = SHAPES[shape]
    described = Counter((memory.write_bits or memory.width, memory.depth) for memory in unit.memories.values())
    counts, exp = unit.memories["counts"], unit.memories["exp"]
    described[counts.width // unit.rows, counts.depth] += unit.rows - 1
    described[exp.width, exp.depth] += unit.lanes - 1
    assert not described - Counter(memories_of(Fragment.get(Softmax(unit), None)))
