"""The queue of logits at the engine's output: what the stream that leaves the engine comes from."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from ...sim.engine.config import EngineConfig
from ...sim.engine.memories import TAG_BITS
from ...sim.network.formats import HEAD_BIAS_BITS
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.stream import beat_layout

#: Width of a logit; also a lane of what `Dense` writes.
LOGIT_BITS = HEAD_BIAS_BITS
#: Beat of the logits; the tag is the number of the image.
LOGIT_BEAT = beat_layout(LOGIT_BITS, TAG_BITS)


def queue_port(engine: EngineConfig) -> wiring.Signature:
    """Signature of who fills the queue: a beat when `en`, and the logits in it, the one at its end included.

    There is no `ready`: who fills it looks at `level` for room for a whole image.
    """
    return wiring.Signature({"en": Out(1), "beat": Out(LOGIT_BEAT), "level": In(range(engine.queue_logits + 1))})


class LogitsQueue(Component):
    """First in, first out, with a stream at its end. Nothing but the reset empties it.

    Timing: a logit can be read two cycles after it came in; one in and one out a cycle. `valid` and the payload
        do not depend on `ready`, and a beat stays until it is taken.
    Numerics: none.

    Parameters
    ----------
    engine : EngineConfig
        `queue_logits` is used.

    Members
    -------
    entry : In(queue_port)
        Logits that come in.
    logits : Out(stream of LOGIT_BEAT)
        What came in.
    """

    def __init__(self, engine: EngineConfig):
        self.depth = engine.queue_logits
        super().__init__(
            {
                "entry": In(queue_port(engine)),
                "logits": Out(stream.Signature(LOGIT_BEAT)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the queue; its memory can be block memory."""
        m = Module()
        m.submodules.fifo = fifo = SyncFIFOBuffered(width=LOGIT_BEAT.size, depth=self.depth)
        m.d.comb += [
            connect(fifo.w_en, self.entry.en),
            connect(fifo.w_data, self.entry.beat),
            connect(self.entry.level, fifo.level),
            connect(self.logits.valid, fifo.r_rdy),
            connect(self.logits.payload, fifo.r_data),
            connect(fifo.r_en, self.logits.ready),
        ]
        return m
