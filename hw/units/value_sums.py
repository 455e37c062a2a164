"""Column sums of v over all tokens: what turns the array's xnor counts into sums of {0, 1} x {+1, -1} products."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import In

from ...sim.engine.commands import Matmul
from ...sim.units.value_sums import ValueSumsUnit
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.memory import WordMemory
from ..parts.stream import CHUNK_BITS, field_bits, read_port


class ValueSums(Component):
    """Count the ones of every column of v, tile by tile, for one group of C columns at a time.

    With a in {0, 1}, L products (padding included) and V ones in column d of v, ``2*popcount(a & v) - popcount(a)`` is
    ``popcount(xnor(a, v)) + V - L``: the array starts at V - L (semantics.md, 9).

    Timing: the group's old sums are read while `capture`; the new ones are written `ValueSumsUnit.write_stage` cycles
        after the last chunk of the tile; one chunk a cycle.
    Numerics: sums of 0 .. max_tokens in `acc_bits`.

    Parameters
    ----------
    unit : ValueSumsUnit

    Members
    -------
    capture, capture_group, capture_first : In
        A tile of v starts to drain in the next cycle; its group; whether its sums start at 0.
    en, last, chunk, bits : In
        A drained chunk of bits of v; whether it is the tile's last.
    read : In(read_port)
        Reader for the array's preload: group in, C sums out one cycle later.
    """

    def __init__(self, unit: ValueSumsUnit):
        self.unit, self.engine = unit, unit.engine
        engine = unit.engine
        width = engine.columns * engine.acc_bits
        super().__init__(
            {
                "capture": In(1),
                "capture_group": In(field_bits(Matmul, "param_addr")),
                "capture_first": In(1),
                "en": In(1),
                "last": In(1),
                "chunk": In(CHUNK_BITS),
                "bits": In(unit.lanes),
                "read": In(read_port(field_bits(Matmul, "preload_addr"), width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the memory of sums and the registers of the group at hand."""
        m = Module()
        bits, lanes = self.engine.acc_bits, self.unit.lanes
        width = self.engine.columns * bits
        m.submodules.sums = sums = WordMemory.of(self.unit.memories["value_sums"])
        # Stage 1, the cycle of a chunk: fields of its tile, the word as it leaves the memory. 2: both in registers.
        group, zero, fresh = Signal.like(self.capture_group), Signal(), Signal()
        drained = Cat(self.en, self.last, fresh, self.chunk, self.bits, group)
        drained_2 = Signal(len(drained))
        en_2, last_2, fresh_2 = drained_2[:3]
        chunk_2, bits_2 = drained_2[3:][:CHUNK_BITS], drained_2[3 + CHUNK_BITS :][:lanes]
        word_2, held = Signal(width, reset_less=True), Signal(width, reset_less=True)
        base, total = Signal(width), Signal(width)
        m.d.comb += [
            connect_address(sums.r_addr[0], self.read.addr),
            connect(self.read.data, sums.r_data[0]),
            connect_address(sums.r_addr[1], self.capture_group),
            # The first chunk meets the word; later ones what was counted.
            base.eq(Mux(fresh_2, word_2, held)),
            connect(sums.w_data, held),
        ]
        for c in range(self.engine.columns):
            counted = bits_2[c % lanes] & (chunk_2 == c // lanes)
            m.d.comb += total.word_select(c, bits).eq(base.word_select(c, bits) + counted)
        m.d.sync += [connect(drained_2, drained), connect(word_2, sums.r_data[1]), sums.w_en.eq(en_2 & last_2)]
        with m.If(zero):
            m.d.sync += word_2.eq(0)
        with m.If(self.en):
            m.d.sync += fresh.eq(0)
        with m.If(self.capture):
            m.d.sync += [connect(group, self.capture_group), connect(zero, self.capture_first), fresh.eq(1)]
        with m.If(en_2):
            m.d.sync += held.eq(total)
            with m.If(last_2):
                m.d.sync += connect_address(sums.w_addr, drained_2[-len(group) :])
        return m
