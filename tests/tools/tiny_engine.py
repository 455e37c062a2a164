"""A very small accelerator with the ports of the real one, so that the bench can be tested in seconds.

The logits of an image are the words of the memory `tables` plus the sum of the image's pixels. The sums go through a
memory `x`, one word an image, which is what the bench observes.
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum

import numpy as np
from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from bivit.hw.loader import Loader
from bivit.hw.parts.memory import LoadableMemory, WordMemory
from bivit.hw.parts.stream import axis_signals
from bivit.hw.registers import AXI_LITE, Registers
from bivit.sim.engine.target import Target
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.flow.presets import FLOW_ENGINES

#: Two banks: co-simulations of whole engines have one.
ENGINE = FlowMachine(replace(FLOW_ENGINES["sim"], load_banks=2))
IMAGE_BEATS = 4
CLASSES = 3
MAX_IMAGES = 128

PORTS = {
    **{
        f"s_axil_{name}": flow(bits)
        for name, flow, bits in [
            ("awaddr", In, 8),
            ("awvalid", In, 1),
            ("awready", Out, 1),
            ("wdata", In, 32),
            ("wstrb", In, 4),
            ("wvalid", In, 1),
            ("wready", Out, 1),
            ("bresp", Out, 2),
            ("bvalid", Out, 1),
            ("bready", In, 1),
            ("araddr", In, 8),
            ("arvalid", In, 1),
            ("arready", Out, 1),
            ("rdata", Out, 32),
            ("rresp", Out, 2),
            ("rvalid", Out, 1),
            ("rready", In, 1),
        ]
    },
    **{
        f"s_axis_{stream}_{name}": flow(bits)
        for stream in ("pixels", "load")
        for name, flow, bits in [("tdata", In, 64), ("tlast", In, 1), ("tvalid", In, 1), ("tready", Out, 1)]
    },
    **{
        f"m_axis_logits_{name}": flow(bits)
        for name, flow, bits in [
            ("tdata", Out, 32),
            ("tuser", Out, 16),
            ("tlast", Out, 1),
            ("tvalid", Out, 1),
            ("tready", In, 1),
        ]
    },
    "irq": Out(1),
}


class State(IntEnum):
    IDLE = 0
    PIXELS = 1
    READ = 2
    LOGITS = 3


def tiny_logits(table: list[int], images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Logits [n, CLASSES] of images [n, 8 * IMAGE_BEATS]."""
    sums = images.astype(np.int64).reshape(len(images), -1).sum(axis=1)
    return sums[:, None] + np.asarray(table[:CLASSES], np.int64)


class TinyEngine(wiring.Component):
    """Loader, registers, and a datapath of one adder."""

    def __init__(self, engine: Target = ENGINE):
        self.engine = engine
        super().__init__(PORTS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.registers = self.registers = Registers(self.engine)
        m.submodules.loader = self.loader = Loader(self.engine)
        m.submodules.tables = self.tables = LoadableMemory(self.engine.load_memories["tables"])
        m.submodules.x = self.x = WordMemory(32, MAX_IMAGES)
        self.state = Signal(State)
        self.image = Signal(32)
        self.load(m)
        self.ports(m)
        self.run(m)
        self.status(m)
        return m

    def load(self, m: Module) -> None:
        bank = Signal()
        m.d.sync += bank.eq(bank ^ self.loader.commit)
        m.d.comb += [
            *(self.tables.load.eq(self.loader.load), self.tables.bank.eq(bank)),
            self.loader.idle.eq((self.state == State.IDLE) & ~self.registers.start),
            self.loader.abort_load.eq(self.registers.abort_load),
        ]

    def ports(self, m: Module) -> None:
        inner = {f"s_axil_{name}": getattr(self.registers, name) for name in AXI_LITE}
        inner |= {f"s_axis_load_{name}": signal for name, signal in axis_signals(self.loader.beats).items()}
        for name, signal in inner.items():
            outer = getattr(self, name)
            m.d.comb += signal.eq(outer) if PORTS[name].flow is In else outer.eq(signal)
        m.d.comb += self.irq.eq(self.registers.irq)

    def run(self, m: Module) -> None:
        total, beat, label = Signal(32), Signal(8), Signal(8)
        registers, pixels = self.registers, self.s_axis_pixels_tdata
        taken = self.s_axis_pixels_tvalid & self.s_axis_pixels_tready
        given = self.m_axis_logits_tvalid & self.m_axis_logits_tready
        last = label == CLASSES - 1
        m.d.comb += [
            self.s_axis_pixels_tready.eq(self.state == State.PIXELS),
            registers.frame_error.eq(taken & (self.s_axis_pixels_tlast != (beat == IMAGE_BEATS - 1))),
            self.x.w_addr.eq(self.image),
            self.x.w_data.eq(total + sum(pixels.word_select(i, 8) for i in range(self.engine.pixel_bytes))),
            self.x.r_addr[0].eq(self.image),
            self.tables.r_addr.eq(Mux(given, label + 1, label)),
            self.m_axis_logits_tvalid.eq(self.state == State.LOGITS),
            self.m_axis_logits_tdata.eq(self.x.r_data[0] + self.tables.r_data),
            self.m_axis_logits_tuser.eq(self.image),
            self.m_axis_logits_tlast.eq(last),
        ]
        with m.If(registers.start):
            m.d.sync += [self.state.eq(State.PIXELS), self.image.eq(0)]
        with m.If(taken):
            m.d.sync += [total.eq(self.x.w_data), beat.eq(beat + 1)]
            with m.If(beat == IMAGE_BEATS - 1):
                m.d.comb += self.x.w_en.eq(1)
                m.d.sync += [self.state.eq(State.READ), beat.eq(0), total.eq(0), label.eq(0)]
            with m.If(registers.frame_error):
                m.d.sync += [self.state.eq(State.IDLE), beat.eq(0), total.eq(0)]
        with m.If(self.state == State.READ):
            m.d.sync += self.state.eq(State.LOGITS)
        with m.If(given):
            m.d.sync += label.eq(label + 1)
            with m.If(last):
                m.d.sync += self.image.eq(self.image + 1)
                m.d.sync += self.state.eq(Mux(self.image + 1 == registers.images, State.IDLE, State.PIXELS))
                m.d.comb += registers.finish.eq(self.image + 1 == registers.images)

    def status(self, m: Module) -> None:
        registers, busy = self.registers, self.state != State.IDLE
        steps = [
            (registers.cycles, busy),
            (registers.array_busy, self.x.w_en),
            (registers.stall_pixels, (self.state == State.PIXELS) & ~self.s_axis_pixels_tvalid),
            (registers.stall_logits, (self.state == State.LOGITS) & ~self.m_axis_logits_tready),
        ]
        m.d.comb += [
            registers.busy.eq(busy),
            registers.loaded.eq(self.loader.loaded),
            registers.load_error.eq(self.loader.error),
            registers.loads_ok.eq(self.loader.loads_ok),
            registers.loads_bad.eq(self.loader.loads_bad),
            registers.done.eq(self.image),
        ]
        for counter, step in steps:
            count = Signal(64)
            m.d.comb += counter.eq(count)
            m.d.sync += count.eq(Mux(registers.start, 0, count + step))
