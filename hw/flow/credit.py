"""Credits: how many of something there are, counted by pulses."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import In, Out

from ..parts.component import Component


class Credits(Component):
    """Counts what is given and taken.

    Timing: a pulse shows in the next cycle; `some` comes out of a register.

    Parameters
    ----------
    most : int
        What there can be; never more is given.
    first : int
        What there is after reset.

    Members
    -------
    give, take : In(1)
        One more; one less, only when there is `some`. Both may come in a cycle.
    some : Out(1)
        Whether there is any.
    """

    def __init__(self, most: int, first: int = 0):
        self.most, self.first = most, first
        super().__init__({"give": In(1), "take": In(1), "some": Out(1, init=int(first > 0))})

    def elaborate(self, platform: object) -> Module:
        """Count up and down; whether nothing is left is known by the count of before."""
        m = Module()
        count = Signal(range(self.most + 1), init=self.first)
        with m.If(self.give & ~self.take):
            m.d.sync += [count.eq(count + 1), self.some.eq(1)]
        with m.Elif(self.take & ~self.give):
            m.d.sync += [count.eq(count - 1), self.some.eq(count != 1)]
        return m
