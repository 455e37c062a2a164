"""The check of a schedule: independent of how it was made, it looks at every use of a port and of a slot.

- **Ports**: nobody uses a port, or starts a unit, while another one does.
- **Slots**: a value is read when all of it is written, in the order of its writers, and nothing else is written to its
  slot from its first write to its last read. Two values that live at the same time thus never share a slot.
- **The stall rule**: where the engine may pause between any two issues, users of a port come in the order of their
  issues, and so do a reader and a writer of a slot. A pause between two issues only delays the later one. If that one
  comes later at whatever both use, they are further apart then, and nothing else changes. If it comes earlier, since
  a gap before the other was filled, the pause moves it into the other one's time. Only sections that cannot be
  stalled may therefore fill gaps.
- **Room**: every word that a command touches is in its memory.
"""

from __future__ import annotations

import itertools
import operator
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..engine.config import EngineConfig
from ..errors import BivitError
from ..units.machine import memory_depths
from .graph import Task, Value
from .place import Access, Op, Slot
from .schedule import Scheduled
from .uses import extents


class _Use(NamedTuple):
    """Cycles in which an operation uses something, the first one and the one after the last, and when it is issued."""

    first: int
    end: int
    issue: int
    listed: int
    entry: Scheduled
    number: int

    @property
    def name(self) -> str:
        """Which operation it is."""
        return f"{self.entry.op} (operation {self.number})"


_first = operator.itemgetter(0)


def check_schedule(placed: Sequence[Scheduled], *, may_stall: bool = True, listed: Sequence[Task] = ()) -> None:
    """Check ports, slots and the stall rule.

    Parameters
    ----------
    placed : sequence of Scheduled
        A section, in the order of issue.
    may_stall : bool
        Whether the engine may pause between any two issues.
    listed : sequence of Task
        Tasks that must be in it, each once; none to leave that open.

    Raises
    ------
    BivitError
        Naming the operations, the port or slot, and the cycle.
    """
    _check_complete(placed, listed)
    order = {id(task): index for index, task in enumerate(listed)}
    ports: dict[str, list[_Use]] = defaultdict(list)
    reads: dict[Slot, dict[Value, list[_Use]]] = defaultdict(lambda: defaultdict(list))
    writes: dict[Slot, dict[Value, list[_Use]]] = defaultdict(lambda: defaultdict(list))
    for number, entry in enumerate(placed):
        op, issue = entry.op, entry.issue
        index = order.get(id(op.task), number)
        for port, first, end in op.uses.each:
            ports[port].append(_Use(issue + first, issue + end, issue, index, entry, number))
        for by_window, into in ((op.reads, reads), (op.writes, writes)):
            for window, accesses in by_window.items():
                first, end = op.uses.activity.windows[window]
                use = _Use(issue + first, issue + end, issue, index, entry, number)
                for slot, value in accesses:
                    into[slot][value].append(use)
    for port, uses in ports.items():
        _check_port(port, sorted(uses, key=_first), may_stall)
    for slot in {**reads, **writes}:
        _check_slot(slot, reads[slot], writes[slot], may_stall)


def _check_complete(placed: Sequence[Scheduled], listed: Sequence[Task]) -> None:
    done = {id(entry.op.task) for entry in placed}
    left = [task for task in listed if id(task) not in done]
    if left:
        raise BivitError(f"schedule: {left[0]} is never issued; nor are {len(left) - 1} others")
    if listed and len(done) < len(placed):
        raise BivitError("schedule: an operation is issued twice")


def _check_port(port: str, uses: list[_Use], may_stall: bool) -> None:
    """Look at neighbours in time: if they do not overlap, nobody does."""
    for one, two in itertools.pairwise(uses):
        if two.first < one.end:
            raise BivitError(f"schedule: {one.name} and {two.name} both use {port} in cycle {two.first}")
        if may_stall:
            _check_stall(port, one, two)


