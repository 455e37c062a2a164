"""The array with its operands' memories and the ways of its sums: stages, memories and times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ..engine.pipeline import OPERAND_CYCLES, XNOR_ARRAY_CYCLES
from ..engine.words import WORD, LoadMemory, Memory, ceil_div, power_of_two
from .config import FlowConfig
from .memories import core_memories
from .operation import ColumnMemory, Operands, RowMemory


@dataclass(frozen=True)
class MatmulTimes:
    """Cycles of one operation.

    Parameters
    ----------
    free : int
        First cycle in which the next operation may be at the port.
    read : int
        Last read of the operands.
    signs : int
        SIGN: the write of its bits, and `done`.
    sums, sums_end : int
        RESIDUAL, HEAD, SCORE: first and last word of the sums, at the port.
    rows, rows_end : int
        ROWS: first write of its bits, and `done`: their sums are written, a cycle after the last bits.
    """

    free: int
    read: int
    signs: int
    sums: int
    sums_end: int
    rows: int
    rows_end: int


@dataclass(frozen=True)
class MatmulUnit:
    """The array: operations one after the other, their sums in a way that depends on where they go.

    A *stage* counts cycles from that of a step's address on, which is stage 0: the cycle after the operation is at the
    port, for its first step. What follows the last step is `steps` + stage cycles after that.

    Parameters
    ----------
    flow : FlowConfig
    """

    flow: FlowConfig

    name: ClassVar[str] = "matmul"
    #: From the last write of bits to that of the values' sums.
    value_sum_cycles: ClassVar[int] = 1
    #: From bits of SignNorm, HeadNorm or the softmax at a port to their write; of keys, which have a token's number.
    write_cycles: ClassVar[int] = 1
    key_write_cycles: ClassVar[int] = 2

    # Stages.

    @property
    def operand_stage(self) -> int:
        """Stage of the operands, at the array's inputs."""
        return OPERAND_CYCLES[self.flow.engine.fabric]

    @property
    def first_stage(self) -> int:
        """Stage in which the start of the sums meets the first step in the accumulator."""
        return self.operand_stage + XNOR_ARRAY_CYCLES - 1

    @property
    def preload_stage(self) -> int:
        """Stage of the address of preload and values' sums: their words come, are registered, and added."""
        return self.first_stage - 3

    @property
    def sum_stage(self) -> int:
        """Stage in which the sums are complete, after the last step."""
        return self.operand_stage + XNOR_ARRAY_CYCLES

    @property
    def sign_stage(self) -> int:
        """Stage of the captured sign bits, at the memories: those of a whole tile are written."""
        return self.sum_stage + 1

    @property
    def sums_stage(self) -> int:
        """Stage of the first word of sums, at the port: captured, then chosen."""
        return self.sum_stage + 2

    @property
    def row_stage(self) -> int:
        """Stage of the write of the first row of bits: captured, in the row writer, with its bank's address."""
        return self.sum_stage + 3

    @property
    def operands(self) -> Operands:
        """Operations and operand memories."""
        return Operands(self.flow)

    @property
    def capture(self) -> int:
        """Cycles from the end of an operation's steps, as if each took one at the port, to the first word of sums."""
        return self.sums_stage

    @property
    def bits(self) -> int:
        """Cycles from there to the write of the bits of a whole tile; less than 0, since they do not wait to be read.

        Whoever reads them may give the address one cycle later.
        """
        return self.sign_stage - self.sums_stage

    @property
    def writer_gap(self) -> int:
        """Least distance of the ends of two operations whose bits go row by row: the rows', and that of their sums."""
        return self.row_groups(self.flow.engine.rows) + 2

    def row_groups(self, rows: int) -> int:
        """Return in how many cycles the row writer writes so many rows.

        Parameters
        ----------
        rows : int
        """
        return ceil_div(rows, self.flow.value_rows)

    def times(self, issue: int, steps: int, rows: int) -> MatmulTimes:
        """Return the cycles of an operation.

        Parameters
        ----------
        issue : int
            Cycle in which it is at the port.
        steps : int
            Words of its dot products.
        rows : int
            Rows of the tile.
        """
        end = issue + steps
        return MatmulTimes(
            free=end,
            read=end,
            signs=end + self.sign_stage,
            sums=end + self.sums_stage,
            sums_end=end + self.sums_stage + self.flow.drain_cycles - 1,
            rows=end + self.row_stage,
            rows_end=end + self.row_stage + self.row_groups(rows) - 1 + self.value_sum_cycles,
        )

    # Shapes.

    @property
    def word_bits(self) -> int:
        """Bits of a word of sums, at the port."""
        return self.flow.drain_rows * self.flow.engine.columns * self.flow.engine.acc_bits

    @property
    def key_banks(self) -> int:
        """Banks of the keys, by token: as many as rows side by side of any writer, or more."""
        widest = max(self.flow.value_rows, self.flow.rows_of(self.flow.head_norm_lanes))
        return power_of_two(widest)

    @property
    def value_banks(self) -> int:
        """Banks of the values, by token."""
        return self.flow.value_rows

    # Views.

    @property
    def memories(self) -> Mapping[str, Memory]:
        """Operand bits, banks of those that are written row by row, the values' sums, and weights that are streamed."""
        operands, engine = self.operands, self.flow.engine
        rows = {
            (name := memory.name.lower()): Memory(
                engine.rows * WORD,
                operands.row_depths[memory],
                write_bits=engine.columns,
                style=self.flow.style_of(name),
            )
            for memory in RowMemory
        }
        word = engine.columns * WORD
        weights = Memory(word, operands.weight_depth, style=self.flow.style_of("weights"))
        styles = {name: self.flow.style_of(name) for name in ("keys", "values")}
        keys = Memory(word // self.key_banks, operands.key_depth, write_bits=engine.columns, style=styles["keys"])
        tokens = operands.value_tokens // self.value_banks
        values = Memory(
            tokens * engine.columns, operands.value_depth, write_bits=engine.columns, style=styles["values"]
        )
        return {
            **rows,
            **{f"{ColumnMemory.KEYS.name.lower()}_{bank}": keys for bank in range(self.key_banks)},
            **{f"{ColumnMemory.VALUES.name.lower()}_{bank}": values for bank in range(self.value_banks)},
            "value_sums": Memory(engine.columns * engine.acc_bits, operands.sums_depth, readers=2),
            **({"weights": weights} if self.flow.streamed else {}),
        }

    @property
    def load_memories(self) -> Mapping[str, LoadMemory]:
        """Weights, 64 bits a column, unless they are streamed; and where the sums of each operation begin."""
        memories = core_memories(self.flow)
        return {name: memories[name] for name in ("weights", "preload") if name in memories}
