"""Divider: a power of two over a number, one bit of the quotient a cycle."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from ...sim.engine.pipeline import divide_cycles
from .component import Component
from .connect import connect


class Divider(Component):
    """``quotient = floor(2^power / divisor)`` by restoring division.

    Timing: `done` is high `latency` cycles (power + 2) after `start`, and `quotient` holds from then until the next
        start. Not pipelined.
    Numerics: exact for a divisor of 1 or more; the remainder stays below the divisor, so twice it has one bit more.

    Parameters
    ----------
    power : int
        Exponent of the dividend, 0 or more.
    divisor_bits : int
        Unsigned width of the divisor.

    Members
    -------
    start, divisor : In(1), In(divisor_bits)
        Begin; the divisor is taken in this cycle.
    done, quotient : Out(1), Out(power + 1)
        Result.
    """

    def __init__(self, power: int, divisor_bits: int):
        self.power, self.divisor_bits = power, divisor_bits
        self.latency = divide_cycles(power)
        super().__init__(
            {"start": In(1), "divisor": In(divisor_bits), "done": Out(1), "quotient": Out(power + 1)},
        )

    def elaborate(self, platform: object) -> Module:
        """Subtract the divisor where it fits, and bring down the next bit of the dividend, which is 0."""
        m = Module()
        divisor = Signal(self.divisor_bits, reset_less=True)
        rest = Signal(self.divisor_bits + 1, reset_less=True)
        left = Signal(range(self.power + 2))
        quotient = Signal(self.power + 1, reset_less=True)
        difference = Signal(self.divisor_bits + 2)
        fits = Signal()
        m.d.comb += [
            difference.eq(rest - divisor),
            fits.eq(~difference[-1]),
            connect(self.quotient, quotient),
        ]
        m.d.sync += self.done.eq(left == 1)
        with m.If(self.start):
            # The only 1 of the dividend is its first bit.
            m.d.sync += [connect(divisor, self.divisor), rest.eq(1), left.eq(self.power + 1)]
        with m.Elif(left != 0):
            m.d.sync += [
                left.eq(left - 1),
                quotient.eq(Cat(fits, quotient[:-1])),
                rest.eq(Mux(fits, difference, rest) << 1),
            ]
        return m
