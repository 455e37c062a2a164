"""Whether the ring of streamed weights has room for a burst."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ...sim.flow.config import BURST_BEATS, FlowConfig
from ...sim.flow.operation import Operands
from ...sim.flow.weight_stream import WeightStreamUnit
from ..parts.component import Component


def weights_read(flow: FlowConfig) -> dict[str, wiring.Member]:
    """Return the port by which a ring is told how many words have been read for the last time; none without a ring.

    Parameters
    ----------
    flow : FlowConfig
    """
    return {"read": In(Operands(flow).fields["steps"])} if flow.weight_ring else {}


class RingRoom(Component):
    """Counts the beats of words that the ring has room for: bursts take some, and words that have been read give some.

    Words are done with in the order in which they lie there, so a count is all that is needed.

    Timing: `some` is low in the two cycles behind a burst; what is read counts two cycles later.

    Numerics: none; counts are exact.

    Parameters
    ----------
    flow : FlowConfig
        With a ring of weights.

    Members
    -------
    start : In(1)
        The ring is empty.
    read : In
        Words that have been read for the last time.
    asks, beats : In
        A burst with so many beats of words is asked for.
    some : Out(1)
        There is room for the largest burst.
    """

    def __init__(self, flow: FlowConfig):
        self.words, self.word_beats = flow.weight_ring, WeightStreamUnit(flow).word_beats
        ports = {"start": In(1), **weights_read(flow), "asks": In(1)}
        super().__init__(ports | {"beats": In(range(BURST_BEATS + 1)), "some": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Count."""
        m = Module()
        most = self.words * self.word_beats
        room = Signal(range(most + 1), init=most)
        enough, settling = Signal(), Signal(2)
        m.d.sync += [
            room.eq(room - Mux(self.asks, self.beats, 0) + (self.read << exact_log2(self.word_beats))),
            enough.eq(room >= BURST_BEATS),
            settling.eq(Mux(self.asks | self.start, -1, settling >> 1)),
        ]
        with m.If(self.start):
            m.d.sync += room.eq(most)
        m.d.comb += self.some.eq(enough & ~settling[0])
        return m
