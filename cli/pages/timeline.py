"""The engine's timeline for the report: what array, units and edge work on, in which cycles of a run of some images."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...sim.system.result import Result

if TYPE_CHECKING:
    from ...sim.mapping.program import FlowProgram
    from ...sim.mapping.spans import Span as Found

#: Images of the timeline: two in flight, one behind each of them.
IMAGES = 4


@dataclass(frozen=True)
class Span(Result):
    """Work of a row: cycles, half open; which image, whose colour it has, and its block (-1: none); what is done."""

    unit: str
    start: int
    end: int
    image: int
    block: int
    what: str


@dataclass(frozen=True, kw_only=True)
class Timeline(Result):
    """A run of some images on the engine, whose streams never stall.

    Parameters
    ----------
    images, cycles : int
    units : tuple of str
        Rows: streams of the array, units, edge.
    spans : tuple of Span
    busy : dict of str to float
        Share of the cycles in which each row works.
    steps : int
        Cycles in which the array takes a step.
    stalls : dict of str to int
        Cycles in which it does not by cause, from the first slot to the last operation.
    packing, steady, reached : float
        Useful products over those that the array could do: if it never waited, in a long run, in this one.
    """

    images: int
    cycles: int
    units: tuple[str, ...]
    spans: tuple[Span, ...]
    busy: dict[str, float]
    steps: int
    stalls: dict[str, int]
    packing: float
    steady: float
    reached: float


def timeline_of(program: FlowProgram, images: int = IMAGES) -> Timeline:
    """Replay a run of some images.

    Parameters
    ----------
    program : FlowProgram
    images : int
        1 or more; a few.
    """
    from ...sim.mapping.cycles import estimate_cycles, long_run_cycles, peak_macs, useful_macs
    from ...sim.mapping.spans import rows, spans_of

    estimate, config = estimate_cycles(program, images), program.layout.config
    spans, busy = spans_of(config, program.flow, program.table, images), Counter[str]()
    for span in spans:
        busy[span.row] += span.end - span.start
    return Timeline(
        images=images,
        cycles=estimate.cycles,
        units=tuple(row for row in rows() if busy[row]),
        spans=tuple(Span(one.row, one.start, one.end, one.image, one.block, _what(one)) for one in spans),
        busy={row: busy[row] / estimate.cycles for row in rows() if busy[row]},
        steps=estimate.array_busy,
        stalls={cause: cycles for cause, cycles in estimate.stalls.items() if cycles},
        packing=program.layout.shape.packing,
        steady=useful_macs(config) / (long_run_cycles(config, program.flow, program.table) * peak_macs(program.flow)),
        reached=estimate.array_utilisation,
    )


def _what(span: Found) -> str:
    """Return what a span is, in words."""
    place = f"image {span.image}"
    if span.block >= 0:
        place += f", block {span.block}, tile {span.tile}"
    return f"{place}: {span.what}"
