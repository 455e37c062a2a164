"""The parts of streamed weights in the order in which they are read: how long each is, and where it goes."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.flow.config import FlowConfig
from ...sim.flow.operation import Operands
from ...sim.flow.weight_stream import WeightStreamUnit
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.memory import LoadableMemory
from ..parts.stream import LOAD_BUS


class PartWalk(Component):
    """The next part: of all that are listed, again and again; without a ring blocks have two places in turn.

    Timing: what comes out is valid a cycle after `step`, which comes four cycles after `start`, or two after another
    one, or later.

    Numerics: none; counts are exact.

    Parameters
    ----------
    flow : FlowConfig

    Members
    -------
    start, step : In(1)
        Begin with the first part; go on.
    entry : Out
        The part, as in the list.
    number, word : Out
        Its number among all parts; without a ring, its first word in the engine's memory.
    load, bank : In
        Load bus, and the bank in use.
    """

    def __init__(self, flow: FlowConfig):
        self.flow, self.place, unit = flow, Operands(flow).weight_place, WeightStreamUnit(flow)
        self.memory, self.fields = unit.load_memories["parts"], data.StructLayout(unit.fields)
        super().__init__(
            {
                "start": In(1),
                "step": In(1),
                "entry": Out(self.fields),
                "number": Out(range(self.memory.depth)),
                **({} if flow.weight_ring else {"word": Out(range(2 * self.place))}),
                "load": In(LOAD_BUS),
                "bank": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Look a part up behind the one at hand; count parts, and say which place is whose."""
        m = Module()
        m.submodules.parts = parts = LoadableMemory(self.memory)
        address, found = Signal(range(self.memory.depth)), data.View(self.fields, parts.r_data)
        entry, odd, begun = Signal(self.fields, name="at_hand", reset_less=True), Signal(), Signal(2)
        m.d.comb += [
            *(connect(parts.load, self.load), connect(parts.bank, self.bank)),
            connect_address(parts.r_addr, address),
            connect(self.entry.as_value(), entry.as_value()),
        ]
        m.d.sync += begun.eq(Mux(self.start, 0b10, begun >> 1))
        with m.If(self.step | begun[0]):
            m.d.sync += [connect(entry.as_value(), parts.r_data), address.eq(Mux(found.final, 0, address + 1))]
        with m.If(self.step):
            m.d.sync += self.number.eq(Mux(entry.final, 0, self.number + 1))
        with m.If(self.start):
            m.d.sync += [address.eq(0), self.number.eq(0)]
        if not self.flow.weight_ring:
            self._places(m, entry, odd)
        return m

    def _places(self, m: Module, entry: data.View, odd: Signal) -> None:
        """The place of the block at hand, one of two."""
        m.d.comb += self.word.eq(entry.word + Mux(odd, self.place, 0))
        with m.If(self.step):
            m.d.sync += odd.eq(odd ^ entry.ends)
        with m.If(self.start):
            m.d.sync += odd.eq(0)
