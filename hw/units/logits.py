"""Logits: the last memory, and the way of one image's logits into the queue at the output."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import In, Out

from ...sim.engine.commands import Output
from ...sim.engine.config import EngineConfig
from ...sim.engine.memories import TAG_BITS
from ...sim.engine.words import ceil_div
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.memory import WordMemory
from ..parts.stream import command_port, field_bits, write_port
from .logits_queue import LOGIT_BITS, queue_port


class Logits(Component):
    """Memory of one image's logits, which go to the queue class by class as soon as it has room for all of them.

    Timing: `sim.units.front`, whose offsets count cycles without `hold` only: the queue alone decides when the
        engine's time goes on. Once the first logit went, the others follow in the cycles after it. The memory must not
        be written from the start of `output` to its last logit; a unit that was started before goes on while `hold` is
        high.
    Numerics: none.

    Parameters
    ----------
    engine : EngineConfig
        `lanes`, `max_classes` and `queue_logits` are used.

    Members
    -------
    write : In(write_port)
        Write a chunk of logits. Chunks beyond `max_classes`, which the classifier's last group may have, are dropped.
    command, tag : In
        Send the first `classes` logits, `tag` beside them.
    cancel : In(1)
        Forget an `output` that still waits for room.
    queue : Out(queue_port)
        A logit for the queue, with the tag, and whether it is the last class.
    hold : Out(1)
        The queue has no room for the image's logits.
    done : Out(1)
        The last logit goes to the queue in this cycle.
    """

    commands = (Output,)

    def __init__(self, engine: EngineConfig):
        self.engine = engine
        super().__init__(
            {
                "write": In(write_port(field_bits(Output, "classes"), engine.lanes * LOGIT_BITS)),
                "command": In(command_port(*self.commands)),
                "tag": In(TAG_BITS),
                "cancel": In(1),
                "queue": Out(queue_port(engine)),
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
        queue, sending, tag = self.queue, Signal(), Signal(TAG_BITS)
        started, waiting, room, go = Signal(), Signal(), Signal(), Signal()
        word = Signal(lanes * LOGIT_BITS, reset_less=True)
        left, lane = Signal(12), Signal(range(lanes))  # classes to send, this one included, and its lane
        chunk = Signal(12, reset_less=True)  # of the next word; it has been addressed for cycles when it is needed
        m.d.comb += [
            words.w_en.eq(self.write.en & (self.write.addr < chunks)),
            connect_address(words.w_addr, self.write.addr),
            connect(words.w_data, self.write.data),
            connect_address(words.r_addr[0], chunk),
            connect(queue.en, sending),
            queue.beat.data.eq(word[:LOGIT_BITS]),
            connect(queue.beat.tag, tag),
            queue.beat.last.eq(left == 1),
            self.hold.eq(waiting & ~room),
            go.eq(waiting & room),
            self.done.eq(sending & queue.beat.last),
        ]
        output = self.command.output
        # Nothing comes in while an image waits: room that was there a cycle ago is there.
        m.d.sync += [
            connect(started, output.issue),
            room.eq(queue.level + left <= self.engine.queue_logits),
        ]
        with m.If(sending):
            m.d.sync += [left.eq(left - 1), lane.eq(lane + 1), word.eq(word >> LOGIT_BITS)]
        with m.If(self.done):
            m.d.sync += sending.eq(0)
        with m.If(started):
            m.d.sync += waiting.eq(1)
        with m.If(go):
            m.d.sync += [waiting.eq(0), sending.eq(1)]
        with m.If(go | (sending & (lane == lanes - 1))):
            m.d.sync += [connect(word, words.r_data[0]), chunk.eq(chunk + 1)]
        with m.If(output.issue):
            m.d.sync += [
                *(chunk.eq(0), lane.eq(0)),
                *(connect(left, output.fields.classes), connect(tag, self.tag)),
            ]
        with m.If(self.cancel):
            m.d.sync += [started.eq(0), waiting.eq(0)]
        return m
