"""Streamed weights: reads the memory, gives the words to the engine, and finds what is wrong with them."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ...sim.engine.registers import ErrorCode
from ...sim.flow.config import FlowConfig
from ...sim.flow.weight_stream import (
    ADDRESS_BITS,
    IMAGE_ALIGNMENT,
    RUN_BITS,
    WeightStreamUnit,
)
from ..flow.jobs import Credits
from ..parts.component import Component, reset_by
from ..parts.connect import connect
from ..parts.stream import LOAD_BUS
from .axi import INCREMENTING, MODIFIABLE, NORMAL_DATA, read_master
from .patience import lost_patience
from .receive import Receive
from .requests import Requests
from .ring_room import weights_read


class Fetch(Component):
    """Master of AXI4 reads that brings the weights of block after block (`sim.flow.weight_stream.WeightStreamUnit`).

    It reads from the first block on as soon as it is told to, so that some are there when a run starts, and has a
    list of all parts of its own (`PartWalk`), so that it is ahead of the blocks that go on, and of their pass. Reads
    have a number that is another one then: what was asked for before and has not come is dropped when it comes.

    Timing: as of `Requests` and `Receive`; a fault of the memory that is silent shows `SILENCE_CYCLES` after the last
    beat.

    Numerics: as of `Receive`.

    Parameters
    ----------
    flow : FlowConfig
        With streamed weights.

    Members
    -------
    load, bank : In
        Load bus, and the bank in use.
    network : In
        The network's number.
    begin, end : In(1)
        Begin with the first block, whatever was read before; ask for nothing more.
    active : Out(1)
        It was begun, and not ended.
    start, number, address : Out
        With streamed `edge_weights`: reading begins anew; number of the reads, and address of the memory image.
    base : In
        Address of the memory image; its bits below `IMAGE_ALIGNMENT` do not count. Copied by `begin`.
    opened : In
        By kind of `WeightPart`, pulses: a stream has begun with a block's weights, or a patch merging's.
    read : In
        Of `Requests`; with a ring.
    waits : In(1)
        The array waits for weights.
    there : Out
        Likewise: the next weights of the kind are there.
    write : Out(write_port)
        To the memory of the weights.
    fault : Out(ErrorCode)
        What was wrong first since `begin`: MEMORY_READ, MEMORY_CRC or MEMORY_TIMEOUT.
    arid, araddr, arlen, arsize, arburst, arcache, arprot, arvalid, arready : Out, In
        Requests, as in AXI4.
    rid, rdata, rresp, rlast, rvalid, rready : In, Out
        Answers, as in AXI4.
    """

    def __init__(self, flow: FlowConfig):
        self.flow, self.unit = flow, WeightStreamUnit(flow)
        self._requests, self._receive = Requests(flow), Receive(flow)
        shown = {"start": Out(1), "number": Out(RUN_BITS), "address": Out(ADDRESS_BITS)}
        super().__init__(
            {
                "load": In(LOAD_BUS),
                "bank": In(1),
                "network": In(32),
                "begin": In(1),
                "end": In(1),
                "active": Out(1),
                "base": In(ADDRESS_BITS),
                "opened": In(self.unit.kinds),
                **weights_read(flow),
                "waits": In(1),
                "there": Out(self.unit.kinds),
                "write": self._receive.signature.members["write"],
                "fault": Out(ErrorCode),
                **read_master(flow.memory_bits),
                **(shown if flow.edge_streamed else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Connect both channels, number the runs, and lose patience."""
        m = Module()
        m.submodules.requests, m.submodules.receive = requests, receive = self._requests, self._receive
        base, run, start = Signal(ADDRESS_BITS), Signal(RUN_BITS), Signal()
        aligned = exact_log2(IMAGE_ALIGNMENT)
        m.d.sync += connect(start, self.begin)
        with m.If(self.begin):
            m.d.sync += [base.eq(self.base[aligned:] << aligned), run.eq(run + 1), self.active.eq(1)]
        with m.If(self.end):
            m.d.sync += self.active.eq(0)
        if self.flow.edge_streamed:
            m.d.comb += [connect(self.start, start), connect(self.number, run), connect(self.address, base)]
        channels: tuple[Requests | Receive, ...] = (requests, receive)
        for unit in channels:
            m.d.comb += [
                *(connect(unit.load, self.load), connect(unit.bank, self.bank), connect(unit.start, start)),
                *(connect(unit.active, self.active), connect(unit.run, run)),
            ]
            for name, member in read_master(self.flow.memory_bits).items():
                if name in unit.signature.members:
                    inner, outer = getattr(unit, name), getattr(self, name)
                    m.d.comb += connect(outer, inner) if member.flow is Out else connect(inner, outer)
        m.d.comb += [
            connect(requests.base, base),
            connect(requests.read, self.read) if self.flow.weight_ring else connect(requests.opened, self.opened),
            *(connect(requests.arrived, receive.arrived), connect(receive.network, self.network)),
            *(self.arsize.eq(exact_log2(self.unit.beat_bytes)), self.arburst.eq(INCREMENTING)),
            *(self.arcache.eq(MODIFIABLE), self.arprot.eq(NORMAL_DATA)),
        ]
        wiring.connect(m, wiring.flipped(self.write), receive.write)
        for kind in range(self.unit.kinds):
            m.submodules[f"full_{kind}"] = reset_by(start, full := Credits(self.unit.most_parts))
            m.d.comb += [
                *(connect(full.give, receive.full[kind]), connect(full.take, self.opened[kind])),
                connect(self.there[kind], full.some),
            ]
        lost = lost_patience(m, self.waits, receive.beat, start)
        m.d.comb += connect(self.fault, receive.fault)
        with m.If(lost & (receive.fault == ErrorCode.NONE)):
            m.d.comb += self.fault.eq(ErrorCode.MEMORY_TIMEOUT)
        return m
