"""From a unit's bits, some rows and columns a cycle, to the write port of a memory of the row operand."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ...sim.engine.words import WORD, ceil_div
from ..parts.component import Component
from ..parts.connect import connect


def collect(m: Module, en: Value, word: Value, bits: Value, *, side: int, columns: int, part: int) -> Signal:
    """Return, registered, what has come so far of the parts that bits belong to: each row's own, 0 beyond.

    Narrow bits of a row come one after the other. Written as they come, a memory needs an enable for so few; a part is
    written again and again instead, with more in it each time.

    Parameters
    ----------
    m : Module
    en, word, bits : Value
        Bits come: which `columns` of the row, the first of a part before the others; of `side` rows.
    side, columns, part : int
        Rows; bits of each that come in a cycle; bits of a part.
    """
    held = Signal(side * part, name="collected")
    pieces = part // columns
    place = word[: exact_log2(pieces)]
    with m.If(en):
        for piece in range(pieces):
            ours = Cat(held.word_select(row * pieces + piece, columns) for row in range(side))
            with m.If(place == piece):
                m.d.sync += ours.eq(bits)
            with m.Elif(place == 0):
                m.d.sync += ours.eq(0)
    return held


class LaneWriter(Component):
    """Turns row group and word of the row into rows and parts of a word of 64 bits a row.

    Timing: one register.

    Numerics: none.

    Parameters
    ----------
    rows, side, columns : int
        Rows of a tile; rows and columns that come in a cycle.
    part : int
        Bits of a row that are written together, see `collect`.
    addr_bits, word_bits : int
        Widths of an address and of the number of a word.

    Members
    -------
    en, addr, group, word, data : In
        Bits: the address of the row's first 64; which rows, and which `columns` of them.
    clear, clear_addr : In
        Instead, write 0 to a whole word.
    w_en, w_addr, w_rows, w_parts, w_data : Out
        As of `RowStore`, a lane a row; data are 0 until bits have come since `clear`.
    """

    def __init__(self, *, rows: int, side: int, columns: int, part: int, addr_bits: int, word_bits: int):
        self.rows, self.side, self.columns, self.part = rows, side, columns, part
        self.groups = ceil_div(rows, side)
        super().__init__(
            {
                "en": In(1),
                "addr": In(addr_bits),
                "group": In(self.groups.bit_length()),
                "word": In(word_bits),
                "data": In(side * columns),
                "clear": In(1),
                "clear_addr": In(addr_bits),
                "w_en": Out(1),
                "w_addr": Out(addr_bits),
                "w_rows": Out(rows),
                "w_parts": Out(WORD // part),
                "w_data": Out(rows * part),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Decode and register."""
        m = Module()
        in_part, in_word = exact_log2(self.part // self.columns), exact_log2(WORD // self.columns)
        w_en, w_addr = Signal(), Signal.like(self.addr, reset_less=True)
        groups, w_parts = Signal(self.groups, reset_less=True), Signal.like(self.w_parts, reset_less=True)
        m.d.sync += [
            w_en.eq(self.en | self.clear),
            w_addr.eq(self.addr + self.word[in_word:]),
            groups.eq(Cat(self.group == number for number in range(self.groups))),
            w_parts.eq(Cat(self.word[in_part:in_word] == number for number in range(len(w_parts)))),
        ]
        side, part = self.side, self.part
        w_data = collect(m, self.en, self.word, self.data, side=side, columns=self.columns, part=part)
        with m.If(self.clear):
            m.d.sync += [connect(w_addr, self.clear_addr), groups.eq(-1), w_parts.eq(-1), w_data.eq(0)]
        m.d.comb += [
            connect(self.w_en, w_en),
            connect(self.w_addr, w_addr),
            connect(self.w_parts, w_parts),
            self.w_rows.eq(Cat(groups[row // side] for row in range(self.rows))),
            self.w_data.eq(Cat(w_data.word_select(row % side, part) for row in range(self.rows))),
        ]
        return m
