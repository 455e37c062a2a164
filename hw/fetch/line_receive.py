"""Takes what the memory sends of a line: words for the ring, and whether each burst was right."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from ...sim.engine.registers import ErrorCode
from ...sim.flow.edge_lines import ID_BITS, LINE_BITS, LINE_SHIFT, EdgeLinesUnit, Line
from ...sim.flow.weight_stream import RUN_BITS
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.stream import write_port
from .axi import OKAY, read_master
from .burst_walk import BurstWalk
from .checksum import check_sums, keep_first_fault
from .line_bits import line_settings


class LineReceive(Component):
    """The data channel of one line: always ready, since only what has room is asked for.

    Beats of other reads are dropped. The first thing that is wrong stays in `fault`; from then on no word is gained.

    Timing: a beat a cycle; a word is written two cycles after its last beat, and gained three cycles after the beat
    that checks its burst.

    Numerics: CRC-32 as zlib.crc32, of each 64 bits of the beats by themselves.

    Parameters
    ----------
    unit : EdgeLinesUnit
    line : Line

    Members
    -------
    network : In
        Number of the network.
    start, active, run, bursts, rest : In
        As of `LineRequests`.
    rid, rdata, rresp, rlast, rvalid : In
        Of AXI4.
    write : Out(write_port)
        To the ring.
    good, gained : Out
        Pulse: a burst was right; its words.
    fault : Out(ErrorCode)
        MEMORY_READ: an error was answered, or a burst had another length; MEMORY_CRC: one was not what it must be.
    """

    def __init__(self, unit: EdgeLinesUnit, line: Line):
        self.unit, self.line = unit, line
        ring = unit.ring(line)
        ports, settings = read_master(unit.flow.memory_bits, ID_BITS), line_settings(unit, line)
        super().__init__(
            {
                "network": In(32),
                "start": In(1),
                "active": In(1),
                "run": In(RUN_BITS),
                **{name: settings[name] for name in ("bursts", "rest")},
                **{name: ports[name] for name in ("rid", "rdata", "rresp", "rlast", "rvalid")},
                "write": Out(write_port((ring.depth - 1).bit_length(), ring.width)),
                "good": Out(1),
                "gained": Out(range(unit.burst_words(line) + 1)),
                "fault": Out(ErrorCode),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Beat (stage 0), words and sums of it (1), what the last beat says (2), and together (3)."""
        m = Module()
        m.submodules.walk = walk = BurstWalk(len(self.bursts))
        beat, value = Signal(), Signal(self.unit.flow.memory_bits, name="value", reset_less=True)
        response, burst_end = Signal.like(self.rresp, reset_less=True), Signal(reset_less=True)
        mine = self.rid == Cat(self.run, Const(self.line, LINE_BITS))
        m.d.sync += [
            beat.eq(self.rvalid & self.active & mine & ~self.start),
            *(connect(value, self.rdata), connect(response, self.rresp), connect(burst_end, self.rlast)),
        ]
        size = Mux(walk.final, self.rest, self.unit.burst_words(self.line))
        checks = self._words(m, beat, value, size)
        tag = self.network ^ walk.number ^ Const(self.line << LINE_SHIFT, 32)
        good, bad = check_sums(m, value, tag, beat=beat, checks=checks, start=self.start)
        wrong = beat & ((burst_end != checks) | (response != OKAY))
        m.d.comb += [
            *(connect(walk.last, self.bursts), connect(walk.start, self.start), walk.step.eq(beat & checks)),
            self.good.eq(good & (self.fault == ErrorCode.NONE)),
        ]
        with m.If(beat & checks):
            m.d.sync += self.gained.eq(size)
        keep_first_fault(m, self.fault, wrong=wrong, bad=bad, start=self.start)
        return m

    def _words(self, m: Module, beat: Signal, value: Signal, size: Value) -> Signal:
        """Collect words, and write them one behind the other; return whether the beat at hand checks its burst."""
        beats, bits = self.unit.word_beats(self.line), len(value)
        word = Signal(len(self.write.data), name="collected", reset_less=True)
        chunk, place = Signal(range(max(2, beats))), Signal(range(self.unit.burst_words(self.line)))
        whole, checks = Signal(), Signal()
        m.d.comb += [whole.eq(beat & ~checks & (chunk == beats - 1)), connect(self.write.data, word)]
        m.d.sync += connect(self.write.en, whole)
        with m.If(self.write.en):
            m.d.sync += self.write.addr.eq(self.write.addr + 1)
        with m.If(beat & ~checks):
            m.d.sync += chunk.eq(Mux(whole, 0, chunk + 1))
            for number in range(beats):
                with m.If(chunk == number):
                    part = word[number * bits : (number + 1) * bits]
                    m.d.sync += part.eq(value[: len(part)])
        with m.If(whole):
            m.d.sync += [place.eq(place + 1), checks.eq(place == size - 1)]
        with m.If(beat & checks):
            m.d.sync += [place.eq(0), checks.eq(0)]
        with m.If(self.start):
            m.d.sync += [chunk.eq(0), place.eq(0), checks.eq(0), self.write.en.eq(0), self.write.addr.eq(0)]
        return checks
