"""The attention bits of a tile and head: three passes over the scores (docs/semantics.md 8)."""

from __future__ import annotations

from collections.abc import Iterator

from ..engine.commands import Attention, OperandMemory, Table
from ..engine.memories import TABLE_BITS, TABLE_WORDS
from ..engine.pipeline import Product, multiply_cycles, partial_products, tree_cycles
from ..engine.timing import Activity
from ..engine.words import Memory, ceil_div
from ..network.formats import EXP_BITS
from .bit_store import BitStoreUnit
from .unit import Probe, Timings, Unit
from .uses import Extent, Uses, bits_reach, bits_to, bits_written, with_window
from .written import Bits, Scalars, Written


class AttentionThresholdUnit(Unit):
    """A row's largest score m, then its sum of Exp Z and the limit that follows, then the bits."""

    name = "attention_threshold"
    loadable = ("tables",)
    #: Offset of the write of Tau, from the issue of `table`; Exp[k] follows k cycles later.
    table_write_offset = 3
    #: Stages of the scores, of m - p and the lookup, of Exp, and of the bits.
    scores_stage = 2
    lookup_stage = scores_stage + 1
    exp_stage = lookup_stage + 1
    bits_stage = exp_stage + 1
    #: Stages of the reads of m and of the limit of a row, a cycle before they are needed.
    top_read_stage = scores_stage - 1
    limit_read_stage = exp_stage - 1

    @property
    def z_bits(self) -> int:
        """Unsigned width of Z, the sum of Exp over a row."""
        return EXP_BITS + self.engine.max_tokens.bit_length()

    @property
    def row_chunks(self) -> int:
        """Chunks of a row of scores: the array drains whole tiles of columns, some beyond the last key."""
        return ceil_div(self.engine.max_tokens, self.engine.columns) * (self.engine.columns // self.lanes)

    @property
    def row_chunks_bits(self) -> int:
        """Address bits of a chunk: a power of two of chunks a row, so that an address needs no multiplication."""
        return (self.row_chunks - 1).bit_length()

    @property
    def top_stage(self) -> int:
        """Stage of the write of m, after a row's last chunk."""
        return self.scores_stage + tree_cycles(self.lanes) + 1

    @property
    def sum_stage(self) -> int:
        """Stage of Z, after a row's last chunk."""
        return self.exp_stage + tree_cycles(self.lanes) + 1

    @property
    def limit_stage(self) -> int:
        """Stage of the write of the limit: Z times Tau, its ceiling, limited."""
        return self.sum_stage + self.multiply_cycles + 2

    @property
    def multiply_cycles(self) -> int:
        """Latency of Z times Tau."""
        return multiply_cycles(self._limit_operands, self.engine.block_bits)

    @property
    def _limit_operands(self) -> Product:
        return self.z_bits + 1, TABLE_BITS + 1

    @property
    def top_gap(self) -> int:
        """From the address of a row's last chunk to the row's first one in the pass for Z, at least."""
        return self.top_stage + 1 - self.top_read_stage

    @property
    def sum_gap(self) -> int:
        """From the address of a row's last chunk to the row's first one in the pass for bits, at least."""
        return self.limit_stage + 1 - self.limit_read_stage

    @property
    def timings(self) -> Timings:
        """A head's table, and a tile."""
        return {Table: self._table, Attention: self._attention}

    def _table(self, command: Table) -> Activity:
        """Load Tau and Exp of one head. Windows: ``tables.write``."""
        words, write = TABLE_WORDS, self.table_write_offset
        return Activity(words, {"tables.write": (write, write + words)})

    def _attention(self, command: Attention) -> Activity:
        """Binarize the scores of one tile and head; a pass waits for the first row of the one before.

        Windows: ``scores.read``, over all passes; ``tables.read``, in the last two; ``bits.write``.
        """
        chunks = ceil_div(command.keys, self.lanes)
        words = command.rows * chunks
        second = 1 + max(words, chunks - 1 + self.top_gap)
        third = second + max(words, chunks - 1 + self.sum_gap)
        end = third + words
        return Activity(
            end - 1,
            {
                "scores.read": (1, end),
                "tables.read": (second + self.lookup_stage, end + self.lookup_stage),
                "bits.write": (third + self.bits_stage, end + self.bits_stage),
            },
        )

    def uses(self, command: Table | Attention) -> Uses:
        """A table takes all of the unit; bits go to the attention's memory."""
        activity = self.timing(command)
        if isinstance(command, Table):
            return Uses(self.name, with_window(activity, "all", (0, activity.busy)))
        written = bits_written(activity, BitStoreUnit.write_stage)
        return Uses(self.name, written, bits_to(OperandMemory.ATTENTION, "attention"))

    def writes(self, command: Table | Attention) -> Iterator[Written]:
        """M and Z of each row, and bits; a table is of parameters."""
        if isinstance(command, Attention):
            yield from (Scalars("bits.write", what, f"attention_{what}", 0, command.rows) for what in ("m", "z"))
            yield Bits("bits.write", "bits", memory=OperandMemory.ATTENTION, addr=command.dst_addr)

    def reach(self, command: Table | Attention) -> Iterator[Extent]:
        """A head's table; a tile's bits."""
        if isinstance(command, Table):
            yield Extent("tables", command.param_addr, TABLE_WORDS)
        else:
            chunks = ceil_div(command.keys, self.lanes)
            yield bits_reach(self.engine, OperandMemory.ATTENTION, command.dst_addr, 0, command.rows, chunks)

    @property
    def memories(self) -> dict[str, Memory]:
        """Scores of a tile; m and the limit of each row."""
        rows, bits = self.engine.rows, self.engine.score_bits
        return {
            "scores": Memory(self.lanes * bits, rows << self.row_chunks_bits),
            "tops": Memory(bits, rows),
            "limits": Memory(EXP_BITS + 1, rows),
        }

    def features(self) -> dict[str, float]:
        """Grow with lanes and Z."""
        return {"unit": 1, "lane": self.lanes, "sum_bit": self.z_bits + 1}

    def products(self) -> list[Product]:
        """Z times Tau."""
        return partial_products(self._limit_operands, self.engine.block_bits)

    def probes(self) -> list[Probe]:
        """Largest score and sum of Exp of each row."""
        return [
            self._probe(f"attention_{what}", f"{what}_en", (f"{what}_row",), f"{what}_value", bits, signed=False)
            for what, bits in (("m", self.engine.score_bits), ("z", self.z_bits))
        ]
