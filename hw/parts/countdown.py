"""A counter of steps that knows the last one ahead."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from .component import Component


class Countdown(Component):
    """Counts `count` steps again and again, and knows in a register whether the next one is the last.

    Timing: steps count from the cycle after `start` on, one a cycle; `last` comes out of a register.

    Numerics: none; counts are exact.

    Parameters
    ----------
    bits : int
        Width of the count.

    Members
    -------
    start, count : In
        Begin; the count, 1 or more, matters in this cycle only.
    step : In(1)
        A step.
    last : Out(1)
        The step of this cycle, if it is one, is the last; the count begins anew behind it.
    """

    def __init__(self, bits: int):
        super().__init__({"start": In(1), "count": In(bits), "step": In(1), "last": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Compare one step ahead."""
        m = Module()
        left, top = (Signal.like(self.count, name=name, reset_less=True) for name in ("left", "top"))
        single = Signal(reset_less=True)
        with m.If(self.start):
            m.d.sync += [left.eq(self.count - 1), top.eq(self.count - 1)]
            m.d.sync += [self.last.eq(self.count == 1), single.eq(self.count == 1)]
        with m.Elif(self.step):
            m.d.sync += [left.eq(Mux(self.last, top, left - 1)), self.last.eq(Mux(self.last, single, left == 1))]
        return m
