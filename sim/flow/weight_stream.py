"""Weights that come from a memory beside the engine while it computes: in which parts, in how many beats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..engine.fields import pack_field
from ..engine.words import WORD, LoadMemory, ceil_div
from ..network.config import ModelConfig
from ..network.stage_view import stage_views
from .config import BURST_BEATS, FlowConfig
from .memories import loaded
from .operation import Operands
from .settings import WEIGHT_PARTS, weight_bases
from .streams import Stream, TileShape

#: The number of a patch merging's part, behind those of a block.
MERGING = len(WEIGHT_PARTS)
#: Bursts that are asked for and not yet there, at most: they cover a latency of so many times `BURST_BEATS` cycles.
OPEN_BURSTS = 8
#: Bytes that the memory image's address is a multiple of.
IMAGE_ALIGNMENT = 4096
#: Bits of an address on the port.
ADDRESS_BITS = 64
#: Cycles without a beat, while the array waits for weights, after which the memory counts as silent.
SILENCE_CYCLES = 1 << 16
#: Bits of the number that tells the reads of one run from those of another.
RUN_BITS = 4


@dataclass(frozen=True)
class WeightPart:
    """A part: the weights of one layer of a block, or of a patch merging.

    Parameters
    ----------
    kind : int
        Its place in `WEIGHT_PARTS`, or `MERGING`.
    word, words : int
        Its first word among those of its block, or of its patch merging, and how many they are.
    byte, beats : int
        Where it begins in the memory, and its beats with the one that checks it.
    ends : bool
        Whether it is the last one of its block, or of its patch merging.
    """

    kind: int
    word: int
    words: int
    byte: int
    beats: int
    ends: bool


@dataclass(frozen=True)
class WeightStreamUnit:
    """Reads the weights of one block after the other, again and again: two blocks at a time in the engine, or a ring.

    A *part* is the weights of one layer of a block: its words as they lie in the engine, cut into beats, least
    significant first, and a beat behind them that checks it: of each 64 bits of a beat the low half is the CRC-32 (as
    zlib.crc32) of these 64 bits of all beats before, and the high half the network's number (register NETWORK) xor the
    part's number among those of the network. A part begins at a multiple of `BURST_BEATS` beats; what is between is not
    read. The part of a patch merging comes behind those of the block before it.

    Without a ring a part is read as soon as the first tile of the part one block before has begun with its weights, so
    that there is the time of a block for it, and used when all of it was right. How long the memory takes is not known;
    the array waits for weights that are late (`Cause.MEMORY`).

    In a ring, which engines with windows have, and others may, parts lie as they are read, pass after pass and group
    after group. A burst is read when the ring has room for a whole one; the last tile of a block, with windows that of
    its last window, gives room back, operation by operation, as it reads. Words are done with in the order in which
    they lie there: of that tile each stream waits for all that the one before makes, and no window of a block is taken
    before all of the block before are through. So where a stream waits for a part, at most the three parts before it
    are not done with, and a ring in which four parts and a burst have room always goes on.

    Parameters
    ----------
    flow : FlowConfig
        With streamed weights.
    """

    flow: FlowConfig

    @property
    def lanes(self) -> int:
        """Parts of 64 bits of a beat."""
        return self.flow.memory_bits // WORD

    @property
    def word_beats(self) -> int:
        """Beats of a word of weights."""
        return self.flow.engine.columns * WORD // self.flow.memory_bits

    @property
    def beat_bytes(self) -> int:
        """Bytes of a beat."""
        return self.flow.memory_bits // 8

    @property
    def kinds(self) -> int:
        """Kinds of parts: those of a block, and of a patch merging where there are windows."""
        return MERGING + 1 if self.flow.windows else MERGING

    @property
    def most_parts(self) -> int:
        """Parts of a kind that are in the engine, at most; in a ring as many as there are words."""
        return self.flow.weight_ring or self.flow.weight_blocks

    @property
    def fields(self) -> dict[str, int]:
        """Fields of a word of `parts`, as of `WeightPart`, and their widths; final: it is the last part of all.

        In a ring it is not said where a part lies: behind the one before. `begins` says that a part waits for room of
        all kinds, which none does: it is there so that lists and engines stay as they are.
        """
        if self.flow.weight_ring:
            beats = self.flow.weight_ring * self.word_beats
            return {"beats": beats.bit_length(), "kind": (self.kinds - 1).bit_length(), "final": 1}
        words = Operands(self.flow).weight_place
        return {
            "beats": (words * self.word_beats + 1).bit_length(),
            "word": max(1, (words - 1).bit_length()),
            "kind": (self.kinds - 1).bit_length(),
            "begins": 1,
            "ends": 1,
            "final": 1,
        }

    @property
    def load_memories(self) -> dict[str, LoadMemory]:
        """The list of all parts, one a word, in the order in which they are read."""
        return {"parts": loaded(self.flow, "parts", sum(self.fields.values()), MERGING * self.flow.layers)}

    def parts(self, config: ModelConfig) -> tuple[WeightPart, ...]:
        """Return the parts of a network, in the order in which they are read.

        Parameters
        ----------
        config : ModelConfig
        """
        return _parts(self, config)

    def ring_words(self, config: ModelConfig) -> int:
        """Return the words that a ring must have, at least: of any four parts that follow each other, and of a burst.

        Parameters
        ----------
        config : ModelConfig
        """
        beats = [part.beats for part in self.parts(config)]
        most = max(sum(beats[at : at + MERGING]) for at in range(len(beats)))
        return ceil_div(most + BURST_BEATS, self.word_beats)

    def list_words(self, config: ModelConfig) -> list[int]:
        """Return the words of the list of a network's parts.

        Parameters
        ----------
        config : ModelConfig
        """
        parts = self.parts(config)
        found = [0] * len(parts)
        shift = 0
        for name, bits in self.fields.items():
            values = [part is parts[-1] if name == "final" else getattr(part, name, 0) for part in parts]
            for number, value in enumerate(values):
                found[number] |= pack_field(value, bits, f"parts.{name}") << shift
            shift += bits
        return found

    def image_bytes(self, config: ModelConfig) -> int:
        """Return the bytes of a network in the memory.

        Parameters
        ----------
        config : ModelConfig
        """
        return sum(self._room(part.beats) for part in self.parts(config))

    def pass_bytes(self, config: ModelConfig) -> int:
        """Return the bytes that are read while images go through all blocks once, `FlowConfig.together` of them.

        Parameters
        ----------
        config : ModelConfig
        """
        return sum(part.beats for part in self.parts(config)) * self.beat_bytes

    def _room(self, beats: int) -> int:
        """Bytes of whole bursts."""
        return ceil_div(beats, BURST_BEATS) * BURST_BEATS * self.beat_bytes


@lru_cache(maxsize=16)  # a search asks for the same ones time and again
def _parts(unit: WeightStreamUnit, config: ModelConfig) -> tuple[WeightPart, ...]:
    """The parts of a network, block after block."""
    found, byte, engine = list[WeightPart](), 0, unit.flow.engine
    for shape in (TileShape(view, engine.rows, engine.columns) for view in stage_views(config)):
        cut = [*_cut(shape, weight_bases(shape, unit.flow))]
        for _ in range(shape.config.depth):
            for kind, word, words in cut:
                beats, ends = words * unit.word_beats + 1, kind in (MERGING - 1, MERGING)
                found.append(WeightPart(kind, word, words, byte, beats, ends))
                byte += unit._room(beats)
    return tuple(found)


def _cut(shape: TileShape, bases: Mapping[Stream, int]) -> Iterator[tuple[int, int, int]]:
    """Yield the parts of a block, or of a patch merging: kind, first word, words."""
    parts: Sequence[tuple[int, Stream]] = [*enumerate(WEIGHT_PARTS)]
    for kind, stream in [(MERGING, Stream.QKV)] if shape.merges else parts:
        yield kind, bases[stream], shape.operations[stream] * shape.steps[stream]
