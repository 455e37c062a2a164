"""The engine's top level: control, pixels in, datapath and logits out behind AXI ports."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..sim.engine.commands import CORE, EDGE
from ..sim.engine.config import EngineConfig
from ..sim.engine.memories import TAG_BITS
from ..sim.engine.target import Target
from .datapath import Datapath
from .handover import Handover
from .loader import Loader
from .parts.component import Component, reset_by
from .parts.connect import connect
from .parts.contents import contents_of
from .parts.stream import LOAD_BEAT, axis_ports, axis_signals, beat_layout, given, takers
from .registers import AXI_LITE, Registers
from .run import Run
from .sequencer import Sequencer
from .settings import Settings
from .units.logits import Logits
from .units.logits_queue import LOGIT_BEAT, LogitsQueue
from .units.pixel_buffer import PixelBuffer


def engine_ports(engine: Target) -> dict[str, wiring.Member]:
    """Return the top-level ports of an engine of either kind, by name; the clock and reset come on top."""
    return {
        **{f"s_axil_{name}": port for name, port in AXI_LITE.items()},
        **axis_ports("s_axis_pixels", In, beat_layout(8 * engine.pixel_bytes)),
        **axis_ports("s_axis_load", In, LOAD_BEAT),
        **axis_ports("m_axis_logits", Out, LOGIT_BEAT),
        "irq": Out(1),
    }


class Engine(Component):
    """One accelerator: loads a network, takes images, gives logits (docs/accelerator.md).

    Timing: an image takes `sim.program.compiler.Program.image_cycles`, plus the cycles that its streams keep it
        waiting, which the stall counters give. CYCLES counts from the cycle after the start to that in which the last
        logit went into the queue.
    Numerics: docs/semantics.md, to the bit.

    With `parts.contents.Contents` as the platform the engine holds a network from the device's configuration on.

    Parameters
    ----------
    engine : EngineConfig
        Shape of the engine.
    datapath : wiring.Component, optional
        What computes, with the ports of `Datapath`; for tests of all that is around it.

    Members
    -------
    s_axil_* : In, Out
        AXI4-Lite registers (docs/registers.md).
    s_axis_pixels_*, s_axis_load_* : In, Out
        Pixels and load stream.
    m_axis_logits_* : In, Out
        Logits; tuser is the number of the image, modulo 2^16.
    irq : Out(1)
        Level; see STATUS.irq.
    """

    def __init__(self, engine: EngineConfig, datapath: wiring.Component | None = None):
        self.engine = engine
        self._registers, self._loader, self._settings = Registers(engine), Loader(engine), Settings(engine)
        self._run, self._pixel_buffer = Run(), PixelBuffer(engine)
        self._edge, self._core = Sequencer(engine, EDGE), Sequencer(engine, CORE)
        self._logits, self._queue = Logits(engine), LogitsQueue(engine)
        self._datapath = datapath or Datapath(engine)
        super().__init__(engine_ports(engine))

    def elaborate(self, platform: object) -> Module:
        """Connect control, pixels, datapath and logits."""
        m = Module()
        m.submodules.registers = self._registers
        m.submodules.loader = self._loader
        m.submodules.settings = self._settings
        m.submodules.run = self._run
        m.submodules.edge = self._edge
        m.submodules.core = self._core
        m.submodules.pixel_buffer = self._pixel_buffer
        # The end of a run within an image drops what is computed, but nothing that a bus has seen.
        m.submodules.datapath = reset_by(self._run.cut, self._datapath)
        m.submodules.logits = self._logits
        m.submodules.logits_queue = self._queue
        self._ports(m)
        self._load(m, embedded=contents_of(platform) is not None)
        self._start_and_stop(m)
        self._processes(m)
        self._pixels_and_logits(m)
        self._status(m)
        return m

    def _ports(self, m: Module) -> None:
        """Connect the AXI ports, whose names are flat."""
        inner: dict[str, Value] = {f"s_axil_{name}": getattr(self._registers, name) for name in AXI_LITE}
        streams = {
            "s_axis_pixels": self._pixel_buffer.pixels,
            "s_axis_load": self._loader.beats,
            "m_axis_logits": self._queue.logits,
        }
        for prefix, stream in streams.items():
            inner |= {f"{prefix}_{name}": signal for name, signal in axis_signals(stream).items()}
        inner["irq"] = self._registers.irq
        for name, port in engine_ports(self.engine).items():
            outer = getattr(self, name)
            m.d.comb += connect(inner[name], outer) if port.flow is In else connect(outer, inner[name])

    def _load(self, m: Module, *, embedded: bool) -> None:
        """Connect the load bus, and swap banks between runs.

        A network that the device was configured with is there after reset, until a load stream writes over its bank.
        """
        registers, loader = self._registers, self._loader
        bank, intact = Signal(), Signal(init=1, reset_less=True)
        if embedded:
            with m.If(loader.load.en & bank):
                m.d.sync += intact.eq(0)
        m.d.comb += registers.loaded.eq(loader.loaded | intact if embedded else loader.loaded)
        m.d.comb += [
            loader.idle.eq(~self._run.busy & ~registers.start),
            connect(loader.abort_load, registers.abort_load),
        ]
        with m.If(loader.commit):
            m.d.sync += bank.eq(~bank)
        for unit in (self._settings, self._edge, self._core, self._datapath):
            m.d.comb += [connect(unit.load, loader.load), connect(unit.bank, bank)]

    def _start_and_stop(self, m: Module) -> None:
        """Begin and end runs."""
        registers, run, pixels = self._registers, self._run, self._pixel_buffer
        m.d.comb += [
            connect(run.start, registers.start),
            connect(run.stop, registers.stop),
            connect(run.limit, pixels.limit),
            connect(run.hold, self._logits.hold),
            connect(run.image_done, self._edge.image_done),
            connect(pixels.start, registers.start),
            connect(pixels.images, registers.images),
            connect(pixels.stop, registers.stop),
            connect(pixels.give_up, registers.give_up),
            connect(pixels.finish, run.done),
        ]

    def _processes(self, m: Module) -> None:
        """Let the edge wait for the streams, and the two processes for each other; issue operations."""
        run, edge, core = self._run, self._edge, self._core
        m.submodules.x_full = x_full = Handover()
        m.submodules.y_full = y_full = Handover()
        for handover, teller, waiter in ((x_full, edge, core), (y_full, core, edge)):
            m.d.comb += [
                connect(handover.tell, teller.tell),
                connect(handover.waited, waiter.waited),
                handover.clear.eq(run.start | run.cut),
                connect(waiter.told, handover.full),
            ]
        for process in (edge, core):
            m.d.comb += [
                connect(process.start, self._registers.start),
                connect(process.active, run.busy),
                connect(process.cut, run.cut),
            ]
        m.d.comb += [connect(edge.strip, self._pixel_buffer.available), connect(edge.hold, self._logits.hold)]
        units = {"datapath": self._datapath, "logits": self._logits}
        for sequencer in (edge, core):
            for command, unit in takers(sequencer.process.issued, units).items():
                wiring.connect(m, given(sequencer.command, command), given(unit.command, command))

    def _pixels_and_logits(self, m: Module) -> None:
        """Strips to the datapath, logits from there to the queue."""
        settings, pixels = self._settings, self._pixel_buffer
        datapath, logits, queue = self._datapath, self._logits, self._queue
        m.d.comb += [
            connect(pixels.strip_beats, settings.strip_beats),
            connect(pixels.strips, settings.strips),
            connect(pixels.release, datapath.strip_done),
            connect(logits.tag, self._run.image[:TAG_BITS]),
            connect(logits.cancel, self._run.cut),
        ]
        wiring.connect(m, datapath.pixels, pixels.read)
        wiring.connect(m, datapath.logit_write, logits.write)
        wiring.connect(m, logits.queue, queue.entry)

    def _status(self, m: Module) -> None:
        """Build the counters and show everything in the registers."""
        registers, loader, run = self._registers, self._loader, self._run
        m.d.comb += [
            connect(registers.busy, run.busy),
            connect(registers.finish, run.done),
            connect(registers.dropping, self._pixel_buffer.dropping),
            registers.frame_error.eq(run.done & self._pixel_buffer.error),
            connect(registers.load_error, loader.error),
            connect(registers.loads_ok, loader.loads_ok),
            connect(registers.loads_bad, loader.loads_bad),
            connect(registers.network, self._settings.network),
            connect(registers.queue, self._queue.entry.level),
        ]
        counted = {
            "array_busy": self._datapath.array_active,
            "stall_pixels": self._edge.starved,
            "stall_logits": run.busy & self._logits.hold,
            "done": self._logits.done,
            "saturations": self._datapath.saturations,
        }
        for name, step in counted.items():
            shown = getattr(registers, name)
            value = Signal.like(shown, name=f"{name}_count")
            m.d.comb += connect(shown, value)
            m.d.sync += value.eq(Mux(registers.start, 0, value + step))
        cycles, last_logit = Signal(64), Signal(64)
        with m.If(registers.start):
            m.d.sync += [cycles.eq(0), last_logit.eq(0)]
        with m.Else():
            m.d.sync += cycles.eq(cycles + run.busy)
            with m.If(self._logits.done):
                m.d.sync += last_logit.eq(cycles + 1)
        m.d.comb += connect(registers.cycles, last_logit)
