"""The engine's top level: control, sequencer and datapath behind AXI ports."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..sim.commands import ISSUED
from ..sim.engine import EngineConfig
from .datapath import Datapath
from .loader import Loader
from .registers import AXI_LITE, Registers
from .sequencer import Sequencer
from .settings import Settings


def engine_ports(engine: EngineConfig) -> dict[str, wiring.Member]:
    """Return the top-level ports of an engine, by name; the clock and reset come on top."""
    return {
        **{f"s_axil_{name}": port for name, port in AXI_LITE.items()},
        "s_axis_pixels_tdata": In(8 * engine.pixel_bytes),
        "s_axis_pixels_tlast": In(1),
        "s_axis_pixels_tvalid": In(1),
        "s_axis_pixels_tready": Out(1),
        "s_axis_load_tdata": In(64),
        "s_axis_load_tlast": In(1),
        "s_axis_load_tvalid": In(1),
        "s_axis_load_tready": Out(1),
        "m_axis_logits_tdata": Out(32),
        "m_axis_logits_tuser": Out(16),
        "m_axis_logits_tlast": Out(1),
        "m_axis_logits_tvalid": Out(1),
        "m_axis_logits_tready": In(1),
        "irq": Out(1),
    }


class Engine(wiring.Component):
    """One accelerator: loads a network, takes images, gives logits (docs/accelerator.md).

    Timing: an image takes `sim.compiler.Program.image_cycles`, plus the cycles that its streams keep it waiting,
    which the
        stall counters give. CYCLES counts from the cycle after the start to that of the last logit's transfer.
    Numerics: docs/semantics.md, to the bit.

    Parameters
    ----------
    engine : EngineConfig
        Shape of the engine.

    Members
    -------
    s_axil_* : In, Out
        AXI4-Lite registers (docs/registers.md).
    s_axis_pixels_*, s_axis_load_* : In, Out
        Pixels and load stream.
    m_axis_logits_* : In, Out
        Logits; tuser is the number of the image.
    irq : Out(1)
        Level; see STATUS.irq.
    """

    def __init__(self, engine: EngineConfig):
        self.engine = engine
        super().__init__(engine_ports(engine))

    def elaborate(self, platform: object) -> Module:
        """Connect control, sequencer and datapath."""
        m = Module()
        m.submodules.registers = registers = Registers(self.engine)
        m.submodules.loader = loader = Loader(self.engine)
        m.submodules.settings = settings = Settings(self.engine)
        # A wrong pixel stream drops the run: everything but the memories starts over.
        restart = Signal()
        sequencer, datapath = Sequencer(self.engine), Datapath(self.engine)
        m.submodules.sequencer = sequencer
        m.submodules.datapath = ResetInserter(restart)(datapath)
        bank = Signal()
        with m.If(loader.commit):
            m.d.sync += bank.eq(~bank)
        for unit in (settings, sequencer, datapath):
            m.d.comb += [unit.load.eq(loader.load), unit.bank.eq(bank)]
        for op in (command.name for command in ISSUED):
            m.d.comb += [
                getattr(datapath, f"issue_{op}").eq(getattr(sequencer, f"issue_{op}")),
                getattr(datapath, f"command_{op}").eq(getattr(sequencer, f"command_{op}")),
            ]
        self._ports(m, registers, loader, datapath)
        m.d.comb += [
            restart.eq(sequencer.busy & datapath.pixel_error),
            sequencer.start.eq(registers.start),
            sequencer.restart.eq(restart),
            sequencer.images.eq(registers.images),
            sequencer.strip.eq(datapath.strip),
            sequencer.hold.eq(datapath.hold),
            datapath.enable.eq(sequencer.busy),
            datapath.strip_beats.eq(settings.strip_beats),
            datapath.strips.eq(settings.strips),
            datapath.tag.eq(sequencer.image),
            loader.idle.eq(~sequencer.busy & ~registers.start),
            loader.abort_load.eq(registers.abort_load),
        ]
        self._status(m, registers, loader, settings, sequencer, datapath, restart)
        return m

    def _ports(self, m: Module, registers: Registers, loader: Loader, datapath: Datapath) -> None:
        """Connect the AXI ports."""
        for name, port in AXI_LITE.items():
            outer, inner = getattr(self, f"s_axil_{name}"), getattr(registers, name)
            m.d.comb += inner.eq(outer) if port.flow is In else outer.eq(inner)
        m.d.comb += [
            loader.tdata.eq(self.s_axis_load_tdata),
            loader.tlast.eq(self.s_axis_load_tlast),
            loader.tvalid.eq(self.s_axis_load_tvalid),
            self.s_axis_load_tready.eq(loader.tready),
            datapath.pixels_tdata.eq(self.s_axis_pixels_tdata),
            datapath.pixels_tlast.eq(self.s_axis_pixels_tlast),
            datapath.pixels_tvalid.eq(self.s_axis_pixels_tvalid),
            self.s_axis_pixels_tready.eq(datapath.pixels_tready),
            self.m_axis_logits_tdata.eq(datapath.logits_tdata),
            self.m_axis_logits_tuser.eq(datapath.logits_tuser),
            self.m_axis_logits_tlast.eq(datapath.logits_tlast),
            self.m_axis_logits_tvalid.eq(datapath.logits_tvalid),
            datapath.logits_tready.eq(self.m_axis_logits_tready),
            self.irq.eq(registers.irq),
        ]

    def _status(
        self,
        m: Module,
        registers: Registers,
        loader: Loader,
        settings: Settings,
        sequencer: Sequencer,
        datapath: Datapath,
        restart: Signal,
    ) -> None:
        """Build the counters and show everything in the registers."""
        cycles = Signal(64)
        m.d.comb += [
            registers.busy.eq(sequencer.busy),
            registers.finish.eq(sequencer.done),
            registers.loaded.eq(loader.loaded),
            registers.load_error.eq(loader.error),
            registers.frame_error.eq(restart),
            registers.loads_ok.eq(loader.loads_ok),
            registers.loads_bad.eq(loader.loads_bad),
            registers.network.eq(settings.network),
        ]
        counted = {
            "array_busy": datapath.array_active,
            "stall_pixels": sequencer.stall_pixels,
            "stall_logits": sequencer.stall_logits,
            "done": datapath.image_out,
            "saturations": datapath.saturations,
        }
        for name, step in counted.items():
            shown = getattr(registers, name)
            value = Signal.like(shown, name=f"{name}_count")
            m.d.comb += shown.eq(value)
            m.d.sync += value.eq(Mux(registers.start, 0, value + step))
        with m.If(registers.start):
            m.d.sync += cycles.eq(0)
        with m.Elif(sequencer.busy):
            m.d.sync += cycles.eq(cycles + 1)
        last_logit = Signal(64)
        with m.If(registers.start):
            m.d.sync += last_logit.eq(0)
        with m.Elif(datapath.image_out):
            m.d.sync += last_logit.eq(cycles + 1)
        m.d.comb += registers.cycles.eq(last_logit)
