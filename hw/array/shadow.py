"""The shadow registers: a tile's sums leave, some rows a cycle, while the next ones are made."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
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
        """Count the words for what is beside them; each row of a word has a count of its own."""
        m = Module()
        busy, last = Signal(), Signal()
        left = Signal(range(max(2, self.words)), reset_less=True)  # words after this one
        m.d.sync += [left.eq(left - 1), connect(self.en, busy), self.last.eq(busy & last), last.eq(left == 1)]
        with m.If(last):
            m.d.sync += busy.eq(0)
        with m.If(self.capture):
            m.d.sync += [busy.eq(1), left.eq(self.words - 1), last.eq(self.words == 1)]
        for row in range(self.side):
            m.submodules[f"row_{row}"] = shadow = ShadowRow(self.row_bits, self.words)
            held = [self.sums.word_select(one, self.row_bits) for one in range(row, self.rows, self.side)]
            m.d.comb += [
                connect(shadow.capture, self.capture),
                connect(shadow.i, Cat(held)),
                self.o.word_select(row, self.row_bits).eq(shadow.o),
            ]
        return m


class ShadowRow(Component):
    """One row of each word, and a count of the words that chooses among them.

    Registers of one count for all rows would have thousands of loads; those of counts that count by themselves are not
    made one by synthesis.

    Timing: as of `Shadow`.

    Numerics: none.

    Parameters
    ----------
    bits, words : int
        Bits of the row, words.

    Members
    -------
    capture, i : In
        Take the rows of all words.
    o : Out(bits)
        That of the word at hand.
    """

    def __init__(self, bits: int, words: int):
        self.bits, self.words = bits, words
        super().__init__({"capture": In(1), "i": In(words * bits), "o": Out(bits)})

    def elaborate(self, platform: object) -> Module:
        """Capture, count, choose."""
        m = Module()
        held = Signal(len(self.i), reset_less=True)
        number = Signal(range(max(2, self.words)))
        m.d.sync += number.eq(number + 1)
        with m.If(self.capture):
            m.d.sync += [connect(held, self.i), number.eq(0)]
        chosen = Signal(self.bits, reset_less=True)
        m.d.sync += chosen.eq(_chosen([held.word_select(word, self.bits) for word in range(self.words)], number))
        m.d.comb += connect(self.o, chosen)
        return m


def _chosen(words: list[Value], number: Value) -> Value:
    """Return the word of this number, by a tree of multiplexers."""
    if len(words) == 1:
        return words[0]
    single = words[len(words) // 2 * 2 :]
    pairs = [Mux(number[0], odd, even) for even, odd in zip(words[::2], words[1::2], strict=False)]
    return _chosen([*pairs, *single], number[1:])
