"""A serial port: 8 bits, no parity, one stop bit, so many clock cycles a bit."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from ...sim.errors import check
from ..parts.component import Component
from ..parts.connect import connect

#: Bits of a byte on the line: start, eight, stop.
_BITS = 10
#: Fewest cycles of a bit: fewer, and no sample is near its middle.
LEAST_DIVISOR = 4


def _checked(divisor: int) -> int:
    check(divisor >= LEAST_DIVISOR, f"a bit must last {LEAST_DIVISOR} clock cycles or more, got {divisor}")
    return divisor


class UartReceiver(Component):
    """Bytes from a line.

    Timing: a byte is there in the middle of its stop bit, two cycles late; one each ten bits.
    Numerics: none.

    Parameters
    ----------
    divisor : int
        Cycles of a bit, `LEAST_DIVISOR` or more.

    Members
    -------
    line : In(1)
        Of any clock.
    data : Out(8)
        A byte, while `strobe`.
    strobe : Out(1)
        There is one, for a cycle.
    broken : Out(1)
        With `strobe`: its stop bit is not there.
    """

    def __init__(self, divisor: int):
        self.divisor = _checked(divisor)
        super().__init__({"line": In(1), "data": Out(8), "strobe": Out(1), "broken": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Wait for a start bit, and sample in the middle of each bit."""
        m = Module()
        line = Signal(init=1)
        left, timer = Signal(range(_BITS + 1)), Signal(range(self.divisor))
        m.submodules.synchronizer = FFSynchronizer(self.line, line, init=1)
        m.d.sync += self.strobe.eq(0)
        with m.If(left == 0):
            m.d.sync += timer.eq(self.divisor // 2 - 1)
            with m.If(~line):
                m.d.sync += left.eq(_BITS)
        with m.Elif(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Else():
            m.d.sync += [timer.eq(self.divisor - 1), left.eq(left - 1)]
            with m.If((left == _BITS) & line):  # no start bit after all: a spike
                m.d.sync += left.eq(0)
            with m.If(left == 1):
                m.d.sync += [self.strobe.eq(1), self.broken.eq(~line)]
            with m.Else():  # the start bit is shifted out by the last one
                m.d.sync += self.data.eq(Cat(self.data[1:], line))
        return m


class UartSender(Component):
    """Bytes to a line.

    Timing: ten bits a byte; the next one is taken when the stop bit is over.
    Numerics: none.

    Parameters
    ----------
    divisor : int
        Cycles of a bit, `LEAST_DIVISOR` or more.

    Members
    -------
    data : In(stream of 8 bits)
    line : Out(1)
        High when nothing is sent.
    """

    def __init__(self, divisor: int):
        self.divisor = _checked(divisor)
        super().__init__({"data": In(stream.Signature(8)), "line": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        """Shift a byte out."""
        m = Module()
        shift, left = Signal(_BITS, init=-1), Signal(range(_BITS + 1))
        timer = Signal(range(self.divisor))
        m.d.comb += [connect(self.line, shift[0]), self.data.ready.eq(left == 0)]
        with m.If(left == 0):
            m.d.sync += timer.eq(self.divisor - 1)
            with m.If(self.data.valid):
                m.d.sync += [shift.eq(Cat(0, self.data.payload, 1)), left.eq(_BITS)]
        with m.Elif(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Else():
            m.d.sync += [timer.eq(self.divisor - 1), left.eq(left - 1), shift.eq(Cat(shift[1:], 1))]
        return m
