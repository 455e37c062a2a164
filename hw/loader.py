"""The loader: writes a load stream into the banks that are not in use and swaps them when all of it is right."""

from __future__ import annotations

from enum import IntEnum

from amaranth.hdl import Module, Mux, Signal, Value, ValueLike
from amaranth.lib import stream, wiring
from amaranth.lib.crc.catalog import CRC32_ETHERNET
from amaranth.lib.wiring import In, Out

from ..sim.engine.config import EngineConfig
from ..sim.engine.loadstream import MAGIC, STREAM_VERSION, LoadError
from .parts.connect import connect
from .parts.stream import LOAD_BEAT, LOAD_BUS


class State(IntEnum):
    """What the next beat is, or what the loader waits for.

    Compared one by one, because Amaranth's own state machine comes out as incomplete Verilog cases.
    """

    MAGIC = 0
    LENGTH = 1
    ENGINE = 2
    SECTION = 3
    CHECK = 4
    WORDS = 5
    CRC = 6
    COMMIT = 7
    DISCARD = 8


class Loader(wiring.Component):
    """Receiver of the load stream (docs/accelerator.md), the hardware twin of `sim.engine.loadstream.parse_stream`.

    Every word goes to the bank that is not read, so a refused stream changes nothing that the engine uses. A beat's
    TLAST is judged before what the beat holds. After an error the rest of the stream is taken and dropped up to TLAST.
    A stream that stays unfinished is given up by `abort_load`; beats that its sender still delivers count as a new
    stream, and are refused. A complete stream waits, with `ready` low, until `idle`; `abort_load` has no effect on it,
    and none between streams.

    Timing: one beat a cycle, except one cycle without `ready` after each section header; a beat is on the load bus in
        the cycle after it was taken; `commit` comes in the cycle after the last beat, or as soon as `idle` is high.
    Numerics: CRC-32 as zlib.crc32 over the bytes in little-endian order.

    Parameters
    ----------
    engine : EngineConfig
        Gives the fingerprint and the memories.

    Members
    -------
    beats : In(stream of LOAD_BEAT)
        The load stream; `ready` does not depend on `valid`.
    idle : In
        The engine reads no loadable memory in the next cycle: must be low already in the cycle of its start.
    abort_load : In
        Give up an unfinished stream: it counts as refused with LENGTH.
    load : Out(LOAD_BUS)
        To every loadable memory.
    commit : Out
        High for one cycle: swap the banks.
    loaded : Out
        A program was committed since reset.
    error : Out
        Code of `LoadError` for one cycle when a stream is refused, else 0.
    loads_ok, loads_bad : Out
        Streams committed and refused since reset.
    """

    def __init__(self, engine: EngineConfig):
        self.engine = engine
        super().__init__(
            {
                "beats": In(stream.Signature(LOAD_BEAT)),
                "idle": In(1),
                "abort_load": In(1),
                "load": Out(LOAD_BUS),
                "commit": Out(1),
                "loaded": Out(1),
                "error": Out(4),
                "loads_ok": Out(32),
                "loads_bad": Out(32),
            }
        )
        self._word, self._last = self.beats.payload.data, self.beats.payload.last
        self._state = Signal(State, init=State.MAGIC)
        self._beat = Signal()  # a beat is taken in this cycle
        self._reason = Signal(LoadError)  # why a stream is refused in this cycle
        self._remaining = Signal(32)  # beats to come, without the CRC beat
        self._writes = Signal()  # the load bus holds a beat

    def elaborate(self, platform: object) -> Module:
        """Build the state machine, one state for each kind of beat."""
        m = Module()
        m.submodules.checksum = checksum = CRC32_ETHERNET(data_width=64).create()
        m.d.comb += [self._beat.eq(self.beats.valid & self.beats.ready), connect(self.error, self._reason)]
        with m.If(self._beat):
            m.d.sync += self._remaining.eq(self._remaining - 1)
        self._header_states(m)
        self._section_states(m)
        self._end_states(m, checksum.crc)
        m.d.comb += [
            connect(checksum.data, self._word),
            connect(checksum.valid, self._beat),
            checksum.start.eq(self._state == State.MAGIC),
        ]
        m.d.sync += self._writes.eq(self._beat & (self._state == State.WORDS))
        with m.If(self.commit):
            m.d.sync += [self.loaded.eq(1), self.loads_ok.eq(self.loads_ok + 1)]
        with m.If(self._reason != LoadError.NONE):
            m.d.sync += self.loads_bad.eq(self.loads_bad + 1)
        return m

    def _go(self, m: Module, state: State) -> None:
        """Choose the next state; a later choice in the same cycle wins over an earlier one."""
        m.d.sync += connect(self._state, state)

    def _refuse(self, m: Module, reason: LoadError, *, when: ValueLike) -> None:
        """Report `reason` and drop what follows this beat; a later call in the same state wins over an earlier one."""
        with m.If(when):
            m.d.comb += connect(self._reason, reason)
            self._go(m, State.DISCARD)

    def _cut_short(self, m: Module, *, when: ValueLike) -> None:
        """End a stream that has no CRC beat; comes last in a state because TLAST is judged first."""
        with m.If(when):
            m.d.comb += self._reason.eq(LoadError.LENGTH)
            self._go(m, State.MAGIC)

    def _after(self, m: Module, remaining: ValueLike) -> None:
        """Choose what follows header or section: the next section while beats remain."""
        with m.If(remaining == 0):
            self._go(m, State.CRC)
        with m.Else():
            self._go(m, State.SECTION)

    def _header_states(self, m: Module) -> None:
        """Beats 0 to 2: magic; version and length; engine."""
        with m.If(self._state == State.MAGIC):
            m.d.comb += self.beats.ready.eq(1)
            with m.If(self._beat):
                self._go(m, State.LENGTH)
                self._refuse(m, LoadError.MAGIC, when=self._word != MAGIC)
            self._cut_short(m, when=self._beat & self._last)
        with m.If(self._state == State.LENGTH):
            m.d.comb += self.beats.ready.eq(1)
            with m.If(self._beat):
                m.d.sync += self._remaining.eq(self._word[32:])
                self._go(m, State.ENGINE)
                self._refuse(m, LoadError.LENGTH, when=self._word[32:] == 0)
                self._refuse(m, LoadError.VERSION, when=self._word[:32] != STREAM_VERSION)
            self._cut_short(m, when=self.abort_load | (self._beat & self._last))
        with m.If(self._state == State.ENGINE):
            m.d.comb += self.beats.ready.eq(1)
            with m.If(self._beat):
                self._after(m, self._remaining - 1)
                self._refuse(m, LoadError.ENGINE, when=self._word != self.engine.fingerprint())
            self._cut_short(m, when=self.abort_load | (self._beat & self._last))

    def _section_states(self, m: Module) -> None:
        """Sections: header, a cycle to judge it, words."""
        specs = self.engine.load_memories.values()
        known, depth, beats = Signal(), Signal(range(max(s.depth for s in specs) + 1)), Signal(7)  # of the memory
        memory, addr, words = Signal(8), Signal(24), Signal(32)  # what is still to be written
        beat = Signal(6)
        bus = Signal(LOAD_BUS, reset_less=True)
        m.d.comb += [connect(self.load, bus), connect(self.load.en, self._writes)]
        with m.If(self._state == State.SECTION):
            m.d.comb += self.beats.ready.eq(1)
            with m.If(self._beat):
                m.d.sync += [memory.eq(self._word[:8]), addr.eq(self._word[8:32]), words.eq(self._word[32:])]
                m.d.sync += [known.eq(0), beat.eq(0)]
                for spec in specs:
                    with m.If(self._word[:8] == spec.id):
                        m.d.sync += [known.eq(1), connect(depth, spec.depth), connect(beats, spec.beats)]
                self._go(m, State.CHECK)
            self._cut_short(m, when=self.abort_load | (self._beat & self._last))
        with m.If(self._state == State.CHECK):
            self._go(m, State.WORDS)
            with m.If(words == 0):
                self._after(m, self._remaining)
            self._refuse(m, LoadError.LENGTH, when=(words != 0) & (self._remaining == 0))
            self._refuse(m, LoadError.SECTION, when=~known | (addr + words > depth))
            self._cut_short(m, when=self.abort_load)
        with m.If(self._state == State.WORDS):
            m.d.comb += self.beats.ready.eq(1)
            with m.If(self._beat):
                done = beat == beats - 1
                m.d.sync += [beat.eq(Mux(done, 0, beat + 1)), addr.eq(addr + done), words.eq(words - done)]
                m.d.sync += [
                    connect(bus.memory, memory),
                    connect(bus.addr, addr),
                    connect(bus.beat, beat),
                    connect(bus.data, self._word),
                ]
                with m.If(done & (words == 1)):
                    self._after(m, self._remaining - 1)
                with m.Else():
                    self._refuse(m, LoadError.LENGTH, when=self._remaining == 1)
            self._cut_short(m, when=self.abort_load | (self._beat & self._last))

    def _end_states(self, m: Module, checksum: Value) -> None:
        """What ends a stream: the CRC beat, the wait for the engine, or dropping what is left of a refused one."""
        with m.If(self._state == State.CRC):
            m.d.comb += self.beats.ready.eq(1)
            with m.If(self._beat):
                self._go(m, State.COMMIT)
                with m.If(self._word != checksum):
                    m.d.comb += self._reason.eq(LoadError.CRC)
                    self._go(m, State.MAGIC)
                self._refuse(m, LoadError.LENGTH, when=~self._last)
            self._cut_short(m, when=self.abort_load)
        with m.If(self._state == State.COMMIT):
            m.d.comb += connect(self.commit, self.idle)
            with m.If(self.idle):
                self._go(m, State.MAGIC)
        with m.If(self._state == State.DISCARD):
            m.d.comb += self.beats.ready.eq(1)
            with m.If(self.abort_load | (self._beat & self._last)):
                self._go(m, State.MAGIC)
