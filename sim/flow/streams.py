"""The streams of array operations that a network's blocks are made of, and how far they fill the array."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from ..engine.words import WORD, ceil_div
from ..network.config import ViTConfig
from ..network.stage_view import StageView


class Stream(IntEnum):
    """What the array works on for one tile of tokens; a number is what a slot of the table holds."""

    SCORES = 0
    CONTEXT = 1
    PROJ = 2
    FC1 = 3
    FC2 = 4
    QKV = 5


class Part(IntEnum):
    """What an operation of `Stream.QKV` makes."""

    KEY = 0
    QUERY = 1
    VALUE = 2


@dataclass(frozen=True)
class TileShape:
    """A network's block in tiles of an array, or a patch merging, of which only `Stream.QKV` has work.

    An operation makes `rows` x `columns` sums in as many steps as its dot products have words of 64 bits.

    Parameters
    ----------
    config : ViTConfig
    rows, columns : int
        Of the array.
    """

    config: ViTConfig
    rows: int
    columns: int

    @cached_property
    def tiles(self) -> int:
        """Tiles of an image."""
        return ceil_div(self.config.num_tokens, self.rows)

    @cached_property
    def tile_rows(self) -> tuple[int, ...]:
        """Tokens of each tile."""
        return tuple(min(self.rows, self.config.num_tokens - tile * self.rows) for tile in range(self.tiles))

    @cached_property
    def head_groups(self) -> int:
        """Column groups of a head's channels."""
        return self._groups(self.config.head_dim)

    @cached_property
    def key_groups(self) -> int:
        """Column groups of all tokens."""
        return self._groups(self.config.num_tokens)

    @property
    def merges(self) -> bool:
        """Whether it is a patch merging."""
        return isinstance(self.config, StageView) and self.config.merge is not None

    @cached_property
    def biased(self) -> bool:
        """Whether scores have a relative position bias, which is added where they come to the softmax."""
        return isinstance(self.config, StageView) and bool(self.config.of) and self.config.of[0].window is not None

    @property
    def softmax(self) -> bool:
        """Whether scores leave the array as sums."""
        return not self.merges and (self.config.attn_mode == "softmax" or self.biased)

    @property
    def head_norm(self) -> bool:
        """Whether q and k leave the array as sums for HeadNorm."""
        return not self.merges and self.config.qk_mode == "layernorm"

    @cached_property
    def work(self) -> dict[Stream, int]:
        """Operations of each stream for one tile, of those that have work."""
        return {stream: count for stream, count in self.operations.items() if stream is Stream.QKV or not self.merges}

    @cached_property
    def norm_groups(self) -> int:
        """Column groups of what is normalised in front of `Stream.QKV`."""
        return self._groups(self.config.embed_dim)

    @cached_property
    def operations(self) -> dict[Stream, int]:
        """Operations of each stream for one tile; one, that has nothing to do, of those that a merging has not."""
        config = self.config
        if isinstance(config, StageView) and config.merge is not None:
            return dict.fromkeys(Stream, 1) | {Stream.QKV: self._groups(config.out_dim)}
        embed, hidden = self._groups(config.embed_dim), self._groups(config.hidden_dim)
        return {
            Stream.SCORES: config.num_heads * self.key_groups,
            Stream.CONTEXT: config.num_heads * self.head_groups,
            Stream.PROJ: embed,
            Stream.FC1: hidden,
            Stream.FC2: embed,
            Stream.QKV: 3 * config.num_heads * self.head_groups,
        }

    @cached_property
    def steps(self) -> dict[Stream, int]:
        """Steps of an operation of each stream."""
        config = self.config
        embed = ceil_div(config.embed_dim, WORD)
        if self.merges:
            return dict.fromkeys(Stream, 1) | {Stream.QKV: embed}
        return {
            Stream.SCORES: ceil_div(config.head_dim, WORD),
            Stream.CONTEXT: ceil_div(config.num_tokens, WORD),
            # The context lies in whole column groups of each head.
            Stream.PROJ: ceil_div(config.num_heads * self.head_groups * self.columns, WORD),
            Stream.FC1: embed,
            Stream.FC2: ceil_div(config.hidden_dim, WORD),
            Stream.QKV: embed,
        }

    @cached_property
    def qkv_order(self) -> tuple[tuple[Part, int], ...]:
        """What each operation of QKV makes, and the number of that part's group.

        Keys first, since scores wait for all of them; values in between, since their bits need no drain.
        """
        if self.merges:
            return tuple((Part.KEY, group) for group in range(self.operations[Stream.QKV]))
        groups = range(self.config.num_heads * self.head_groups)
        sums = [(part, group) for part in (Part.KEY, Part.QUERY) for group in groups]
        return tuple(one for group in groups for one in (sums[2 * group], sums[2 * group + 1], (Part.VALUE, group)))

    @cached_property
    def tile_steps(self) -> int:
        """Steps of a tile in one block: its cycles, if the array never waits."""
        return sum(count * self.steps[stream] for stream, count in self.work.items())

    @cached_property
    def packing(self) -> float:
        """Useful products over those of an array that never waits, 0 to 1: what padding leaves."""
        return self.useful / (self.tiles * self.tile_steps * self.rows * self.columns * WORD)

    @cached_property
    def useful(self) -> int:
        """Products of the tokens in one block, without any padding."""
        config = self.config
        tokens, embed, hidden = config.num_tokens, config.embed_dim, config.hidden_dim
        if isinstance(config, StageView) and config.merge is not None:
            return tokens * embed * config.out_dim
        return tokens * embed * (4 * embed + 2 * hidden) + 2 * tokens * tokens * embed

    def _groups(self, channels: int) -> int:
        return ceil_div(channels, self.columns)
