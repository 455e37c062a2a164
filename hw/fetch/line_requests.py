"""Asks the memory for a line: burst after burst, as far ahead as the ring has room."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from ...sim.flow.edge_lines import ID_BITS, IMAGE_BITS, LINE_BITS, EdgeLinesUnit, Line
from ...sim.flow.weight_stream import ADDRESS_BITS, RUN_BITS
from ..flow.jobs import scaled
from ..parts.component import Component
from ..parts.connect import connect
from .axi import read_master
from .burst_walk import BurstWalk
from .line_bits import line_settings


class LineRequests(Component):
    """The requests of one line: a burst is asked for when there is room for its words.

    A request that was made stays until it is taken, whatever comes.

    Timing: a burst every three cycles at most.

    Numerics: addresses are added in 32 bits, so the image must not cross a multiple of 4 GiB.

    Parameters
    ----------
    unit : EdgeLinesUnit
    line : Line

    Members
    -------
    start, active : In(1)
        Begin with the first word; whether anything may be asked for.
    base, run : In
        Address of the memory image, and number of the reads; constant from `start` on.
    place, bursts, rest : In
        Of the network, see `edge_setting_bits`.
    freed : In(1)
        A word of the ring may be written over.
    urgent : Out(1)
        Few words are read ahead, or were asked for.
    arid, araddr, arlen, arvalid, arready : Out, In
        Of AXI4.
    """

    def __init__(self, unit: EdgeLinesUnit, line: Line):
        self.unit, self.line = unit, line
        ports = read_master(unit.flow.memory_bits, ID_BITS)
        super().__init__(
            {
                "start": In(1),
                "active": In(1),
                "base": In(ADDRESS_BITS),
                "run": In(RUN_BITS),
                **line_settings(unit, line),
                "freed": In(1),
                "urgent": Out(1),
                **{name: ports[name] for name in ("arid", "araddr", "arlen", "arvalid", "arready")},
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count room in words, and bursts."""
        m = Module()
        size, depth = self.unit.burst_words(self.line), self.unit.ring(self.line).depth
        m.submodules.walk = walk = BurstWalk(len(self.bursts))
        room, some, settling = Signal(range(depth + 1), init=depth), Signal(), Signal(2)
        words, asks = Signal(range(size + 1)), Signal()
        m.d.comb += [
            *(connect(walk.last, self.bursts), connect(walk.start, self.start), connect(walk.step, asks)),
            words.eq(Mux(walk.final, self.rest, size)),
            asks.eq(some & ~settling[0] & self._any() & ~self.start & (~self.arvalid | self.arready)),
        ]
        m.d.sync += [
            *(room.eq(room - Mux(asks, words, 0) + self.freed), some.eq(room >= size)),
            self.urgent.eq(room > depth - self.unit.soon(self.line)),
            settling.eq(Mux(asks | self.start, -1, settling >> 1)),
        ]
        with m.If(self.start):
            m.d.sync += room.eq(depth)
        bits = IMAGE_BITS - self.unit.place_bits
        first = Signal(self.unit.place_bits, reset_less=True)
        m.d.sync += first.eq(self.base[bits:IMAGE_BITS] + self.place)
        with m.If(self.arready):
            m.d.sync += self.arvalid.eq(0)
        with m.If(asks):
            m.d.sync += [
                *(self.arvalid.eq(1), self.arid.eq(Cat(self.run, Const(self.line, LINE_BITS)))),
                self.araddr.eq(Cat(self.base[:bits], (first + walk.number)[: len(first)], self.base[IMAGE_BITS:])),
                self.arlen.eq(scaled(words, size + 1, self.unit.word_beats(self.line))),
            ]
        return m

    def _any(self) -> Value:
        """Whether anything may be asked for; networks with windows have no positions."""
        if self.line is Line.POSITIONS and self.unit.flow.windows:
            return self.active & self.rest.any()
        return Value.cast(self.active)
