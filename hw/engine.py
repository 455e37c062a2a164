"""The engine's top level: control, pixels in, blocks and logits out behind AXI ports."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..sim.engine.registers import ErrorCode
from ..sim.flow.config import FlowConfig
from ..sim.flow.edge import EdgeUnit
from ..sim.flow.edge_lines import EdgeLinesUnit
from ..sim.flow.edge_settings import edge_setting_bits
from ..sim.flow.machine import FlowMachine, all_settings
from ..sim.flow.settings import setting_bits
from ..sim.timing.replay_state import Cause, causes_of
from .edge.edge import Edge
from .edge.logits_queue import LogitsQueue
from .fetch.axi import read_master
from .fetch.edge_lines import EdgeLines
from .fetch.fetch import Fetch
from .loader import Loader
from .parts.component import Component, reset_by
from .parts.connect import connect
from .parts.contents import contents_of
from .parts.settings_bank import SettingsBank
from .parts.stream import LOAD_BUS, axis_signals
from .passes.passes import Passes
from .ports import WEIGHTS_PORT, engine_ports
from .registers import AXI_LITE, Registers
from .run import Run
from .slots.core import Core

#: Bits of a counter of stalls.
_STALL_BITS = 32


class Engine(Component):
    """One accelerator: loads a network, takes images, gives logits (docs/accelerator.md).

    Timing: `sim.mapping.program.FlowProgram.cycles`, for pixels that always come and a queue of logits that always has
        room. CYCLES counts from the cycle after the start to that in which the last logit went into the queue.
    Numerics: docs/semantics.md, to the bit.

    With `parts.contents.Contents` as the platform the engine holds a network from the device's configuration on.

    Parameters
    ----------
    flow : FlowConfig
        Shape of the engine.

    Members
    -------
    s_axil_* : In, Out
        AXI4-Lite registers (docs/registers.md).
    s_axis_pixels_*, s_axis_load_* : In, Out
        Pixels and load stream.
    m_axis_logits_* : In, Out
        Logits; tuser is the number of the image, modulo 2^16.
    m_axi_weights_* : Out, In
        Master of AXI4 reads, where weights are streamed.
    irq : Out(1)
        Level; see STATUS.irq.
    """

    def __init__(self, flow: FlowConfig):
        self.flow, self.machine = flow, FlowMachine(flow)
        edge = EdgeUnit(flow)
        self._registers, self._loader = Registers(self.machine), Loader(self.machine)
        self._settings = SettingsBank(self.machine.load_memories["settings"], all_settings(flow))
        self._run, self._edge, self._core = Run(fails=flow.streamed), Edge(edge), Core(flow, edge.chunk)
        self._fetch = Fetch(flow) if flow.streamed else None
        self._lines = EdgeLines(flow) if flow.edge_streamed else None
        self._passes = Passes(flow) if flow.windows else None
        self._queue = LogitsQueue(flow.engine)
        super().__init__(engine_ports(self.machine))

    def elaborate(self, platform: object) -> Module:
        """Connect control, edge, core and logits."""
        m = Module()
        m.submodules.registers = self._registers
        m.submodules.loader = self._loader
        m.submodules.settings = self._settings
        m.submodules.run = self._run
        m.submodules.edge = self._edge
        # What a run leaves behind is dropped; a cut drops what is computed, but nothing that a bus has seen.
        # One register for both, and for the engine's own reset, since thousands of others are reset by it.
        forget = Signal(init=1)
        m.d.sync += forget.eq(self._registers.starting | self._run.cutting)
        m.submodules.core = reset_by(forget, self._core, alone=True)
        if self._passes is not None:
            m.submodules.passes = reset_by(forget, self._passes, alone=True)
            self._windows(m, self._passes)
        m.submodules.logits_queue = self._queue
        self._ports(m)
        if self._fetch is not None:
            m.submodules.fetch = self._fetch
            self._weights(m, self._fetch)
            if self._lines is not None:
                m.submodules.edge_lines = self._lines
                self._edge_lines(m, self._fetch, self._lines)
        self._load(m, embedded=contents_of(platform) is not None)
        self._start_and_stop(m, forget)
        self._blocks(m)
        self._status(m)
        self._stalls(m)
        return m

    def _ports(self, m: Module) -> None:
        """Connect the AXI ports, whose names are flat."""
        inner: dict[str, Value] = {f"s_axil_{name}": getattr(self._registers, name) for name in AXI_LITE}
        streams = {
            "s_axis_pixels": self._edge.pixels,
            "s_axis_load": self._loader.beats,
            "m_axis_logits": self._queue.logits,
        }
        for prefix, stream in streams.items():
            inner |= {f"{prefix}_{name}": signal for name, signal in axis_signals(stream).items()}
        inner["irq"] = self._registers.irq
        if self._fetch is not None:
            inner |= {
                f"{WEIGHTS_PORT}_{name}": getattr(self._lines or self._fetch, name)
                for name in read_master(self.flow.memory_bits)
            }
        for name, port in self.signature.members.items():
            outer = getattr(self, name)
            m.d.comb += connect(inner[name], outer) if port.flow is In else connect(outer, inner[name])

    def _load(self, m: Module, *, embedded: bool) -> None:
        """Connect the load bus, and swap banks between runs.

        A network that the device was configured with is there after reset, until a load stream writes over its bank.
        """
        registers, loader = self._registers, self._loader
        intact = Signal(init=1, reset_less=True)
        bank: Value = Const(0, 1)
        if self.flow.load_banks == 2:
            bank = Signal(name="bank")
            with m.If(loader.commit):
                m.d.sync += bank.eq(~bank)
        if embedded:
            with m.If(loader.replaces if self.flow.load_banks == 1 else loader.load.en & bank):
                m.d.sync += intact.eq(0)
        m.d.comb += registers.loaded.eq(loader.loaded | intact if embedded else loader.loaded)
        m.d.comb += [
            loader.idle.eq(~(self._run.busy | registers.start | registers.starting)),
            connect(loader.abort_load, registers.abort_load),
        ]
        # The bus goes everywhere; a stream is committed some cycles behind its last word.
        bus, en = Signal(LOAD_BUS, name="load_bus", reset_less=True), Signal(name="load_en")
        m.d.sync += [connect(bus.as_value(), loader.load.as_value()), connect(en, loader.load.en)]
        units: list[Any] = [self._settings, self._edge, self._core]
        units += [unit for unit in (self._passes, self._fetch) if unit is not None]
        for unit in units:
            m.d.comb += [connect(unit.load, bus), connect(unit.load.en, en), connect(unit.bank, bank)]
        if self._passes is not None:
            with m.If(self._passes.settling):
                m.d.comb += connect(self._settings.load.as_value(), self._passes.settle.as_value())
        settings = self._settings.settings
        m.d.comb += [self._core.settings[name].eq(settings[name]) for name in setting_bits(self.flow)]
        m.d.comb += [self._edge.settings[name].eq(settings[name]) for name in edge_setting_bits(self.flow)]

    def _start_and_stop(self, m: Module, forget: Signal) -> None:
        """Begin and end runs."""
        registers, run, edge = self._registers, self._run, self._edge
        m.d.comb += [
            *(connect(run.start, registers.start), connect(run.stop, registers.stop), connect(run.limit, edge.limit)),
            *(connect(run.hold, edge.hold), connect(run.image_done, edge.done)),
            *(connect(edge.start, registers.start), connect(edge.images, registers.images)),
            *(edge.stop.eq(registers.stop | run.fail) if run.fails else connect(edge.stop, registers.stop),),
            connect(edge.give_up, registers.give_up),
            connect(edge.forget, forget),
        ]

    def _weights(self, m: Module, fetch: Fetch) -> None:
        """Weights to the blocks; a run fails where the array waits for some that are wrong, behind a whole answer."""
        core, run, registers, loader = self._core, self._run, self._registers, self._loader
        placed = Signal()  # the host has said where they are
        with m.If(registers.weights_placed):
            m.d.sync += placed.eq(1)
        told = registers.weights_placed & registers.loaded & ~run.busy
        begin = told | (placed & (loader.commit | run.done)) | (registers.starting & ~fetch.active)
        wiring.connect(m, fetch.write, core.weights_write)
        m.d.comb += [
            *(connect(fetch.network, self._settings.settings.network), connect(fetch.base, registers.weights)),
            *(fetch.begin.eq(begin), fetch.end.eq(loader.replaces)),
            *(connect(fetch.opened, core.weights_opened), connect(fetch.waits, core.weights_wait)),
            connect(core.weights_there, fetch.there),
            *([connect(fetch.read, core.weights_read)] if self.flow.weight_ring else []),
        ]
        wrong = core.weights_wait & (fetch.fault != ErrorCode.NONE) & ~self._edge.answering
        fails, fault = run.busy & wrong, Value.cast(fetch.fault)
        if self._lines is not None:  # which tells of faults only while the edge waits
            fault = Mux(fails, fetch.fault, self._lines.fault)
            fails = fails | (run.busy & (self._lines.fault != ErrorCode.NONE))
        m.d.comb += run.fail.eq(fails)
        m.d.sync += registers.memory_error.eq(Mux(run.cutting & run.fail, fault, ErrorCode.NONE))

    def _edge_lines(self, m: Module, fetch: Fetch, lines: EdgeLines) -> None:
        """What the edge reads of the memory, by the port of the weights."""
        for name, member in read_master(self.flow.memory_bits).items():
            inner, outer = getattr(fetch, name), getattr(lines.parts, name)
            m.d.comb += connect(outer, inner) if member.flow is Out else connect(inner, outer)
        for line in EdgeLinesUnit(self.flow).lines:
            for port in (f"{line.name.lower()}_read", f"{line.name.lower()}_given"):
                wiring.connect(m, getattr(self._edge, port), getattr(lines, port))
        settings, count = self._settings.settings, Signal(_STALL_BITS, name="stalls_edge")
        m.d.comb += [
            *(lines.settings[name].eq(settings[name]) for name in edge_setting_bits(self.flow)),
            *(connect(lines.network, settings.network), connect(lines.start, fetch.start)),
            *(
                connect(lines.active, fetch.active),
                connect(lines.base, fetch.address),
                connect(lines.number, fetch.number),
            ),
            connect(self._registers.stall_edge, count),
        ]
        with m.If(self._run.busy & lines.waits):
            m.d.sync += count.eq(count + 1)
        with m.If(self._registers.start):
            m.d.sync += count.eq(0)

    def _blocks(self, m: Module) -> None:
        """Images from the edge to the blocks and back, in banks of x; logits to the queue."""
        edge, core = self._edge, self._core
        wiring.connect(m, edge.x_write, core.edge_write)
        wiring.connect(m, edge.x_read, core.edge_read)
        wiring.connect(m, edge.queue, self._queue.entry)
        if self._passes is None:
            m.d.comb += [connect(core.embedded, edge.embedded), connect(edge.finished, core.finished)]

    def _windows(self, m: Module, passes: Passes) -> None:
        """Groups of images through the passes; windows for the core."""
        edge, core = self._edge, self._core
        for name in ("norm_read", "norm_write"):
            wiring.connect(m, getattr(edge, name), getattr(core, name))
        settings = self._settings.settings
        m.d.comb += [passes.settings[name].eq(settings[name]) for name in setting_bits(self.flow)]
        m.d.comb += [
            *(connect(passes.limit, edge.limit), connect(passes.embedded, edge.embedded)),
            *(connect(edge.finished, passes.finished), connect(passes.left, core.finished)),
            *(connect(core.restart, passes.restart), connect(core.between, passes.between)),
            connect(core.window_there, passes.there),
            *(core.window.eq(passes.window), connect(passes.take, core.window_take)),
        ]

    def _status(self, m: Module) -> None:
        """Build the counters and show everything in the registers."""
        registers, loader, run, edge = self._registers, self._loader, self._run, self._edge
        m.d.comb += [
            *(connect(registers.busy, run.busy), connect(registers.finish, run.done)),
            *(connect(registers.dropping, edge.dropping), registers.frame_error.eq(run.done & edge.error)),
            *(connect(registers.load_error, loader.error), connect(registers.loads_ok, loader.loads_ok)),
            *(connect(registers.loads_bad, loader.loads_bad), connect(registers.queue, self._queue.entry.level)),
            registers.network.eq(Mux(registers.loaded, self._settings.settings.network, 0)),
        ]
        counted = {
            "array_busy": self._core.active,
            "stall_pixels": run.busy & edge.starved,
            "stall_logits": run.busy & edge.hold,
            "done": edge.done,
            "saturations": edge.saturations + self._core.saturations,
        }
        for name, step in counted.items():
            shown = getattr(registers, name)
            value, added = Signal.like(shown, name=f"{name}_count"), Signal(len(Value.cast(step)), name=f"{name}_step")
            m.d.comb += connect(shown, value)
            m.d.sync += [added.eq(Mux(registers.start, 0, step)), value.eq(Mux(registers.start, 0, value + added))]
        cycles, last_logit = Signal(64, name="cycles_count"), Signal(64)
        with m.If(registers.start):
            m.d.sync += [cycles.eq(0), last_logit.eq(0)]
        with m.Else():
            m.d.sync += cycles.eq(cycles + run.busy)
            with m.If(edge.done):
                m.d.sync += last_logit.eq(cycles + 1)
        m.d.comb += connect(registers.cycles, last_logit)

    def _stalls(self, m: Module) -> None:
        """Count the cycles in which the array stands still, by cause, while a run goes on."""
        for at, cause in enumerate(causes_of(self.flow.streamed)):
            count = Signal(_STALL_BITS, name=f"stalls_{cause.name.lower()}")
            with m.If(self._run.busy & self._core.stalls[at]):
                m.d.sync += count.eq(count + 1)
            with m.If(self._registers.start):
                m.d.sync += count.eq(0)
            if cause is Cause.MEMORY:
                m.d.comb += connect(self._registers.stall_memory, count)
