"""The order in which units go through a tile: row group after row group, the words of each one after the other."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from ...sim.engine.words import ceil_div
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.row_walk import RowWalk


class GroupWalk(Component):
    """Counts the words of a job, and waits between row groups where they come faster than they should.

    Timing: after `start` a row group takes `words` cycles, but at least `pace`; it may be started again when `idle`,
    so jobs follow each other without a gap.

    Numerics: none.

    Parameters
    ----------
    rows : int
        Rows of a tile, at most.
    side : int
        Rows of a row group.
    most_words : int
        Words of a row group, at most.
    pace : int
        Cycles of a row group, at least.

    Members
    -------
    start : In(1)
        Begin with row group 0 and word 0 in the next cycle.
    rows, words : In
        Rows of the tile and words of a row group, 1 or more, in the cycle of `start` only.
    active, group, word : Out
        Whether there is a word in this cycle, and which one.
    here : Out(side)
        Rows of the row group that the tile has.
    group_end, last, final : Out(1)
        A row group's last cycle; its last word, when `active`; the last word of all.
    end, idle : Out(1)
        The last cycle of all; whether the walk can be started.
    """

    def __init__(self, rows: int, side: int, most_words: int, pace: int = 1):
        self.most_rows, self.side, self.pace = rows, side, pace
        self.most_groups = ceil_div(rows, side)
        self.most_words = most_words
        group_bits = self.most_groups.bit_length()
        super().__init__(
            {
                "start": In(1),
                "rows": In(range(rows + 1)),
                "words": In(range(most_words + 1)),
                "active": Out(1),
                "group": Out(group_bits),
                "word": Out(range(most_words + 1)),
                "here": Out(side),
                "group_end": Out(1),
                "last": Out(1),
                "final": Out(1),
                "end": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Walk with as many words as cycles; count down the rows beside it."""
        m = Module()
        cycles = max(self.most_words, self.pace)
        m.submodules.walk = walk = RowWalk(len(self.group), cycles.bit_length())
        words = Signal.like(self.words, reset_less=True)
        left = Signal.like(self.rows, reset_less=True)
        with m.If(walk.row_end):
            m.d.sync += left.eq(left - self.side)
        with m.If(self.start):
            m.d.sync += [connect(words, self.words), connect(left, self.rows)]
        m.d.comb += [
            walk.start.eq(self.start),
            walk.rows.eq(self._groups(self.rows)),
            walk.chunks.eq(Mux(self.words < self.pace, self.pace, self.words)),
            self.active.eq(walk.active & (walk.chunk < words)),
            connect(self.group, walk.row),
            self.word.eq(walk.chunk[: len(self.word)]),
            self.here.eq(Cat(left > row for row in range(self.side))),
            connect(self.group_end, walk.row_end),
            self.last.eq(walk.chunk == words - 1),
            self.final.eq(self.active & self.last & (left <= self.side)),
            connect(self.end, walk.end),
            self.idle.eq(~walk.active | walk.end),
        ]
        return m

    def _groups(self, rows: Value) -> Value:
        """How many row groups so many rows are."""
        if self.side & (self.side - 1) == 0:
            return ((rows - 1) >> (self.side.bit_length() - 1)) + 1
        counts = [ceil_div(row, self.side) for row in range(self.most_rows + 1)]
        return Value.cast(Array(Const(count, len(self.group)) for count in counts)[rows])
