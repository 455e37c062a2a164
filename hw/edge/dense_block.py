"""The multipliers of the patch embedding and the classifier, and the chains by which their sums leave."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Module, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.engine.pipeline import CHOICES, choose_cycles
from ...sim.engine.words import ceil_div
from ...sim.network.formats import DENSE_WEIGHT_BITS
from ..parts.arithmetic import delay_stages
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.multiply_add import CHAIN_BITS, MultiplyAdd

#: What a block is told.
CONTROL = ("first", "add", "shift")


def controls(m: Module, block: Any) -> dict[str, Value]:
    """Return, from registers of a block, what goes to each of its multipliers beside the operands.

    Parameters
    ----------
    m : Module
    block : DenseBlock or PairBlock
        With `CONTROL`; its input is an operand one cycle later.
    """
    lengths = {"first": 2, "add": 3, "shift": 2}
    stages = {name: delay_stages(m, getattr(block, name), lengths[name], name, reset_less=False) for name in CONTROL}
    return {
        "enable": stages["add"][3] | stages["shift"][2],
        "first": stages["first"][2],
        "shift": stages["shift"][1],
    }


def chained(m: Module, ways: list[list[MultiplyAdd]], chain_in: Value, chain: Value) -> None:
    """Chain the multipliers of each lane: the sums of a chunk go to the chunk before it, those of the first one leave.

    Parameters
    ----------
    m : Module
    ways : list of list of MultiplyAdd
        Of each lane, by chunk.
    chain_in, chain : Value
        What comes behind the last chunk, and leaves the first one.
    """
    for lane, way in enumerate(ways):
        behind = [one.chain for one in way[1:]] + [chain_in[lane]]
        m.d.comb += [
            *(connect(one.chain_in, before) for one, before in zip(way, behind, strict=True)),
            connect(chain[lane], way[0].chain),
        ]


class DenseBlock(Component):
    """Sums of one input a step times the weights of up to `CHOICES` chunks.

    All signals that reach every lane have registers of their own in each block.

    Timing: `input`, `first` and `add` belong to a step, its weights come one cycle later; the step is in the sums four
        cycles behind its input. Sums move on two cycles behind `shift`.
    Numerics: exact; sums fit `acc_bits`.

    Parameters
    ----------
    chunks, lanes : int
        Chunks, and lanes of each.
    input_bits, acc_bits : int
        Signed widths of an input and of a sum.
    in_luts : bool
        Whether the multipliers are made of look-up tables.

    Members
    -------
    input, weights : In
        Of a step.
    first, add, shift : In(1)
        The step is a group's first; there is a step; sums move on.
    chain_in, chain : In, Out
        Sums of a chunk, from the next block and to the one before it.
    sums : Out
        Sums of the first chunk.
    """

    def __init__(self, chunks: int, lanes: int, input_bits: int, acc_bits: int, *, in_luts: bool = False):
        self.chunks, self.lanes, self.input_bits, self.acc_bits = chunks, lanes, input_bits, acc_bits
        self.in_luts = in_luts
        super().__init__(
            {
                "input": In(signed(input_bits)),
                "weights": In(data.ArrayLayout(signed(DENSE_WEIGHT_BITS), chunks * lanes)),
                **{name: In(1) for name in CONTROL},
                "chain_in": In(data.ArrayLayout(signed(CHAIN_BITS), lanes)),
                "chain": Out(data.ArrayLayout(signed(CHAIN_BITS), lanes)),
                "sums": Out(data.ArrayLayout(signed(acc_bits), lanes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Register what all lanes take; multiply and add."""
        m = Module()
        input_1 = Signal.like(self.input, reset_less=True)
        m.d.sync += connect(input_1, self.input)
        told = controls(m, self)
        ways: list[list[MultiplyAdd]] = [[] for _ in range(self.lanes)]
        for number in range(self.chunks * self.lanes):
            chunk, lane = divmod(number, self.lanes)
            m.submodules[f"product_{chunk}_{lane}"] = one = MultiplyAdd(
                self.input_bits, DENSE_WEIGHT_BITS, self.acc_bits, in_luts=self.in_luts
            )
            m.d.comb += [
                *(connect(one.a, input_1), connect(one.b, self.weights[number])),
                *(connect(getattr(one, name), value) for name, value in told.items()),
            ]
            ways[lane].append(one)
        chained(m, ways, self.chain_in, self.chain)
        m.d.comb += [connect(self.sums[lane], way[0].sum) for lane, way in enumerate(ways)]
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
