"""Memory of sums that are written several rows at a time and read in parts: between the array and a unit."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.memory import registered_read, unmet


class PartMemory(Component):
    """Words of `parts` parts each, written whole, read a part at a time.

    The sums of `drain_rows` rows of a tile make a word; a part is what a unit takes in a cycle.

    Timing: a part is there `READ_CYCLES` cycles after its address; one a cycle. What is read in the cycle of a write
    to the same word is undefined.

    Numerics: none.

    Parameters
    ----------
    part_bits, parts, depth : int
        Bits of a part, parts of a word, words.
    readers : int
        Read ports; each beyond the first costs a copy of the memory.

    Members
    -------
    w_en, w_addr, w_data : In
        Write when `w_en`; part 0 is least significant.
    r_addr, r_part, r_data : In, In, Out, arrays of `readers`
        Word, part of it, and what is there.
    """

    #: From an address to its part: the memory, then the choice of the part.
    READ_CYCLES = 2

    def __init__(self, part_bits: int, parts: int, depth: int, readers: int = 1):
        self.part_bits, self.parts, self.depth, self.readers = part_bits, parts, depth, readers
        addr_bits = max(1, ceil_log2(depth))
        part_number = max(1, ceil_log2(parts))
        super().__init__(
            {
                "w_en": In(1),
                "w_addr": In(addr_bits),
                "w_data": In(parts * part_bits),
                "r_addr": In(addr_bits).array(readers),
                "r_part": In(part_number).array(readers),
                "r_data": Out(part_bits).array(readers),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the memory and a register behind the choice of the part."""
        m = Module()
        m.submodules.store = store = unmet(self.parts * self.part_bits, self.depth)
        write = store.write_port()
        m.d.comb += [
            connect(write.en, self.w_en),
            connect_address(write.addr, self.w_addr),
            connect(write.data, self.w_data),
        ]
        for number, (addr, part, data) in enumerate(zip(self.r_addr, self.r_part, self.r_data, strict=True)):
            whole = registered_read(m, store, addr, f"whole_{number}")
            chosen = Signal.like(part, name=f"part_{number}", reset_less=True)
            word = Signal(self.part_bits, name=f"word_{number}", reset_less=True)
            m.d.sync += [connect(chosen, part), word.eq(whole.word_select(chosen, self.part_bits))]
            m.d.comb += connect(data, word)
        return m
