"""The shadow registers: a tile's sums leave, some rows a cycle, while the next ones are made."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from ...sim.engine.words import ceil_div
from ..parts.component import Component
from ..parts.connect import connect


class Shadow(Component):
    """Captures all sums at once and gives them in words of `side` rows, one a cycle.

    The registers do not shift: a word is chosen, and its register follows. Rows that a tile has not are 0.

    Timing: the first word is there two cycles after `capture`; the next one may come with the last word but one, or
    after it.

    Numerics: none.

    Parameters
    ----------
    rows, row_bits, side : int
        Rows, bits of each, rows of a word.

    Members
    -------
    capture, sums : In
        Take these.
    en, last, o : Out
        A word, and whether it is the last one.
    """

    def __init__(self, *, rows: int, row_bits: int, side: int):
        self.rows, self.row_bits, self.side = rows, row_bits, side
        self.words = ceil_div(rows, side)
        super().__init__(
            {
                "capture": In(1),
                "sums": In(rows * row_bits),
                "en": Out(1),
                "last": Out(1),
                "o": Out(side * row_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Capture, then count through the words."""
        m = Module()
        held = Signal(len(self.sums), reset_less=True)
        number, busy = Signal(range(max(2, self.words))), Signal()
        last_number = number == self.words - 1
        with m.If(self.capture):
            m.d.sync += connect(held, self.sums)
        m.d.sync += [number.eq(number + 1), connect(self.en, busy), self.last.eq(busy & last_number)]
        with m.If(last_number):
            m.d.sync += busy.eq(0)
        with m.If(self.capture):
            m.d.sync += [busy.eq(1), number.eq(0)]
        width = self.side * self.row_bits
        words: list[Value] = [held[at : at + width] for at in range(0, len(held), width)]
        m.d.sync += self.o.eq(_chosen(words, number))
        return m


def _chosen(words: list[Value], number: Value) -> Value:
    """Return the word of this number, by a tree of multiplexers."""
    if len(words) == 1:
        return words[0]
    single = words[len(words) // 2 * 2 :]
    pairs = [Mux(number[0], odd, even) for even, odd in zip(words[::2], words[1::2], strict=False)]
    return _chosen([*pairs, *single], number[1:])
