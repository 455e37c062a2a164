"""What a line is told of a network."""

from __future__ import annotations

from amaranth.lib import wiring
from amaranth.lib.wiring import In

from ...sim.flow.edge_lines import EdgeLinesUnit, Line
from ...sim.flow.edge_settings import edge_setting_bits


def line_settings(unit: EdgeLinesUnit, line: Line) -> dict[str, wiring.Member]:
    """Return the ports of a line's settings: its place in the memory image, its last burst, and the words of that.

    Parameters
    ----------
    unit : EdgeLinesUnit
    line : Line
    """
    bits = edge_setting_bits(unit.flow)
    return {name: In(bits[f"{line.name.lower()}_{name}"]) for name in ("place", "bursts", "rest")}
