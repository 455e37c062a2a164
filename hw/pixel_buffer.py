"""Pixel buffer: takes images from the pixel stream, one strip of patches ahead of the dense unit."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from ..sim.engine import EngineConfig


class PixelBuffer(wiring.Component):
    """Two halves of memory, one *strip* (a row of patches, all its image rows) in each: one is filled, the other read.

    It does not wait between images: while one image is computed, the first two strips of the next may come in.

    Timing: one beat a cycle while a half is free. The half of a strip released in cycle t takes beats from t + 1 on,
        and a strip whose last beat came in cycle t can be read from t + 1 on: `sim.pixel_model`. `read_data` follows
        `read_addr` by two cycles.
    Numerics: none; byte 0 of a beat is the least significant.

    Parameters
    ----------
    engine : EngineConfig
        `pixel_bytes` and `max_strip_bytes` are used.

    Members
    -------
    enable : In(1)
        Pixels are taken while it is high; while it is low, everything taken is dropped.
    strip_beats, strips : In
        Beats of a strip, at most max_strip_bytes / pixel_bytes; strips of an image. Constant while `enable`.
    tdata, tlast, tvalid, tready : In, In, In, Out
        AXI4-Stream of pixels in raster order. `tready` does not depend on `tvalid`.
    available : Out(1)
        The current strip can be read.
    release : In(1)
        The current strip, which must be available, may be overwritten; the next strip becomes the current one.
    read_addr, read_data : In(16), Out(8)
        Byte of the current strip.
    error : Out(1)
        Since `enable` rose, `tlast` was missing at the end of an image or present before it.
    """

    def __init__(self, engine: EngineConfig):
        self.engine = engine
        super().__init__(
            {
                "enable": In(1),
                "strip_beats": In(16),
                "strips": In(8),
                "tdata": In(8 * engine.pixel_bytes),
                "tlast": In(1),
                "tvalid": In(1),
                "tready": Out(1),
                "available": Out(1),
                "release": In(1),
                "read_addr": In(16),
                "read_data": Out(8),
                "error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the memory, the counters of the stream, and the count of full halves."""
        m = Module()
        beat, strip = Signal(16), Signal(8)  # position of the next beat
        full = Signal(range(3))  # halves that hold a whole strip
        fill_half, read_half = Signal(), Signal()
        taken, strip_end, image_end = Signal(), Signal(), Signal()
        m.d.comb += [
            self.tready.eq(self.enable & (full != 2)),
            self.available.eq(full != 0),
            taken.eq(self.tvalid & self.tready),
            strip_end.eq(beat + 1 == self.strip_beats),
            image_end.eq(strip_end & (strip + 1 == self.strips)),
        ]
        with m.If(taken):
            m.d.sync += beat.eq(beat + 1)
            with m.If(strip_end):
                m.d.sync += [beat.eq(0), strip.eq(strip + 1), fill_half.eq(~fill_half)]
            with m.If(image_end):
                m.d.sync += strip.eq(0)
            with m.If(self.tlast != image_end):
                m.d.sync += self.error.eq(1)
        with m.If(self.release):
            m.d.sync += read_half.eq(~read_half)
        m.d.sync += full.eq(full + (taken & strip_end) - self.release)
        with m.If(~self.enable):
            m.d.sync += [signal.eq(0) for signal in (beat, strip, full, fill_half, read_half, self.error)]
        self._memory(m, taken, beat, fill_half, read_half)
        return m

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
            write.en.eq(taken),
            write.addr.eq(Cat(beat[:addr_bits], fill_half)),
            write.data.eq(self.tdata),
            read.addr.eq(Cat(self.read_addr[byte_bits:][:addr_bits], read_half)),
        ]
        word_1 = read.data
        byte = word_1
        if byte_bits:
            byte_1 = Signal(byte_bits, reset_less=True)
            m.d.sync += byte_1.eq(self.read_addr)
            byte = word_1.word_select(byte_1, 8)
        read_data = Signal(8, reset_less=True)
        m.d.sync += read_data.eq(byte)
        m.d.comb += self.read_data.eq(read_data)
