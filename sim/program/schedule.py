"""Static scheduling: list scheduling over tables of reservations; which ready operation is next, a policy says.

Operations are ready when what they read is written, and when nobody needs any more what was in the slots that they
write. Who follows whom in a slot is the order of the graph's list, whatever the policy: so no choice can end in two
operations that wait for each other.
"""

from __future__ import annotations

import bisect
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..engine.commands import MIN_DELAY
from .graph import Value
from .place import Access, Op, Slot


@dataclass(frozen=True)
class Scheduled:
    """An operation and its issue cycle, counted from the issue of the section's first operation.

    Parameters
    ----------
    op : Op
        The operation.
    issue : int
        Its issue cycle.
    block : int, optional
        Number of the block, where an image's operations are listed one after another.
    """

    op: Op
    issue: int
    block: int | None = None

    @property
    def end(self) -> int:
        """First cycle in which the operation uses nothing any more."""
        activity = self.op.uses.activity
        return self.issue + max([activity.busy, *(end for _, end in activity.windows.values())])

    def __str__(self) -> str:
        return f"{self.issue:>8} .. {self.end:<8} {self.op}"


class Policy(Protocol):
    """Chooses which operation is issued next."""

    def choose(self, ready: Sequence[int], earliest: Callable[[int], int]) -> int:
        """Return one of `ready`.

        Parameters
        ----------
        ready : sequence of int
            Operations that could be issued, by their place in the graph, in its order; at least one.
        earliest : callable
            The first cycle in which one of them can be issued.
        """


class InOrder:
    """The order of the graph's list: an operation waits for all before it."""

    def choose(self, ready: Sequence[int], earliest: Callable[[int], int]) -> int:
        """Return the first in the list."""
        return ready[0]


@dataclass(frozen=True)
class EarliestFirst:
    """Whichever of the first `window` ready operations can start first; of those that can at once, the first listed.

    Parameters
    ----------
    window : int
        Ready operations that are looked at.
    """

    window: int = 16

    def choose(self, ready: Sequence[int], earliest: Callable[[int], int]) -> int:
        """Return the one that waits least."""
        return min(ready[: self.window], key=earliest)


class Reservations:
    """Cycles in which each unit and port is taken.

    Parameters
    ----------
    backfill : bool
        Whether an operation may use a port before one that was issued earlier. Only where nothing can pause between
        the two issues: see `sim.program.check`.
    """

    def __init__(self, *, backfill: bool = False):
        self.backfill = backfill
        self._taken: dict[str, list[tuple[int, int]]] = {}

    def fits(self, op: Op, issue: int) -> int:
        """Return the first cycle, `issue` or later, in which an operation finds all its ports free."""
        uses = op.uses.each
        while True:
            moved = issue
            for port, first, end in uses:
                moved = self._free(port, moved + first, moved + end) - first
            if moved == issue:
                return issue
            issue = moved

    def _free(self, port: str, first: int, end: int) -> int:
        """Return where a window that would begin at `first` can begin."""
        taken = self._taken.get(port)
        if not taken:
            return first
        if not self.backfill:
            return max(first, taken[-1][1])
        length = end - first
        for start, stop in taken[max(0, bisect.bisect(taken, (first,)) - 1) :]:
            if first + length <= start:
                break
            first = max(first, stop)
        return first

    def take(self, op: Op, issue: int) -> None:
        """Enter the ports of an operation."""
        for port, first, end in op.uses.each:
            if end > first:
                bisect.insort(self._taken.setdefault(port, []), (issue + first, issue + end))


def schedule(ops: Iterable[Op], policy: Policy | None = None, *, may_stall: bool = True) -> list[Scheduled]:
    """Give every operation the first issue cycle that its ports and slots allow, from an idle engine.

    Parameters
    ----------
    ops : iterable of Op
        Operations of a section, in the graph's order.
    policy : Policy, optional
        Which one is next; without it, the one that is listed next.
    may_stall : bool
        Whether the engine may pause between any two issues; if not, gaps of ports are filled.
    """
    listed, policy = list(ops), policy or InOrder()
    waits, followers = _dependences(listed)
    ports, slots = Reservations(backfill=not may_stall), _Slots()
    ready = [index for index, count in enumerate(waits) if not count]
    placed: list[Scheduled] = []
    while ready:
        soonest = placed[-1].issue + MIN_DELAY if placed else 0

        def earliest(index: int, soonest: int = soonest) -> int:
            op = listed[index]
            return ports.fits(op, max(soonest, slots.free(op)))

        chosen = policy.choose(ready, earliest)
        ready.remove(chosen)
        op, issue = listed[chosen], earliest(chosen)
        ports.take(op, issue)
        slots.take(op, issue)
        placed.append(Scheduled(op, issue))
        for follower in followers[chosen]:
            waits[follower] -= 1
            if not waits[follower]:
                bisect.insort(ready, follower)
    return placed


class _Slots:
    """When each slot is free to be read, and to be written."""

    def __init__(self) -> None:
        self._read: dict[Slot, int] = {}
        self._written: dict[Slot, int] = {}

    def free(self, op: Op) -> int:
        """Return the first issue cycle at which an operation meets nobody in its slots."""
        issue, read, written, windows = 0, self._read, self._written, op.uses.activity.windows
        for window, accesses in op.reads.items():
            busy = max((written.get(access.slot, 0) for access in accesses), default=0)
            issue = max(issue, busy - windows[window][0])
        for window, accesses in op.writes.items():
            busy = max((max(written.get(access.slot, 0), read.get(access.slot, 0)) for access in accesses), default=0)
            issue = max(issue, busy - windows[window][0])
        return issue

    def take(self, op: Op, issue: int) -> None:
        """Enter the accesses of an operation."""
        for by_window, ends in ((op.reads, self._read), (op.writes, self._written)):
            for window, accesses in by_window.items():
                end = issue + op.uses.activity.windows[window][1]
                for access in accesses:
                    ends[access.slot] = max(ends.get(access.slot, 0), end)


def _dependences(ops: Sequence[Op]) -> tuple[list[int], list[list[int]]]:
    """Return on how many operations each one depends, and which depend on it.

    A reader depends on the writers of its value. A writer depends on the value's writer before it, since the first
    chunk of a word clears the others, and on everyone who used what was in the slot before, up to the value's first
    write: those that update the residual in place read the last value and write the next one, each its own channels.
    """
    tenants: dict[Slot, Value] = {}
    users: dict[Access, list[int]] = defaultdict(list)
    writers: dict[Access, list[int]] = defaultdict(list)
    before: dict[Access, list[int]] = {}
    followers: list[list[int]] = [[] for _ in ops]
    waits = []
    for index, op in enumerate(ops):
        after: set[int] = set()
        for access in accesses(op.reads):
            tenants.setdefault(access.slot, access.value)
            after.update(writers[access])
            users[access].append(index)
        for access in accesses(op.writes):
            if access not in before:
                last = tenants.get(access.slot)
                before[access] = [] if last is None else list(users[Access(access.slot, last)])
                tenants[access.slot] = access.value
            after.update(before[access], writers[access][-1:])
            writers[access].append(index)
            users[access].append(index)
        after.discard(index)
        waits.append(len(after))
        for earlier in after:
            followers[earlier].append(index)
    return waits, followers


def accesses(by_window: Mapping[str, tuple[Access, ...]]) -> Iterator[Access]:
    """Every access of all windows."""
    return itertools.chain.from_iterable(by_window.values())


def length(placed: Iterable[Scheduled]) -> int:
    """Cycles until every operation of a section has ended."""
    return max((entry.end for entry in placed), default=0)
