"""Takes what the memory sends: words of weights into the engine, and whether each part was right."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from ...sim.engine.registers import ErrorCode
from ...sim.engine.words import WORD
from ...sim.flow.config import BURST_BEATS, FlowConfig
from ...sim.flow.operation import Operands
from ...sim.flow.weight_stream import WeightStreamUnit
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.stream import LOAD_BUS, write_port
from .axi import OKAY, read_master
from .checksum import check_sums, keep_first_fault
from .part_walk import PartWalk


class Receive(Component):
    """The data channel of a master of AXI4 reads: always ready, since only what has room is asked for.

    Beats of other reads are dropped. The first thing that is wrong stays in `fault`; from then on no part counts as
    `full`.

    Timing: a beat a cycle; a word is written three cycles after its last beat, and a part is `full` three cycles
    after the beat that checks it.

    Numerics: CRC-32 as zlib.crc32, of each 64 bits of the beats by themselves.

    Parameters
    ----------
    flow : FlowConfig

    Members
    -------
    load, bank : In
        Load bus, and the bank in use.
    network : In
        The network's number.
    start, active, run : In
        As of `Requests`.
    rid, rdata, rresp, rlast, rvalid, rready : In, Out
        Of AXI4.
    write : Out(write_port)
        To the memory of the weights.
    full : Out
        By kind of `WeightPart`, pulses: a part is there, and right.
    arrived, beat : Out(1)
        Pulses: the last beat of a burst of these reads came; any beat of them.
    fault : Out(ErrorCode)
        MEMORY_READ: an error was answered, or a burst had another length; MEMORY_CRC: a part was not what it must be.
    """

    def __init__(self, flow: FlowConfig):
        self.flow, self.unit = flow, WeightStreamUnit(flow)
        ports, operands = read_master(flow.memory_bits), Operands(flow)
        address = max(1, (operands.weight_depth - 1).bit_length())
        super().__init__(
            {
                "load": In(LOAD_BUS),
                "bank": In(1),
                "network": In(32),
                "start": In(1),
                "active": In(1),
                "run": In(ports["rid"].shape),
                **{name: ports[name] for name in ("rid", "rdata", "rresp", "rlast", "rvalid", "rready")},
                "write": Out(write_port(address, flow.engine.columns * WORD)),
                "full": Out(self.unit.kinds),
                "arrived": Out(1),
                "beat": Out(1),
                "fault": Out(ErrorCode),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Beat (stage 0), words and sums of it (1), what the last beat says (2), and together (3)."""
        m = Module()
        m.submodules.walk = walk = PartWalk(self.flow)
        beat, value = Signal(), Signal(self.flow.memory_bits, name="value", reset_less=True)
        response, burst_end = Signal.like(self.rresp, reset_less=True), Signal(reset_less=True)
        m.d.comb += [self.rready.eq(1), connect(self.beat, beat), self.arrived.eq(beat & burst_end)]
        m.d.sync += [
            beat.eq(self.rvalid & self.active & (self.rid == self.run) & ~self.start),
            *(connect(value, self.rdata), connect(response, self.rresp), connect(burst_end, self.rlast)),
        ]
        checks = self._count(m, walk, beat)
        wrong = self._bursts(m, beat, checks, burst_end) | (beat & (response != OKAY))
        self._words(m, walk, beat & ~checks, value)
        kind, tag = Signal.like(walk.entry.kind), Signal(32)
        with m.If(walk.step):
            m.d.sync += [connect(kind, walk.entry.kind), tag.eq(self.network ^ walk.number)]
        good, bad = check_sums(m, value, tag, beat=beat, checks=checks, start=self.start)
        keep_first_fault(m, self.fault, wrong=wrong, bad=bad, start=self.start)
        checked = Signal.like(kind, reset_less=True)
        with m.If(beat & checks):
            m.d.sync += connect(checked, kind)
        m.d.comb += self.full.eq(Mux(good & (self.fault == ErrorCode.NONE), 1 << checked, 0))
        return m

    def _count(self, m: Module, walk: PartWalk, beat: Signal) -> Signal:
        """Whether the beat at hand is the one that checks its part."""
        left, checks, begun = Signal.like(walk.entry.beats), Signal(), Signal(4)
        m.d.comb += [
            *(connect(walk.load, self.load), connect(walk.bank, self.bank), connect(walk.start, self.start)),
            # The walk is one part ahead.
            walk.step.eq((beat & checks) | begun[0]),
        ]
        m.d.sync += begun.eq(Mux(self.start, 0b1000, begun >> 1))
        with m.If(beat):
            m.d.sync += [left.eq(left - 1), checks.eq(left == 2)]
        with m.If((beat & checks) | begun[0]):
            m.d.sync += [connect(left, walk.entry.beats), checks.eq(0)]
        return checks

    def _bursts(self, m: Module, beat: Signal, checks: Signal, burst_end: Signal) -> Value:
        """Whether a burst ends where it must not, or does not where it must."""
        place, full = Signal(range(BURST_BEATS)), Signal()
        ends = full | checks
        with m.If(beat):
            m.d.sync += [place.eq(Mux(ends, 0, place + 1)), full.eq(~ends & (place == BURST_BEATS - 2))]
        with m.If(self.start):
            m.d.sync += [place.eq(0), full.eq(0)]
        return beat & (burst_end != ends)

    def _words(self, m: Module, walk: PartWalk, beat: Value, value: Signal) -> None:
        """Collect words, and write them one behind the other."""
        beats, bits = self.unit.word_beats, self.flow.memory_bits
        word, chunk = Signal(len(self.write.data), name="collected", reset_less=True), Signal(range(max(2, beats)))
        address = Signal.like(self.write.addr if self.flow.weight_ring else walk.word)
        whole = beat & (chunk == beats - 1)
        m.d.sync += connect(self.write.en, whole)
        m.d.sync += connect_address(self.write.addr, address)
        m.d.comb += connect(self.write.data, word)
        with m.If(beat):
            m.d.sync += chunk.eq(Mux(chunk == beats - 1, 0, chunk + 1))
            for number in range(beats):
                with m.If(chunk == number):
                    m.d.sync += word.word_select(number, bits).eq(value)
        with m.If(whole):
            m.d.sync += address.eq(address + 1)
        if self.flow.weight_ring:  # a ring: one part lies behind the other
            with m.If(self.start):
                m.d.sync += address.eq(0)
        else:
            with m.If(walk.step):
                m.d.sync += connect(address, walk.word)
        with m.If(self.start):
            m.d.sync += chunk.eq(0)
