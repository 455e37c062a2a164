"""The multipliers of the patch embedding and the classifier, and the way of their sums out of the shadow registers."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.engine.words import ceil_div
from ...sim.flow.edge import CHOICES, choose_cycles
from ...sim.network.formats import DENSE_WEIGHT_BITS
from ..parts.arithmetic import delay_stages
from ..parts.component import Component
from ..parts.connect import connect


def chunk_of(m: Module, chunk: Value, sums: Sequence[Value], side: int) -> Signal:
    """Return one of the chunks of sums, two cycles after its number.

    Parameters
    ----------
    m : Module
    chunk : Value
        Its number.
    sums : sequence of Value
        Of all chunks, all of one width.
    side : int
        Sums in a chunk.
    """
    chunks = [Cat(sums[at : at + side]) for at in range(0, len(sums), side)]
    chunk_1 = Signal.like(chunk, name="chunk_1", reset_less=True)
    sums_2 = Signal(len(chunks[0]), name="sums_2", reset_less=True)
    m.d.sync += [connect(chunk_1, chunk), sums_2.eq(Array(chunks)[chunk_1])]
    return sums_2


class DenseBlock(Component):
    """Sums of one input a step times the weights of up to `CHOICES` chunks; complete sums wait in a shadow register.

    All signals that reach every lane have registers of their own in each block.

    Timing: an input follows its step by `EdgeUnit.input_stage`; sums are in the shadow register three cycles later. A
        chunk follows its number by two cycles, and is what the shadow register has one cycle after the number.
    Numerics: exact; sums fit `acc_bits`.

    Parameters
    ----------
    chunks, lanes : int
        Chunks, and lanes of each.
    input_bits, acc_bits : int
        Signed widths of an input and of a sum.

    Members
    -------
    input, weights : In
        Of a step.
    first, last : In(1)
        The step is a group's first or last.
    chunk, sums : In, Out
        Number of a chunk; its sums.
    """

    def __init__(self, chunks: int, lanes: int, input_bits: int, acc_bits: int):
        self.chunks, self.lanes, self.input_bits, self.acc_bits = chunks, lanes, input_bits, acc_bits
        super().__init__(
            {
                "input": In(signed(input_bits)),
                "weights": In(data.ArrayLayout(signed(DENSE_WEIGHT_BITS), chunks * lanes)),
                "first": In(1),
                "last": In(1),
                "chunk": In(max(1, (chunks - 1).bit_length())),
                "sums": Out(lanes * acc_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Register, multiply, add, copy when complete; choose."""
        m = Module()
        input_1 = Signal.like(self.input, reset_less=True)
        first = delay_stages(m, self.first, 2, "first", reset_less=True)[-1]
        last = delay_stages(m, self.last, 3, "last", reset_less=True)[-1]
        shadows: list[Value] = []
        m.d.sync += connect(input_1, self.input)
        for lane in range(self.chunks * self.lanes):
            weight_1 = Signal(signed(DENSE_WEIGHT_BITS), name=f"weight_1_{lane}", reset_less=True)
            product_2 = Signal(signed(self.input_bits + DENSE_WEIGHT_BITS), name=f"product_2_{lane}", reset_less=True)
            acc_3 = Signal(signed(self.acc_bits), name=f"acc_3_{lane}", reset_less=True)
            shadow = Signal(self.acc_bits, name=f"shadow_{lane}", reset_less=True)
            # Without enables: what is added between groups is gone with the first step of the next one.
            m.d.sync += [
                connect(weight_1, self.weights[lane]),
                product_2.eq(input_1 * weight_1),
                acc_3.eq(Mux(first, 0, acc_3) + product_2),
            ]
            with m.If(last):
                m.d.sync += shadow.eq(acc_3)
            shadows.append(shadow)
        m.d.comb += connect(self.sums, chunk_of(m, self.chunk, shadows, self.lanes))
        return m


class Choose(Component):
    """One of many words, a register after every choice of one of `CHOICES`.

    Timing: `word` follows `words` and `number` by `sim.flow.edge.choose_cycles`.

    Numerics: none.

    Parameters
    ----------
    width, count : int
        Bits of a word, words.

    Members
    -------
    words, number, word : In, In, Out
        Words, which one, and that one.
    """

    def __init__(self, width: int, count: int):
        self.width, self.count = width, count
        self.latency_cycles = choose_cycles(count)
        super().__init__(
            {
                "words": In(data.ArrayLayout(width, count)),
                "number": In(max(1, (count - 1).bit_length())),
                "word": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Choose among neighbours by the lowest bits of the number, then among those by the next ones."""
        m = Module()
        words: list[Value] = [self.words[k] for k in range(self.count)]
        number: Value = self.number
        bits = (CHOICES - 1).bit_length()
        for stage in range(self.latency_cycles):
            chosen = []
            for at in range(ceil_div(len(words), CHOICES)):
                few = words[at * CHOICES : (at + 1) * CHOICES]
                word = Signal(self.width, name=f"word_{stage}_{at}", reset_less=True)
                m.d.sync += word.eq(Array(few)[number[:bits]] if len(few) > 1 else few[0])
                chosen.append(word)
            rest = Signal(max(1, len(number) - bits), name=f"number_{stage}", reset_less=True)
            m.d.sync += rest.eq(number[bits:])
            words, number = list(chosen), rest
        m.d.comb += connect(self.word, words[0])
        return m
