"""A memory of the array's row operand: 64 bits of each row a word, written some bits of some rows at a time."""

from __future__ import annotations

from amaranth.hdl import Cat, Module
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...sim.engine.words import WORD, MemoryStyle
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.memory import registered_read, unmet


class RowStore(Component):
    """Words of 64 bits a row, in parts that are written together.

    Timing: data `read_cycles` after the address. What is read in the cycle of a write to the same word is
    undefined.

    Numerics: none.

    Parameters
    ----------
    rows, part_bits, depth : int
        Rows; bits of a part, which are given for a row, and repeated to fill its 64; words.
    style : {"auto", "block", "distributed"}
        What it is asked to be made of.
    read_cycles : int
        From an address to its word.

    Members
    -------
    w_en, w_addr, w_rows, w_parts, w_data : In
        Write these parts of these rows of a word, when `w_en`.
    r_addr, r_data : In, Out
        Read port: row 0 is least significant.
    """

    def __init__(self, *, rows: int, part_bits: int, depth: int, style: MemoryStyle = "auto", read_cycles: int = 1):
        self.style, self.read_cycles = style, read_cycles
        self.rows, self.part_bits, self.depth = rows, part_bits, depth
        addr_bits = max(1, ceil_log2(depth))
        super().__init__(
            {
                "w_en": In(1),
                "w_addr": In(addr_bits),
                "w_rows": In(rows),
                "w_parts": In(WORD // part_bits),
                "w_data": In(rows * part_bits),
                "r_addr": In(addr_bits),
                "r_data": Out(rows * WORD),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the memory."""
        m = Module()
        m.submodules.store = store = unmet(self.rows * WORD, self.depth, self.style)
        write = store.write_port(granularity=self.part_bits)
        lanes = [self.w_data.word_select(row, self.part_bits) for row in range(self.rows)]
        m.d.comb += [
            connect_address(write.addr, self.w_addr),
            connect(write.data, Cat(lane.replicate(WORD // self.part_bits) for lane in lanes)),
            write.en.eq(Cat(self.w_parts & (self.w_en & here).replicate(len(self.w_parts)) for here in self.w_rows)),
            connect(self.r_data, registered_read(m, store, self.r_addr, cycles=self.read_cycles)),
        ]
        return m
