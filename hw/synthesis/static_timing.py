"""A static timing model: the longest path of a mapped netlist by a table of delays, where no open tool can route it.

A unit is timed as a part of a design: its ports are taken to lie behind registers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...sim.errors import check
from ..delays.ecp5 import ECP5
from ..delays.table import DelayTable
from ..delays.xc7 import XC7
from ..delays.xcup import XCUP
from .netlist import Netlist
from .path import CriticalPath, Step
from .timing_graph import Ends, Graph

#: Delays of each family that can be modelled.
MODELLED: dict[str, DelayTable] = {"xcup": XCUP, "xc7": XC7, "ecp5": ECP5}


def delay_table(family: str) -> DelayTable:
    """Return the delays of a family.

    Parameters
    ----------
    family : str
        One of `MODELLED`.

    Raises
    ------
    BivitError
        When there is no table of it.
    """
    check(family in MODELLED, f"there are delays of {', '.join(MODELLED)} only, got family {family!r}")
    return MODELLED[family]


def modelled_timing(netlist: Mapping[str, Any], family: str, *, top: str | None = None) -> CriticalPath:
    """Return the path that the model holds to be the longest.

    Parameters
    ----------
    netlist : mapping
        What Yosys wrote for the family, flat, parsed.
    family : {"xcup", "xc7", "ecp5"}
    top : str, optional
        Module; by default the one that is marked as the top.

    Raises
    ------
    BivitError
        When a cell is not in the table, cells form a loop without a register, or there is no path at all.
    """
    return critical_path(Netlist.chosen(netlist, top), delay_table(family))


def critical_path(netlist: Netlist, table: DelayTable, *, ends: Ends = "ports and registers") -> CriticalPath:
    """Return the longest path by a table.

    Parameters
    ----------
    netlist : Netlist
    table : DelayTable
    ends : {"ports and registers", "registers"}
        Where paths begin and end: also at ports, as if registers were behind them, or not.
    """
    graph = Graph(netlist, table, ends)
    graph.arrive()
    last, arrival = graph.latest()
    steps = _steps(netlist, graph, last)
    inside = graph.slowest_inside
    if inside is not None and inside.ns > arrival + table.uncertainty.ns:
        name, cell = inside.cell, inside.kind
        steps = (Step(netlist.unit([name]), name, cell, round(inside.ns, 3), 0.0, 0),)
        return _path(steps, inside.ns)
    return _path(steps, arrival + table.uncertainty.ns)


def _steps(netlist: Netlist, graph: Graph, last: int) -> tuple[Step, ...]:
    """Follow the latest signals back from where they end, and join each cell with the net behind it."""
    places = [last]
    while graph.before[places[-1]] >= 0:
        places.append(graph.before[places[-1]])
    places.reverse()  # output, input, output ... input: a cell ends at each output
    steps: list[Step] = []
    unit, since = "", 0.0
    for place, following in zip(places[::2], places[1::2], strict=True):
        node = graph.nodes[place]
        bit, ns = graph.way[following]
        signal = netlist.signal(bit, node.cell)
        unit = netlist.unit((signal, node.cell), unit)
        logic = round(graph.arrival[place] - since, 3)
        steps.append(Step(unit, signal, node.kind, logic, round(ns, 3), graph.fan_out(bit)))
        since = graph.arrival[following]
    end = graph.nodes[last]
    driven = netlist.output(end.cell)
    signal = end.cell if driven is None else netlist.signal(driven, end.cell)
    setup = (end.setup or 0.0) + graph.table.uncertainty.ns
    return (*steps, Step(netlist.unit((signal, end.cell), unit), signal, end.kind, round(setup, 3), 0.0, 0))


def _path(steps: tuple[Step, ...], period_ns: float) -> CriticalPath:
    return CriticalPath(
        fmax_mhz=float(f"{1000 / period_ns:.6g}"),
        kind="modelled",
        logic_ns=round(sum(step.logic_ns for step in steps), 3),
        routing_ns=round(sum(step.routing_ns for step in steps), 3),
        steps=steps,
    )
