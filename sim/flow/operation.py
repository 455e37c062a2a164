"""One operation of the array: where its operands lie, where its sums begin, and which way they leave."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from ..engine.words import WORD, ceil_div, power_of_two
from .config import FlowConfig


class RowMemory(IntEnum):
    """Memories of the row operand: a word has 64 bits of each of the array's rows. Context and hidden share one."""

    NORM = 0
    QUERY = 1
    ATTENTION = 2
    BITS = 3


class ColumnMemory(IntEnum):
    """Memories of the column operand: a word has 64 bits of each of the array's columns."""

    WEIGHTS = 0
    KEYS = 1
    VALUES = 2


class Way(IntEnum):
    """How an operation's sums leave the array.

    SIGN: sign bits of a whole tile, as half words of a row memory; ROWS: sign bits row by row, to keys or values;
    RESIDUAL, HEAD, SCORE: the sums themselves, to ResidualAdd, HeadNorm and the softmax.
    """

    SIGN = 0
    ROWS = 1
    RESIDUAL = 2
    HEAD = 3
    SCORE = 4


class Done(IntEnum):
    """What is complete when an operation's bits are written; a bit each of an operation's `done`."""

    QUERY = 0
    KEYS = 1
    VALUES = 2
    ATTENTION = 3
    CONTEXT = 4
    HIDDEN = 5


