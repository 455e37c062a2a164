"""The queue of logits at the engine's output: what the stream that leaves the engine comes from."""

from __future__ import annotations

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from ...sim.engine.config import EngineConfig
from ...sim.engine.memories import TAG_BITS
from ...sim.network.formats import HEAD_BIAS_BITS
from ..parts.connect import connect

#: Width of a logit; also a lane of what `Dense` writes.
LOGIT_BITS = HEAD_BIAS_BITS


class LogitsQueue(wiring.Component):
    """First in, first out, with an AXI4-Stream at its end. Nothing but the reset empties it.

    Timing: a logit can be read two cycles after it came in; one in and one out a cycle. `tvalid` and what is beside it
        do not depend on `tready`, and a beat stays until it is taken.
    Numerics: none.

    Parameters
    ----------
    engine : EngineConfig
        `queue_logits` is used.

    Members
    -------
    en, data, tag, last : In
        A logit that comes in; there must be room. The number of its image; whether it is the image's last.
    level : Out
        Logits in the queue, the one at its end included.
    tdata, tuser, tlast, tvalid, tready : Out, Out, Out, Out, In
        AXI4-Stream of what came in.
    """

    def __init__(self, engine: EngineConfig):
        self.depth = engine.queue_logits
        super().__init__(
            {
                "en": In(1),
                "data": In(LOGIT_BITS),
                "tag": In(TAG_BITS),
                "last": In(1),
                "level": Out(range(self.depth + 1)),
                "tdata": Out(LOGIT_BITS),
                "tuser": Out(TAG_BITS),
                "tlast": Out(1),
                "tvalid": Out(1),
                "tready": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the queue; its memory can be block memory."""
        m = Module()
        m.submodules.fifo = fifo = SyncFIFOBuffered(width=LOGIT_BITS + TAG_BITS + 1, depth=self.depth)
        m.d.comb += [
            connect(fifo.w_en, self.en),
            connect(fifo.w_data, Cat(self.data, self.tag, self.last)),
            connect(self.level, fifo.level),
            connect(self.tvalid, fifo.r_rdy),
            connect(Cat(self.tdata, self.tuser, self.tlast), fifo.r_data),
            connect(fifo.r_en, self.tready),
        ]
        return m
