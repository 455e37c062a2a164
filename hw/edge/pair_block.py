"""Multipliers that two neighbouring channels share, and what becomes of their sums."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.engine.pipeline import CHOICES, SHARED_BITS, SHARED_PRODUCT
from ...sim.flow.edge import PIXEL_BITS, EdgeUnit
from ...sim.network.formats import DENSE_WEIGHT_BITS
from ..parts.arithmetic import delay_stages
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.multiply_add import CHAIN_BITS, MultiplyAdd
from .dense_block import CONTROL, chained, controls


def group_layout(unit: EdgeUnit) -> data.StructLayout:
    """Layout of a chunk's sums before `Unpair`.

    Those of a `PairBlock` are `paired`: `lower` is the lowest `SHARED_BITS` of sum(p*u0), `overflows` what is above
    them, `upper` is sum(p*w1) and those overflows, and `pixels` is sum(p). Of others `lower` and `upper` are the sums.
    """
    pair = data.StructLayout({"lower": unit.acc_bits, "upper": unit.acc_bits})
    return data.StructLayout(
        {
            "pairs": data.ArrayLayout(pair, unit.chunk // 2),
            "overflows": data.ArrayLayout(unit.overflow_bits, unit.chunk // 2),
            "pixels": unit.pixels_bits,
            "paired": 1,
        }
    )


class PairBlock(Component):
    """What `hw.edge.dense_block.DenseBlock` does, for pixels only, with a multiplier for two channels.

    A multiplier block and the adder in it sum p * W, where W = w1 * 2^17 + u0 and u0 = w0 + 128, which is w0 with its
    top bit inverted and is never negative: no adder makes W, and nothing is borrowed. The low 17 bits of the sum are
    sum(p*u0) modulo 2^17; above them is sum(p*w1), and one more for each time that they overflowed. p*u0 is below 2^16,
    so they did where their top bit falls; how often is counted beside the block. `Unpair` takes both sums from there.
    What that costs and saves: docs/accelerator.md.

    Timing: as `DenseBlock`; `overflows` and `pixels` follow `chunk` by four cycles, and are complete a cycle later than
        the sums.
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
    first, add, shift : In(1)
        The step is a group's first; there is a step; sums move on.
    chain_in, chain : In, Out
        Sums of a chunk, from the next block and to the one before it.
    sums : Out
        Sums of the first chunk, a pair each.
    chunk, overflows, pixels : In, Out, Out
        Number of a chunk, which does not move; how often its lower sums overflowed; the sum of all inputs.
    """

    def __init__(self, unit: EdgeUnit, chunks: int):
        self.unit, self.chunks = unit, chunks
        pairs = unit.chunk // 2
        super().__init__(
            {
                "input": In(PIXEL_BITS - 1),
                "weights": In(data.ArrayLayout(signed(DENSE_WEIGHT_BITS), chunks * unit.chunk)),
                **{name: In(1) for name in CONTROL},
                "chain_in": In(data.ArrayLayout(signed(CHAIN_BITS), pairs)),
                "chain": Out(data.ArrayLayout(signed(CHAIN_BITS), pairs)),
                "sums": Out(data.ArrayLayout(signed(SHARED_BITS + unit.patch_bits), pairs)),
                "chunk": In((CHOICES - 1).bit_length()),
                "overflows": Out(data.ArrayLayout(unit.overflow_bits, pairs)),
                "pixels": Out(unit.pixels_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Register what all lanes take; multiply, add and count; choose the counts."""
        m = Module()
        u = self.unit
        inputs = delay_stages(m, self.input, 4, "input", reset_less=True)
        first = delay_stages(m, self.first, 4, "first_beside", reset_less=True)[-1]
        add = delay_stages(m, self.add, 4, "add_beside", reset_less=False)[-1]
        told = controls(m, self)
        ways: list[list[MultiplyAdd]] = [[] for _ in range(u.chunk // 2)]
        counts: list[Signal] = []
        for number in range(self.chunks * u.chunk // 2):
            chunk, lane = divmod(number, u.chunk // 2)
            m.submodules[f"product_{chunk}_{lane}"] = one = MultiplyAdd(*SHARED_PRODUCT, SHARED_BITS + u.patch_bits)
            lower, upper = self.weights[2 * number], self.weights[2 * number + 1]
            packed = Cat(lower[:-1], ~lower[-1], Const(0, SHARED_BITS - DENSE_WEIGHT_BITS), upper)
            m.d.comb += [
                *(connect(one.a, packed.as_signed()), connect(one.b, inputs[1])),
                *(connect(getattr(one, name), value) for name, value in told.items()),
            ]
            ways[lane].append(one)
            counts.append(self._count(m, number, one.sum[SHARED_BITS - 1], first, add))
        chained(m, ways, self.chain_in, self.chain)
        m.d.comb += [connect(self.sums[lane], way[0].sum) for lane, way in enumerate(ways)]
        self._beside(m, counts, inputs[4], first, add)
        return m

    def _count(self, m: Module, number: int, top: Value, first: Value, add: Value) -> Signal:
        """Count where the top bit of a lower sum falls, in the cycle in which the step is in it."""
        count = Signal(self.unit.overflow_bits, name=f"count_{number}", reset_less=True)
        before = Signal(name=f"top_{number}", reset_less=True)
        m.d.sync += connect(before, top)
        with m.If(add):
            m.d.sync += count.eq(Mux(first, 0, count + (before & ~top)))
        return count

    def _beside(self, m: Module, counts: list[Signal], pixel: Value, first: Value, add: Value) -> None:
        """Sum the pixels, and choose the counts of a chunk."""
        u = self.unit
        pixels, shown = (Signal(u.pixels_bits, name=name, reset_less=True) for name in ("pixels_sum", "pixels_3"))
        with m.If(add):
            m.d.sync += pixels.eq(Mux(first, 0, pixels) + pixel)
        chunk = delay_stages(m, self.chunk, 3, "chunk", reset_less=True)[-1]
        chosen = Signal(len(self.overflows.as_value()), reset_less=True)
        side = u.chunk // 2
        words = Array(Cat(counts[at : at + side]) for at in range(0, len(counts), side))
        m.d.sync += [connect(shown, pixels), chosen.eq(words[chunk])]
        m.d.comb += [connect(self.overflows.as_value(), chosen), connect(self.pixels, shown)]


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
        pixels = group.pixels & group.paired.replicate(len(group.pixels))
        for number in range(self.unit.chunk // 2):
            pair, overflows = group.pairs[number], group.overflows[number]
            counted = overflows & group.paired.replicate(len(overflows))
            lower = Cat(pair.lower[:SHARED_BITS], pair.lower[SHARED_BITS:] | counted)
            m.d.sync += [
                sums[2 * number].eq(lower - Cat(Const(0, DENSE_WEIGHT_BITS - 1), pixels)),
                sums[2 * number + 1].eq(pair.upper - counted),
            ]
        m.d.comb += connect(self.sums.as_value(), sums.as_value())
        return m
