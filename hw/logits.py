"""Logits output: the last memory, and the stream that leaves the engine."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..sim.commands import Output
from ..sim.engine import EngineConfig, ceil_div
from ..sim.memories import HEAD_BIAS_BITS
from .memory import WordMemory
from .stream import command_layout

#: Width of a logit; also a lane of what `Dense` writes.
LOGIT_BITS = HEAD_BIAS_BITS


class Logits(wiring.Component):
    """Memory of one image's logits, sent class by class as an AXI4-Stream.

    Timing: `sim.timing.output`, whose offsets count cycles without `hold` only: the stream alone decides when the
        engine's time goes on. `tvalid` does not depend on `tready`, and a beat stays until it is taken. The memory
        must not be written from the start of `output` to its last beat; a unit that was started before goes on while
        `hold` is high.
    Numerics: none.

    Parameters
    ----------
    engine : EngineConfig
        `lanes` and `max_classes` are used.

    Members
    -------
    w_en, w_addr, w_data : In
        Write a chunk of logits. Chunks beyond `max_classes`, which the classifier's last group may have, are dropped.
    start, command, tag : In
        Send the first `classes` logits, `tag` beside them.
    tdata, tuser, tlast, tvalid, tready : Out, Out, Out, Out, In
        AXI4-Stream: a logit, the tag, whether it is the last class.
    hold : Out(1)
        The stream waits: ``tvalid & ~tready``.
    done : Out(1)
        The last beat is taken in this cycle.
    """

    def __init__(self, engine: EngineConfig):
        self.engine = engine
        super().__init__(
            {
                "w_en": In(1),
                "w_addr": In(12),
                "w_data": In(engine.lanes * LOGIT_BITS),
                "start": In(1),
                "command": In(command_layout(Output)),
                "tag": In(16),
                "tdata": Out(LOGIT_BITS),
                "tuser": Out(16),
                "tlast": Out(1),
                "tvalid": Out(1),
                "tready": In(1),
                "hold": Out(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the memory and a shift register that is filled up as its last logit leaves."""
        m = Module()
        lanes = self.engine.lanes
        chunks = ceil_div(self.engine.max_classes, lanes)
        m.submodules.words = words = WordMemory(lanes * LOGIT_BITS, max(2, chunks))  # one word would have no address
        started = Signal(2)  # one and two cycles ago
        word = Signal(lanes * LOGIT_BITS, reset_less=True)
        left, lane = Signal(12), Signal(range(lanes))  # classes to send, this one included, and its lane
        chunk = Signal(12, reset_less=True)  # of the next word; it has been addressed for cycles when it is needed
        taken = Signal()
        m.d.comb += [
            words.w_en.eq(self.w_en & (self.w_addr < chunks)),
            words.w_addr.eq(self.w_addr),
            words.w_data.eq(self.w_data),
            words.r_addr[0].eq(chunk),
            self.tdata.eq(word),
            self.tlast.eq(left == 1),
            self.hold.eq(self.tvalid & ~self.tready),
            taken.eq(self.tvalid & self.tready),
            self.done.eq(taken & self.tlast),
        ]
        m.d.sync += started.eq((started << 1) | self.start)
        with m.If(taken):
            m.d.sync += [left.eq(left - 1), lane.eq(lane + 1), word.eq(word >> LOGIT_BITS)]
        with m.If(self.done):
            m.d.sync += self.tvalid.eq(0)
        with m.If(started[1]):
            m.d.sync += self.tvalid.eq(1)
        with m.If(started[1] | (taken & (lane == lanes - 1))):
            m.d.sync += [word.eq(words.r_data[0]), chunk.eq(chunk + 1)]
        with m.If(self.start):
            m.d.sync += [chunk.eq(0), lane.eq(0), left.eq(self.command.classes), self.tuser.eq(self.tag)]
        return m
