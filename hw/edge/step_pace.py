"""When the classifier takes a step whose word comes of a memory: every so many cycles, and not before it is there."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import In, Out

from ..parts.component import Component


class StepPace(Component):
    """A step every `pace` cycles, at most, of those that wait; the first one at once.

    Timing: `goes` follows `wants` in the same cycle, from registers otherwise; whether there is a word is known two
        cycles after that changed, no later than the next step.

    Numerics: none.

    Parameters
    ----------
    pace_bits, level_bits : int

    Members
    -------
    pace : In
        Cycles from step to step, 2 or more.
    wants : In(1)
        There is a step.
    level : In
        Words that are there.
    goes, waits : Out(1)
        The step is taken; it is time, and there is no word.
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
        m.d.sync += [some.eq(self.level != 0), left.eq(left - 1)]
        with m.If(self.goes):
            m.d.sync += [left.eq(self.pace - 1), ready.eq(0)]
        with m.Elif(~self.wants | (left == 1)):
            m.d.sync += ready.eq(1)
        return m
