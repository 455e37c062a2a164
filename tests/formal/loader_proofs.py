"""The loader: a word is written only by a beat that its stream's headers allow, and by every such beat.

The stream is read a second time, beat by beat as docs/accelerator.md has it and without the loader's waits: what it is
in, how many beats are left, and which word of which memory is next. The loader must be in the same place whenever it
takes a beat.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from proving import Fault, Harness, Proof, before, claim

from bivit.hw import loader
from bivit.hw.loader import State
from bivit.sim.engine.loadstream import MAGIC, STREAM_VERSION
from bivit.sim.engine.words import LoadMemory

#: States in which a beat is taken, or a whole stream waits.
PLAIN = (State.MAGIC, State.LENGTH, State.ENGINE, State.SECTION, State.WORDS, State.CRC, State.DISCARD, State.COMMIT)


@dataclass(frozen=True)
class Small:
    """An engine of two memories: words of one beat and of three."""

    load_memories: dict[str, LoadMemory] = field(
        default_factory=lambda: {"short": LoadMemory(1, 64, 5), "long": LoadMemory(6, 160, 9)}
    )

    def fingerprint(self) -> int:
        """Any number."""
        return 0x0123456789ABCDEF


class Reading:
    """The stream as it is read here: what the next beat is, and what is left of its section."""

    def __init__(self, m: Module, h: Any, taken: Value, commit: Value):
        self.state, self.left = Signal(State, init=State.MAGIC), Signal(32)
        self.memory, self.addr, self.words = Signal(8), Signal(24), Signal(32)
        self.beat, self.beats, self.depth = Signal(6), Signal(7), Signal(5)
        self._m, self._word = m, h.data
        in_crc = self.state == State.CRC
        with m.If(taken):
            m.d.sync += self.left.eq(self.left - 1)
            self._headers()
            self._section()
            self._words()
            with m.If(in_crc):
                right = Mux(h.data == h.crc, State.COMMIT, State.MAGIC)
                self._go(Mux(h.last, right, State.DISCARD))
            with m.If(h.last & ~in_crc):
                self._go(State.MAGIC)
        # A stream is given up, but not in the cycle of its last beat, or of one that should be.
        given_up = h.abort & (self.state != State.MAGIC) & (self.state != State.COMMIT) & ~(in_crc & taken)
        with m.If(given_up | commit):
            self._go(State.MAGIC)

    def _go(self, state: Any) -> None:
        self._m.d.sync += self.state.eq(state)

    def _behind_words(self) -> Value:
        """What comes behind a section."""
        return Mux(self.left == 1, State.CRC, State.SECTION)

    def _headers(self) -> None:
        """Magic, length, engine."""
        m, word = self._m, self._word
        with m.If(self.state == State.MAGIC):
            self._go(Mux(word == MAGIC, State.LENGTH, State.DISCARD))
        with m.If(self.state == State.LENGTH):
            m.d.sync += self.left.eq(word[32:])
            self._go(Mux((word[:32] == STREAM_VERSION) & (word[32:] != 0), State.ENGINE, State.DISCARD))
        with m.If(self.state == State.ENGINE):
            self._go(Mux(word == Small().fingerprint(), self._behind_words(), State.DISCARD))

    def _section(self) -> None:
        """The header of a section: its memory is known, and its words are within it and in the stream."""
        m, word = self._m, self._word
        with m.If(self.state == State.SECTION):
            m.d.sync += [self.memory.eq(word[:8]), self.addr.eq(word[8:32]), self.words.eq(word[32:]), self.beat.eq(0)]
            self._go(State.DISCARD)
            for spec in Small().load_memories.values():
                with m.If((word[:8] == spec.id) & (word[8:32] + word[32:] <= spec.depth)):
                    m.d.sync += [self.beats.eq(spec.beats), self.depth.eq(spec.depth)]
                    with m.If(word[32:] == 0):
                        self._go(self._behind_words())
                    with m.Elif(self.left != 1):
                        self._go(State.WORDS)

    def _words(self) -> None:
        """A beat of a word."""
        m, word_end = self._m, self.beat == self.beats - 1
        with m.If(self.state == State.WORDS):
            m.d.sync += [self.beat.eq(Mux(word_end, 0, self.beat + 1))]
            m.d.sync += [self.addr.eq(self.addr + word_end), self.words.eq(self.words - word_end)]
            with m.If(word_end & (self.words == 1)):
                self._go(self._behind_words())
            with m.Elif(self.left == 1):
                self._go(State.DISCARD)


def writes() -> Harness:
    """The loader beside what reads the stream again."""
    free = {"valid": 1, "data": 64, "last": 1, "idle": 1, "abort": 1}

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = loader.Loader(Small())
        m.d.comb += [dut.beats.valid.eq(h.valid), dut.beats.payload.data.eq(h.data), dut.beats.payload.last.eq(h.last)]
        m.d.comb += [dut.idle.eq(h.idle), dut.abort_load.eq(h.abort)]
        taken = h.valid & dut.beats.ready
        reading = Reading(m, h, taken, dut.commit)
        claim_reading(m, h, reading)
        for state in PLAIN:
            claim(m, f"state_{state.name.lower()}", (h.state != state) | (reading.state == state))
        waits = h.state == State.AWAIT
        claim(m, "waiting", ~waits | (reading.state == Mux(reading.left == 0, State.CRC, State.SECTION)))
        claim(m, "states", h.state <= State.AWAIT)
        behind = [h.after == state for state in (*PLAIN[1:6], State.COMMIT, State.AWAIT)]
        claim(m, "judged", (h.state != State.JUDGE) | Cat(behind).any())
        written = before(m, taken & (reading.state == State.WORDS), 1, "written", reset_less=False)
        claim(m, "write", dut.load.en == written)
        fields = {"memory": reading.memory, "addr": reading.addr, "beat": reading.beat, "data": h.data}
        for name, value in fields.items():
            claim(m, f"write_{name}", ~written | (getattr(dut.load, name) == before(m, value, 1, name)))
        with m.If(dut.load.en):
            one, other = ((dut.load.memory == s.id) & (dut.load.addr < s.depth) for s in MEMORIES)
            claim(m, "within", one | other)
        overwrites = [s for s in State if State.SECTION <= s <= State.CRC] + [State.COMMIT]
        begun = Cat(h.state == s for s in overwrites).any()
        judged = (h.state == State.JUDGE) & Cat(h.after == s for s in overwrites).any()
        claim(m, "no_network", ~dut.loaded | ~(begun | judged | dut.load.en))
        claim(m, "commit", dut.commit == ((h.state == State.COMMIT) & h.idle))

    return Harness(free, body, INNER, cut=["dut.crc"])


def claim_reading(m: Module, h: Any, reading: Reading) -> None:
    """What is left of a section fits; and the loader counts the same."""
    state = reading.state
    with m.If(state == State.WORDS):
        claim(m, "fits", (reading.words != 0) & (reading.words <= reading.depth))
        claim(m, "end", reading.addr + reading.words <= reading.depth)
        claim(m, "within_word", reading.beat < reading.beats)
        sizes = [(reading.memory == s.id) & (reading.depth == s.depth) & (reading.beats == s.beats) for s in MEMORIES]
        claim(m, "memory", sizes[0] | sizes[1])
    with m.If(h.state == State.WORDS):
        claim(m, "same_word", (h.addr == reading.addr) & (h.words == reading.words) & (h.beat == reading.beat))
        claim(m, "same_memory", (h.memory == reading.memory) & (h.beats == reading.beats))
    counts = (state == State.ENGINE) | (state == State.SECTION) | (state == State.WORDS)
    claim(m, "left", ~counts | (reading.left != 0))
    claim(m, "none_left", (state != State.CRC) | (reading.left == 0))
    claim(m, "same_left", ~(counts | (state == State.CRC)) | (h.remaining == reading.left))


MEMORIES = tuple(Small().load_memories.values())
INNER = {
    **{"state": (4, "dut._state"), "after": (4, "dut._after")},
    "remaining": (32, "dut._remaining"),
    "memory": (8, "dut.memory|dut.$signal$#7"),
    "addr": (24, "dut.addr|dut.$signal$#8"),
    "words": (32, "dut.words|dut.$signal$#9"),
    "beats": (7, "dut.beats"),
    "beat": (6, "dut.beat|dut.$signal$#13"),
    "crc": (32, "dut.crc"),
}

WRITES = (
    "each beat of a section that the headers allow is written, a cycle later, to its memory, word and place in the "
    "word, and no other beat is; behind an error nothing is until a stream begins anew; while it is, there is no "
    "network; `commit` comes once, where all was right and the engine is idle"
)

PROOFS: dict[str, Proof] = {
    "loader_writes": Proof(
        "hw/loader.py", WRITES, "two memories, words of 1 and 3 beats, one bank, any checksum", writes, 6
    ),
}

FAULTS: dict[str, Fault] = {
    "any magic": Fault("loader_writes", loader, '"MAGIC": self._word != MAGIC', '"MAGIC": 0', "state_length"),
    "a word beyond the end": Fault("loader_writes", loader, "(end > depth)", "(end > depth + 1)", "state_"),
    "an unknown memory": Fault(
        "loader_writes", loader, "Mux(known, LoadError.NONE, LoadError.SECTION)", "LoadError.NONE", "state_"
    ),
    "a section that ends late": Fault(
        "loader_writes", loader, "words == Mux(taken & last_beat, 2, 1)", "words == 1", "state_"
    ),
    "a network that is overwritten": Fault(
        "loader_writes", loader, "m.d.sync += self.loaded.eq(0)", "m.d.sync += self.loaded.eq(1)", "no_network"
    ),
    "a last beat that is not judged": Fault(
        "loader_writes", loader, "when=self.abort_load | (self._beat & self._last)", "when=self.abort_load", "state_"
    ),
}
