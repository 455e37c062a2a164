"""A register in the way of a stream, so that what is on its two sides can lie far apart."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from ..parts.component import Component
from ..parts.connect import connect


class BeatBuffer(Component):
    """Holds a beat until it is taken: neither `ready` nor `valid` follows the other side in the same cycle.

    Timing: a beat leaves a cycle after it came, at the earliest; one every other cycle, which no serial line exceeds.
    Numerics: none.

    Parameters
    ----------
    beat : StructLayout
        Payload of the stream.

    Members
    -------
    taken : In(stream of beat)
        Where beats come from.
    given : Out(stream of beat)
        Where they go.
    """

    def __init__(self, beat: data.StructLayout):
        self.beat = beat
        super().__init__({"taken": In(stream.Signature(beat)), "given": Out(stream.Signature(beat))})

    def elaborate(self, platform: object) -> Module:
        """Take a beat where none is held; forget it when it is taken."""
        m = Module()
        m.d.comb += self.taken.ready.eq(~self.given.valid)
        with m.If(self.given.ready):
            m.d.sync += self.given.valid.eq(0)
        with m.If(self.taken.valid & self.taken.ready):
            m.d.sync += [
                self.given.valid.eq(1),
                connect(self.given.payload.as_value(), self.taken.payload.as_value()),
            ]
        return m
