"""What the edge reads of a memory, beside the weights of the blocks, over one port."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...sim.engine.registers import ErrorCode
from ...sim.flow.config import FlowConfig
from ...sim.flow.edge_lines import ID_BITS, EdgeLinesUnit, Line
from ...sim.flow.edge_settings import edge_setting_bits
from ...sim.flow.weight_stream import ADDRESS_BITS, RUN_BITS
from ..flow.line_ports import line_ports
from ..parts.component import Component
from ..parts.connect import connect
from .axi import read_master
from .edge_line import EdgeLine
from .line_bits import line_settings
from .patience import lost_patience

#: What a request says.
_ASKED = ("arid", "araddr", "arlen")


class EdgeLines(Component):
    """All lines, and the port that they share with the parts of the blocks.

    A line asks before the parts while fewer than `EdgeLinesUnit.soon` words are read ahead, else behind them. Positions
    ask before the classifier, and that before the patch embedding. Answers go to whom their number names, in whatever
    order they come.

    Timing: a request leaves a cycle after it was made; a memory that is silent shows `SILENCE_CYCLES` after the last
    beat of any read.

    Numerics: as of `EdgeLine`.

    Parameters
    ----------
    flow : FlowConfig
        With streamed `edge_weights`.

    Members
    -------
    settings, network : In
        Of the network; its number.
    start, active, base, number : In
        As of `Fetch`, that begins with its reads: these, and the number of the reads.
    parts : In(read_master)
        The reads of the blocks' parts; of their data what is theirs.
    classes_read, classes_given, positions_read, positions_given : In(line_ports)
        Who reads steps of a line, and who is given them.
    patch_weights_read, patch_weights_given : In(line_ports)
        Likewise, with streamed `patch_weights`.
    waits : Out(1)
        The edge waits for one of them.
    fault : Out(ErrorCode)
        What was wrong first with a line that is waited for since `start`: MEMORY_READ, MEMORY_CRC or MEMORY_TIMEOUT.
    arid, araddr, arlen, arsize, arburst, arcache, arprot, arvalid, arready : Out, In
        Requests, as in AXI4.
    rid, rdata, rresp, rlast, rvalid, rready : In, Out
        Answers, as in AXI4.
    """

    def __init__(self, flow: FlowConfig):
        self.flow = flow
        super().__init__(
            {
                "settings": In(data.StructLayout(edge_setting_bits(flow))),
                "network": In(32),
                "start": In(1),
                "active": In(1),
                "base": In(ADDRESS_BITS),
                "number": In(RUN_BITS),
                "parts": In(wiring.Signature(read_master(flow.memory_bits))),
                **line_ports(flow, In, *Line),
                "waits": Out(1),
                "fault": Out(ErrorCode),
                **read_master(flow.memory_bits, ID_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the lines; hand answers on, and lose patience."""
        m = Module()
        names = EdgeLinesUnit(self.flow).lines
        lines = [self._line(m, line) for line in names]
        self._ask(m, lines)
        parts = self.parts
        m.d.comb += [
            *(
                connect(getattr(self, name), getattr(parts, name))
                for name in ("arsize", "arburst", "arcache", "arprot")
            ),
            *(connect(getattr(parts, name), getattr(self, name)) for name in ("rdata", "rresp", "rlast")),
            *(connect(parts.rid, self.rid[:RUN_BITS]), parts.rvalid.eq(self.rvalid & (self.rid[RUN_BITS:] == 0))),
            self.rready.eq(1),
        ]
        waits = [Signal(name=f"waits_{line.name.lower()}") for line in names]
        came = Signal()
        m.d.sync += [connect(wait, part.given.waits) for wait, part in zip(waits, lines, strict=True)]
        m.d.sync += came.eq(self.rvalid)
        m.d.comb += self.waits.eq(Cat(waits).any())
        with m.If(lost_patience(m, self.waits, came, self.start)):
            m.d.comb += self.fault.eq(ErrorCode.MEMORY_TIMEOUT)
        for wait, part in zip(waits, lines, strict=True):
            with m.If(wait & (part.fault != ErrorCode.NONE)):
                m.d.comb += connect(self.fault, part.fault)
        return m

    def _line(self, m: Module, line: Line) -> EdgeLine:
        """Build a line, beside its requests."""
        name, unit = line.name.lower(), EdgeLinesUnit(self.flow)
        m.submodules[name] = part = EdgeLine(unit, line)
        m.d.comb += [
            *(connect(getattr(part, one), self.settings[f"{name}_{one}"]) for one in line_settings(unit, line)),
            *(connect(getattr(part, one), getattr(self, one)) for one in ("network", "start", "active", "base")),
            connect(part.run, self.number),
            *(connect(getattr(part, one), getattr(self, one)) for one in ("rid", "rdata", "rresp", "rlast", "rvalid")),
        ]
        for port, inner in ((f"{name}_read", part.read), (f"{name}_given", part.given)):
            wiring.connect(m, wiring.flipped(getattr(self, port)), inner)
        return part

    def _ask(self, m: Module, lines: list[EdgeLine]) -> None:
        """Take the request of who comes first into registers, where it stays until the memory takes it."""
        first = [(line, line.arvalid & line.urgent) for line in lines]
        every = [*first, *((one, one.arvalid) for one in (self.parts, *lines))]
        free, before = ~self.arvalid | self.arready, Value.cast(Const(0, 1))
        with m.If(self.arready):
            m.d.sync += self.arvalid.eq(0)
        for asker, asks in every:
            with m.If(free & asks & ~before):
                m.d.sync += [connect(getattr(self, name), getattr(asker, name)) for name in _ASKED]
                m.d.sync += self.arvalid.eq(1)
                m.d.comb += asker.arready.eq(1)
            before = before | asks
