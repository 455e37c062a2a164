"""Static scheduling: its order, its dependences, and how a policy and a gap change it."""

import pytest
from fake_ops import op

from bivit.sim.program.schedule import EarliestFirst, InOrder, length, schedule


def issues(ops, *more, **options):
    return [entry.issue for entry in schedule(ops, *more, **options)]


def order(ops, *more, **options):
    return [entry.op.uses.unit for entry in schedule(ops, *more, **options)]


def test_independent_operations_follow_each_other_at_once():
    assert issues([op("a", (1, 3)), op("b", (1, 3)), op("c", (1, 3))]) == [0, 2, 4]


def test_a_unit_is_started_when_it_is_free():
    assert issues([op("a", (1, 3), busy=9), op("a", (1, 3), busy=9)]) == [0, 9]


def test_a_read_waits_for_the_write_and_a_write_for_the_read():
    writer, reader = op("a", (5, 20), writes=["m"]), op("b", (1, 10), reads=["m"])
    assert issues([writer, reader]) == [0, 19]
    assert issues([reader, op("a", (5, 20), writes=["m"])]) == [0, 5]


def test_a_port_is_used_by_one_operation_at_a_time():
    assert issues([op("a", (10, 30), port="p"), op("b", (2, 5), port="p")]) == [0, 28]


def test_length_covers_windows_that_outlive_the_unit():
    assert length(schedule([op("a", (1, 50)), op("b", (1, 3))])) == 50


WAITING = [
    op("slow", (1, 50), writes=["m"]),
    op("after", (1, 10), reads=["m"]),
    op("free", (1, 3)),
]


def test_a_policy_chooses_among_what_is_ready():
    assert order(WAITING) == order(WAITING, InOrder()) == ["slow", "after", "free"]
    assert order(WAITING, EarliestFirst()) == ["slow", "free", "after"]
    assert order(WAITING, EarliestFirst(window=1)) == ["slow", "after", "free"]
    assert issues(WAITING, EarliestFirst())[-1] == 49


class LastFirst:
    """The worst of choices, which must still be a possible one."""

    def choose(self, ready, earliest):
        return ready[-1]


def test_no_policy_breaks_a_dependence():
    """Readers after writers, tenants of a slot one after another, writers of a value in their order."""
    ops = [
        op("write1", (1, 5), writes=["m:1"]),
        op("more1", (1, 5), writes=["m:1"]),
        op("read1", (1, 5), reads=["m:1"]),
        op("write2", (1, 5), writes=["m:2"]),
        op("read2", (1, 5), reads=["m:2"]),
        op("free", (1, 5)),
    ]
    assert order(ops, LastFirst()) == ["free", "write1", "more1", "read1", "write2", "read2"]


def test_updates_in_place_wait_for_readers_of_what_they_replace():
    ops = [op("norm", (1, 9), reads=["x:before"]), op("add", (1, 9), reads=["x:before"], writes=["x:after"])]
    assert order(ops, LastFirst()) == ["norm", "add"]


@pytest.mark.parametrize(("may_stall", "expected"), [(True, [0, 48]), (False, [0, 2])])
def test_gaps_are_filled_only_where_nothing_can_stall(may_stall, expected):
    """A port that the first one uses late is free until then; to use it now is safe only without a pause between."""
    ops = [op("late", (40, 50), port="p"), op("soon", (2, 5), port="p")]
    assert issues(ops, may_stall=may_stall) == expected


def test_a_gap_that_is_too_short_is_left():
    ops = [op("late", (6, 50), port="p"), op("soon", (2, 5), port="p")]
    assert issues(ops, may_stall=False) == [0, 48]
