"""Static scheduling: its order, its dependencies, and the independent check that finds what is wrong."""

from dataclasses import replace

import pytest

from bivit.sim.engine.commands import Table
from bivit.sim.engine.timing import Activity
from bivit.sim.errors import BivitError
from bivit.sim.program.schedule import Op, Scheduled, check_schedule, length, schedule


def op(unit, window, *, reads=(), writes=(), busy=4, port=None):
    return Op(
        command=Table(param_addr=0),
        layer=unit,
        unit=unit,
        activity=Activity(busy, {"w": window}),
        ports={"w": port} if port else {},
        reads={"w": tuple(reads)} if reads else {},
        writes={"w": tuple(writes)} if writes else {},
    )


def issues(ops):
    return [entry.issue for entry in schedule(ops)]


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


def test_check_accepts_what_schedule_makes():
    ops = [
        op("a", (5, 20), writes=["m"], port="p"),
        op("b", (1, 10), reads=["m"]),
        op("a", (2, 4), writes=["m"], port="p"),
    ]
    check_schedule(schedule(ops))


@pytest.mark.parametrize(
    ("shift", "message"),
    [(18, r"operation 1\) uses m in cycle 19, .*operation 0\) writes it until 20"), (1, "writes it until 20")],
)
def test_check_names_a_read_before_its_write(shift, message):
    writer, reader = schedule([op("a", (5, 20), writes=["m"]), op("b", (1, 10), reads=["m"])])
    with pytest.raises(BivitError, match=message):
        check_schedule([writer, replace(reader, issue=shift)])


def test_check_names_a_port_used_twice():
    one, two = op("a", (10, 30), port="p"), op("b", (2, 5), port="p")
    with pytest.raises(BivitError, match="both use p in cycle 12"):
        check_schedule([Scheduled(one, 0), Scheduled(two, 10)])


def test_check_names_a_write_over_what_is_still_read():
    reader, writer = op("b", (1, 10), reads=["m"]), op("a", (5, 20), writes=["m"])
    with pytest.raises(BivitError, match="writes m in cycle 7"):
        check_schedule([Scheduled(reader, 0), Scheduled(writer, 2)])
