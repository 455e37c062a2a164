"""The loader: writes a load stream into the memories, and says when all of it is right."""

from __future__ import annotations

from enum import IntEnum

from amaranth.hdl import Module, Mux, Signal, Value, ValueLike
from amaranth.lib import stream
from amaranth.lib.crc.catalog import CRC32_ETHERNET
from amaranth.lib.wiring import In, Out

from ..sim.engine.loadstream import MAGIC, STREAM_VERSION, LoadError
from ..sim.engine.target import Target
from .parts.component import Component
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
    ADD = 4
    COMPARE = 5
    WORDS = 6
    CRC = 7
    JUDGE = 8
    COMMIT = 9
    DISCARD = 10
    AWAIT = 11


class Loader(Component):
    """Receiver of the load stream (docs/accelerator.md), the hardware twin of `sim.engine.loadstream.parse_stream`.

    With two banks every word goes to the one that is not read, so a refused stream changes nothing that the engine
    uses; a complete stream waits, with `ready` low, until `idle`. With one bank a stream waits for `idle` behind its
    header; from there on the engine has no network until all of the stream was right.

    A beat's TLAST is judged before what the beat holds. After an error the rest of the stream is taken and dropped up
    to TLAST. A stream that stays unfinished is given up by `abort_load`; beats that its sender still delivers count as
    a new stream, and are refused. `abort_load` has no effect on a complete stream, and none between streams.

    Timing: one beat a cycle, except a cycle without `ready` after each beat that is judged (magic, length, engine, CRC)
        and three after a section header; a beat is on the load bus in the cycle after it was taken; `commit` comes two
        cycles after the last beat, or as soon as `idle` is high; `error` comes a cycle after what refuses the stream
        was seen. Comparisons of whole beats end in registers, and "how many follow" is known a cycle early.
    Numerics: CRC-32 as zlib.crc32 over the bytes in little-endian order.

    Parameters
    ----------
    engine : Target
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
        High for one cycle: the stream was right; swap the banks.
    replaces : Out
        High for one cycle: from the next one on the only bank is overwritten.
    loaded : Out
        There is a network: a stream was committed since reset, and nothing of it was overwritten.
    error : Out
        Code of `LoadError` for one cycle when a stream is refused, else 0.
    loads_ok, loads_bad : Out
        Streams committed and refused since reset.
    """

    def __init__(self, engine: Target):
        self.engine = engine
        super().__init__(
            {
                "beats": In(stream.Signature(LOAD_BEAT)),
                "idle": In(1),
                "abort_load": In(1),
                "load": Out(LOAD_BUS),
                "commit": Out(1),
                "replaces": Out(1),
                "loaded": Out(1),
                "error": Out(4),
                "loads_ok": Out(32),
                "loads_bad": Out(32),
            }
        )
        self._banks = max(memory.banks for memory in engine.load_memories.values())
        self._word, self._last = self.beats.payload.data, self.beats.payload.last
        self._state = Signal(State, init=State.MAGIC)
        self._beat = Signal()  # a beat is taken in this cycle
        self._reason = Signal(LoadError)  # why a stream is refused in this cycle
        self._remaining = Signal(32)  # beats to come, without the CRC beat
        self._none_left, self._one_left = Signal(), Signal()  # `remaining` is 0, 1
        self._fault, self._short = Signal(LoadError), Signal()  # of the beat that is judged: why not; it was the last
        self._after = Signal(State)  # what follows it

    def elaborate(self, platform: object) -> Module:
        """Build the state machine, one state for each kind of beat."""
        m = Module()
        m.submodules.checksum = checksum = CRC32_ETHERNET(data_width=64).create()
        m.d.comb += [self._beat.eq(self.beats.valid & self.beats.ready), self.replaces.eq(0)]
        m.d.sync += [
            self._none_left.eq(self._remaining == Mux(self._beat, 1, 0)),
            self._one_left.eq(self._remaining == Mux(self._beat, 2, 1)),
            connect(self.error, self._reason),
        ]
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
        with m.If(self.commit):
            m.d.sync += [self.loaded.eq(1), self.loads_ok.eq(self.loads_ok + 1)]
        with m.If(self.replaces):
            m.d.sync += self.loaded.eq(0)
        with m.If(self.error != LoadError.NONE):
            m.d.sync += self.loads_bad.eq(self.loads_bad + 1)
        return m

    def _go(self, m: Module, state: ValueLike) -> None:
        """Choose the next state; a later choice in the same cycle wins over an earlier one."""
        m.d.sync += self._state.eq(state)

    def _judge(self, m: Module, after: State, **faults: ValueLike) -> None:
        """Judge the beat that is taken in the next cycle; a later fault wins over an earlier one."""
        m.d.sync += [connect(self._after, after), self._fault.eq(LoadError.NONE), connect(self._short, self._last)]
        for name, when in faults.items():
            with m.If(when):
                m.d.sync += self._fault.eq(LoadError[name])
        self._go(m, State.JUDGE)

    def _cut_short(self, m: Module, *, when: ValueLike) -> None:
        """End a stream that has no CRC beat; comes last in a state because TLAST is judged first."""
        with m.If(when):
            m.d.comb += self._reason.eq(LoadError.LENGTH)
            self._go(m, State.MAGIC)

    def _header_states(self, m: Module) -> None:
        """Beats 0 to 2: magic; version and length; engine. And what is judged of them, of a section and of the CRC."""
        length = self._word[32:]
        headers: dict[State, tuple[State, dict[str, ValueLike]]] = {
            State.MAGIC: (State.LENGTH, {"MAGIC": self._word != MAGIC}),
            State.LENGTH: (State.ENGINE, {"LENGTH": length == 0, "VERSION": self._word[:32] != STREAM_VERSION}),
            State.ENGINE: (
                State.SECTION if self._banks == 2 else State.AWAIT,
                {"ENGINE": self._word != self.engine.fingerprint()},
            ),
        }
        for state, (after, faults) in headers.items():
            with m.If(self._state == state):
                m.d.comb += self.beats.ready.eq(1)
                with m.If(self._beat):
                    self._judge(m, after, **faults)
                if state is not State.MAGIC:
                    self._cut_short(m, when=self.abort_load)
        with m.If((self._state == State.LENGTH) & self._beat):
            m.d.sync += connect(self._remaining, length)
        if self._banks == 1:
            with m.If(self._state == State.AWAIT):
                with m.If(self.idle):
                    m.d.comb += self.replaces.eq(~self.abort_load)
                    self._go(m, Mux(self._none_left, State.CRC, State.SECTION))
                self._cut_short(m, when=self.abort_load)
        with m.If(self._state == State.JUDGE):
            with m.If((self._after == State.SECTION) & self._none_left):
                self._go(m, State.CRC)
            with m.Else():
                self._go(m, self._after)
            with m.If(self._fault != LoadError.NONE):
                m.d.comb += connect(self._reason, self._fault)
                over = self.abort_load | (self._fault == LoadError.CRC)
                self._go(m, Mux(over, State.MAGIC, State.DISCARD))
            # A complete stream is not given up any more, and its last beat may be the last.
            self._cut_short(m, when=(self.abort_load | self._short) & (self._after != State.COMMIT))

    def _section_states(self, m: Module) -> None:
        """Sections: header, where its words end and whether they fit, words."""
        specs = self.engine.load_memories.values()
        known, depth, beats = Signal(), Signal(range(max(s.depth for s in specs) + 1)), Signal(7)  # of the memory
        memory, addr, words, end = Signal(8), Signal(24), Signal(32), Signal(33)  # what is still to be written
        with m.If(self._state == State.SECTION):
            m.d.comb += self.beats.ready.eq(1)
            with m.If(self._beat):
                m.d.sync += [memory.eq(self._word[:8]), addr.eq(self._word[8:32]), words.eq(self._word[32:])]
                m.d.sync += [known.eq(0), connect(self._short, self._last)]
                for spec in specs:
                    with m.If(self._word[:8] == spec.id):
                        m.d.sync += [known.eq(1), connect(depth, spec.depth), connect(beats, spec.beats)]
                self._go(m, State.ADD)
            self._cut_short(m, when=self.abort_load)
        with m.If(self._state == State.ADD):
            m.d.sync += [end.eq(addr + words), self._after.eq(Mux(words == 0, State.SECTION, State.WORDS))]
            m.d.sync += self._fault.eq(Mux(known, LoadError.NONE, LoadError.SECTION))
            self._go(m, State.COMPARE)
            self._cut_short(m, when=self.abort_load)
        with m.If(self._state == State.COMPARE):
            with m.If((self._after == State.WORDS) & self._none_left):
                m.d.sync += self._fault.eq(LoadError.LENGTH)
            with m.If((self._fault != LoadError.NONE) | (end > depth)):
                m.d.sync += self._fault.eq(LoadError.SECTION)
            self._go(m, State.JUDGE)
            self._cut_short(m, when=self.abort_load)
        self._words(m, memory, addr, words, beats)

    def _words(self, m: Module, memory: Signal, addr: Signal, words: Signal, beats: Signal) -> None:
        """Words of a section, `beats` beats each, to the load bus."""
        beat, last_beat, last_word, writes = Signal(6), Signal(), Signal(), Signal()
        bus = Signal(LOAD_BUS, reset_less=True)
        taken = Signal()
        m.d.comb += [
            connect(self.load, bus),
            connect(self.load.en, writes),
            taken.eq(self._beat & (self._state == State.WORDS)),
        ]
        m.d.sync += [
            connect(writes, taken),
            # Of the beat that comes next.
            last_beat.eq(Mux(taken & last_beat, beats == 1, beat == Mux(taken, beats - 2, beats - 1))),
            last_word.eq(words == Mux(taken & last_beat, 2, 1)),
        ]
        with m.If(self._state == State.ADD):
            m.d.sync += beat.eq(0)
        with m.If(self._state == State.WORDS):
            m.d.comb += self.beats.ready.eq(1)
            with m.If(self._beat):
                m.d.sync += [
                    *(beat.eq(Mux(last_beat, 0, beat + 1)), addr.eq(addr + last_beat), words.eq(words - last_beat)),
                    *(connect(bus.memory, memory), connect(bus.addr, addr), connect(bus.beat, beat)),
                    connect(bus.data, self._word),
                ]
                with m.If(last_beat & last_word):
                    self._go(m, Mux(self._one_left, State.CRC, State.SECTION))
                with m.Elif(self._one_left):
                    m.d.comb += self._reason.eq(LoadError.LENGTH)
                    self._go(m, State.DISCARD)
            self._cut_short(m, when=self.abort_load | (self._beat & self._last))

    def _end_states(self, m: Module, checksum: Value) -> None:
        """What ends a stream: the CRC beat, the wait for the engine, or dropping what is left of a refused one."""
        with m.If(self._state == State.CRC):
            m.d.comb += self.beats.ready.eq(1)
            with m.If(self._beat):
                self._judge(m, State.COMMIT, CRC=self._word != checksum, LENGTH=~self._last)
            self._cut_short(m, when=self.abort_load & ~self._beat)
        with m.If(self._state == State.COMMIT):
            m.d.comb += connect(self.commit, self.idle)
            with m.If(self.idle):
                self._go(m, State.MAGIC)
        with m.If(self._state == State.DISCARD):
            m.d.comb += self.beats.ready.eq(1)
            with m.If(self.abort_load | (self._beat & self._last)):
                self._go(m, State.MAGIC)
