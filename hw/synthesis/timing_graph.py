"""The timing graph of a netlist: pins that share their delays as nodes, and when the latest signal arrives at each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ...sim.errors import BivitError, check, some
from ..delays.table import CellDelays, DelayTable, Figure
from .netlist import Netlist

#: Where paths begin and end besides memories and multipliers.
Ends = Literal["ports and registers", "registers"]
#: Cells that are no hardware, or drive constants.
NO_CELLS = {"$scopeinfo", "GND", "VCC"}
#: Before any clock edge: nothing changes here.
NEVER = float("-inf")
#: Type of the cell that stands for a port.
PORT = "port"
DIGITS = "0123456789"


@dataclass(slots=True)
class Node:
    """Pins of a cell that share their delays: of an input or output port, or of one bit of it.

    Parameters
    ----------
    cell, kind : str
        Name and type of the cell.
    pins : str
        Kind of its pins for nets.
    launch, setup : float, optional
        Clock to output; before the clock.
    bits : list of int
        Nets at them.
    arcs : list of (int, float)
        What it leads to within the cell, by position in the graph, and the delays.
    """

    cell: str
    kind: str
    pins: str
    launch: float | None
    setup: float | None
    bits: list[int] = field(default_factory=list)
    arcs: list[tuple[int, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Inside:
    """A cell that does not allow a shorter period, whatever is around it."""

    cell: str
    kind: str
    ns: float


class Graph:
    """Nodes of a netlist, and arrival times.

    Parameters
    ----------
    netlist : Netlist
    table : DelayTable
    ends : {"ports and registers", "registers"}

    Raises
    ------
    BivitError
        When the table lacks a cell or a port that is connected.
    """

    def __init__(self, netlist: Netlist, table: DelayTable, ends: Ends = "ports and registers"):
        self.netlist, self.table = netlist, table
        self.nodes: list[Node] = []
        self.slowest_inside: Inside | None = None
        self._driver: dict[int, int] = {}
        self._sinks: dict[int, list[int]] = {}
        self._kinds: dict[tuple[str, str], str] = {}
        for name, cell in netlist.module["cells"].items():
            if cell["type"] not in NO_CELLS:
                self._add_cell(name, cell)
        self._add_ports(ends)
        self.arrival = [NEVER] * len(self.nodes)
        #: Node before each on its latest path; -1 where it begins there.
        self.before = [-1] * len(self.nodes)
        #: Net on the way from there, and its delay, of inputs.
        self.way: dict[int, tuple[int, float]] = {}

    def fan_out(self, bit: int) -> int:
        """Return the loads of a net, clocks left out.

        Parameters
        ----------
        bit : int
        """
        return len(self._sinks.get(bit, ()))

    def _add_cell(self, name: str, cell: Mapping[str, Any]) -> None:
        kind, model = cell["type"], self.table.cell(cell["type"], cell.get("parameters", {}))
        self._note_inside(name, kind, model.inside)
        places: dict[str, int] = {}
        for port, bits in cell["connections"].items():
            if port in model.ignored:
                continue
            out = cell["port_directions"][port] == "output"
            for index, bit in enumerate(bits):
                if not isinstance(bit, int):
                    continue
                pin = pin_of(model, port, index)
                if pin in places:
                    self._connect(places[pin], bit, out)
                elif pin in model.pins:
                    ends = _ns(model.launch.get(pin)), _ns(model.capture.get(pin))
                    places[pin] = self._add(Node(name, kind, self._pins(kind, port), *ends))
                    self._connect(places[pin], bit, out)
                elif pin not in model.ignored:
                    self._check_idle(kind, port, bit, out)
        for source, leads in model.leads.items():
            if source in places:
                arcs = self.nodes[places[source]].arcs
                arcs += [(places[target], ns) for target, ns in leads if target in places]

    def _add(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _pins(self, kind: str, port: str) -> str:
        """Kind of the pins of a port, for nets."""
        pins = self._kinds.get((kind, port))
        if pins is None:
            kinds, plain = self.table.kinds, port.rstrip(DIGITS)
            pins = kinds.get(f"{kind}.{port}") or kinds.get(f"{kind}.{plain}") or kinds.get(kind, "")
            self._kinds[kind, port] = pins
        return pins

    def _connect(self, place: int, bit: int, out: bool) -> None:
        self.nodes[place].bits.append(bit)
        if out:
            self._driver[bit] = place
        else:
            self._sinks.setdefault(bit, []).append(place)

    def _check_idle(self, kind: str, port: str, bit: int, out: bool) -> None:
        """An output that nothing reads needs no delay; anything else does."""
        check(
            out and not self.netlist.loads[bit],
            f"port {port} of a cell {kind} is in use, and its delays are not known for {self.table.part}",
        )

    def _note_inside(self, name: str, kind: str, inside: Figure | None) -> None:
        if inside and (self.slowest_inside is None or inside.ns > self.slowest_inside.ns):
            self.slowest_inside = Inside(name, kind, inside.ns)

    def _add_ports(self, ends: Ends) -> None:
        """Put a register behind every port, or make the ports constant."""
        register = self.table.cell(self.table.register, {})
        setups = [figure for pin, figure in register.capture.items() if pin in ("D", "DI")]
        for name, port in self.netlist.module["ports"].items():
            out = port["direction"] == "input"  # seen from inside it drives
            for bit in port["bits"]:
                if not isinstance(bit, int) or ends == "registers":
                    continue
                launch, setup = (register.launch["Q"].ns, None) if out else (None, setups[0].ns)
                self._connect(self._add(Node(name, PORT, "", launch, setup)), bit, out)

    def arrive(self) -> None:
        """Compute all arrival times, each node after those that lead to it.

        Raises
        ------
        BivitError
            When cells form a loop without a register.
        """
        waiting = self._waiting()
        ready = [place for place, count in enumerate(waiting) if not count]
        done = 0
        while ready:
            place = ready.pop()
            done += 1
            node, at = self.nodes[place], self.arrival[place]
            if node.launch is not None and node.launch > at:
                at = self.arrival[place] = node.launch
                self.before[place] = -1
            for target, ns in self._onward(place):
                if at + ns > self.arrival[target]:
                    self.arrival[target] = at + ns
                    self.before[target] = place
                waiting[target] -= 1
                if not waiting[target]:
                    ready.append(target)
        if done < len(self.nodes):
            self._tell_loop(waiting)

    def _waiting(self) -> list[int]:
        """How many ways lead to each node."""
        waiting = [0] * len(self.nodes)
        for node in self.nodes:
            for target, _ in node.arcs:
                waiting[target] += 1
        for bit in self._driver:
            for target in self._sinks.get(bit, ()):
                waiting[target] += 1
        return waiting

    def _onward(self, place: int) -> Iterator[tuple[int, float]]:
        """Yield where a node leads to within its cell and along its nets, and the delays."""
        node = self.nodes[place]
        yield from node.arcs
        for bit in node.bits:
            if self._driver.get(bit) != place:
                continue
            sinks = self._sinks.get(bit, ())
            for target in sinks:
                ns = self.table.nets.ns(node.pins, self.nodes[target].pins, len(sinks))
                if self.arrival[place] + ns > self.arrival[target]:
                    self.way[target] = bit, ns
                yield target, ns

    def _tell_loop(self, waiting: list[int]) -> None:
        """Follow nodes that never became ready backwards until one comes again."""
        stuck = {place for place, count in enumerate(waiting) if count}
        sources: dict[int, int] = {}
        for place in stuck:
            sources.update((target, place) for target, _ in self._onward(place) if target in stuck)
        place, seen = next(iter(sources)), []
        while place not in seen:
            seen.append(place)
            place = sources[place]
        cells = dict.fromkeys(self.nodes[place].cell for place in reversed(seen[seen.index(place) :]))
        raise BivitError(
            f"{len(cells)} cells form a loop without a register: {some(list(cells))}; no clock can be given for it"
        )

    def latest(self) -> tuple[int, float]:
        """Return the node whose setup is met last, and the period that it needs, jitter left out.

        Raises
        ------
        BivitError
            When nothing is clocked.
        """
        ends = (
            (self.arrival[place] + node.setup, place) for place, node in enumerate(self.nodes) if node.setup is not None
        )
        period, place = max(ends, default=(NEVER, -1))
        check(period > NEVER, "the design has no path from a register to a register: nothing sets a clock")
        return place, period


def _ns(figure: Figure | None) -> float | None:
    return None if figure is None else figure.ns


def pin_of(model: CellDelays, port: str, index: int) -> str:
    """Return how the delays of a cell call a bit of a port.

    Parameters
    ----------
    model : CellDelays
    port : str
    index : int
        Position of the bit.
    """
    pins = model.pins
    if model.bitwise and f"{port}[{index}]" in pins:
        return f"{port}[{index}]"
    return port if port in pins or port in model.ignored else port.rstrip(DIGITS)
