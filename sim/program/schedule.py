"""Static scheduling: every operation is issued, in order, in the first cycle in which nothing is in its way."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from ..engine.commands import MIN_DELAY, Command
from ..engine.timing import Activity
from ..errors import BivitError

#: A piece of memory that operations depend on, such as ("norm", 3).
Region = Hashable


@dataclass(frozen=True, kw_only=True)
class Op:
    """One operation of the program, before its time is known.

    Parameters
    ----------
    command : Command
        What the unit is told.
    layer : str
        Tensor it works on, without the block's prefix; for reports and traces.
    unit : str
        Unit that carries it out.
    activity : Activity
        When it uses which port.
    ports : dict[str, str]
        Port that each window occupies; windows without an entry occupy none.
    reads, writes : dict[str, tuple[Region, ...]]
        Regions that are read and written during each window.
    token, column, head, part, block
        Where the operation stands: first token and channel, head, which of q, k, v or which pass, number of the block;
        for `sim.program.expected`.
    """

    command: Command
    layer: str
    unit: str
    activity: Activity
    ports: dict[str, str] = field(default_factory=dict)
    reads: Mapping[str, tuple[Region, ...]] = field(default_factory=dict)
    writes: Mapping[str, tuple[Region, ...]] = field(default_factory=dict)
    token: int = 0
    column: int = 0
    head: int = 0
    part: str = ""
    block: int | None = None


@dataclass(frozen=True)
class Scheduled:
    """An operation and its issue cycle, counted from the issue of the section's first operation."""

    op: Op
    issue: int

    @property
    def end(self) -> int:
        """First cycle in which the operation uses nothing any more."""
        windows = self.op.activity.windows.values()
        return self.issue + max([self.op.activity.busy, *(end for _, end in windows)])


def with_window(activity: Activity, name: str, window: tuple[int, int]) -> Activity:
    """Return `activity` with one more window, or another one of that name."""
    return Activity(activity.busy, {**activity.windows, name: window})


def schedule(ops: Iterable[Op]) -> list[Scheduled]:
    """Give every operation the first issue cycle that its ports and regions allow, in order, from an idle engine."""
    free: dict[str, int] = {}
    written: dict[Region, int] = {}
    read: dict[Region, int] = {}
    placed: list[Scheduled] = []
    for op in ops:
        issue = placed[-1].issue + MIN_DELAY if placed else 0
        for resource, first, _ in _uses(op):
            issue = max(issue, free.get(resource, 0) - first)
        for window, regions in op.reads.items():
            first = op.activity.windows[window][0]
            issue = max([issue, *(written.get(region, 0) - first for region in regions)])
        for window, regions in op.writes.items():
            first = op.activity.windows[window][0]
            issue = max([issue, *(max(written.get(r, 0), read.get(r, 0)) - first for r in regions)])
        for resource, _, end in _uses(op):
            free[resource] = max(free.get(resource, 0), issue + end)
        _note(op.reads, op, issue, read)
        _note(op.writes, op, issue, written)
        placed.append(Scheduled(op, issue))
    return placed


def _uses(op: Op) -> list[tuple[str, int, int]]:
    """Return unit and ports that an operation occupies, with their windows."""
    windows = op.activity.windows
    return [(op.unit, 0, op.activity.busy), *((port, *windows[window]) for window, port in op.ports.items())]


def _note(regions_of: Mapping[str, tuple[Region, ...]], op: Op, issue: int, ends: dict[Region, int]) -> None:
    for window, regions in regions_of.items():
        end = issue + op.activity.windows[window][1]
        for region in regions:
            ends[region] = max(ends.get(region, 0), end)


def length(placed: list[Scheduled]) -> int:
    """Cycles until every operation of a section has ended."""
    return max((entry.end for entry in placed), default=0)


def check_schedule(placed: list[Scheduled]) -> None:
    """Check a schedule cycle by cycle: no port used twice, nothing read before it is written or overwritten while read.

    Independent of `schedule`: it looks at every pair of uses of one port or region.

    Raises
    ------
    BivitError
        Naming the operations, the port or region, and the cycle.
    """
    ports: dict[str, list[tuple[int, int, str]]] = {}
    accesses: dict[Region, list[tuple[int, int, int, str, bool]]] = {}
    for order, entry in enumerate(placed):
        op, name = entry.op, f"{entry.op.command.name} of {entry.op.layer} (operation {order})"
        for resource, first, end in _uses(op):
            ports.setdefault(resource, []).append((entry.issue + first, entry.issue + end, name))
        for regions_of, is_write in ((op.reads, False), (op.writes, True)):
            for window, regions in regions_of.items():
                first, end = op.activity.windows[window]
                for region in regions:
                    access = (order, entry.issue + first, entry.issue + end, name, is_write)
                    accesses.setdefault(region, []).append(access)
    for resource, uses in ports.items():
        uses.sort()
        for (_, end, one), (first, _, two) in itertools.pairwise(uses):
            if first < end:
                raise BivitError(f"schedule: {one} and {two} both use {resource} in cycle {first}")
    for region, uses_of in accesses.items():
        _check_region(region, uses_of)


def _check_region(region: Region, uses: list[tuple[int, int, int, str, bool]]) -> None:
    """Check that accesses of one region happen in program order wherever one of the two writes."""
    latest_write: tuple[int, str, int] | None = None
    latest_read: tuple[int, str, int] | None = None
    for order, first, end, name, is_write in sorted(uses, key=lambda use: (use[0], use[4])):
        if latest_write and first < latest_write[0] and order != latest_write[2]:
            raise BivitError(
                f"schedule: {name} uses {region} in cycle {first}, {latest_write[1]} writes it until {latest_write[0]}"
            )
        if is_write and latest_read and first < latest_read[0] and order != latest_read[2]:
            raise BivitError(
                f"schedule: {name} writes {region} in cycle {first}, {latest_read[1]} reads it until {latest_read[0]}"
            )
        if is_write:
            latest_write = max(latest_write or (0, "", -1), (end, name, order))
        else:
            latest_read = max(latest_read or (0, "", -1), (end, name, order))
