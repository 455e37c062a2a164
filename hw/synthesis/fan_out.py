"""The nets of a netlist that most cells load, and what drives them: what a fan-out tree would help."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...sim.system.result import Result
from .netlist import Netlist
from .timing_graph import PORT

#: Inputs of the cells of all families that are clocks: nets for these are trees of their own.
CLOCK_PINS = {"C", "CLK", "WCLK", "WCK", "CLKARDCLK", "CLKBWRCLK", "CLKA", "CLKB", "CLK0", "CLK1", "CLK2", "CLK3"}


@dataclass(frozen=True)
class Load(Result):
    """A net and how many pins it feeds.

    Parameters
    ----------
    unit : str
        Unit that it lies in; empty outside all.
    signal : str
    driver : str
        Type of the cell that drives it, or "port".
    loads : int
        Input pins of cells, and output ports.
    """

    unit: str
    signal: str
    driver: str
    loads: int


def heaviest(netlist: Mapping[str, Any], n: int = 10, *, top: str | None = None) -> list[Load]:
    """Return the nets with most loads, clocks left out, the heaviest first.

    Parameters
    ----------
    netlist : mapping
        What Yosys wrote, flat, parsed; of any family.
    n : int
        How many.
    top : str, optional
        Module; by default the one that is marked as the top.
    """
    chosen = Netlist.chosen(netlist, top)
    drivers = {bit: cell["type"] for cell, _, bit in _pins(chosen, "output")}
    clocks = {bit for _, port, bit in _pins(chosen, "input") if port in CLOCK_PINS}
    nets = [(bit, count) for bit, count in chosen.loads.items() if isinstance(bit, int) and bit not in clocks]
    most = sorted(nets, key=lambda net: (-net[1], net[0]))[:n]
    found = [(chosen.signal(bit, str(bit)), drivers.get(bit, PORT), count) for bit, count in most]
    return [Load(chosen.unit([signal]), signal, driver, count) for signal, driver, count in found]


def _pins(netlist: Netlist, direction: str) -> Iterator[tuple[Mapping[str, Any], str, int]]:
    """Yield cell, port and net of all pins of a direction."""
    for cell in netlist.module["cells"].values():
        for port, bits in cell["connections"].items():
            if cell["port_directions"].get(port) == direction:
                yield from ((cell, port, bit) for bit in bits if isinstance(bit, int))
