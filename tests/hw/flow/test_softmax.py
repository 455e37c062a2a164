"""Softmax: attention bits, m and Z of random jobs, and each cycle in which something begins, ends or is credited."""

import random
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest
from amaranth.hdl import Fragment, Shape
from softmax_bench import Bench, falling_table, job_of, random_job, reference, unit_of
from softmax_check import check
from softmax_windows import windows_unit

from bivit.hw.flow import exp_search
from bivit.hw.flow.softmax import Softmax
from bivit.sim.flow import softmax as description
from bivit.sim.flow.softmax import SoftmaxUnit

SHAPES = {
    "parts of a row": unit_of(5, 16, 2, 8),
    "a row": unit_of(4, 8, 2, 8, score_slots=2, attention_slots=2),
    "two rows": unit_of(7, 8, 4, 16, attention_slots=3, score_slots=3),
    "row by row": unit_of(3, 8, 1, 4, attention_slots=2),
    "three rows, all at once": unit_of(6, 8, 6, 24, fabric="lut4", attention_slots=2),
    "one lane": unit_of(2, 8, 2, 1, max_tokens=20, score_slots=2, attention_slots=2),
}


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


@pytest.mark.parametrize(
    "unit", [SHAPES["parts of a row"], SHAPES["three rows, all at once"], windows_unit(7, 8, 4, 16)]
)
def test_the_described_memories_are_those_of_the_rtl(unit: SoftmaxUnit) -> None:
    """Counts are a memory for each row side by side, and Exp one for each lane; delay lines are the RTL's own."""
    described = Counter((memory.write_bits or memory.width, memory.depth) for memory in unit.memories.values())
    counts, exp = unit.memories["counts"], unit.memories["exp"]
    described[counts.width // unit.rows, counts.depth] += unit.rows - 1
    described[exp.width, exp.depth] += unit.lanes - 1
    described.update((memory.width, depth) for memory in unit.load_memories.values() for depth in memory.depths)
    assert not described - Counter(memories_of(Fragment.get(Softmax(unit), None)))
