"""The bursts of a line, again and again: which one is next, and whether it is the last."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from ..parts.component import Component
from ..parts.connect import connect


class BurstWalk(Component):
    """Counts bursts, and knows in a register whether the one at hand is the last of its line.

    Timing: what comes out is valid in the cycle after `start` or `step`.

    Numerics: none; counts are exact.

    Parameters
    ----------
    bits : int
        Of a burst's number.

    Members
    -------
    last : In
        Number of the last burst; constant from `start` on.
    start, step : In(1)
        Begin with the first one; go on.
    number, final : Out
        Of the burst at hand; it is the last one.
    """

    def __init__(self, bits: int):
        super().__init__({"last": In(bits), "start": In(1), "step": In(1), "number": Out(bits), "final": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Count one burst ahead."""
        m = Module()
        ahead, ahead_final = Signal.like(self.number), Signal()
        m.d.comb += ahead_final.eq(ahead == self.last)
        with m.If(self.step):
            m.d.sync += [connect(self.number, ahead), connect(self.final, ahead_final)]
            m.d.sync += ahead.eq(Mux(ahead_final, 0, ahead + 1))
        with m.If(self.start):
            m.d.sync += [self.number.eq(0), self.final.eq(self.last == 0), ahead.eq(self.last != 0)]
        return m
