"""The engine's timeline for the report: which unit works on what, in which cycles of one image."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...sim.system.result import Result

if TYPE_CHECKING:
    from ...sim.program.compiler import Program

#: Rows of the timeline that are ports of the array's path rather than units: the window of a matmul and the row's name.
_MATMUL_PORTS = {"drain": "drain"}


@dataclass(frozen=True)
class Span(Result):
    """Work of a unit: cycles, half open, what it works on, and a number whose parity chooses the shade."""

    unit: str
    start: int
    end: int
    what: str
    stage: int


@dataclass(frozen=True, kw_only=True)
class Timeline(Result):
    """One image on the engine.

    Parameters
    ----------
    cycles : int
    units : tuple of str
        In the order of their first use.
    spans : tuple of Span
    busy : dict of str to float
        Share of the cycles in which each unit works.
    """

    cycles: int
    units: tuple[str, ...]
    spans: tuple[Span, ...]
    busy: dict[str, float]


def timeline_of(program: Program) -> Timeline:
    """Arrange a program's schedule by unit."""
    spans: list[Span] = []
    for entry in program.unrolled():
        uses, layer, block = entry.op.uses, entry.op.task.where.layer, entry.block
        stage = 0 if block is None else block + 1
        what = layer if block is None else f"blocks.{block}.{layer}"
        spans.append(Span(uses.unit, entry.issue, entry.issue + uses.activity.busy, what, stage))
        for window, unit in _MATMUL_PORTS.items():
            if window in uses.activity.windows:
                first, end = uses.activity.windows[window]
                spans.append(Span(unit, entry.issue + first, entry.issue + end, what, stage))
    busy: dict[str, int] = defaultdict(int)
    for span in spans:
        busy[span.unit] += span.end - span.start
    cycles = program.image_cycles
    return Timeline(
        cycles=cycles,
        units=tuple(busy),
        spans=tuple(spans),
        busy={unit: used / cycles for unit, used in busy.items()},
    )
