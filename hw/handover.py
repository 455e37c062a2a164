"""The handover: what one process of the engine tells the other, and the other waits for."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib.wiring import In, Out

from .parts.component import Component


class Handover(Component):
    """One bank of data that one process fills and the other takes: full or not.

    The one that fills tells only when the other has taken what it told before; the two programs see to that
    (`sim.program.compiler`).

    Timing: `full` is high from the cycle after `tell` to that of `waited`.

    Members
    -------
    tell, waited : In(1)
        Strobes: the bank is full; the other process takes it.
    clear : In(1)
        A run begins or is cut: nothing is full.
    full : Out(1)
        The other process may go on.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "tell": In(1),
                "waited": In(1),
                "clear": In(1),
                "full": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the flag."""
        m = Module()
        with m.If(self.waited):
            m.d.sync += self.full.eq(0)
        with m.If(self.tell):
            m.d.sync += self.full.eq(1)
        with m.If(self.clear):
            m.d.sync += self.full.eq(0)
        return m
