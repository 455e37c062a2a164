"""The order in which a unit reads what came in words: row group after row group, chunk after chunk, one a cycle."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from ...sim.flow.softmax import SoftmaxUnit
from ..parts.component import Component
from ..parts.connect import connect


class PartWalk(Component):
    """Walks the row groups and chunks of one job, with its addresses in the memories of scores, of m and of counts.

    Timing: from the cycle after `start`, `cycles` cycles for every row group, `active` in the first `chunks` of them.
    It may be started again in the cycle of `end`. What says that something is the last comes out of a register.

    Numerics: none; counts are exact.

    Parameters
    ----------
    unit : SoftmaxUnit

    Members
    -------
    start : In(1)
        Begin in the next cycle.
    rows, chunks, cycles : In
        Of the job, 1 or more, in the cycle of `start` only.
    score_base, top_base, row_base : In
        First addresses of the job, in that cycle.
    free : Out(1)
        It may be started.
    active : Out(1)
        A chunk is addressed.
    addr, part : Out
        Its word of scores, and which part of it.
    top_addr, top_part : Out
        The row group's word of m, and which part of it.
    place, row, chunk : Out
        Address of the row group's counts; its number and that of the chunk in the job.
    chunk_end : Out(1)
        `active`, at a row group's last chunk.
    row_end, end : Out(1)
        The last cycle of a row group; of the job.
    """

    def __init__(self, unit: SoftmaxUnit):
        self.unit = unit
        bits, memories = unit.job_bits, unit.memories
        addr, top, place = ((memories[name].depth - 1).bit_length() for name in ("scores", "tops", "counts"))
        parts = (unit.word_rows - 1).bit_length()
        super().__init__(
            {
                "start": In(1),
                "rows": In(bits["rows"]),
                "chunks": In(bits["chunks"]),
                "cycles": In(bits["cycles"]),
                "score_base": In(addr),
                "top_base": In(top),
                "row_base": In(place),
                "free": Out(1),
                "active": Out(1),
                "addr": Out(addr),
                "part": Out(max(1, parts + (unit.pieces - 1).bit_length())),
                "top_addr": Out(top),
                "top_part": Out(max(1, parts)),
                "place": Out(place),
                "row": Out((unit.row_groups - 1).bit_length()),
                "chunk": Out(bits["chunks"]),
                "chunk_end": Out(1),
                "row_end": Out(1),
                "end": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Chunks within a row group, row groups within a word, words."""
        m = Module()
        running, last_row = Signal(), Signal()
        last_chunk, on = Signal(), Signal()
        self._chunks(m, running, last_chunk, on)
        m.d.comb += [
            self.active.eq(running & on),
            self.chunk_end.eq(self.active & last_chunk),
            self.end.eq(self.row_end & last_row),
            self.free.eq(~running | self.end),
        ]
        with m.If(self.end):
            m.d.sync += running.eq(0)
        with m.If(self.start):
            m.d.sync += running.eq(1)
        self._rows(m, last_row)
        self._addresses(m)
        return m

    def _chunks(self, m: Module, running: Value, last_chunk: Signal, on: Signal) -> None:
        """Count the chunks of a row group, and the cycles after them."""
        single_chunk, chunks_after, row_chunks = Signal(), Signal.like(self.chunks), Signal.like(self.chunks)
        m.d.sync += [
            self.chunk.eq(self.chunk + 1),
            chunks_after.eq(chunks_after - 1),
            last_chunk.eq(chunks_after == 1),
        ]
        self._idle_cycles(m, running, last_chunk, on)
        with m.If(self.row_end):
            m.d.sync += [self.chunk.eq(0), chunks_after.eq(row_chunks), last_chunk.eq(single_chunk)]
        with m.If(self.start):
            m.d.sync += [
                *(self.chunk.eq(0), chunks_after.eq(self.chunks - 1), row_chunks.eq(self.chunks - 1)),
                *(last_chunk.eq(self.chunks == 1), single_chunk.eq(self.chunks == 1)),
            ]

    def _idle_cycles(self, m: Module, running: Value, last_chunk: Value, on: Signal) -> None:
        """Wait until a row group has had its cycles, where rows side by side can be more than its chunks."""
        if self.unit.rows == 1:
            m.d.comb += [on.eq(1), self.row_end.eq(running & last_chunk)]
            return
        last_cycle, single, cycles_after, row_cycles = (
            *(Signal(name="last_cycle"), Signal(name="single_cycle")),
            *(Signal.like(self.cycles, name="cycles_after"), Signal.like(self.cycles, name="row_cycles")),
        )
        m.d.comb += self.row_end.eq(running & last_cycle)
        m.d.sync += [cycles_after.eq(cycles_after - 1), last_cycle.eq(cycles_after == 1)]
        with m.If(last_chunk):
            m.d.sync += on.eq(0)
        with m.If(self.row_end):
            m.d.sync += [on.eq(1), cycles_after.eq(row_cycles), last_cycle.eq(single)]
        with m.If(self.start):
            m.d.sync += [
                *(on.eq(1), cycles_after.eq(self.cycles - 1), row_cycles.eq(self.cycles - 1)),
                *(last_cycle.eq(self.cycles == 1), single.eq(self.cycles == 1)),
            ]

    def _rows(self, m: Module, last_row: Signal) -> None:
        """Count rows down, so many at a time as are side by side."""
        side, left = self.unit.rows, Signal.like(self.rows)
        with m.If(self.row_end):
            m.d.sync += [self.row.eq(self.row + 1), self.place.eq(self.place + 1)]
            m.d.sync += [left.eq(left - side), last_row.eq(left <= 2 * side)]
        with m.If(self.start):
            m.d.sync += [self.row.eq(0), connect(self.place, self.row_base)]
            m.d.sync += [left.eq(self.rows), last_row.eq(self.rows <= side)]

    def _addresses(self, m: Module) -> None:
        """Words of a column group follow each other, and so do the groups; a part is a row group's piece of columns."""
        unit, words = self.unit, self.unit.flow.drain_cycles
        piece, piece_end = _counter(m, unit.pieces, "piece")
        group, word_end = _counter(m, unit.word_rows, "group")
        row_addr, next_addr = Signal.like(self.addr), Signal.like(self.addr)
        m.d.comb += [next_addr.eq(row_addr + word_end), self.part.eq(Cat(piece, group)), self.top_part.eq(group)]
        with m.If(piece_end):
            m.d.sync += [piece.eq(0), self.addr.eq(self.addr + words)]
        with m.Else():
            m.d.sync += piece.eq(piece + 1)
        with m.If(self.row_end):
            m.d.sync += [
                *(piece.eq(0), self.addr.eq(next_addr), row_addr.eq(next_addr)),
                *(self.top_addr.eq(self.top_addr + word_end), group.eq(Mux(word_end, 0, group + 1))),
            ]
        with m.If(self.start):
            m.d.sync += [
                *(piece.eq(0), group.eq(0), connect(self.addr, self.score_base), connect(row_addr, self.score_base)),
                connect(self.top_addr, self.top_base),
            ]


def _counter(m: Module, count: int, name: str) -> tuple[Signal, Value]:
    """Return a number below `count`, and whether it is the last."""
    number, end = Signal(range(count), name=name), Signal(name=f"{name}_end")
    m.d.comb += end.eq(number == count - 1)
    return number, end
