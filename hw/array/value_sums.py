"""Column sums of v over all tokens: where the sums of attention and values begin."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from ...sim.flow.matmul import MatmulUnit
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.memory import WordMemory
from ..parts.stream import read_port


class ValueSums(Component):
    """Counts the ones of every column of v, tile by tile, of one column group a tile.

    With a in {0, 1}, L products (padding included) and V ones in a column of v, ``2*popcount(a & v) - popcount(a)`` is
    ``popcount(xnor(a, v)) + V - L``: the array starts at V - L (docs/semantics.md, 9).

    Timing: `start` comes a cycle before the first rows; the sums are written two cycles after the last ones, and the
    next tile's `start` may be in that cycle.

    Numerics: sums of 0 to `max_tokens` in `acc_bits`.

    Parameters
    ----------
    unit : MatmulUnit

    Members
    -------
    start, store, first, dst : In
        A tile: whether it is one of v; whether its sums begin at 0, else at their word; their word.
    en, last, here, data : In
        Rows, as of `RowWriter`.
    written : Out(1)
        The sums are written in this cycle, or would be if it were one of v.
    read : In(read_port)
        Reader for the array: word in, sums of the columns out.
    """

    def __init__(self, unit: MatmulUnit):
        self.unit = unit
        self.memory = unit.memories["value_sums"]
        address = unit.operands.fields["sums_dst"]
        side = unit.flow.value_rows
        super().__init__(
            {
                "start": In(1),
                "store": In(1),
                "first": In(1),
                "dst": In(address),
                "en": In(1),
                "last": In(1),
                "here": In(side),
                "data": In(side * unit.flow.engine.columns),
                "written": Out(1),
                "read": In(read_port(address, self.memory.width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count the ones of the tile, then add the old sums, which the memory has kept at its output since."""
        m = Module()
        engine, side = self.unit.flow.engine, self.unit.flow.value_rows
        columns, bits = engine.columns, engine.acc_bits
        m.submodules.sums = sums = WordMemory.of(self.memory)
        store, first = Signal(), Signal(reset_less=True)
        dst = Signal.like(self.dst, reset_less=True)
        counted, written = Signal(), Signal()
        with m.If(self.start):
            m.d.sync += [connect(store, self.store), connect(first, self.first), connect(dst, self.dst)]
        m.d.sync += [counted.eq(self.en & self.last), connect(written, counted)]
        m.d.comb += [
            connect_address(sums.r_addr[0], self.read.addr),
            connect(self.read.data, sums.r_data[0]),
            connect_address(sums.r_addr[1], dst),
            connect_address(sums.w_addr, dst),
            sums.w_en.eq(written & store),
            connect(self.written, written),
        ]
        for column in range(columns):
            ones = Signal(range(engine.rows + 1), name=f"ones_{column}", reset_less=True)
            total = Signal(bits, name=f"total_{column}", reset_less=True)
            count = sum(self.data[row * columns + column] & self.here[row] for row in range(side))
            old = sums.r_data[1].word_select(column, bits)
            m.d.sync += total.eq(Mux(first, 0, old) + ones)
            with m.If(self.en):
                m.d.sync += ones.eq(ones + count)
            with m.If(self.start):
                m.d.sync += ones.eq(0)
            m.d.comb += sums.w_data.word_select(column, bits).eq(total)
        return m