@dataclass(frozen=True)
class Operands:
    """Slots and words of the operand memories of an engine; what lies in a slot is packed from its first word on.

    Parameters
    ----------
    flow : FlowConfig
    """

    flow: FlowConfig

    @property
    def embed_words(self) -> int:
        """Words of a slot of norm1 or norm2: channels of a token."""
        return ceil_div(self.flow.norm_dim, WORD)

    @property
    def token_words(self) -> int:
        """Words of a slot of the attention, of one tile and head; of a column group of values."""
        return ceil_div(self.flow.engine.max_tokens, WORD)

    @property
    def context_words(self) -> int:
        """Words of a slot of the context: column groups of all heads side by side."""
        return ceil_div(self.value_groups * self.flow.engine.columns, WORD)

    @property
    def hidden_words(self) -> int:
        """Words of a slot of the hidden bits."""
        return ceil_div(self.flow.engine.max_hidden_dim, WORD)

    @property
    def value_groups(self) -> int:
        """Column groups of all heads."""
        engine = self.flow.engine
        widths = range(engine.lanes, min(WORD, engine.max_embed_dim) + 1, engine.lanes)
        heads = {width: min(engine.max_heads, engine.max_embed_dim // width) for width in widths}
        most = max(count * ceil_div(width, engine.columns) for width, count in heads.items())
        return max(most, ceil_div(engine.max_embed_dim, engine.columns), engine.max_heads)

    @property
    def query_slots(self) -> int:
        """Tiles of queries: those of two images, since scores wait for all keys."""
        return 2 * self.flow.engine.max_tiles

    @property
    def image_slots(self) -> int:
        """Images of keys, of values and of their sums: those in flight, and one whose keys are made."""
        return self.flow.images + 1

    @property
    def key_words(self) -> int:
        """Words of a slot of keys: for each head the groups of `columns` keys."""
        return self.flow.engine.max_heads * ceil_div(self.flow.engine.max_tokens, self.flow.engine.columns)

    @property
    def value_tokens(self) -> int:
        """Tokens of a word of the values: as many as the array takes in a step, or a power of two that holds all."""
        return min(WORD, max(self.flow.value_rows, power_of_two(self.flow.engine.max_tokens)))

    @property
    def value_words(self) -> int:
        """Words of a slot of values: for each column group the words of its tokens."""
        return self.value_groups * self.token_words

    @property
    def hidden_base(self) -> int:
        """First word of the hidden bits, behind those of the context."""
        return self.flow.context_slots * self.context_words

    @property
    def row_depths(self) -> dict[RowMemory, int]:
        """Words of each row memory; norm2 lies behind norm1."""
        flow = self.flow
        return {
            RowMemory.NORM: 2 * flow.norm_slots * self.embed_words,
            RowMemory.QUERY: self.query_slots * flow.engine.max_heads,
            RowMemory.ATTENTION: flow.attention_slots * self.token_words,
            RowMemory.BITS: self.hidden_base + flow.hidden_slots * self.hidden_words,
        }

    @property
    def key_depth(self) -> int:
        """Words of the keys."""
        return self.image_slots * self.key_words

    @property
    def value_depth(self) -> int:
        """Words of the values."""
        return self.image_slots * self.value_words

    @property
    def sums_depth(self) -> int:
        """Words of the values' sums: a column group each."""
        return self.image_slots * self.value_groups

    @property
    def weight_depth(self) -> int:
        """Words of the weights of all blocks that the engine holds at a time."""
        if self.flow.weight_ring:
            return self.flow.weight_ring
        if self.flow.windows:
            return self.flow.windows.weight_words
        embed, hidden = self._groups
        layers = (3 * self.value_groups + hidden) * self.embed_words
        return self.flow.weight_blocks * (layers + embed * (self.context_words + self.hidden_words))

    @property
    def weight_place(self) -> int:
        """Words from one of the two places of a block's streamed weights to the other, without a ring."""
        return self.weight_depth // 2

    @property
    def preload_depth(self) -> int:
        """Starts of the sums of all blocks: a word for each operation of a tile."""
        if self.flow.windows:
            return self.flow.windows.preload_words
        embed, hidden = self._groups
        scores = self.flow.engine.max_heads * ceil_div(self.flow.engine.max_tokens, self.flow.engine.columns)
        return self.flow.engine.max_depth * (scores + 4 * self.value_groups + 2 * embed + hidden)

    @property
    def _groups(self) -> tuple[int, int]:
        """Column groups of a token's channels and of its hidden bits."""
        engine = self.flow.engine
        return ceil_div(engine.max_embed_dim, engine.columns), ceil_div(engine.max_hidden_dim, engine.columns)

    @property
    def clear_cycles(self) -> int:
        """Cycles in which all of these memories are cleared at the start of a run, a word of each a cycle."""
        return max(*self.row_depths.values(), self.key_depth, self.value_depth)

    @property
    def tag(self) -> dict[str, int]:
        """Where bits of HeadNorm go, handed on with its job: fields and their widths.

        key: to the keys, else to the queries; addr: word of the head; token: first token of the tile; done: whether
        the job is the last of its tile's queries, or of its image's keys.
        """
        words = max(self.row_depths[RowMemory.QUERY], self.key_depth)
        tokens = self.flow.engine.max_tokens
        return {
            "key": 1,
            "addr": max(1, (words - 1).bit_length()),
            "token": max(1, (tokens - 1).bit_length()),
            "done": 1,
        }

    @property
    def fields(self) -> dict[str, int]:
        """Fields of an operation and their widths.

        steps: words of its dot products, 1 or more; a_mem, a_addr, w_mem, w_addr: operands of its first step, which
        the others follow; preload_addr: where its sums begin; add_sums, sums_addr: whether the values' sums are added
        to that, and their word; way: how its sums leave;
        dst_mem, dst_addr, dst_chunk: of the bits: a `RowMemory` (SIGN) or `ColumnMemory` (ROWS), word, and which
        `columns` of the word's 64 bits (keys, row memories);
        token, rows: of the tile: its first token and its tokens; first, sums_dst: of values: whether their sums begin
        at 0, and their word; end: the last group of a job of HeadNorm; set, head: of the scores' table; done: `Done`.
        With windows, of scores: bias, mask: first words of the job's bias and masks; kind: which masks count.
        """
        engine = self.flow.engine
        steps = max(self.embed_words, self.token_words, self.context_words, self.hidden_words)
        row_bits = (max(self.row_depths.values()) - 1).bit_length()
        column_bits = (max(self.key_depth, self.value_depth) - 1).bit_length()
        return {
            "steps": steps.bit_length(),
            "a_mem": 2,
            "a_addr": max(1, row_bits),
            "w_mem": 2,
            "w_addr": max(1, column_bits, (self.weight_depth - 1).bit_length()),
            "preload_addr": max(1, (self.preload_depth - 1).bit_length()),
            "add_sums": 1,
            "sums_addr": max(1, (self.sums_depth - 1).bit_length()),
            "way": 3,
            "dst_mem": 2,
            "dst_addr": max(1, row_bits, column_bits),
            "dst_chunk": max(1, (WORD // engine.columns - 1).bit_length()),
            "token": max(1, (engine.max_tokens - 1).bit_length()),
            "rows": engine.rows.bit_length(),
            "first": 1,
            "sums_dst": max(1, (self.sums_depth - 1).bit_length()),
            "end": 1,
            "set": 1,
            "head": max(1, (engine.max_heads - 1).bit_length()),
            "done": len(Done),
            **self._score_fields,
        }

    @property
    def _score_fields(self) -> dict[str, int]:
        """Fields that only operations of engines with windows have."""
        windows = self.flow.windows
        if windows is None:
            return {}
        words = {"bias": windows.bias_words, "mask": windows.mask_words}
        return {name: max(1, (count - 1).bit_length()) for name, count in words.items()} | {"kind": 2}
