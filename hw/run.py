"""A run: so many images, from its start to its end, its cut or its stop."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import In, Out

from .parts.component import Component
from .parts.connect import connect


class Run(Component):
    """Count the images of a run from its start to its end.

    The limit may become lower during a run, down to the number of the image at hand: that image will never be whole,
    so the run is cut there. After `stop` it is cut as well where an image would have to wait for room.
    What images of a run that cannot go on had done is forgotten: `fail` cuts it at once.

    Timing: the last `image_done`, or `cut`, clears `busy` in the next cycle; `cut` follows the change of the limit by
        two cycles, or three after an `image_done`.

    Numerics: none; images are counted modulo 2^32, which `limit` does not leave.

    Parameters
    ----------
    fails : bool
        Whether a run can fail.

    Members
    -------
    start, stop : In(1)
        Begin; do not wait for room any more.
    fail : In(1)
        The run cannot go on; only if it can fail.
    limit : In(32)
        Images to run, valid in the cycle after `start`, 1 or more there.
    image_done : In(1)
        The image at hand is done.
    hold : In(1)
        There is no room for the logits of the image at hand.
    busy, image : Out
        Running; number of the image at hand, from 0.
    done, cut : Out(1)
        Strobes: the run ends; it ends within an image, whose operations must be forgotten.
    cutting : Out(1)
        In the next cycle there is a `cut`.
    """

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        super().__init__(
            {
                "start": In(1),
                "stop": In(1),
                "limit": In(32),
                "image_done": In(1),
                "hold": In(1),
                "busy": Out(1),
                "image": Out(32),
                "done": Out(1),
                "cut": Out(1),
                "cutting": Out(1),
                **({"fail": In(1)} if fails else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the count and what ends it."""
        m = Module()
        last, beyond, stopping = Signal(), Signal(), Signal()  # as the image at hand stood one cycle ago
        m.d.comb += self.done.eq((self.image_done & last) | self.cut)
        cut = beyond | (stopping & self.hold)
        m.d.comb += self.cutting.eq(self.busy & ~self.done & (cut | self.fail if self.fails else cut))
        m.d.sync += connect(self.cut, self.cutting)
        m.d.sync += [last.eq(self.image + 1 == self.limit), beyond.eq(self.image == self.limit)]
        with m.If(self.image_done):
            m.d.sync += self.image.eq(self.image + 1)
        with m.If(self.stop):
            m.d.sync += stopping.eq(1)
        with m.If(self.done):
            m.d.sync += self.busy.eq(0)
        with m.If(self.start):
            m.d.sync += [self.busy.eq(1), self.image.eq(0), last.eq(0), beyond.eq(0), stopping.eq(0)]
        return m
