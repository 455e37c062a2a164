"""The array: steps of a tile's dot products, and the drain of its sums."""

from __future__ import annotations

from ..engine.commands import Matmul
from ..engine.pipeline import XNOR_ARRAY_CYCLES
from ..engine.timing import Activity
from .bit_store import BitStoreUnit
from .residual_add import ResidualAddUnit
from .unit import Probe, Timings, Unit
from .value_sums import ValueSumsUnit


class MatmulUnit(Unit):
    """One tile after the other; a tile drains while the next one is summed."""

    name = "matmul"
    #: Offset of the first step's read of both operands, from the issue.
    read_offset = 1
    #: Cycles from the address of a step to its operands on the array's inputs.
    fetch_cycles = 1
    #: Stage in which the start of the sums meets the first step in the accumulator.
    first_stage = fetch_cycles + XNOR_ARRAY_CYCLES - 1
    #: Stage of the preload's read: its word comes one cycle later, and with the constant added another one.
    preload_stage = first_stage - 2
    #: Stage in which the sums are complete and are captured, after the last step.
    capture_stage = fetch_cycles + XNOR_ARRAY_CYCLES
    #: Offset of the first drained chunk of a tile without steps.
    drain_offset = read_offset + capture_stage

    @property
    def timings(self) -> Timings:
        """A tile."""
        return {Matmul: lambda command: self.tile(command.steps, command.rows, command.chunks)}

    def tile(self, steps: int, rows: int, chunks: int) -> Activity:
        """One tile: `steps` words of the dot product, then `rows` x `chunks` drained chunks.

        Windows: ``array`` (reads of both operands), ``preload.read``, ``drain`` (sums leave; scores and head_norm
        inputs are written in the same cycles, and the residual is read), ``bits.write``, ``x.write``, ``sums.read``,
        ``sums.write``.
        """
        preload = self.read_offset + self.preload_stage
        drain = steps + self.drain_offset
        end = drain + rows * chunks
        bits, residual, sums = BitStoreUnit.write_stage, ResidualAddUnit.write_stage, ValueSumsUnit.write_stage
        return Activity(
            steps,
            {
                "array": (self.read_offset, self.read_offset + steps),
                "preload.read": (preload, preload + 1),
                "sums.read": (drain - 1, drain),
                "drain": (drain, end),
                "bits.write": (drain + bits, end + bits),
                "x.write": (drain + residual, end + residual),
                "sums.write": (end - 1 + sums, end + sums),
            },
        )

    def features(self) -> dict[str, float]:
        """Grow with dot units, operands, and the columns' sums."""
        rows, columns, bits, fabric = self.engine.rows, self.engine.columns, self.engine.acc_bits, self.engine.fabric
        return {
            "unit": 1,
            f"dot_{fabric}": rows * columns,
            "dot_bit": rows * columns * bits,
            f"operand_{fabric}": rows + columns,
            "column_bit": columns * bits,
        }

    def probes(self) -> list[Probe]:
        """Drained sums."""
        bits = self.engine.acc_bits
        keys = ("drain_row", "drain_chunk")
        return [self._probe("sums", "drain_en", keys, "drain_data", bits, elements=self.lanes, signed=True)]
