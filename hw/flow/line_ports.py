"""Ports between the edge and what it reads of a memory beside the engine, where `edge_weights` are streamed."""

from __future__ import annotations

from amaranth.lib import wiring
from amaranth.lib.wiring import Flow

from ...sim.flow.config import FlowConfig
from ...sim.flow.edge_lines import EdgeLinesUnit, Line
from ..parts.stream import ring_count, ring_read


def ring_signatures(unit: EdgeLinesUnit, line: Line) -> tuple[wiring.Signature, wiring.Signature]:
    """Return the signatures of who reads the steps of a line, and of who is given them.

    Parameters
    ----------
    unit : EdgeLinesUnit
    line : Line
    """
    steps = unit.ring(line).depth * unit.word_steps(line)
    return ring_read((steps - 1).bit_length(), unit.step_bits(line)), ring_count(steps.bit_length())


def line_ports(flow: FlowConfig, direction: Flow, *lines: Line) -> dict[str, wiring.Member]:
    """Return both ports of some lines by name; none of what is not streamed.

    Parameters
    ----------
    flow : FlowConfig
    direction : Flow
        Out of who reads and is given words.
    *lines : Line
    """
    found: dict[str, wiring.Member] = {}
    unit = EdgeLinesUnit(flow)
    for line in (line for line in lines if flow.edge_streamed and line in unit.lines):
        read, given = ring_signatures(unit, line)
        found |= {f"{line.name.lower()}_read": direction(read), f"{line.name.lower()}_given": direction(given)}
    return found
