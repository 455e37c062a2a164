"""Does what a frame asks for: registers, beats of the two streams, logits, reset."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import enum, stream
from amaranth.lib.wiring import In, Out, Signature

from ...sim.engine.link import (
    HEAD_BYTES,
    LINK_VERSION,
    LOGIT_BYTES,
    LOGIT_TAG_BITS,
    MOST_BYTES,
    TLAST,
    Operation,
    Status,
)
from ..edge.logits_queue import LOGIT_BEAT
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.stream import LOAD_BEAT, beat_layout, read_port, write_port
from ..registers import AXI_LITE
from .frames import PLACE_BITS

#: Cycles of a reset of the engine.
_RESET_CYCLES = 8
_LOAD_BYTES, _VALUE_BYTES = 8, 4


class State(enum.Enum):
    """What it is at: waits; looks a byte up and takes it; knows the operation; hands over; answers; ends."""

    IDLE = 0
    LOOK = 1
    WAIT = 2
    TAKE = 3
    KNOWN = 4
    OFFER = 5
    WRITE = 6
    WRITTEN = 7
    READ = 8
    LOGIT = 9
    ANSWER = 10
    RESET = 11
    END = 12


class Operations(Component):
    """Works on the operations of one frame, in order (docs/boards.md).

    Timing: three cycles for each byte that is read, one for each that is answered, and what the engine takes; at most
        `patience` cycles for all, and then those of a reset.
    Numerics: none.

    Parameters
    ----------
    pixel_bytes : int
        Bytes of a beat of the pixel stream.
    patience : int
        Cycles until the engine counts as stalled.

    Members
    -------
    start : In(1)
        Begin, with `count` bytes of operations.
    count : In(PLACE_BITS)
    read, write : Out
        Operations, and what they answer, each from 0 on; a byte comes `frames.READ_CYCLES` behind its place.
    done : Out(1)
        Strobe: the frame is done with; then the next two are valid, until the next start.
    status, answered : Out
        What became of it, bytes of answers.
    reset : Out(1)
        Of the engine.
    bus : In(AXI_LITE)
        Registers, as their slave has them.
    load, pixels : Out(stream)
        To the engine.
    logits : In(stream)
        From it.
    """

    def __init__(self, pixel_bytes: int, patience: int):
        self.pixel_bytes, self.patience = pixel_bytes, patience
        ports = {
            "start": In(1),
            "count": In(PLACE_BITS),
            "done": Out(1),
            "status": Out(Status),
            "answered": Out(PLACE_BITS),
        }
        memory = {"read": Out(read_port(PLACE_BITS, 8)), "write": Out(write_port(PLACE_BITS, 8)), "reset": Out(1)}
        streams = {
            "load": Out(stream.Signature(LOAD_BEAT)),
            "pixels": Out(stream.Signature(beat_layout(8 * pixel_bytes))),
            "logits": In(stream.Signature(LOGIT_BEAT)),
        }
        super().__init__(ports | memory | {"bus": In(Signature(AXI_LITE))} | streams)

    def elaborate(self, platform: object) -> Module:
        """Build the states, and the end of all patience."""
        m = Module()
        self._state, self._code = Signal(State), Signal(Operation)
        most = max(_RESET_CYCLES, self.pixel_bytes)
        self._at, self._left, self._in_head = Signal(PLACE_BITS), Signal(range(most + 1)), Signal()
        self._items, self._last = Signal(TLAST.bit_length() - 1), Signal()
        bits = 8 * max(_LOAD_BYTES, self.pixel_bytes)
        self._word, self._out = Signal(bits, reset_less=True), Signal(8 * LOGIT_BYTES, reset_less=True)
        waited = Signal(range(self.patience))
        m.d.comb += [
            connect(self.read.addr, self._at),
            *(connect(self.write.addr, self.answered), self.write.data.eq(self._out[:8])),
            *(self.reset.eq(self._state == State.RESET), self.done.eq(self._state == State.END)),
        ]
        self._bus(m)
        self._streams(m)
        with m.Switch(self._state):
            with m.Case(State.IDLE):
                m.d.sync += waited.eq(0)
                with m.If(self.start):
                    m.d.sync += [self._at.eq(0), self.answered.eq(0), self.status.eq(Status.DONE)]
                    self._next_operation(m)
            with m.Case(State.END):
                m.d.sync += self._state.eq(State.IDLE)
            self._read_states(m)
            self._answer_states(m)
        with m.If((self._state != State.IDLE) & (waited != self.patience - 1)):
            m.d.sync += waited.eq(waited + 1)
            with m.If(waited == self.patience - 2):
                self._reset(m, Status.STALLED)
        return m

    def _next_operation(self, m: Module) -> None:
        m.d.sync += [self._state.eq(State.LOOK), self._left.eq(HEAD_BYTES), self._in_head.eq(1)]

    def _data(self, m: Module, count: int) -> None:
        """Read so many bytes of data."""
        m.d.sync += [self._state.eq(State.LOOK), self._left.eq(count), self._in_head.eq(0)]

    def _end(self, m: Module, status: Status) -> None:
        m.d.sync += [self._state.eq(State.END), self.status.eq(status)]

    def _reset(self, m: Module, status: Status) -> None:
        m.d.sync += [self._state.eq(State.RESET), self.status.eq(status), self._left.eq(_RESET_CYCLES)]
        m.d.sync += [valid.eq(0) for valid in (self.bus.awvalid, self.bus.wvalid, self.bus.arvalid)]

    def _answer(self, m: Module, value: Value, count: int) -> None:
        """Answer the first bytes of a value."""
        m.d.sync += [self._out.eq(value), self._left.eq(count), self._state.eq(State.ANSWER)]

    def _read_states(self, m: Module) -> None:
        """Bytes of heads and data, and what follows from them."""
        with m.Case(State.LOOK):
            m.d.sync += self._state.eq(State.WAIT)
            with m.If(self._at == self.count):
                whole = self._in_head & (self._left == HEAD_BYTES)
                m.d.sync += [self._state.eq(State.END), self.status.eq(Mux(whole, Status.DONE, Status.REFUSED))]
        with m.Case(State.WAIT):  # READ_CYCLES
            m.d.sync += self._state.eq(State.TAKE)
        with m.Case(State.TAKE):
            m.d.sync += [self._word.eq(Cat(self._word[8:], self.read.data)), self._at.eq(self._at + 1)]
            m.d.sync += [self._left.eq(self._left - 1), self._state.eq(State.LOOK)]
            with m.If((self._left == 1) & self._in_head):
                m.d.sync += self._state.eq(State.KNOWN)
            with m.Elif((self._left == 1) & (self._code == Operation.WRITE)):
                m.d.sync += [self._state.eq(State.WRITE), self.bus.awvalid.eq(1), self.bus.wvalid.eq(1)]
            with m.Elif(self._left == 1):
                m.d.sync += self._state.eq(State.OFFER)
        with m.Case(State.KNOWN):
            head = self._word[-8 * HEAD_BYTES :]
            m.d.sync += [self._code.eq(head[:8]), self._items.eq(head[8:-1]), self._last.eq(head[-1])]
            with m.Switch(head[:8]):
                with m.Case(Operation.IDENTIFY):
                    self._answer(m, Const(LINK_VERSION), 1)
                with m.Case(Operation.READ):
                    m.d.sync += [self._state.eq(State.READ), self.bus.arvalid.eq(1)]
                with m.Case(Operation.WRITE):
                    self._data(m, _VALUE_BYTES)
                with m.Case(Operation.LOAD):
                    self._data(m, _LOAD_BYTES)
                with m.Case(Operation.PIXELS):
                    self._data(m, self.pixel_bytes)
                with m.Case(Operation.LOGITS):
                    m.d.sync += self._state.eq(State.LOGIT)
                with m.Case(Operation.RESET):
                    self._reset(m, Status.DONE)
                with m.Default():
                    self._end(m, Status.REFUSED)
        taken = (self.load.valid & self.load.ready) | (self.pixels.valid & self.pixels.ready)
        with m.Case(State.OFFER), m.If(taken):
            m.d.sync += self._items.eq(self._items - 1)
            with m.If(self._items == 1):
                self._next_operation(m)
            with m.Elif(self._code == Operation.LOAD):
                self._data(m, _LOAD_BYTES)
            with m.Else():
                self._data(m, self.pixel_bytes)

    def _answer_states(self, m: Module) -> None:
        """Registers, logits, bytes of answers, and the reset."""
        with m.Case(State.WRITE), m.If(~(self.bus.awvalid | self.bus.wvalid)):
            m.d.sync += self._state.eq(State.WRITTEN)
        with m.Case(State.WRITTEN), m.If(self.bus.bvalid):
            self._next_operation(m)
            with m.If(self.bus.bresp != 0):
                self._end(m, Status.REFUSED)
        with m.Case(State.READ), m.If(self.bus.rvalid):
            self._answer(m, self.bus.rdata, _VALUE_BYTES)
            with m.If(self.bus.rresp != 0):
                self._end(m, Status.REFUSED)
        with m.Case(State.LOGIT):
            beat = self.logits.payload
            with m.If(self._items == 0):
                self._next_operation(m)
            with m.Elif(self.logits.valid):
                m.d.sync += self._items.eq(self._items - 1)
                flags = Cat(beat.tag[:LOGIT_TAG_BITS], beat.last, 1)
                self._answer(m, Cat(flags, beat.data), LOGIT_BYTES)
            with m.Else():
                m.d.sync += self._items.eq(0)
                self._answer(m, Const(0), 1)
        with m.Case(State.ANSWER):
            m.d.comb += self.write.en.eq(self.answered != MOST_BYTES)
            m.d.sync += [self._out.eq(self._out[8:]), self._left.eq(self._left - 1)]
            m.d.sync += self.answered.eq(self.answered + 1)
            with m.If(~self.write.en):
                self._end(m, Status.REFUSED)
                m.d.sync += self.answered.eq(self.answered)
            with m.Elif(self._left == 1):
                self._next_operation(m)
                with m.If(self._code == Operation.LOGITS):
                    m.d.sync += self._state.eq(State.LOGIT)
        with m.Case(State.RESET):
            m.d.sync += self._left.eq(self._left - 1)
            with m.If(self._left == 1):
                self._next_operation(m)
                with m.If(self.status != Status.DONE):
                    m.d.sync += self._state.eq(State.END)

    def _bus(self, m: Module) -> None:
        """Offer address and data of a register once; what is offered stays until it is taken."""
        bus = self.bus
        m.d.comb += [
            *(connect_address(bus.awaddr, self._items), connect_address(bus.araddr, self._items)),
            *(bus.wdata.eq(self._word[-8 * _VALUE_BYTES :]), bus.wstrb.eq(-1)),
            *(bus.bready.eq(self._state == State.WRITTEN), bus.rready.eq(self._state == State.READ)),
        ]
        for valid, ready in ((bus.awvalid, bus.awready), (bus.wvalid, bus.wready), (bus.arvalid, bus.arready)):
            with m.If(ready):
                m.d.sync += valid.eq(0)

    def _streams(self, m: Module) -> None:
        """Offer a beat, and take a logit."""
        last = self._last & (self._items == 1)
        for to, code in ((self.load, Operation.LOAD), (self.pixels, Operation.PIXELS)):
            m.d.comb += [
                to.valid.eq((self._state == State.OFFER) & (self._code == code)),
                to.payload.data.eq(self._word[-len(to.payload.data) :]),
                connect(to.payload.last, last),
            ]
        m.d.comb += self.logits.ready.eq((self._state == State.LOGIT) & (self._items != 0))
