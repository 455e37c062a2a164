"""The order in which element-wise units go through a tile: row after row, chunk after chunk, one a cycle."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib.wiring import In, Out

from .component import Component


class RowWalk(Component):
    """Counts the chunks of a tile.

    Timing: after `start`, `active` is high for `rows` x `chunks` cycles with the position beside it. It may be started
    again in the cycle of `end`, so tiles follow each other without a gap. What says that a chunk or a row is the last
    is known one cycle early and comes out of a register: it resets counters and starts units.

    Numerics: none; counts are exact for sizes that their widths hold.

    Parameters
    ----------
    row_bits, chunk_bits : int
        Widths of the counters.

    Members
    -------
    start : In(1)
        Begin with row 0 and chunk 0 in the next cycle.
    rows, chunks : In
        Size of the tile, 1 or more, in the cycle of `start` only.
    active, row, chunk : Out
        Position in this cycle.
    row_end, end : Out(1)
        `active`, at a row's last chunk; at the last chunk of all.
    """

    def __init__(self, row_bits: int, chunk_bits: int):
        super().__init__(
            {
                "start": In(1),
                "rows": In(row_bits),
                "chunks": In(chunk_bits),
                "active": Out(1),
                "row": Out(row_bits),
                "chunk": Out(chunk_bits),
                "row_end": Out(1),
                "end": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count chunks, then rows; how many follow is counted down beside the position."""
        m = Module()
        last_row, last_chunk, single_chunk = Signal(), Signal(), Signal()  # `single_chunk`: rows have one chunk
        rows_after, chunks_after, row_after = Signal.like(self.rows), Signal.like(self.chunks), Signal.like(self.chunks)
        m.d.comb += [self.row_end.eq(self.active & last_chunk), self.end.eq(self.row_end & last_row)]
        m.d.sync += [
            self.chunk.eq(self.chunk + 1),
            chunks_after.eq(chunks_after - 1),
            last_chunk.eq(chunks_after == 1),
        ]
        with m.If(self.row_end):
            m.d.sync += [
                *(self.chunk.eq(0), chunks_after.eq(row_after), last_chunk.eq(single_chunk)),
                *(self.row.eq(self.row + 1), rows_after.eq(rows_after - 1), last_row.eq(rows_after == 1)),
            ]
        with m.If(self.end):
            m.d.sync += self.active.eq(0)
        with m.If(self.start):
            m.d.sync += [
                *(self.active.eq(1), self.row.eq(0), self.chunk.eq(0)),
                *(rows_after.eq(self.rows - 1), last_row.eq(self.rows == 1)),
                *(chunks_after.eq(self.chunks - 1), row_after.eq(self.chunks - 1)),
                *(last_chunk.eq(self.chunks == 1), single_chunk.eq(self.chunks == 1)),
            ]
        return m


def lane_mask(count: Value, row_end: Value, lanes: int) -> Value:
    """Return which lanes hold elements: all, but of an incomplete last chunk only the first ``count mod lanes``.

    Parameters
    ----------
    count : Value
        Elements of a row.
    row_end : Value
        Whether this is the row's last chunk.
    lanes : int
        A power of two.
    """
    tail = count[: lanes.bit_length() - 1]
    partial = row_end & tail.any()
    # The last lane is never in an incomplete chunk.
    return Cat(*(~partial | (tail > lane) for lane in range(lanes - 1)), ~partial)
