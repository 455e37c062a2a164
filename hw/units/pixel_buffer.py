"""Pixel buffer: takes the images of a run from the pixel stream, one strip of patches ahead of the dense unit."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import memory, stream
from amaranth.lib.wiring import In, Out

from ...sim.engine.config import EngineConfig
from ...sim.engine.memories import SETTINGS
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.stream import beat_layout, read_port

_BITS = dict(SETTINGS)


class PixelBuffer(Component):
    """Two halves of memory, one *strip* (a row of patches, all its image rows) in each: one is filled, the other read.

    It does not wait between the images of a run: while one is computed, the first two strips of the next may come in.
    Nothing is taken beyond a run's last image. An image is *whole* when its last beat, and no other, has TLAST. The
    first one that is not ends the taking, and so does `stop`: `limit` becomes the number of whole images, the rest of
    an image that was taken in part is dropped up to its TLAST, and the beat behind it is the next run's first.

    Timing: one beat a cycle while a half is free. The half of a strip released in cycle t takes beats from t + 1 on,
        and a strip whose last beat came in cycle t can be read from t + 1 on: `sim.engine.pixel_model`. A byte
        follows its address by two cycles. The first beat can be taken in the cycle after `start`.
    Numerics: none; byte 0 of a beat is the least significant.

    Parameters
    ----------
    engine : EngineConfig
        `pixel_bytes` and `max_strip_bytes` are used.

    Members
    -------
    start, images : In
        Take `images` images, 1 or more; only after `finish`. Both are copied.
    stop : In(1)
        Take no more; at least two cycles before the next `start`.
    give_up : In(1)
        Drop no more: the next beat is an image's first.
    finish : In(1)
        The run ended: what is left of it is forgotten.
    strip_beats, strips : In
        Beats of a strip, at most max_strip_bytes / pixel_bytes; strips of an image. Constant from `start` to `finish`.
    pixels : In(stream of beat_layout(8 * pixel_bytes))
        Pixels in raster order. `ready` depends on registers only.
    available : Out(1)
        The current strip can be read.
    release : In(1)
        The current strip, which must be available, may be overwritten; the next strip becomes the current one.
    read : In(read_port)
        Byte of the current strip.
    limit : Out(32)
        Images of the run that are whole or still expected to be.
    error : Out(1)
        Since `start`, an image was not whole.
    dropping : Out(1)
        Beats are taken and dropped, up to TLAST.
    """

    def __init__(self, engine: EngineConfig):
        self.engine = engine
        super().__init__(
            {
                **{name: In(1) for name in ("start", "stop", "give_up", "finish", "release")},
                "images": In(32),
                "strip_beats": In(_BITS["strip_beats"]),
                "strips": In(_BITS["strips"]),
                "pixels": In(stream.Signature(beat_layout(8 * engine.pixel_bytes))),
                "available": Out(1),
                "read": In(read_port(16, 8, strobed=True)),
                "limit": Out(32),
                "error": Out(1),
                "dropping": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the frame, the count of images, the count of full halves, and the memory."""
        m = Module()
        taking = Signal()  # the next beat belongs to an image of the run
        full = Signal(range(3))  # halves that hold a whole strip
        fill_half, read_half = Signal(), Signal()
        taken, stored = Signal(), Signal()
        m.d.comb += [
            self.pixels.ready.eq(self.dropping | (taking & (full != 2))),
            self.available.eq(full != 0),
            taken.eq(self.pixels.valid & self.pixels.ready & ~self.dropping),
        ]
        beat, strip_end, image_end = self._frame(m, taken)
        stopped = Signal()  # in the last cycle: what that cycle still took is known now
        m.d.sync += connect(stopped, self.stop)
        fault = taken & (self.pixels.payload.last != image_end)
        m.d.comb += stored.eq(taken & strip_end & ~fault)
        self._images(m, taking, stopped, fault, taken & self.pixels.payload.last & image_end)
        self._drop(m, taken, stopped, fault)
        with m.If(stored):
            m.d.sync += fill_half.eq(~fill_half)
        with m.If(self.release):
            m.d.sync += read_half.eq(~read_half)
        m.d.sync += full.eq(full + stored - self.release)
        with m.If(self.finish):
            m.d.sync += [full.eq(0), fill_half.eq(0), read_half.eq(0)]
        self._memory(m, taken, beat, fill_half, read_half)
        return m

    def _frame(self, m: Module, taken: Signal) -> tuple[Signal, Signal, Signal]:
        """Count beats and strips; return the beat, and whether it is a strip's and an image's last."""
        beat, strip = Signal(16), Signal(_BITS["strips"])
        last_beat, last_strip = Signal.like(beat), Signal.like(strip)
        strip_end, image_end = Signal(), Signal()
        # Both settings are at least 1, and a strip has at most 2^16 beats.
        m.d.sync += [last_beat.eq(self.strip_beats - 1), last_strip.eq(self.strips - 1)]
        m.d.comb += [strip_end.eq(beat == last_beat), image_end.eq(strip_end & (strip == last_strip))]
        with m.If(taken):
            m.d.sync += beat.eq(beat + 1)
            with m.If(strip_end):
                m.d.sync += [beat.eq(0), strip.eq(strip + 1)]
        with m.If((taken & (image_end | self.pixels.payload.last)) | self.start):
            m.d.sync += [beat.eq(0), strip.eq(0)]
        return beat, strip_end, image_end

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

    def _memory(self, m: Module, taken: Value, beat: Value, fill_half: Value, read_half: Value) -> None:
        """Build the memory, whose word is a beat and whose top address bit is the half, and pick bytes."""
        beats = self.engine.max_strip_bytes // self.engine.pixel_bytes
        addr_bits = max(1, (beats - 1).bit_length())
        byte_bits = self.engine.pixel_bytes.bit_length() - 1
        # The second half starts at a power of two, and only it ends where it is full.
        m.submodules.store = store = memory.Memory(
            shape=8 * self.engine.pixel_bytes, depth=(1 << addr_bits) + beats, init=[]
        )
        write, read = store.write_port(), store.read_port()
        m.d.comb += [
            connect(write.en, taken),
            write.addr.eq(Cat(beat[:addr_bits], fill_half)),
            connect(write.data, self.pixels.payload.data),
            read.addr.eq(Cat(self.read.addr[byte_bits:][:addr_bits], read_half)),
        ]
        word_1 = read.data
        byte = word_1
        if byte_bits:
            byte_1 = Signal(byte_bits, reset_less=True)
            m.d.sync += connect(byte_1, self.read.addr[:byte_bits])
            byte = word_1.word_select(byte_1, 8)
        read_data = Signal(8, reset_less=True)
        m.d.sync += read_data.eq(byte)
        m.d.comb += connect(self.read.data, read_data)
