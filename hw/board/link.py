"""The board's end of the serial link: frames in, what they ask for done once, answers out."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from ...sim.engine.link import LAST_NUMBER, OPENING, Status
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.memory import registered_read, unmet
from .frames import PLACE_BITS, READ_CYCLES, FrameReceiver, FrameSender
from .operations import Operations
from .uart import UartReceiver, UartSender

#: Ports by which it speaks with the engine.
ENGINE_PORTS = ("bus", "load", "pixels", "logits")


class State(enum.Enum):
    """What the link is at: takes a frame, works on it, answers."""

    LISTEN = 0
    WORK = 1
    ANSWER = 2


class Link(Component):
    """Serves a host over a serial line (docs/boards.md).

    A frame is worked on once: one that comes again is answered as it was then. What comes while one is worked on or
    answered is not heard. No session is open after a reset, so no frame of a session before it is worked on.

    Timing: an answer begins some cycles after the flag of the frame, or after the engine took what was in it.
    Numerics: CRC-32 as zlib.crc32.

    Parameters
    ----------
    divisor : int
        Cycles of a bit on the line.
    pixel_bytes, patience : int
        As of `Operations`.

    Members
    -------
    rx, tx : In, Out
        The line.
    reset : Out(1)
        Of the engine.
    open : Out(1)
        A host has begun to speak with the board.
    bus, logits : In
        Of the engine: its registers, as their slave has them, and what it answers.
    load, pixels : Out
        Streams to the engine.
    """

    def __init__(self, divisor: int, pixel_bytes: int, patience: int):
        self._receive, self._send = FrameReceiver(), FrameSender()
        self._line_in, self._line_out = UartReceiver(divisor), UartSender(divisor)
        self._operations = Operations(pixel_bytes, patience)
        engine = {name: self._operations.signature.members[name] for name in ENGINE_PORTS}
        super().__init__({"rx": In(1), "tx": Out(1, init=1), "reset": Out(1), "open": Out(1)} | engine)

    def elaborate(self, platform: object) -> Module:
        """Connect the parts; judge a frame by its number."""
        m = Module()
        receive, send, operations = self._receive, self._send, self._operations
        m.submodules.line_in, m.submodules.line_out = self._line_in, self._line_out
        m.submodules.receive, m.submodules.send, m.submodules.operations = receive, send, operations
        self._connect(m)
        state, last, expected = Signal(State), Signal(8), Signal(8)
        short, verdict = Signal(), Signal(Status)  # an answer without anything done, and what it says
        number = receive.number
        m.d.comb += [
            receive.listen.eq(state == State.LISTEN),
            *(connect(send.number, last), send.status.eq(Mux(short, verdict, operations.status))),
            send.count.eq(Mux(short, 0, operations.answered)),
        ]
        m.d.sync += [operations.start.eq(0), send.start.eq(0)]
        with m.Switch(state):
            with m.Case(State.LISTEN):
                with m.If(receive.whole & ((number == OPENING) | (self.open & (number == expected)))):
                    m.d.sync += [state.eq(State.WORK), operations.start.eq(1), self.open.eq(1), short.eq(0)]
                    m.d.sync += [last.eq(number), expected.eq(Mux(number == LAST_NUMBER, OPENING + 1, number + 1))]
                with m.Elif(receive.whole & self.open & (number == last)):
                    m.d.sync += [state.eq(State.ANSWER), send.start.eq(1), short.eq(0)]
                with m.Elif(receive.whole | receive.damaged):
                    m.d.sync += [state.eq(State.ANSWER), send.start.eq(1), short.eq(1)]
                    m.d.sync += verdict.eq(Mux(receive.whole, Status.UNEXPECTED, Status.DAMAGED))
            with m.Case(State.WORK), m.If(operations.done):
                m.d.sync += [state.eq(State.ANSWER), send.start.eq(1)]
            with m.Case(State.ANSWER), m.If(send.done):
                m.d.sync += state.eq(State.LISTEN)
        self._memory(m, state)
        return m

    def _connect(self, m: Module) -> None:
        """Connect the line, the engine and what is between."""
        receive, send, operations = self._receive, self._send, self._operations
        m.d.comb += [
            *(connect(self._line_in.line, self.rx), connect(self.tx, self._line_out.line)),
            *(connect(receive.data, self._line_in.data), connect(receive.strobe, self._line_in.strobe)),
            *(connect(receive.broken, self._line_in.broken), connect(operations.count, receive.count)),
            connect(self.reset, operations.reset),
        ]
        wiring.connect(m, send.data, self._line_out.data)
        for name in ENGINE_PORTS:
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(operations, name))

    def _memory(self, m: Module, state: Signal) -> None:
        """One memory for a frame's operations and, in its other half, their answers."""
        receive, send, operations = self._receive, self._send, self._operations
        m.submodules.store = store = unmet(8, 1 << PLACE_BITS + 1)
        write = store.write_port()
        answering = state == State.ANSWER
        address = Cat(Mux(answering, send.read.addr, operations.read.addr), answering)
        word = registered_read(m, store, address, cycles=READ_CYCLES)
        working = state == State.WORK
        m.d.comb += [
            write.en.eq(Mux(working, operations.write.en, receive.write.en)),
            write.addr.eq(Cat(Mux(working, operations.write.addr, receive.write.addr), working)),
            write.data.eq(Mux(working, operations.write.data, receive.write.data)),
            *(connect(operations.read.data, word), connect(send.read.data, word)),
        ]
