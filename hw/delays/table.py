"""What a table of delays holds: arcs through cells, each figure with its source, and nets by their loads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from statistics import linear_regression
from typing import Any

from ...sim.errors import BivitError

#: Parameters of a cell as Yosys writes them: text, numbers as text of bits.
Parameters = Mapping[str, Any]
#: Arcs through a cell: from an input to an output.
Arcs = dict[tuple[str, str], "Figure"]
#: Source of a figure that nothing published gives; the reasoning follows.
ASSUMED = "assumed: "
#: Parameters of block memories and multipliers that use all their registers.
_REGISTERS = dict.fromkeys(("DOA_REG", "DOB_REG", "AREG", "BREG", "MREG", "PREG"), "1")


@dataclass(frozen=True)
class Figure:
    """A delay and where it is from.

    Parameters
    ----------
    ns : float
    source : str
        What publishes or measured it; begins with `ASSUMED` where nothing does, and then says how it was reasoned.
    """

    ns: float
    source: str

    def times(self, factor: float, why: str) -> Figure:
        """Return this figure scaled; what the factor is stands in its source.

        Parameters
        ----------
        factor : float
        why : str
        """
        return Figure(round(self.ns * factor, 4), f"{ASSUMED}{self.source.removeprefix(ASSUMED)}, {why}")


@dataclass(frozen=True)
class CellDelays:
    """Delays of one kind of cell, by its ports.

    A port is named as in the netlist, or without the digits at its end for all that differ in these only. Bits of a
    port share their delays, the worst ones, unless the cell is `bitwise`.

    Parameters
    ----------
    launch : mapping
        Clock to output, by output.
    capture : mapping
        Setup before the clock, by input.
    through : mapping
        Through the cell without a clock, by input and output.
    inside : Figure, optional
        Shortest period that paths inside the cell allow.
    ignored : frozenset of str
        Clocks, and inputs that are constant in all designs of this kind.
    bitwise : bool
        Whether bits of a port are told apart, as "S[3]": carry chains.
    """

    launch: Mapping[str, Figure] = field(default_factory=dict)
    capture: Mapping[str, Figure] = field(default_factory=dict)
    through: Mapping[tuple[str, str], Figure] = field(default_factory=dict)
    inside: Figure | None = None
    ignored: frozenset[str] = frozenset()
    bitwise: bool = False

    @cached_property
    def pins(self) -> frozenset[str]:
        """All pins that have delays."""
        return frozenset(self.launch) | frozenset(self.capture) | {pin for arc in self.through for pin in arc}

    @cached_property
    def leads(self) -> dict[str, list[tuple[str, float]]]:
        """Outputs that each input leads to, and the delays."""
        leads: dict[str, list[tuple[str, float]]] = {}
        for (source, target), figure in self.through.items():
            leads.setdefault(source, []).append((target, figure.ns))
        return leads


#: Delays of all cells of a type, or what gives them from the parameters of one.
Cells = Mapping[str, CellDelays | Callable[[Parameters], CellDelays]]


@dataclass(frozen=True)
class NetDelays:
    """Delays of nets: a base and a part that grows with the logarithm of the loads, but where wires are dedicated.

    Parameters
    ----------
    base : Figure
        Net with one load.
    doubling : Figure
        More for each doubling of the loads.
    block : Figure
        More on the way to or from a block memory or multiplier, which stand in columns of their own.
    packed : mapping
        Nets with a single load that need no general routing, by kind of driver and kind of load.
    """

    base: Figure
    doubling: Figure
    block: Figure
    packed: Mapping[tuple[str, str], Figure]

    def ns(self, driver: str, load: str, fan_out: int) -> float:
        """Return the delay of a net.

        Parameters
        ----------
        driver, load : str
            Kinds of pins, as in `packed`.
        fan_out : int
            Number of loads.

        Returns
        -------
        float
            In ns.
        """
        packed = self.packed.get((driver, load)) if fan_out == 1 or load == "carry in" else None
        if packed is not None:
            return packed.ns
        blocks = ("block" in driver) + ("block" in load)
        return self.base.ns + self.doubling.ns * math.log2(max(1, fan_out)) + self.block.ns * blocks


@dataclass(frozen=True)
class DelayTable:
    """Delays of a family in one speed grade.

    Parameters
    ----------
    part : str
        What the figures are of.
    cells : mapping
        By type: the delays, or a function from the parameters of a cell to them.
    kinds : mapping
        Kind of a cell's pins, as in `NetDelays.packed`, by type; of one pin, by "type.port".
    nets : NetDelays
    register : str
        Type of cell that ports of a unit are taken to be behind.
    uncertainty : Figure
        What the clock's jitter takes from every period.
    """

    part: str
    cells: Cells
    kinds: Mapping[str, str]
    nets: NetDelays
    register: str
    uncertainty: Figure

    def cell(self, kind: str, parameters: Parameters) -> CellDelays:
        """Return the delays of a cell.

        Parameters
        ----------
        kind : str
            Type of the cell.
        parameters : mapping

        Raises
        ------
        BivitError
            When the table has no such cell: it would count as no delay.
        """
        found = self.cells.get(kind)
        if found is None:
            raise BivitError(
                f"the delays of a cell {kind} of {self.part} are not known; "
                f"known are {', '.join(sorted(self.cells))}: add it to the table of its family"
            )
        return found if isinstance(found, CellDelays) else found(parameters)

    def figures(self) -> Iterator[tuple[str, Figure]]:
        """Yield every figure and what it is of: cells with all their registers, and without."""
        for kind in sorted(self.cells):
            for parameters in ({}, _REGISTERS):
                cell = self.cell(kind, parameters)
                for pin, figure in cell.launch.items():
                    yield f"{kind} clock to {pin}", figure
                for pin, figure in cell.capture.items():
                    yield f"{kind} {pin} before clock", figure
                for (source, target), figure in cell.through.items():
                    yield f"{kind} {source} to {target}", figure
                if cell.inside:
                    yield f"{kind} inside", cell.inside
        for (driver, load), figure in self.nets.packed.items():
            yield f"net {driver} to {load}", figure
        yield "net", self.nets.base
        yield "net, a doubling of the loads", self.nets.doubling
        yield "net of a block", self.nets.block
        yield "jitter", self.uncertainty


#: Pins of a DSP48 that are clocks, or dedicated wires from pins of another that have no delays here: those are refused.
DSP_IGNORED = frozenset({"CLK", "CARRYCASCIN", "MULTSIGNIN"})


def dsp_controls() -> list[str]:
    """Return the pins of a DSP48 that enable, reset and set it."""
    enables = ("A1", "A2", "AD", "ALUMODE", "B1", "B2", "C", "CARRYIN", "CTRL", "D", "INMODE", "M", "P")
    resets = ("A", "ALLCARRYIN", "ALUMODE", "B", "C", "CTRL", "D", "INMODE", "M", "P")
    modes = ("ALUMODE", "CARRYINSEL", "INMODE", "OPMODE")
    return [*(f"CE{name}" for name in enables), *(f"RST{name}" for name in resets), *modes]


def fitted_nets(points: Iterable[tuple[int, float]]) -> tuple[float, float]:
    """Return base and growth with each doubling of the loads: least squares over nets that someone published.

    Parameters
    ----------
    points : iterable of (int, float)
        Loads and delay of each net.
    """
    logs, delays = zip(*((math.log2(loads), ns) for loads, ns in points), strict=True)
    fit = linear_regression(logs, delays)
    return round(fit.intercept, 3), round(fit.slope, 3)


def each(names: Iterable[str], figure: Figure) -> dict[str, Figure]:
    """Return one figure for several ports.

    Parameters
    ----------
    names : iterable of str
    figure : Figure
    """
    return dict.fromkeys(names, figure)


def look_up(inputs: Iterable[str], output: str, figure: Figure) -> CellDelays:
    """Return the delays of a look-up table or multiplexer.

    Parameters
    ----------
    inputs : iterable of str
    output : str
    figure : Figure
        From each input; tools put the latest input on the fastest pin.
    """
    return CellDelays(through={(name, output): figure for name in inputs})


def number(parameters: Parameters, name: str) -> int:
    """Return a parameter that is a number; 0 where a cell lacks it.

    Parameters
    ----------
    parameters : mapping
    name : str
    """
    return int(str(parameters.get(name, "0")).strip() or "0", 2)


@dataclass(frozen=True)
class Carry:
    """Delays of the carry of a chain.

    Parameters
    ----------
    to_sum : Figure
        From the carry into a cell to its first sum.
    inside : Figure
        From the carry of a position to the next sum of the cell.
    whole : Figure
        From the carry into a cell to that out of it.
    """

    to_sum: Figure
    inside: Figure
    whole: Figure


def carry_chain(
    bits: int, pins: Mapping[str, tuple[Figure, Figure]], carry: Carry, names: tuple[str, str, str]
) -> Arcs:
    """Return the arcs of a carry chain.

    Parameters
    ----------
    bits : int
        Positions of the chain in a cell.
    pins : mapping
        Input by its name with "{}" for the position: to the sum of its position, and to the carry behind it.
    carry : Carry
    names : (str, str, str)
        Carry in; sum and carry of a position, with "{}" for it.
    """
    into, sum_name, carry_name = names
    step = carry.whole.ns / bits
    arcs: Arcs = {}

    def add(source: str, target: str, ns: float, figure: Figure) -> None:
        arcs[source, target] = Figure(round(ns, 4), figure.source)

    for end in range(bits):
        add(into, sum_name.format(end), carry.to_sum.ns + step * end, carry.to_sum)
        add(into, carry_name.format(end), step * (end + 1), carry.whole)
        for name, (own, on) in pins.items():
            for begin in range(end):
                add(name.format(begin), sum_name.format(end), on.ns + step * (end - begin - 1) + carry.inside.ns, on)
            add(name.format(end), sum_name.format(end), own.ns, own)
            for begin in range(end + 1):
                add(name.format(begin), carry_name.format(end), on.ns + step * (end - begin), on)
    return arcs
