"""Whether the ring of streamed weights, of an engine with windows, has room for a burst."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from ...sim.flow.config import FlowConfig
from ...sim.flow.weight_stream import BURST_BEATS, MERGING, WeightStreamUnit
from ..flow.jobs import Credits
from ..parts.component import Component, reset_by
from ..parts.connect import connect
from ..parts.stream import LOAD_BUS
from .part_walk import PartWalk


class RingRoom(Component):
    """Counts the beats that the ring has room for: bursts take some, and parts that have been read give theirs back.

    Parts are done with in the order in which they are read, so a walk of the list says how long each is. The beat that
    checks a part counts like the others, though it takes no room.

    Timing: `some` is low in the two cycles behind a burst, and for six behind `start`.

    Numerics: none; counts are exact.

    Parameters
    ----------
    flow : FlowConfig
        With windows and streamed weights.

    Members
    -------
    load, bank : In
        Load bus, and the bank in use.
    start : In(1)
        The ring is empty.
    closed : In(1)
        Pulse: the oldest part has been read.
    asks, beats : In
        A burst of so many beats is asked for.
    some : Out(1)
        There is room for the largest burst.
    """

    def __init__(self, flow: FlowConfig):
        assert flow.windows is not None
        self.flow = flow
        self.beats_in_all = flow.windows.ring_words * WeightStreamUnit(flow).word_beats
        super().__init__(
            {
                "load": In(LOAD_BUS),
                "bank": In(1),
                "start": In(1),
                "closed": In(1),
                "asks": In(1),
                "beats": In(range(BURST_BEATS + 1)),
                "some": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Look up how long the oldest part is, and count."""
        m = Module()
        m.submodules.walk = walk = PartWalk(self.flow)
        # The parts of a block are closed one by one; as many may wait to be looked up.
        m.submodules.closings = reset_by(self.start, closings := Credits(MERGING))
        looking, gives = Signal(6), Signal()
        m.d.comb += [
            *(connect(walk.load, self.load), connect(walk.bank, self.bank)),
            *(connect(walk.start, self.start), connect(walk.step, gives)),
            connect(closings.give, self.closed),
            gives.eq(closings.some & ~looking[0]),
            connect(closings.take, gives),
        ]
        m.d.sync += looking.eq(Mux(self.start, -1, Mux(gives, 0b11, looking >> 1)))
        room = Signal(range(self.beats_in_all + 1), init=self.beats_in_all)
        enough, settling = Signal(), Signal(2)
        m.d.sync += [
            room.eq(room - Mux(self.asks, self.beats, 0) + Mux(gives, walk.entry.beats, 0)),
            enough.eq(room >= BURST_BEATS),
            settling.eq(Mux(self.asks | self.start, -1, settling >> 1)),
        ]
        with m.If(self.start):
            m.d.sync += room.eq(self.beats_in_all)
        m.d.comb += self.some.eq(enough & ~settling[0])
        return m
