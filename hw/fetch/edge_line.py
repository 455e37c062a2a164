"""One line of what the edge reads of a memory: read ahead into a ring of words, and given on when it was right."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from ...sim.engine.registers import ErrorCode
from ...sim.flow.edge_lines import ID_BITS, EdgeLinesUnit, Line
from ...sim.flow.weight_stream import ADDRESS_BITS, RUN_BITS
from ..flow.line_ports import ring_signatures
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.memory import WordMemory
from .axi import read_master
from .line_bits import line_settings
from .line_receive import LineReceive
from .line_requests import LineRequests


class EdgeLine(Component):
    """A line (`sim.flow.edge_lines.EdgeLinesUnit`): words come in the order in which they are used.

    Timing: a word counts as there four cycles after the beat that checks its burst came; a word of the ring
    `EdgeLinesUnit.read_cycles` after its address.

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
        Words from address 0 on, around and around; each is freed once, in their order, no sooner than it was read.
    given : In(ring_count)
        Words that are there and were not taken.
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
        """Connect both channels and the ring, and count its words."""
        m = Module()
        memory = self.unit.ring(self.line)
        m.submodules.requests = requests = LineRequests(self.unit, self.line)
        m.submodules.receive = receive = LineReceive(self.unit, self.line)
        m.submodules.ring = ring = WordMemory(
            memory.width, memory.depth, read_cycles=self.unit.read_cycles(self.line), style=memory.style
        )
        for part in (requests, receive):
            for name, member in part.signature.members.items():
                if name in self.signature.members:
                    inner, outer = getattr(part, name), getattr(self, name)
                    m.d.comb += connect(outer, inner) if member.flow is Out else connect(inner, outer)
        m.d.comb += [
            connect(requests.freed, self.read.freed),
            *(connect(ring.w_en, receive.write.en), connect(ring.w_addr, receive.write.addr)),
            *(connect(ring.w_data, receive.write.data), connect(ring.r_addr[0], self.read.addr)),
            connect(self.read.data, ring.r_data[0]),
        ]
        level = Signal.like(self.given.level)
        gained, taken = Mux(receive.good, receive.gained, 0), Mux(self.given.take, self.given.count, 0)
        m.d.comb += connect(self.given.level, level)
        m.d.sync += level.eq(level + gained - taken)
        with m.If(self.start):
            m.d.sync += level.eq(0)
        return m
