"""Multipliers that two neighbouring channels share, and what becomes of their sums."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, ShapeLike, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.engine.pipeline import SHARED_BITS, SHARED_PRODUCT
from ...sim.flow.edge import PIXEL_BITS, EdgeUnit
from ...sim.network.formats import DENSE_WEIGHT_BITS
from ..parts.arithmetic import delay_stages
from ..parts.component import Component
from ..parts.connect import connect
from .dense_block import chunk_of


def pair_layout(unit: EdgeUnit) -> data.StructLayout:
    """Layout of a pair's sums before `Unpair`: of its lower and upper channel."""
    return data.StructLayout({"lower": unit.pair_bits, "upper": unit.acc_bits})


def group_layout(unit: EdgeUnit) -> data.StructLayout:
    """Layout of a chunk's sums before `Unpair`.

    Those of a `PairBlock` are `paired`: `lower` is sum(p*u0), `upper` is sum(p*w1) and what of `lower` lies above
    `SHARED_BITS`, and `pixels` is sum(p). Of others `lower` and `upper` are the sums, and `pixels` is 0.
    """
    pairs = data.ArrayLayout(pair_layout(unit), unit.chunk // 2)
    return data.StructLayout({"pairs": pairs, "pixels": unit.pixels_bits, "paired": 1})


class PairBlock(Component):
    """What `hw.edge.dense_block.DenseBlock` does, for pixels only, with a multiplier for two channels.

    A multiplier block and the adder in it sum p * W, where W = w1 * 2^17 + u0 and u0 = w0 + 128, which is w0 with its
    top bit inverted and is never negative: no adder makes W, and nothing is borrowed. The low 17 bits of the sum are
    sum(p*u0) modulo 2^17; above them is sum(p*w1), and one more for each time that they overflowed. p*u0 is below 2^16,
    so they did where their top bit falls; how often is counted beside the block. `Unpair` takes both sums from there.
    What that costs and saves: docs/accelerator.md.

    Timing: as `DenseBlock`.
    Numerics: exact; see above.

    Parameters
    ----------
    unit : EdgeUnit
        With pairs.
    chunks : int
        Of its channels, up to `CHOICES`.

    Members
    -------
    input, weights : In
        Of a step.
    first, last : In(1)
        The step is a group's first or last.
    chunk, sums : In, Out
        Number of a chunk; its sums, as `group_layout`.
    """

    def __init__(self, unit: EdgeUnit, chunks: int):
        self.unit, self.chunks = unit, chunks
        super().__init__(
            {
                "input": In(PIXEL_BITS - 1),
                "weights": In(data.ArrayLayout(signed(DENSE_WEIGHT_BITS), chunks * unit.chunk)),
                "first": In(1),
                "last": In(1),
                "chunk": In(max(1, (chunks - 1).bit_length())),
                "sums": Out(group_layout(unit)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Register, multiply, add, count; copy when complete; choose."""
        m = Module()
        u = self.unit
        input_1 = Signal.like(self.input, reset_less=True)
        first = delay_stages(m, self.first, 3, "first", reset_less=True)[-2:]
        last = delay_stages(m, self.last, 3, "last", reset_less=True)[-1]
        pairs = [self._pair(m, pair, input_1, first, last) for pair in range(self.chunks * u.chunk // 2)]
        input_2, pixels_3 = Signal.like(input_1, reset_less=True), Signal(u.pixels_bits, reset_less=True)
        pixels = Signal.like(pixels_3, reset_less=True)
        m.d.sync += [
            *(connect(input_1, self.input), connect(input_2, input_1)),
            pixels_3.eq(Mux(first[0], 0, pixels_3) + input_2),
        ]
        with m.If(last):
            m.d.sync += connect(pixels, pixels_3)
        pixels_2 = Signal.like(pixels, name="pixels_2", reset_less=True)  # beside the chunk that is chosen
        m.d.sync += connect(pixels_2, pixels)
        m.d.comb += [
            connect(self.sums.pairs.as_value(), chunk_of(m, self.chunk, pairs, u.chunk // 2)),
            *(connect(self.sums.pixels, pixels_2), self.sums.paired.eq(1)),
        ]
        return m

    def _pair(self, m: Module, pair: int, input_1: Value, first: list[Value], last: Value) -> Value:
        """Build two channels; return their sums, `first` being that of stages 2 and 3."""
        u = self.unit

        def register(name: str, shape: ShapeLike) -> Signal:
            return Signal(shape, name=f"{name}_{pair}", reset_less=True)

        lower, upper = self.weights[2 * pair], self.weights[2 * pair + 1]
        packed = Cat(lower[:-1], ~lower[-1], Const(0, SHARED_BITS - DENSE_WEIGHT_BITS), upper)
        weight_1 = register("weight_1", signed(SHARED_PRODUCT[0]))
        product_2 = register("product_2", signed(sum(SHARED_PRODUCT)))
        acc_3 = register("acc_3", signed(SHARED_BITS + u.patch_bits))
        top_4, count_4 = register("top_4", 1), register("count_4", u.overflow_bits)
        count, shadow = Signal.like(count_4, name=f"count_{pair}"), register("shadow", len(acc_3))
        overflows = register("overflows", u.overflow_bits)
        top = acc_3[SHARED_BITS - 1]
        m.d.comb += count.eq(Mux(first[1], 0, count_4) + (top_4 & ~top & ~first[1]))
        # Without enables: what is added between groups is gone with the first step of the next one.
        m.d.sync += [
            connect(weight_1, packed),
            product_2.eq(Cat(input_1, Const(0, 1)).as_signed() * weight_1),
            acc_3.eq(Mux(first[0], 0, acc_3) + product_2),
            *(connect(top_4, top), connect(count_4, count)),
        ]
        with m.If(last):
            m.d.sync += [connect(shadow, acc_3), connect(overflows, count)]
        word = Signal(pair_layout(u), name=f"pair_{pair}")
        m.d.comb += [
            connect(word.lower, Cat(shadow[:SHARED_BITS], overflows)),
            connect(word.upper, shadow[SHARED_BITS:].as_signed()),
        ]
        return word.as_value()


class Unpair(Component):
    """Sums of the channels of a chunk, from those of pairs or from sums as they are.

    Of a pair, sum(p*w0) = sum(p*u0) - 128 * sum(p), and sum(p*w1) lies above it but for the overflows.

    Timing: one cycle.
    Numerics: exact: modulo the width of a sum, which none leaves.

    Parameters
    ----------
    unit : EdgeUnit
        With pairs.

    Members
    -------
    group, sums : In, Out
        As `group_layout`; sums.
    """

    latency_cycles = 1

    def __init__(self, unit: EdgeUnit):
        self.unit = unit
        super().__init__(
            {"group": In(group_layout(unit)), "sums": Out(data.ArrayLayout(signed(unit.acc_bits), unit.chunk))}
        )

    def elaborate(self, platform: object) -> Module:
        """Subtract."""
        m = Module()
        sums = Signal.like(self.sums, reset_less=True)
        group = self.group
        overflow_bits = self.unit.overflow_bits
        for number in range(self.unit.chunk // 2):
            pair = group.pairs[number]
            overflows = pair.lower[SHARED_BITS:][:overflow_bits] & group.paired.replicate(overflow_bits)
            m.d.sync += [
                sums[2 * number].eq(pair.lower - Cat(Const(0, DENSE_WEIGHT_BITS - 1), group.pixels)),
                sums[2 * number + 1].eq(pair.upper - overflows),
            ]
        m.d.comb += connect(self.sums.as_value(), sums.as_value())
        return m
