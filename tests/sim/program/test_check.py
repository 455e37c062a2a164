"""The check of schedules and addresses: it takes what the compiler makes, and finds every kind of fault by name."""

from dataclasses import replace

import pytest
from fake_ops import op
from shapes import MODES, TINY, TOKENS, tiny_engine

from bivit.sim.engine.commands import ISSUED, MIN_DELAY, Matmul
from bivit.sim.errors import BivitError
from bivit.sim.network.formats import Formats
from bivit.sim.program import compiler
from bivit.sim.program.check import check_capacity, check_schedule
from bivit.sim.program.compiler import compile_program
from bivit.sim.program.schedule import EarliestFirst, Scheduled, schedule
from bivit.sim.program.uses import extents
from bivit.sim.units.machine import Machine
from bivit.sim.units.unit import Unit


def at(*issues_and_ops):
    return [Scheduled(each, issue) for issue, each in issues_and_ops]


def test_check_accepts_what_schedule_makes():
    ops = [
        op("a", (5, 20), writes=["m"], port="p"),
        op("b", (1, 10), reads=["m"]),
        op("a", (2, 4), writes=["m:2"], port="p"),
    ]
    check_schedule(schedule(ops))


@pytest.mark.parametrize("shift", [18, 1])
def test_a_read_before_its_write(shift):
    writer, reader = op("a", (5, 20), writes=["m"]), op("b", (1, 10), reads=["m"])
    message = rf"operation 1\) uses .* in m.0. in cycle {shift + 1}, .*operation 0\) writes it until 20"
    with pytest.raises(BivitError, match=message):
        check_schedule(at((0, writer), (shift, reader)))


def test_a_port_used_twice():
    one, two = op("a", (10, 30), port="p"), op("b", (2, 5), port="p")
    with pytest.raises(BivitError, match="both use p in cycle 12"):
        check_schedule(at((0, one), (10, two)))


def test_two_live_values_in_one_slot():
    """The second value comes while the first is still read; or between its write and its read."""
    reader, writer = op("b", (1, 10), reads=["m:1"]), op("a", (5, 20), writes=["m:2"])
    with pytest.raises(BivitError, match=r"writes 2 into m.0. in cycle 7, .* uses 1 there until 10"):
        check_schedule(at((0, reader), (2, writer)))
    first = op("a", (1, 3), writes=["m:1"])
    with pytest.raises(BivitError, match=r"writes 2 into m.0. in cycle 15, .* uses 1 there until 50"):
        check_schedule(at((0, first), (10, writer), (40, reader)))


def test_values_that_nobody_writes_cannot_share_a_slot():
    with pytest.raises(BivitError, match="cannot hold 1 and 2, which nobody writes"):
        check_schedule(at((0, op("a", (1, 3), reads=["m:1"])), (9, op("a", (1, 3), reads=["m:2"]))))


def test_a_value_written_out_of_order():
    one, two = op("a", (1, 3), writes=["m"]), op("b", (1, 3), writes=["m"])
    tasks = [one.task, replace(two.task)]
    two = replace(two, task=tasks[1])
    check_schedule(at((0, one), (5, two)), listed=tasks)
    with pytest.raises(BivitError, match="out of order"):
        check_schedule(at((0, two), (5, one)), listed=tasks)


def test_an_operation_left_out_or_issued_twice():
    one, two = op("a", (1, 3)), op("b", (1, 3))
    with pytest.raises(BivitError, match=r"table of b: .* is never issued"):
        check_schedule(at((0, one)), listed=[one.task, two.task])
    with pytest.raises(BivitError, match="issued twice"):
        check_schedule(at((0, one), (9, one)), listed=[one.task])


def test_updates_in_place_follow_each_other():
    first, second = (op(name, (1, 5), reads=["x:old"], writes=["x:new"]) for name in "ab")
    check_schedule(at((0, first), (4, second)))
    with pytest.raises(BivitError, match="writes new"):
        check_schedule(at((0, first), (2, second)))


STALLS = [
    (op("late", (40, 50), port="p"), op("soon", (2, 5), port="p"), "p"),
    (op("late", (40, 50), writes=["m"]), op("soon", (2, 5), reads=["m:0"]), r"m\[0\]"),
]