def _check_slot(
    slot: Slot, reads: Mapping[Value, list[_Use]], writes: Mapping[Value, list[_Use]], may_stall: bool
) -> None:
    """Go through the values of a slot as they come, those that were there before the section first."""
    first = {value: min((use.first for use in writes.get(value, ())), default=-1) for value in (*reads, *writes)}
    values = sorted(first, key=first.__getitem__)
    for value in values:
        _check_value(Access(slot, value), reads.get(value, []), sorted(writes.get(value, []), key=_first), may_stall)
    for before, after in itertools.pairwise(values):
        wrote = sorted(writes.get(after, []), key=_first)
        if not wrote:
            raise BivitError(f"schedule: {slot} cannot hold {before} and {after}, which nobody writes")
        for use in [*reads.get(before, []), *writes.get(before, [])]:
            _check_succession(slot, (before, use), (after, wrote), may_stall)


def _check_succession(
    slot: Slot, last: tuple[Value, _Use], following: tuple[Value, list[_Use]], may_stall: bool
) -> None:
    """Check that a use of a slot's last value is over when the next value comes.

    An update in place reads the last value of its own channels and writes the next one: it may come after other such
    updates, but not at the same time.
    """
    (before, use), (after, wrote) = last, following
    if any(each.listed == use.listed for each in wrote):
        wrote = [each for each in wrote if each.listed != use.listed and _meet(each, use)]
    for each in wrote[:1]:
        if each.first < use.end:
            raise BivitError(
                f"schedule: {each.name} writes {after} into {slot} in cycle {each.first}, "
                f"{use.name} uses {before} there until {use.end}"
            )
        if may_stall:
            _check_stall(str(slot), use, each)


def _check_value(access: Access, reads: list[_Use], writes: list[_Use], may_stall: bool) -> None:
    """Check that a value is written in order, and then read."""
    for one, two in itertools.pairwise(writes):
        if two.first < one.end or two.listed < one.listed:
            raise BivitError(
                f"schedule: {two.name} writes {access.value} in cycle {two.first}, "
                f"{one.name} writes it before, until {one.end}: out of order"
            )
        if may_stall:
            _check_stall(str(access.slot), one, two)
    if not writes:
        return
    last = writes[-1]
    for use in reads:
        if use.first < last.end:
            raise BivitError(
                f"schedule: {use.name} uses {access.value} in {access.slot} in cycle {use.first}, "
                f"{last.name} writes it until {last.end}"
            )
        if may_stall:
            _check_stall(str(access.slot), last, use)


def _meet(one: _Use, two: _Use) -> bool:
    return one.first < two.end and two.first < one.end


def _check_stall(what: str, one: _Use, two: _Use) -> None:
    """Check that `one`, which uses something before `two`, is issued before it."""
    if two.issue < one.issue:
        raise BivitError(
            f"schedule: {two.name} is issued in cycle {two.issue}, before {one.name}, and uses {what} after it, in "
            f"cycle {two.first}: a stall between the two issues would make them collide"
        )


def check_capacity(engine: EngineConfig, ops: Iterable[Op], steps: dict[str, int], repeat: int = 1) -> None:
    """Check that every word that operations touch is in its memory, in the last of `repeat` blocks too.

    Parameters
    ----------
    engine : EngineConfig
        The engine.
    ops : iterable of Op
        Operations of a section.
    steps : dict of str to int
        Words of one block in the memories of parameters.
    repeat : int
        How often the section runs.

    Raises
    ------
    BivitError
        Naming the operation, the memory, the words and how many it has.
    """
    depths = memory_depths(engine)
    for op in ops:
        for memory, first, words in extents(engine, op.command):
            moved = steps.get(memory, 0) * (repeat - 1)
            end = first + moved + words
            if first < 0 or end > depths[memory]:
                raise BivitError(
                    f"program: {op} uses words {first + moved} to {end - 1} of {memory}, which has {depths[memory]}"
                )
