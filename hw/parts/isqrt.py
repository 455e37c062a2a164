"""Integer square root, the R of the norms (docs/semantics.md 2)."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from ...sim.engine.pipeline import isqrt_cycles
from .component import Component
from .connect import connect


class Isqrt(Component):
    """Floor of the square root, one bit of the root a stage.

    Timing: `root` and `root_valid` follow `value` and `value_valid` by `latency_cycles`; one root a cycle, no
    backpressure.

    Numerics: exact for every `value`. After k stages the remainder of the value's top 2k bits is at most twice their
    root, so it has k + 1 bits.

    Parameters
    ----------
    bits : int
        Width of the value.

    Members
    -------
    value_valid, value : In
        Operand.
    root_valid, root : Out
        Root, of half the width rounded up.
    """

    def __init__(self, bits: int):
        self.bits = bits
        self.latency_cycles = isqrt_cycles(bits)
        super().__init__(
            {"value_valid": In(1), "value": In(bits), "root_valid": Out(1), "root": Out(self.latency_cycles)}
        )

    def elaborate(self, platform: object) -> Module:
        """Chain the stages; each takes the next two bits of the value."""
        m = Module()
        digits = self.latency_cycles
        valid = Signal(digits)
        m.d.sync += valid.eq(Cat(self.value_valid, valid[:-1]))
        rest: Value = Cat(self.value, Const(0, 2 * digits - self.bits))
        root: Value = Const(0, 0)
        remainder: Value = Const(0, 0)
        for stage in range(digits):
            rest, root, remainder = self._digit(m, stage, rest, root, remainder)
        m.d.comb += [self.root_valid.eq(valid[-1]), connect(self.root, root)]
        return m

    def _digit(self, m: Module, stage: int, rest: Value, root: Value, remainder: Value) -> tuple[Value, Value, Value]:
        """Append a 1 to the root if its square still fits: 4*remainder + two bits of the value >= 4*root + 1."""
        below = len(rest) - 2
        widened = Cat(rest[below:], remainder)
        difference = Signal(stage + 4, name=f"difference{stage}")
        m.d.comb += difference.eq(widened - Cat(Const(1, 2), root))
        fits = ~difference[-1]
        next_root = Signal(stage + 1, name=f"root{stage}", reset_less=True)
        next_remainder = Signal(stage + 2, name=f"remainder{stage}", reset_less=True)
        m.d.sync += [next_root.eq(Cat(fits, root)), next_remainder.eq(Mux(fits, difference, widened)[: stage + 2])]
        if not below:
            return rest, next_root, next_remainder
        next_rest = Signal(below, name=f"rest{stage}", reset_less=True)
        m.d.sync += next_rest.eq(rest[:below])
        return next_rest, next_root, next_remainder
