"""One line of what the edge reads of a memory: read ahead into a ring of words, and given on when it was right."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from ...sim.engine.registers import ErrorCode
from ...sim.flow.edge_lines import ID_BITS, EdgeLinesUnit, Line
from ...sim.flow.weight_stream import ADDRESS_BITS, RUN_BITS
from ..flow.line_ports import ring_signatures
from ..parts.arithmetic import delayed
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.memory import WordMemory
from .axi import read_master
from .line_bits import line_settings
from .line_receive import LineReceive
from .line_requests import LineRequests


class EdgeLine(Component):
    """A line (`sim.flow.edge_lines.EdgeLinesUnit`): words come in the order in which they are used.

    Who reads it counts steps, of which a word has `EdgeLinesUnit.word_steps`.

    Timing: a word counts as there four cycles after the beat that checks its burst came; a step of the ring follows its
    address by `EdgeLinesUnit.read_cycles`.

    Numerics: as of `LineReceive`.

    Parameters
    ----------
    unit : EdgeLinesUnit
    line : Line

    Members
    -------
    network, start, active, base, run, place, bursts, rest : In
        As of `LineRequests` and `LineReceive`.
    read : In(ring_read)
        Steps from address 0 on, around and around; each is freed once, in their order, no sooner than it was read.
    given : In(ring_count)
        Steps that are there and were not taken.
    urgent, fault : Out
        As of `LineRequests` and `LineReceive`.
    arid, araddr, arlen, arvalid, arready, rid, rdata, rresp, rlast, rvalid : Out, In
        Of AXI4.
    """

    def __init__(self, unit: EdgeLinesUnit, line: Line):
        self.unit, self.line = unit, line
        read, given = ring_signatures(unit, line)
        ports = read_master(unit.flow.memory_bits, ID_BITS)
        super().__init__(
            {
                "network": In(32),
                "start": In(1),
                "active": In(1),
                "base": In(ADDRESS_BITS),
                "run": In(RUN_BITS),
                **line_settings(unit, line),
                "read": In(read),
                "given": In(given),
                "urgent": Out(1),
                "fault": Out(ErrorCode),
                **{name: ports[name] for name in ("arid", "araddr", "arlen", "arvalid", "arready")},
                **{name: ports[name] for name in ("rid", "rdata", "rresp", "rlast", "rvalid")},
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Connect both channels and the ring, and count its steps."""
        m = Module()
        m.submodules.requests = requests = LineRequests(self.unit, self.line)
        m.submodules.receive = receive = LineReceive(self.unit, self.line)
        ring = self._ring(m)
        for part in (requests, receive):
            for name, member in part.signature.members.items():
                if name in self.signature.members:
                    inner, outer = getattr(part, name), getattr(self, name)
                    m.d.comb += connect(outer, inner) if member.flow is Out else connect(inner, outer)
        m.d.comb += [
            connect(requests.freed, self._freed(m)),
            *(connect(ring.w_en, receive.write.en), connect(ring.w_addr, receive.write.addr)),
            connect(ring.w_data, receive.write.data),
        ]
        level = Signal.like(self.given.level)
        gained = Mux(receive.good, receive.gained << self._step_bits, 0)
        taken = Mux(self.given.take, self.given.count, 0)
        m.d.comb += connect(self.given.level, level)
        m.d.sync += level.eq(level + gained - taken)
        with m.If(self.start):
            m.d.sync += level.eq(0)
        return m

    @property
    def _step_bits(self) -> int:
        """Bits of the number of a step in its word."""
        return self.unit.word_steps(self.line).bit_length() - 1

    def _ring(self, m: Module) -> WordMemory:
        """Build the ring, and read it: a step of a word is chosen out of a register, into another."""
        memory, bits, cycles = self.unit.ring(self.line), self._step_bits, self.unit.read_cycles(self.line)
        m.submodules.ring = ring = WordMemory(
            memory.width, memory.depth, read_cycles=cycles - (bits > 0), style=memory.style
        )
        m.d.comb += connect(ring.r_addr[0], self.read.addr[bits:])
        if bits:
            step = delayed(m, self.read.addr[:bits], cycles - 1, "step_delay")
            m.d.sync += connect(self.read.data, ring.r_data[0].word_select(step, len(Value.cast(self.read.data))))
        else:
            m.d.comb += connect(self.read.data, ring.r_data[0])
        return ring

    def _freed(self, m: Module) -> Value:
        """Whether a word of the ring may be written over: all of its steps were freed."""
        bits = self._step_bits
        if not bits:
            return self.read.freed
        step = Signal(bits, name="freed_step")
        with m.If(self.read.freed):
            m.d.sync += step.eq(step + 1)
        with m.If(self.start):
            m.d.sync += step.eq(0)
        return self.read.freed & step.all()
