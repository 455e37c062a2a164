"""Weights that come from a memory beside the engine while it computes: in which parts, in how many beats."""

from __future__ import annotations

from dataclasses import dataclass

from ..engine.words import WORD, ceil_div
from .config import FlowConfig
from .operation import Operands
from .streams import Stream, TileShape

#: The parts of a block, in the order in which they are needed, read, and lie in the memory.
WEIGHT_PARTS = (Stream.QKV, Stream.PROJ, Stream.FC1, Stream.FC2)
#: Beats of a burst but for a part's last one; so many of the widest port are the 4,096 bytes that a burst may have.
BURST_BEATS = 64
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
class WeightStreamUnit:
    """Reads the weights of one block after the other, again and again, two blocks at a time in the engine.

    A *part* is the weights of one layer of a block: its words as they lie in the engine, cut into beats, least
    significant first, and a beat behind them that checks it: of each 64 bits of a beat the low half is the CRC-32 (as
    zlib.crc32) of these 64 bits of all beats before, and the high half the network's number (register NETWORK) xor the
    part's number among those of all blocks. A part begins at a multiple of `BURST_BEATS` beats; what is between is not
    read.

    A part is read as soon as the first tile of the part one block before has begun with its weights, so that there is
    the time of a block for it, and used when all of it was right. How long the memory takes is not known; the array
    waits for weights that are late (`Cause.MEMORY`).

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

    def beats(self, shape: TileShape) -> dict[Stream, int]:
        """Return the beats that are read of each part, with the one that checks it.

        Parameters
        ----------
        shape : TileShape
        """
        words = {part: shape.operations[part] * shape.steps[part] for part in WEIGHT_PARTS}
        return {part: words[part] * self.word_beats + 1 for part in WEIGHT_PARTS}

    def offsets(self, shape: TileShape) -> dict[Stream, int]:
        """Return the byte of a block at which each part begins.

        Parameters
        ----------
        shape : TileShape
        """
        found, at = {}, 0
        for part, beats in self.beats(shape).items():
            found[part], at = at, at + self._room(beats)
        return found

    def block_bytes(self, shape: TileShape) -> int:
        """Return the bytes from block to block in the memory.

        Parameters
        ----------
        shape : TileShape
        """
        return sum(self._room(beats) for beats in self.beats(shape).values())

    def image_bytes(self, shape: TileShape) -> int:
        """Return the bytes of all blocks in the memory.

        Parameters
        ----------
        shape : TileShape
        """
        return shape.config.depth * self.block_bytes(shape)

    def pass_bytes(self, shape: TileShape) -> int:
        """Return the bytes that are read while images go through all blocks once, `images` of them together.

        Parameters
        ----------
        shape : TileShape
        """
        return shape.config.depth * sum(self.beats(shape).values()) * self.beat_bytes

    def most_beats(self) -> int:
        """Return the beats that a part has at most: those of a block in one."""
        return Operands(self.flow).weight_depth // self.flow.weight_blocks * self.word_beats + 1

    def _room(self, beats: int) -> int:
        """Bytes of whole bursts."""
        return ceil_div(beats, BURST_BEATS) * BURST_BEATS * self.beat_bytes
