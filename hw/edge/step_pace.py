"""When a step is taken whose weights come of a memory: every so many cycles, and not before they are there."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import In, Out

from ..parts.component import Component


class StepPace(Component):
    """A step every `pace` cycles, at most, of those that wait; the first one at once.

    Timing: `goes` follows `wants` in the same cycle, from registers otherwise; that there are weights is known two
        cycles after they came, that there are none in the next one.

    Numerics: none.

    Parameters
    ----------
    pace_bits, level_bits : int

    Members
    -------
    pace : In
        Cycles from step to step, 1 or more.
    wants : In(1)
        There is a step.
    level : In
        Steps whose weights are there; one less in the cycle after a step is taken.
    goes, waits : Out(1)
        The step is taken; it is time, and there are no weights.
    """

    def __init__(self, pace_bits: int, level_bits: int):
        super().__init__(
            {"pace": In(pace_bits), "wants": In(1), "level": In(level_bits), "goes": Out(1), "waits": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        """Count cycles behind each step."""
        m = Module()
        left, ready, some = Signal.like(self.pace), Signal(init=1), Signal()
        m.d.comb += [self.goes.eq(self.wants & ready & some), self.waits.eq(self.wants & ready & ~some)]
        m.d.sync += [some.eq(self.level > self.goes), left.eq(left - 1)]
        with m.If(self.goes):
            m.d.sync += [left.eq(self.pace - 1), ready.eq(self.pace == 1)]
        with m.Elif(~self.wants | (left == 1)):
            m.d.sync += ready.eq(1)
        return m
