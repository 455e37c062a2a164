"""The writer of a tile's bits row by row, to memories that have a token in a slot."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib.wiring import In, Out

from ...sim.engine.words import ceil_div
from ..parts.component import Component
from ..parts.connect import connect


class RowWriter(Component):
    """Shifts the rows of a tile out, `side` of them a cycle.

    Timing: the first rows come one cycle after `start`, and the next tile may start when the last ones have come.

    Numerics: none.

    Parameters
    ----------
    rows, columns, side : int
        Rows of a tile, bits of a row, rows that leave in a cycle.
    token_bits : int
        Width of a token's number.

    Members
    -------
    start : In(1)
        A tile: what follows is its.
    tile_rows, tile_token, tile : In
        How many of its rows there are, 1 or more; the first one's token; the bits of all.
    en, here, token, data : Out
        Rows, those that are there; the first one's token; their bits.
    last : Out(1)
        The last rows of the tile.
    """

    def __init__(self, *, rows: int, columns: int, side: int, token_bits: int):
        self.rows, self.columns, self.side = rows, columns, side
        super().__init__(
            {
                "start": In(1),
                "tile_rows": In(range(rows + 1)),
                "tile_token": In(token_bits),
                "tile": In(rows * columns),
                "en": Out(1),
                "here": Out(side),
                "token": Out(token_bits),
                "data": Out(side * columns),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the register of all rows, and count those that are left."""
        m = Module()
        width = self.side * self.columns
        waiting = Signal(ceil_div(self.rows, self.side) * width, reset_less=True)
        left = Signal.like(self.tile_rows, reset_less=True)  # after those that leave now
        en, last = Signal(), Signal()
        here, token = Signal.like(self.here, reset_less=True), Signal.like(self.token, reset_less=True)

        def leave(rows: Signal) -> list[object]:
            """What the next rows are, if so many are there yet."""
            here_next = Cat(rows > row for row in range(self.side))
            return [here.eq(here_next), last.eq(rows <= self.side), left.eq(rows - self.side)]

        m.d.sync += [waiting.eq(waiting >> width), token.eq(token + self.side), *leave(left)]
        with m.If(last):
            m.d.sync += en.eq(0)
        with m.If(self.start):
            m.d.sync += [connect(waiting, self.tile), connect(token, self.tile_token), en.eq(1), *leave(self.tile_rows)]
        m.d.comb += [
            connect(self.en, en),
            connect(self.here, here),
            connect(self.token, token),
            self.data.eq(waiting[:width]),
            self.last.eq(en & last),
        ]
        return m
