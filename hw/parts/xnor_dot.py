"""One XNOR-popcount dot unit of the array: features of two operands in, accumulated popcount out."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from ...sim.engine.pipeline import XNOR_DOT_CYCLES
from .arithmetic import delay_stages
from .component import Component
from .popcount import PAIRS, Features, compress, majority


class XnorDot(Component):
    """Accumulate ``preload + sum over steps of popcount(xnor(a, w))``, 64 products a cycle (semantics.md, 3).

    Timing: `o` includes a step `XNOR_DOT_CYCLES` cycles after its features; one step a cycle; `first` belongs to cycle
    ``XNOR_DOT_CYCLES - 1`` after the features of the first step and replaces the old sum by `preload`.
    Numerics: two's complement of `acc_bits`, wraps; the compiler keeps every sum in range.

    Parameters
    ----------
    fabric : str
        "lut6" or "lut4" (see `Features`).
    acc_bits : int
        Width of the accumulator.

    Members
    -------
    a, w : In
        Features of the row and column operand.
    first : In(1)
        Start a new sum.
    preload : In(acc_bits)
        Start of the sum.
    o : Out(acc_bits)
        Running sum.
    """

    def __init__(self, fabric: str, acc_bits: int):
        self.features = Features(fabric)
        self.acc_bits = acc_bits
        super().__init__(
            {
                "a": In(self.features.width),
                "w": In(self.features.width),
                "first": In(1),
                "preload": In(acc_bits),
                "o": Out(acc_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the compressor and the carry-save accumulator."""
        m = Module()
        count = Signal(PAIRS + 1, reset_less=True)
        m.d.sync += count.eq(self.features.pair_bits(m, self.a, self.w))
        (row_0, row_1), latency = compress(m, count[:PAIRS], self.features.fabric)
        assert 1 + latency + 1 == XNOR_DOT_CYCLES
        ones = delay_stages(m, count[PAIRS], latency, "one", reset_less=True)
        # The rows have weight two; the single bit of weight one takes the free place in the second row.
        addend_0 = self._extend(Cat(Const(0, 1), row_0))
        addend_1 = self._extend(Cat(ones[-1], row_1))
        start = Signal(self.acc_bits)
        carry = Signal(self.acc_bits)
        m.d.comb += [
            start.eq(Mux(self.first, self.preload, self.o)),
            carry.eq(Cat(Const(0, 1), majority(addend_0, addend_1, start))),
        ]
        m.d.sync += self.o.eq((addend_0 ^ addend_1 ^ start) + carry)
        return m

    def _extend(self, value: Value) -> Value:
        return Cat(value, Const(0, self.acc_bits))[: self.acc_bits]
