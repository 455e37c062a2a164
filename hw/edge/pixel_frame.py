"""The frame of the pixel stream: which beats belong to whole images of the run, and what is dropped."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from ...sim.engine.config import EngineConfig
from ...sim.flow.edge_settings import EDGE_SETTINGS
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.countdown import Countdown
from ..parts.stream import beat_layout

_BITS = dict(EDGE_SETTINGS)


class PixelFrame(Component):
    """Takes the beats of a run's images, and no more.

    An image is *whole* when its last beat, and no other, has TLAST. The first one that is not ends the taking, and so
    does `stop`: `limit` becomes the number of whole images, the rest of an image that was taken in part is dropped up
    to its TLAST, and the beat behind it is the next run's first.

    Timing: the first beat can be taken in the cycle after `start`; one beat a cycle while there is `room`.
    Numerics: none.

    Parameters
    ----------
    engine : EngineConfig
        `pixel_bytes` is used.

    Members
    -------
    start, images : In
        Take `images` images, 1 or more; only after the run before has ended. Both are copied.
    stop : In(1)
        Take no more; at least two cycles before the next `start`.
    give_up : In(1)
        Drop no more: the next beat is an image's first.
    strip_beats, strips : In
        Beats of a row of patches; rows of patches of an image. Constant from `start` on.
    room : In(1)
        Whether a beat can be taken in this cycle.
    pixels : In(stream of beat_layout(8 * pixel_bytes))
        Pixels in raster order.
    taken : Out(1)
        The beat at the stream is taken, and the image is whole up to it.
    limit : Out(32)
        Images of the run that are whole or still expected to be.
    error : Out(1)
        Since `start`, an image was not whole.
    dropping : Out(1)
        Beats are taken and dropped, up to TLAST.
    """

    def __init__(self, engine: EngineConfig):
        super().__init__(
            {
                **{name: In(1) for name in ("start", "stop", "give_up", "room")},
                "images": In(32),
                "strip_beats": In(_BITS["strip_beats"]),
                "strips": In(_BITS["strips"]),
                "pixels": In(stream.Signature(beat_layout(8 * engine.pixel_bytes))),
                "taken": Out(1),
                "limit": Out(32),
                "error": Out(1),
                "dropping": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the frame, the count of images, and what is dropped."""
        m = Module()
        taking = Signal()  # the next beat belongs to an image of the run
        beat = Signal()  # it is taken in this cycle
        m.d.comb += [
            self.pixels.ready.eq(self.dropping | (taking & self.room)),
            beat.eq(self.pixels.valid & self.pixels.ready & ~self.dropping),
        ]
        image_end = self._image_end(m, beat)
        stopped = Signal()  # in the last cycle: what that cycle still took is known now
        m.d.sync += connect(stopped, self.stop)
        fault = beat & (self.pixels.payload.last != image_end)
        m.d.comb += self.taken.eq(beat & ~fault)
        self._images(m, taking, stopped, fault, beat & self.pixels.payload.last & image_end)
        self._drop(m, beat, stopped, fault)
        return m

    def _image_end(self, m: Module, taken: Signal) -> Value:
        """Count beats and rows of patches; return whether the beat is an image's last."""
        m.submodules.beat_count = beats = Countdown(len(self.strip_beats))
        m.submodules.strip_count = strips = Countdown(len(self.strips))
        m.d.comb += [
            *(connect(count.start, self.start) for count in (beats, strips)),
            *(connect(beats.count, self.strip_beats), connect(strips.count, self.strips)),
            *(connect(beats.step, taken), strips.step.eq(taken & beats.last)),
        ]
        return beats.last & strips.last

    def _images(self, m: Module, taking: Signal, stopped: Signal, fault: Value, whole: Value) -> None:
        """Count the images to come, and lower the limit by those that will not."""
        left, final = Signal(32), Signal()  # images to come, the one at hand included; it is 1
        with m.If(whole):
            m.d.sync += [left.eq(left - 1), final.eq(left == 2), taking.eq(~final)]
        with m.If(fault | self.stop):
            m.d.sync += taking.eq(0)
        with m.If(fault | stopped):
            m.d.sync += [self.limit.eq(self.limit - left), left.eq(0)]
        with m.If(fault):
            m.d.sync += self.error.eq(1)
        with m.If(self.start):
            m.d.sync += [
                *(connect(self.limit, self.images), connect(left, self.images)),
                *(final.eq(self.images == 1), taking.eq(1), self.error.eq(0)),
            ]

    def _drop(self, m: Module, taken: Signal, stopped: Signal, fault: Value) -> None:
        """Drop the rest of an image whose TLAST is late, or of which `stop` left a part."""
        inside = Signal()  # a part of an image was taken
        with m.If(taken):
            m.d.sync += inside.eq(~self.pixels.payload.last & ~fault)
        with m.If(self.pixels.valid & self.pixels.payload.last | self.give_up):
            m.d.sync += self.dropping.eq(0)
        with m.If((fault & ~self.pixels.payload.last) | (stopped & inside)):
            m.d.sync += self.dropping.eq(1)
        with m.If(stopped):
            m.d.sync += inside.eq(0)
