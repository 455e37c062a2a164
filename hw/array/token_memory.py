"""Memory of the bits of keys and values: written several tokens at a time, from any token on, and read in words."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from ...sim.engine.words import MemoryStyle
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.memory import registered_read, unmet


class TokenMemory(Component):
    """Words of `tokens` slots, a token each, in banks by the token's number.

    A write is of as many tokens, one after the other, as there are banks: where they begin does not matter, and some of
    them may lie in the word that follows. Of each slot the parts are written that are asked for.

    Timing: a write takes place one cycle after `w_en`, and can be read in the next cycle; data `read_cycles` after
    the address. What is read in the cycle of a write to the same word is undefined.

    Numerics: none.

    Parameters
    ----------
    tokens, banks : int
        Slots of a word, and banks: powers of two.
    slot_bits, part_bits : int
        Bits of a slot; of a part of it, that are given, repeated to fill it, and written together.
    token_bits, depth : int
        Width of a token's number, and words.
    style : {"auto", "block", "distributed"}
        What it is asked to be made of.
    read_cycles : int
        From an address to its word.

    Members
    -------
    w_en, w_here : In
        Write those tokens of the next `banks` ones that are here.
    w_addr, w_token : In
        The word of token 0, and the number of the first token.
    w_parts, w_data : In
        Which parts of the slots, and what is given for each token.
    clear, clear_addr : In
        Instead, write 0 to a whole word.
    r_addr, r_data : In, Out
        Read port: token 0 of the word is least significant.
    """

    def __init__(
        self,
        *,
        tokens: int,
        banks: int,
        slot_bits: int,
        part_bits: int,
        token_bits: int,
        depth: int,
        style: MemoryStyle = "auto",
        read_cycles: int = 1,
    ):
        self.style, self.read_cycles = style, read_cycles
        self.tokens, self.banks, self.depth = tokens, banks, depth
        self.slot_bits, self.part_bits = slot_bits, part_bits
        addr_bits = max(1, ceil_log2(depth))
        super().__init__(
            {
                "w_en": In(1),
                "w_here": In(banks),
                "w_addr": In(addr_bits),
                "w_token": In(token_bits),
                "w_parts": In(slot_bits // part_bits),
                "w_data": In(banks * part_bits),
                "clear": In(1),
                "clear_addr": In(addr_bits),
                "r_addr": In(addr_bits),
                "r_data": Out(tokens * slot_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Turn the lanes to their banks, then write each bank at an address of its own."""
        m = Module()
        slots, sweep = self.tokens // self.banks, Signal()
        parts = Signal.like(self.w_parts, reset_less=True)
        m.d.sync += [connect(sweep, self.clear), connect(parts, self.w_parts)]
        with m.If(self.clear):
            m.d.sync += parts.eq(-1)
        words = []
        for bank in range(self.banks):
            here, line, lane = self._turned(m, bank)
            store = unmet(slots * self.slot_bits, self.depth, self.style)
            m.submodules[f"bank_{bank}"] = store
            write = store.write_port(granularity=self.part_bits)
            slot = line[: exact_log2(slots)]
            m.d.comb += [
                connect_address(write.addr, line[exact_log2(slots) :]),
                write.data.eq(lane.replicate(len(write.data) // len(lane))),
                write.en.eq(
                    Cat(parts & (here & (sweep | (slot == number))).replicate(len(parts)) for number in range(slots))
                ),
            ]
            words.append(registered_read(m, store, self.r_addr, f"word_{bank}", cycles=self.read_cycles))
        places = [divmod(token, self.banks) for token in range(self.tokens)]
        m.d.comb += self.r_data.eq(Cat(words[bank].word_select(slot, self.slot_bits) for slot, bank in places))
        return m

    def _turned(self, m: Module, bank: int) -> tuple[Signal, Signal, Signal]:
        """Return, registered, whether a bank is written, its word and slot side by side, and what is written."""
        turn = self.w_token[: exact_log2(self.banks)]
        in_word = exact_log2(self.tokens // self.banks)
        here, lane = Signal(name=f"here_{bank}"), Signal(self.part_bits, name=f"lane_{bank}", reset_less=True)
        line = Signal(len(self.w_addr) + in_word, name=f"line_{bank}", reset_less=True)
        # Banks before that of the first token have those that follow.
        m.d.sync += line.eq(Cat(Const(0, in_word), self.w_addr) + self.w_token[len(turn) :] + (turn > bank))
        with m.Switch(turn):
            for first in range(1 << len(turn)):  # where a token's number has fewer bits, it is below that
                with m.Case(first) if len(turn) else m.Default():
                    number = (bank - first) % self.banks
                    m.d.sync += [
                        here.eq(self.w_en & self.w_here[number]),
                        lane.eq(self.w_data.word_select(number, self.part_bits)),
                    ]
        with m.If(self.clear):
            m.d.sync += [here.eq(1), lane.eq(0), line.eq(self.clear_addr << in_word)]
        return here, line, lane
