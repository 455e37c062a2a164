"""What the edge reads of a memory beside the engine: classifier, positions, patch embedding, a line each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from math import ceil, gcd

from ..engine.pipeline import CHOSEN_READ_CYCLES, POSITION_READ_CYCLES
from ..engine.words import BLOCK_WORDS, Memory, ceil_div, power_of_two
from ..network.config import ModelConfig
from ..network.formats import DENSE_WEIGHT_BITS
from ..network.stage_view import stage_views
from .config import BURST_BEATS, FlowConfig
from .edge import EdgeUnit
from .streams import TileShape
from .weight_stream import RUN_BITS, WeightStreamUnit


class Line(IntEnum):
    """Lines, in the order in which they may ask, by what tells their reads from others: those of parts have 0 there."""

    POSITIONS = 1
    CLASSES = 2
    PATCH_WEIGHTS = 3


#: Bits of that number, and of the number of a read, which has that of the run below it.
LINE_BITS = 2
ID_BITS = RUN_BITS + LINE_BITS
#: Where it is in what the number of a burst is xored with.
LINE_SHIFT = 30
#: Bits of an address in which places of a memory image are counted.
IMAGE_BITS = 32
#: Setting of the cycles from step to step, of lines that are taken step by step.
PACES = {Line.CLASSES: "class_pace", Line.PATCH_WEIGHTS: "patch_pace"}
#: Share of what the blocks leave of the port that such a line takes, and share that they leave, at least.
_MARGIN, _LEAST_FREE = Fraction(7, 8), Fraction(1, 4)


@dataclass(frozen=True)
class EdgeLinesUnit:
    """Reads the words of classifier, positions and patch embedding, in the order in which images use them.

    A *line* is these words for one image, of the patch embedding those for one pass; it is read again and again, as far
    ahead as a ring of words in the engine has room. It is cut into *bursts* of whole words, each as many as fit 64
    beats with one more behind them that checks the burst, as the last beat of a part does (`WeightStreamUnit`): the
    high half is the network's number xor the number of the burst in its line, and the line in the two highest bits.
    Words count as there when their burst was right. A burst begins at a multiple of 64 beats; the last one of a line
    may be shorter.

    The classifier takes a word every `pace` cycles, and so does the patch embedding, of whose *steps* a word holds as
    many as a beat has room for, a power of two; its line is as many passes as it takes to end with a whole word. A pass
    of the patch embedding, or an image that begins with prefix tokens, waits until all positions that it takes are
    there. What is late costs time, which no model knows.

    Parameters
    ----------
    flow : FlowConfig
        With streamed `edge_weights`.
    """

    flow: FlowConfig

    @property
    def lines(self) -> tuple[Line, ...]:
        """Lines of the engine, in their order."""
        return tuple(line for line in Line if line is not Line.PATCH_WEIGHTS or self.flow.patch_streamed)

    def step_bits(self, line: Line) -> int:
        """Return the bits that are taken together: int8 a channel of a group, or P of a chunk.

        Parameters
        ----------
        line : Line
        """
        if line is Line.POSITIONS:
            return EdgeUnit(self.flow).chunk * self.flow.engine.formats.residual_bits
        return self.flow.dense_channels * DENSE_WEIGHT_BITS

    def word_steps(self, line: Line) -> int:
        """Return the steps of a word, a power of two: what is read for every pass leaves no room in a beat.

        Parameters
        ----------
        line : Line
        """
        fitting = self.flow.memory_bits // self.step_bits(line) if line is Line.PATCH_WEIGHTS else 1
        return 1 << max(0, fitting.bit_length() - 1)

    def width(self, line: Line) -> int:
        """Return the bits of a word.

        Parameters
        ----------
        line : Line
        """
        return self.step_bits(line) * self.word_steps(line)

    def word_beats(self, line: Line) -> int:
        """Return the beats of a word.

        Parameters
        ----------
        line : Line
        """
        return ceil_div(self.width(line), self.flow.memory_bits)

    def burst_words(self, line: Line) -> int:
        """Return the words of a burst, but for the last one of a line.

        Parameters
        ----------
        line : Line
        """
        return (BURST_BEATS - 1) // self.word_beats(line)

    def ring(self, line: Line) -> Memory:
        """Return the memory of the words that were read ahead, a power of two of them.

        Two passes of positions, and a burst; of the others as many as block memories have at least, which is many times
        the latency of a memory.

        Parameters
        ----------
        line : Line
        """
        return Memory(self.width(line), max(BLOCK_WORDS, power_of_two(self.soon(line))))

    def soon(self, line: Line) -> int:
        """Return the words that are read before parts of the blocks are; those beyond them are read behind these.

        All of what is taken step by step: bursts of parts that were asked for before take half of what a ring lasts.

        Parameters
        ----------
        line : Line
        """
        if line is Line.POSITIONS:
            return 2 * self.most_taken + self.burst_words(line)
        return BLOCK_WORDS

    def read_cycles(self, line: Line) -> int:
        """Return the cycles from a step's address in the ring to its bits.

        Parameters
        ----------
        line : Line
        """
        if self.word_steps(line) > 1:
            return CHOSEN_READ_CYCLES
        return POSITION_READ_CYCLES if line is Line.POSITIONS else 1

    @property
    def most_taken(self) -> int:
        """Words of positions that a pass takes at most, or prefix tokens."""
        return max(self.flow.dense_patches, 2) * ceil_div(self.flow.engine.max_embed_dim, EdgeUnit(self.flow).chunk)

    @property
    def place_bits(self) -> int:
        """Bits of the number of a burst in a memory image."""
        return IMAGE_BITS - (self.burst_bytes - 1).bit_length()

    # Of a network.

    def words(self, line: Line, config: ModelConfig) -> int:
        """Return the words of a line; of positions there are none where patches are normalised.

        Those of the patch embedding are of `line_passes`.

        Parameters
        ----------
        line : Line
        config : ModelConfig
        """
        if line is Line.POSITIONS:
            return 0 if config.patch_norm else config.num_tokens * (config.embed_dim // EdgeUnit(self.flow).chunk)
        if line is Line.PATCH_WEIGHTS:
            return self.line_passes(config) * self._pass_steps(config) // self.word_steps(line)
        return ceil_div(config.num_classes, self.flow.dense_channels) * config.head_rows * config.num_features

    def line_passes(self, config: ModelConfig) -> int:
        """Return the passes of the patch embedding after which a word ends with a pass.

        Parameters
        ----------
        config : ModelConfig
        """
        whole = self.word_steps(Line.PATCH_WEIGHTS)
        return whole // gcd(whole, self._pass_steps(config))

    def bursts(self, line: Line, config: ModelConfig) -> int:
        """Return the bursts of a line.

        Parameters
        ----------
        line : Line
        config : ModelConfig
        """
        return ceil_div(self.words(line, config), self.burst_words(line))

    def beats(self, line: Line, config: ModelConfig) -> int:
        """Return the beats of a line, those included that check bursts.

        Parameters
        ----------
        line : Line
        config : ModelConfig
        """
        return self.words(line, config) * self.word_beats(line) + self.bursts(line, config)

    def places(self, config: ModelConfig) -> dict[Line, int]:
        """Return the burst of the memory image at which each line begins, behind the blocks.

        Parameters
        ----------
        config : ModelConfig
        """
        blocks = WeightStreamUnit(self.flow).image_bytes(config)
        found, at = {}, blocks // self.burst_bytes
        for line in self.lines:
            found[line], at = at, at + self.bursts(line, config)
        return found

    def image_bytes(self, config: ModelConfig) -> int:
        """Return the bytes of the memory image, with the blocks.

        Parameters
        ----------
        config : ModelConfig
        """
        last = max(self.lines)
        return (self.places(config)[last] + self.bursts(last, config)) * self.burst_bytes

    def read_bytes(self, config: ModelConfig) -> int:
        """Return the bytes that are read for an image.

        Parameters
        ----------
        config : ModelConfig
        """
        beats = sum(self.beats(line, config) * self._reads(line, config) for line in self.lines)
        return ceil(beats * self.flow.memory_bits / 8)

    def pace(self, line: Line, config: ModelConfig) -> int:
        """Return the cycles of a step of classifier or patch embedding, 1 or more.

        So many that its words take no more of the port than the blocks leave while the array is always at work, with a
        margin.

        Parameters
        ----------
        line : {Line.CLASSES, Line.PATCH_WEIGHTS}
        config : ModelConfig
        """
        blocks, array = WeightStreamUnit(self.flow), 0
        for view in stage_views(config):
            shape = TileShape(view, self.flow.engine.rows, self.flow.engine.columns)
            array += view.depth * view.windows * shape.tiles * shape.tile_steps
        taken = Fraction(blocks.pass_bytes(config), blocks.beat_bytes * self.flow.together * array)
        return self._paced(line, max(1 - taken, _LEAST_FREE))

    def most_pace(self, line: Line) -> int:
        """Return the slowest pace of any network.

        Parameters
        ----------
        line : {Line.CLASSES, Line.PATCH_WEIGHTS}
        """
        return self._paced(line, _LEAST_FREE)

    @property
    def burst_bytes(self) -> int:
        """Bytes from burst to burst in the memory image."""
        return BURST_BEATS * WeightStreamUnit(self.flow).beat_bytes

    def _paced(self, line: Line, free: Fraction) -> int:
        words = self.burst_words(line)
        beats = words * self.word_beats(line) + 1
        return ceil(Fraction(beats, words * self.word_steps(line)) / (free * _MARGIN))

    def _reads(self, line: Line, config: ModelConfig) -> Fraction:
        """How often a line is read for an image."""
        if line is not Line.PATCH_WEIGHTS:
            return Fraction(1)
        return Fraction(ceil_div(config.grid_size**2, self.flow.dense_patches), self.line_passes(config))

    def _pass_steps(self, config: ModelConfig) -> int:
        return ceil_div(config.embed_dim, self.flow.dense_channels) * config.patch_dim
