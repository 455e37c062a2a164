"""Where a stream is: its operation of a tile, the tile of an image, the turn; and which slots it begins late."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.timing.array import TURN_CYCLES
from ..parts.component import Component
from ..parts.connect import connect

#: What is known a cycle early.
EARLY = ("lagging", "ready", "first", "end", "fresh")


class StreamWalk(Component):
    """Counts operations, tiles and turns, a slot a cycle.

    Timing: after the last slot of a turn the stream is `ready` again `sim.timing.array.TURN_CYCLES` later; `settled`
    is high in the cycle before, in which what its turn works on is in a register. What is coming is in a register
    in the next cycle.

    Numerics: none; counts are exact.

    Parameters
    ----------
    operations, tiles, tokens : int
        Bits of a number of an operation and of a tile; of a token.
    rows : int
        Tokens of a tile but the last.
    lags : int
        Bits of a number of slots that a stream begins late.
    turns : int
        Turns in a ring.
    begin : int
        The first turn.

    Members
    -------
    hold : In(1)
        Begin again.
    take : In(1)
        A slot of this stream passes.
    skip : In(1)
        A tile is left out; never beside `take`.
    last, tiles_last, lag : In
        Last operation of a tile, last tile of an image, slots that pass before the first operation.
    lagging, ready, settled : Out(1)
        The slot is one of those; the stream can go on; it can in the next cycle.
    number, first, end : Out
        The operation, whether it is a tile's first or last; neither, while it is one of those.
    tile, tile_first, tile_end, token : Out
        The tile, whether it is an image's first or last, and its first token.
    turn : Out
        The turn in its ring.
    fresh : Out(1)
        The slot is a turn's first.
    coming : Out
        Those of `EARLY`, a cycle early.
    far : Out(1)
        Two more tiles of the image come behind the tile.
    """

    def __init__(self, *, operations: int, tiles: int, tokens: int, rows: int, lags: int, turns: int, begin: int = 0):
        self.rows, self.turns, self.begin = rows, turns, begin
        super().__init__(
            {
                "hold": In(1),
                "take": In(1),
                "skip": In(1),
                "last": In(operations),
                "tiles_last": In(tiles),
                "lag": In(lags),
                "lagging": Out(1),
                "ready": Out(1),
                "settled": Out(1),
                "number": Out(operations),
                "first": Out(1),
                "end": Out(1),
                "tile": Out(tiles),
                "tile_first": Out(1),
                "tile_end": Out(1),
                "token": Out(tokens),
                "turn": Out(range(turns)),
                "fresh": Out(1),
                "coming": Out(data.StructLayout(dict.fromkeys(EARLY, 1))),
                "far": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count; what says that a number is the first or the last is known beside it."""
        m = Module()
        tile_first, settling = Signal(init=1), Signal(TURN_CYCLES - 1)
        turn = Signal(range(self.turns), init=self.begin)
        step = self.take & ~self.lagging
        m.d.comb += [
            self.ready.eq(~settling[0]),
            self.settled.eq(settling == 1),
            *(connect(self.tile_first, tile_first), connect(self.turn, turn)),
        ]
        settling_next = Signal.like(settling)
        m.d.comb += [settling_next.eq(settling >> 1), self.coming.ready.eq(~settling_next[0])]
        m.d.sync += settling.eq(settling_next)
        self._early(m, self._lag(m))
        with m.If(step):
            m.d.sync += self.number.eq(Mux(self.end, 0, self.number + 1))
        # The token of a tile that has nothing to do is not asked for.
        with m.If(self.take & self.end):
            m.d.sync += self.token.eq(self.token + self.rows)
        with m.If((self.take & self.end) | self.skip):
            m.d.sync += [
                *(self.tile.eq(self.tile + 1), tile_first.eq(0)),
                *(self.tile_end.eq(self.tile + 1 == self.tiles_last), self.far.eq(self.tile + 3 <= self.tiles_last)),
            ]
        with m.If(self.take & self.end & self.tile_end):
            m.d.sync += [
                *(self.tile.eq(0), self.token.eq(0), tile_first.eq(1)),
                *(self.tile_end.eq(self.tiles_last == 0), self.far.eq(self.tiles_last >= 2)),
                turn.eq(Mux(turn == self.turns - 1, 0, turn + 1)),
            ]
            m.d.comb += settling_next.eq(-1)
        with m.If(self.hold):
            m.d.sync += [self.tile_end.eq(self.tiles_last == 0), self.far.eq(self.tiles_last >= 2)]
        return m

    def _lag(self, m: Module) -> Signal:
        """Count the slots that pass before the first operation; return whether it is the last of them."""
        left, over = Signal.like(self.lag), Signal()
        with m.If(self.take):
            m.d.sync += [left.eq(left - 1), over.eq(self.lagging & (left == 2))]
        with m.If(self.hold):
            m.d.sync += [connect(left, self.lag), over.eq(self.lag == 1)]
        return over

    def _early(self, m: Module, over: Signal) -> None:
        """Flags of the next slot, in this cycle for whoever needs more than they say, and in registers."""
        following: dict[str, tuple[Value, Any, Any]] = {  # while nothing passes, when a slot passes, at the beginning
            "lagging": (self.lagging, self.lagging & ~over, self.lag != 0),
            "first": (self.first, self.end | over, self.lag == 0),
            "end": (
                self.end,
                Mux(self.end | over, self.last == 0, ~self.lagging & (self.number + 1 == self.last)),
                (self.lag == 0) & (self.last == 0),
            ),
            "fresh": (self.fresh, (self.end & self.tile_end) | over, self.lag == 0),
        }
        for name, (stays, passes, begins) in following.items():
            m.d.comb += self.coming[name].eq(Mux(self.hold, begins, Mux(self.take, passes, stays)))
            m.d.sync += connect(getattr(self, name), self.coming[name])