@pytest.mark.parametrize(("late", "soon", "what"), STALLS, ids=["port", "slot"])
def test_a_filled_gap_that_a_stall_would_close(late, soon, what):
    """Right as long as nothing pauses: the later issue uses something first."""
    filled = at((0, late), (4, soon))
    check_schedule(filled, may_stall=False)
    message = rf"late .*operation 0\) is issued in cycle 0, before .*soon .*operation 1\), and uses {what} after it"
    with pytest.raises(BivitError, match=f"{message}, in cycle 40: a stall between the two issues"):
        check_schedule(filled)


def test_the_compiler_is_held_to_the_stall_rule(monkeypatch):
    """What fills gaps in the core would be refused where streams can stall it."""
    engine = tiny_engine()
    filled = compile_program(TINY, Formats(), engine, fill_gaps=True, policy=EarliestFirst())
    assert filled.image_cycles < compile_program(TINY, Formats(), engine, policy=EarliestFirst()).image_cycles
    stalled = []
    check = compiler.check_schedule

    def as_if_stalled(placed, *, may_stall, listed):
        stalled.append(may_stall)
        check(placed, may_stall=True, listed=listed)

    monkeypatch.setattr(compiler, "check_schedule", as_if_stalled)
    with pytest.raises(BivitError, match="a stall between the two issues would make them collide"):
        compile_program(TINY, Formats(), engine, fill_gaps=True, policy=EarliestFirst())
    compile_program(TINY, Formats(), engine, policy=EarliestFirst())
    assert stalled[-4:] == [True, False, False, True]  # the edge embeds and answers, the core does the rest


@pytest.mark.parametrize("nth", [1, 9, 20])
def test_the_compiler_refuses_a_wrong_schedule(nth, monkeypatch):
    """One operation that had to wait is issued a cycle too early: it meets a port or an operand that is not free."""

    def early(ops, policy, **options):
        placed = schedule(ops, policy, **options)
        waiting = [k for k in range(1, len(placed)) if placed[k].issue > placed[k - 1].issue + MIN_DELAY]
        if len(waiting) > nth:
            entry = placed[waiting[nth]]
            placed[waiting[nth]] = replace(entry, issue=entry.issue - 1)
        return placed

    monkeypatch.setattr(compiler, "schedule", early)
    with pytest.raises(BivitError, match=r"schedule: .* (use|uses|writes) "):
        compile_program(TINY, Formats(), tiny_engine())


# Addresses.


def block_of(config):
    program = compile_program(config, Formats(), tiny_engine())
    return program, [entry.op for entry in program.sections[1].entries]


@pytest.mark.parametrize("field", ["a_addr", "w_addr", "preload_addr", "dst_addr", "param_addr"])
def test_an_address_beyond_its_memory(field):
    """Each address of a matmul, moved to the last word that its width can say."""
    program, ops = block_of(MODES["all_cheap"])
    steps = {memory: program.place.block_words(memory) for memory in program.place.params}
    check_capacity(program.place.engine, ops, steps, 2)
    reach = [each for each in ops if isinstance(each.command, Matmul)]
    far = [replace(each, command=replace(each.command, **{field: 65535})) for each in reach]
    with pytest.raises(BivitError, match=r"matmul of .* uses words \d+ to \d+ of \w+, which has \d+"):
        check_capacity(program.place.engine, far, steps, 2)


def test_the_last_block_counts():
    program, ops = block_of(TOKENS)
    steps = {memory: program.place.block_words(memory) for memory in program.place.params}
    with pytest.raises(BivitError, match=r"uses words \d+ to \d+ of \w+, which has"):
        check_capacity(program.place.engine, ops, steps, 100)


@pytest.mark.parametrize("mode", MODES)
def test_operands_of_the_whole_block_fill_what_place_says_that_they_take(mode):
    """The two ways to the same number: slots that place gave out, and words that commands reach."""
    program, ops = block_of(MODES[mode])
    engine, needs = program.place.engine, program.place.needs()
    reached = {}
    for each in ops:
        for memory, first, words in extents(engine, each.command):
            reached[memory] = max(reached.get(memory, 0), first + words)
    for memory in ("norm", "query", "key", "value", "context", "value_sums"):
        assert reached[memory] == needs[memory], memory
    for memory in ("weights", "sign_norm", "residual"):
        assert reached[memory] == program.place.block_words(memory), memory


def test_it_is_said_of_every_command_what_it_occupies():
    takers = Machine(tiny_engine()).takers
    assert set(takers) == set(ISSUED)
    for unit in takers.values():
        assert type(unit).uses is not Unit.uses, unit.name
        assert type(unit).reach is not Unit.reach, unit.name
