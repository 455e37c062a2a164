"""The attention bits of tiles and heads in the dataflow: three pipelines over a queue of scores (semantics.md 8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from ..engine.memories import TABLE_BITS
from ..engine.pipeline import OPERAND_CYCLES, Product, multiply_cycles, partial_products, tree_cycles
from ..engine.words import BEAT_BITS, WORD, LoadMemory, Memory, ceil_div
from ..errors import check
from ..network.formats import EXP_BITS
from ..network.windows import relative_positions
from .config import FlowConfig
from .lane_unit import CREDIT_CYCLES
from .memories import loaded

#: Cycles of the shortest job: what the next one is told comes out of registers.
LEAST_CYCLES = 2
#: Bits of the relative position bias of a score, 0 to 32; bits that say whether its pair may attend.
BIAS_BITS, MASK_BITS = 6, 2
#: Bits of a word that the load stream can fill: 64 beats.
_MOST_BITS = 64 * BEAT_BITS


@dataclass(frozen=True, kw_only=True)
class SoftmaxTimes:
    """Cycles of one job; an end is the first cycle in which the next job may start.

    Parameters
    ----------
    sum_start, sum_end : int
        First address of the pass for Z, and its end.
    compare_start, compare_end : int
        First address of the pass for bits, and its end.
    score_free : int
        The credit of the score queue's slot.
    attention_full : int
        The last write of bits, with the credit beside it.
    """

    sum_start: int
    sum_end: int
    compare_start: int
    compare_end: int
    score_free: int
    attention_full: int


@dataclass(frozen=True)
class BiasTable:
    """What chooses the biases of a word of scores out of those of its head.

    The scores of a job come as words, some rows of some columns each; a *place* is one of these words in one of a
    window's tiles. All windows have the same side, so that a score of a place has the same entry of every head's table.

    Parameters
    ----------
    flow : FlowConfig
        With `WindowLimits.bias_window`.
    """

    flow: FlowConfig

    @property
    def side(self) -> int:
        """Side of a window."""
        return self.flow.bias_window

    @property
    def entries(self) -> int:
        """Values of a head."""
        return (2 * self.side - 1) ** 2

    @property
    def places(self) -> int:
        """Words of the scores of a window and head."""
        return len(self.chosen)

    @property
    def place_bits(self) -> int:
        """Width of the number of a place, which a word of masks has behind them."""
        return max(1, (self.places - 1).bit_length())

    @cached_property
    def chosen(self) -> list[list[int | None]]:
        """Entry of each score, place by place in the order of masks; None where there is no query or key."""
        engine, side, tokens = self.flow.engine, self.flow.drain_rows, self.side**2
        entry, found = relative_positions(self.side), list[list[int | None]]()
        for first in range(0, tokens, engine.rows):
            for group in range(ceil_div(tokens, engine.columns)):
                for word in range(self.flow.drain_cycles):
                    here = range(word * side, (word + 1) * side)
                    rows = [first + row if row < engine.rows else tokens for row in here]
                    keys = range(group * engine.columns, (group + 1) * engine.columns)
                    found.append(
                        [int(entry[row, key]) if max(row, key) < tokens else None for row in rows for key in keys]
                    )
        return found


@dataclass(frozen=True)
class SoftmaxUnit:
    """Largest score of a row as the scores come in; Z, the limit and its count of Exp; bits: each of another job.

    A *row group* is the rows that are side by side in a cycle, a *chunk* their columns, a *word* what the array's drain
    gives in a cycle. A *stage* counts cycles from the one in which a chunk's address is given, or in which a word of
    scores is at the port: that is stage 0.

    In an engine with windows scores get their bias as they come in, and pairs that may not attend are told by a score
    of -1; scores leave the array as sums in mode `score` as well, at the same times.

    In an engine without a softmax, shapes that others ask for are those of one lane.

    Parameters
    ----------
    flow : FlowConfig

    Raises
    ------
    BivitError
        When a word of bias is wider than the load stream can fill.
    """

    flow: FlowConfig

    name: ClassVar[str] = "softmax"
    #: SUM: stages of scores and m, of m - p, of the table's word, and of Exp.
    scores_stage: ClassVar[int] = 2
    index_stage: ClassVar[int] = scores_stage + 1
    exp_stage: ClassVar[int] = index_stage + 2
    #: COMPARE: stages of m and the count, of their difference and the scores, and of the bits.
    row_stage: ClassVar[int] = 2
    floor_stage: ClassVar[int] = row_stage + 1
    bits_stage: ClassVar[int] = floor_stage + 1
    #: The credit of a slot of scores: its last word has been addressed.
    free_stage: ClassVar[int] = 1
    #: Steps of the search among Exp[1] to Exp[63], and cycles of each: memory, register, comparison.
    search_steps: ClassVar[int] = WORD.bit_length() - 1
    step_cycles: ClassVar[int] = 3
    #: Lanes whose tables are written together; the next ones follow a cycle later.
    write_lanes: ClassVar[int] = 16

    def __post_init__(self) -> None:
        place = self.bias_table.place_bits if self.bias_table else 0
        # A word of biases, or of masks, is not wider.
        most, scores = (_MOST_BITS - place) // (MASK_BITS if place else BIAS_BITS), self.word_scores
        check(
            self.flow.windows is None or scores <= most,
            f"an engine with windows has drain_rows * columns of at most {most}, got {scores}",
        )

    @property
    def lanes(self) -> int:
        """Scores a cycle."""
        return self.flow.softmax_lanes or 1

    @property
    def rows(self) -> int:
        """Rows side by side."""
        return self.flow.rows_of(self.lanes)

    @property
    def columns(self) -> int:
        """Columns of a chunk."""
        return self.flow.columns_of(self.lanes)

    @property
    def pieces(self) -> int:
        """Chunks of a column group: a power of two."""
        return self.flow.engine.columns // self.columns

    @property
    def word_scores(self) -> int:
        """Scores of a word."""
        return self.flow.drain_rows * self.flow.engine.columns

    @property
    def word_rows(self) -> int:
        """Row groups of a word."""
        return self.flow.drain_rows // self.rows

    @property
    def row_groups(self) -> int:
        """Row groups of a tile, at most."""
        return ceil_div(self.flow.engine.rows, self.rows)

    @property
    def max_groups(self) -> int:
        """Column groups of a job, at most."""
        return ceil_div(self.flow.engine.max_tokens, self.flow.engine.columns)

    @property
    def tables(self) -> int:
        """Tables of Exp: two sets of all heads."""
        return 2 * self.flow.engine.max_heads

    @property
    def key_bits(self) -> int:
        """Width of a number of keys."""
        return self.flow.engine.max_tokens.bit_length()

    @property
    def row_bits(self) -> int:
        """Width of a number of rows."""
        return self.flow.engine.rows.bit_length()

    @property
    def z_bits(self) -> int:
        """Unsigned width of Z, the sum of Exp over a row."""
        return EXP_BITS + self.key_bits

    @property
    def limit_operands(self) -> Product:
        """Signed widths of Z and Tau."""
        return self.z_bits + 1, TABLE_BITS + 1

    @property
    def bias_table(self) -> BiasTable | None:
        """What chooses the biases of a word of scores, where they are held as a table of each head."""
        return BiasTable(self.flow) if self.flow.bias_window else None

    @property
    def bias_read_cycles(self) -> int:
        """Cycles from the address of a bias, or of masks, to the word; 0 without windows."""
        return OPERAND_CYCLES[self.flow.engine.fabric] if self.flow.windows else 0

    @property
    def bias_cycles(self) -> int:
        """Cycles that scores wait for their bias: its word, and of a table the choice; 0 without windows."""
        return self.bias_read_cycles + (self.bias_table is not None)

    @property
    def store_stage(self) -> int:
        """Stage of the write of scores: registers, and with windows the bias, and the sum."""
        return 2 + self.bias_cycles if self.flow.windows else 1

    @property
    def top_stage(self) -> int:
        """Stage of the write of m: registers, bias, masks, the tree, the maximum over the groups."""
        return 3 + self.bias_cycles + tree_cycles(self.flow.engine.columns)

    @property
    def sum_stage(self) -> int:
        """Stage of Z, from the last cycle of a row group."""
        return self.exp_stage + tree_cycles(self.columns) + 1

    @property
    def serial_stage(self) -> int:
        """Stage of Z of the first of the rows side by side, from where a row follows a cycle; Tau is beside it."""
        return self.sum_stage + 2

    @property
    def multiply_cycles(self) -> int:
        """Latency of Z times Tau."""
        return multiply_cycles(self.limit_operands, self.flow.engine.block_bits)

    @property
    def limit_stage(self) -> int:
        """Stage of the limit: Z times Tau, its ceiling, limited."""
        return self.serial_stage + self.multiply_cycles + 2

    @property
    def count_stage(self) -> int:
        """Stage of the write of the count: the last step, its comparison, and the sum with Exp[0] and Exp[64]."""
        return self.limit_stage + self.step_cycles * (self.search_steps - 1) + 2

    @property
    def table_cycles(self) -> int:
        """From a write of a table to the first stage of m - p that may look it up."""
        return 2 + ceil_div(self.lanes, self.write_lanes)

    def chunks(self, keys: int) -> int:
        """Return the chunks of a row of so many keys.

        Parameters
        ----------
        keys : int
        """
        return ceil_div(keys, self.columns)

    def row_cycles(self, keys: int) -> int:
        """Return the cycles of a row group in either pass: its chunks, but the search takes no more than a row a cycle.

        Parameters
        ----------
        keys : int
        """
        return max(self.chunks(keys), self.rows)

    def times(
        self, rows: int, keys: int, *, arrived: int, sum_free: int = 0, compare_free: int = 0, attention_freed: int = 0
    ) -> SoftmaxTimes:
        """Return when one job does what.

        Parameters
        ----------
        rows, keys : int
            Of the tile; of the head.
        arrived : int
            Cycle in which the last word of its scores was at the port.
        sum_free, compare_free : int
            Ends of both passes of the job before; 0 without one.
        attention_freed : int
            Cycle of the credit that freed its slot of the attention; 0 where the slot was free from the beginning.
        """
        busy = ceil_div(rows, self.rows) * self.row_cycles(keys)
        sum_start = max(arrived + self.top_stage + 1, sum_free)
        counted = sum_start + self.row_cycles(keys) - 1 + self.count_stage + self.rows - 1
        compare_start = max(counted + 1, compare_free, attention_freed + CREDIT_CYCLES)
        return SoftmaxTimes(
            sum_start=sum_start,
            sum_end=sum_start + max(busy, LEAST_CYCLES),
            compare_start=compare_start,
            compare_end=compare_start + max(busy, LEAST_CYCLES),
            score_free=compare_start + busy - 1 + self.free_stage,
            attention_full=compare_start + busy - 1 + self.bits_stage,
        )

    @property
    def memories(self) -> dict[str, Memory]:
        """Scores, m and count of every slot, and its job; Exp for each lane and in the steps of the search; Tau.

        With windows Theta of each table as well.
        """
        engine, slots, tables = self.flow.engine, self.flow.score_slots, self.tables
        words, bits = slots * self.flow.drain_cycles, engine.score_bits
        steps = {f"step_{step}": Memory(EXP_BITS, tables << max(0, step - 1)) for step in range(self.search_steps + 1)}
        return {
            "scores": Memory(self.flow.drain_rows * engine.columns * bits, words * self.max_groups, readers=2),
            "tops": Memory(self.flow.drain_rows * bits, words, readers=2),
            "jobs": Memory(sum(self.job_bits.values()), slots, readers=2),
            "counts": Memory(self.rows * bits, slots * self.row_groups, write_bits=bits),
            "exp": Memory(EXP_BITS, tables * WORD, readers=self.lanes),
            "tau": Memory(TABLE_BITS, tables),
            **({"theta": Memory(bits, tables)} if self.flow.windows else {}),
            **steps,
        }

    @property
    def load_memories(self) -> Mapping[str, LoadMemory]:
        """With windows the bias of each score of a word, and the bits that say which pairs may not attend.

        Of a table the values of a head; then the number of the word's place is behind its masks.
        """
        windows, scores, table = self.flow.windows, self.word_scores, self.bias_table
        if windows is None:
            return {}
        biases, place = (table.entries, table.place_bits) if table else (scores, 0)
        cycles = self.bias_read_cycles
        return {
            "bias": loaded(self.flow, "bias", BIAS_BITS * biases, windows.bias_words, cycles),
            "masks": loaded(self.flow, "masks", MASK_BITS * scores + place, windows.mask_words, cycles),
        }

    @property
    def job_bits(self) -> dict[str, int]:
        """Widths of the fields of a job: rows, chunks and cycles of a row, keys of its last chunk, table."""
        chunk_bits = self.row_cycles(self.flow.engine.max_tokens).bit_length()
        return {
            "rows": self.row_bits,
            "chunks": chunk_bits,
            "cycles": chunk_bits,
            "tail": self.columns.bit_length() - 1,
            "table": (self.tables - 1).bit_length(),
        }

    def products(self) -> list[Product]:
        """Z times Tau."""
        return partial_products(self.limit_operands, self.flow.engine.block_bits)
