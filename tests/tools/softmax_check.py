"""What the softmax must do with some jobs: every value, their order, and every cycle."""

from __future__ import annotations

from typing import Any

from softmax_bench import Bench, Job, Table, Trace, reference

from bivit.sim.flow.softmax import SoftmaxTimes, SoftmaxUnit


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


def expected_bits(
    unit: SoftmaxUnit, job: Job, table: Table, row_group: int, chunk: int, scored: bool
) -> tuple[int, int]:
    """The bits of a chunk, and which of them belong to rows of the job."""
    word = valid = 0
    for side in range(unit.rows):
        row = row_group * unit.rows + side
        bits = reference(job.scores[row][: job.keys], table, scored)[2]
        for column, bit in enumerate(bits[chunk * unit.columns : (chunk + 1) * unit.columns]):
            word |= bit << (side * unit.columns + column)
        valid |= ((1 << unit.columns) - 1) << (side * unit.columns) if row < job.rows else 0
    return word & valid, valid


def check(
    unit: SoftmaxUnit, tables: list[Table], jobs: list[Job], *, scored: bool = False, **more: Any
) -> list[SoftmaxTimes]:
    """All values, their order, and every cycle; `more` is of the bench."""
    trace = Bench(unit, tables, jobs, scored=scored, **more).run()
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
        word, valid = expected_bits(unit, jobs[number], tables[jobs[number].number], row, chunk, scored)
        assert (number, row, chunk, write[4] & valid) == (number, row, chunk, word)
    return times
