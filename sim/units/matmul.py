"""The array: steps of a tile's dot products, and the drain of its sums."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from ..engine.commands import Epilogue, Matmul, OperandMemory, Preload
from ..engine.pipeline import XNOR_ARRAY_CYCLES
from ..engine.timing import Activity
from .bit_store import BitStoreUnit
from .residual_add import ResidualAddUnit
from .unit import Probe, Timings, Unit
from .uses import Extent, Uses, bits_reach, rows_reach, with_window
from .value_sums import ValueSumsUnit
from .written import Bits, Rows, Sums, Written


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

    def uses(self, command: Matmul) -> Uses:
        """The array, the drain, and where the epilogue goes."""
        bits = command.dst_mem if command.epilogue == Epilogue.BITS else None
        return _tile_uses(self, command.steps, command.rows, command.chunks, command.epilogue, bits)

    def reach(self, command: Matmul) -> Iterator[Extent]:
        """Operands, starts, and where the sums go."""
        yield Extent(str(OperandMemory(command.a_mem)), command.a_addr, command.steps)
        yield Extent(command.w_mem.name.lower(), command.w_addr, command.steps)
        if command.preload != Preload.NONE:
            yield Extent("preload" if command.preload == Preload.PRELOAD else "value_sums", command.preload_addr, 1)
        chunks = command.dst_chunk + command.chunks
        if command.epilogue == Epilogue.BITS:
            yield bits_reach(self.engine, command.dst_mem, command.dst_addr, command.token, command.rows, chunks)
            if command.dst_mem == OperandMemory.VALUE:
                yield Extent("value_sums", command.param_addr, 1)
        if command.epilogue == Epilogue.RESIDUAL:
            yield Extent("x", command.dst_addr, rows_reach(command.rows, command.stride, command.chunks))
            yield Extent("residual", command.param_addr, command.chunks)
        if command.epilogue == Epilogue.HEAD_NORM:
            yield Extent("head_buffer", 0, rows_reach(command.rows, self.engine.chunks_per_word, chunks))

    def writes(self, command: Matmul) -> Iterator[Written]:
        """Sums, and bits or rows of x; scores and sums that are kept for a norm are seen by their readers."""
        yield Sums("drain", "sums", "sums")
        if command.epilogue == Epilogue.BITS:
            to, at = command.dst_mem, command.dst_addr
            yield Bits("bits.write", "bits", memory=to, addr=at, token=command.token, chunk=command.dst_chunk)
        if command.epilogue == Epilogue.RESIDUAL:
            yield Rows("x.write", "rows", "x", command.dst_addr, command.stride)

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


@functools.cache
def _tile_uses(
    unit: MatmulUnit, steps: int, rows: int, chunks: int, epilogue: Epilogue, bits: OperandMemory | None
) -> Uses:
    """What a tile occupies; thousands of tiles are one of a few kinds."""
    activity = unit.tile(steps, rows, chunks)
    ports = {"array": "array", "preload.read": "preload.read", "drain": "drain"}
    if bits is not None:
        ports["bits.write"] = f"{bits}.write"
    if epilogue == Epilogue.RESIDUAL:
        ports |= {"x.read": "x.read", "x.write": "x.write"}
    return Uses("xnor_array", with_window(activity, "x.read", activity.windows["drain"]), ports)
