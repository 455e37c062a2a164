"""The engine behind a serial line, and the same with a board's pins and clock."""

from __future__ import annotations

from collections.abc import Callable

from amaranth.hdl import ClockDomain, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In, Out

from ...sim.errors import check
from ...sim.flow.config import FlowConfig
from ..engine import Engine
from ..parts.component import Component, reset_by
from ..parts.connect import connect
from ..parts.stream import axis_signals
from ..registers import AXI_LITE
from .beat_buffer import BeatBuffer
from .boards import Board
from .link import Link
from .pll import Pll, find_pll
from .plle2 import PllE2, find_plle2

#: Cycles after which an engine that does not go on counts as stalled: 0.7 s at 100 MHz.
PATIENCE = 1 << 26
#: Who finds the settings of a family's PLL.
_PLLS: dict[str, Callable[[float, float], Pll | PllE2]] = {"ecp5": find_pll, "xc7": find_plle2}
#: How far a line may be off from what its host expects: half a bit in ten is where a byte is read wrong.
_OFF = 0.03


class SerialEngine(Component):
    """An engine that a host works with over a serial line (docs/boards.md).

    Timing: as of `Link` and `Engine`.
    Numerics: as of `Engine`.

    Parameters
    ----------
    flow : FlowConfig
        The engine.
    divisor : int
        Clock cycles of a bit on the line.
    patience : int
        As of `Operations`.

    Members
    -------
    rx, tx : In, Out
        The line.
    led : Out(1)
        A host has begun to speak with it.
    """

    def __init__(self, flow: FlowConfig, divisor: int, patience: int = PATIENCE):
        check(
            not flow.streamed,
            "a board behind a serial line has no memory for streamed weights; take an engine that holds its weights",
        )
        self._engine, self._link = Engine(flow), Link(divisor, flow.engine.pixel_bytes, patience)
        super().__init__({"rx": In(1), "tx": Out(1, init=1), "led": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Connect the link with the engine's flat ports."""
        m = Module()
        engine, link = self._engine, self._link
        m.submodules.link = link
        held = Signal(init=1)  # goes to most of the engine, so it comes from a register, a cycle later
        m.d.sync += connect(held, link.reset)
        m.submodules.engine = reset_by(held, engine, alone=True)
        inner = {f"s_axil_{name}": getattr(link.bus, name) for name in AXI_LITE}
        streams = {"m_axis_logits": link.logits}
        for name, beats in {"load": link.load, "pixels": link.pixels}.items():
            buffer = BeatBuffer(beats.payload.shape())
            m.submodules[f"{name}_buffer"] = reset_by(held, buffer)
            wiring.connect(m, beats, buffer.taken)
            streams[f"s_axis_{name}"] = buffer.given
        for prefix, stream in streams.items():
            inner |= {f"{prefix}_{name}": signal for name, signal in axis_signals(stream).items()}
        for name, signal in inner.items():
            outer = getattr(engine, name)
            into_engine = engine.signature.members[name].flow is In
            m.d.comb += connect(outer, signal) if into_engine else connect(signal, outer)
        m.d.comb += [connect(link.rx, self.rx), connect(self.tx, link.tx), connect(self.led, link.open)]
        return m


class BoardTop(Component):
    """What is configured into a board's FPGA: clock, reset, pins and a `SerialEngine`.

    Timing: it starts when the clock is stable, and again when the button is let go.
    Numerics: none.

    Parameters
    ----------
    board : Board
    flow : FlowConfig
        The engine.
    clock_mhz : float
        Its clock at most: it is made by a PLL, unless it is the board's.
    baud : int
        Bits a second on the line.

    Raises
    ------
    BivitError
        When no PLL makes the clock, or it does not give the baud rate.

    Members
    -------
    clk, rx, button : In
    tx, led, high_* : Out
        Pins of `Board`.
    """

    def __init__(self, board: Board, flow: FlowConfig, clock_mhz: float, baud: int):
        self.board, self.flow = board, flow
        self.pll = None if clock_mhz == board.clock_mhz else _PLLS[board.family](board.clock_mhz, clock_mhz)
        divisor = round(self.clock_mhz * 1e6 / baud)
        check(
            divisor > 0 and abs(self.clock_mhz * 1e6 / divisor / baud - 1) <= _OFF,
            f"{self.clock_mhz:g} MHz give no {baud:,} bits a second to {_OFF:.0%}; take fewer, or a faster clock",
        )
        self._serial = SerialEngine(flow, divisor)
        high = {f"high_{number}": Out(1, init=1) for number in range(len(board.high))}
        super().__init__({"clk": In(1), "rx": In(1), "button": In(1), "tx": Out(1), "led": Out(1)} | high)

    @property
    def clock_mhz(self) -> float:
        """The engine's clock."""
        return self.pll.out_mhz if self.pll else self.board.clock_mhz

    def elaborate(self, platform: object) -> Module:
        """Make the clock and its reset; turn levels of pins into those of signals."""
        m = Module()
        m.domains.sync = inside = ClockDomain("sync")
        clock, ready = Signal(name="clock"), Signal(name="ready")
        if self.pll:
            m.submodules += self.pll.cells(self.clk, clock, ready)
        else:
            m.d.comb += [connect(clock, self.clk), ready.eq(1)]
        board, serial = self.board, self._serial
        m.submodules.serial = serial
        m.submodules.reset = ResetSynchronizer(~ready | (self.button ^ board.button.low))
        m.d.comb += [
            *(connect(inside.clk, clock), connect(serial.rx, self.rx), connect(self.tx, serial.tx)),
            self.led.eq(serial.led ^ board.led.low),
            *(getattr(self, name).eq(1) for name in self.signature.members if name.startswith("high_")),
        ]
        return m
