"""Frames on a serial line: bytes between flags, escaped where they are one, with a CRC-32 at their end."""

from __future__ import annotations

from itertools import pairwise

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value
from amaranth.lib import enum, stream
from amaranth.lib.crc.catalog import CRC32_ETHERNET
from amaranth.lib.wiring import In, Out

from ...sim.engine.link import CRC_BYTES, ESCAPE, ESCAPED, FLAG, MOST_BYTES, NUMBER_BYTES
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.stream import read_port, write_port

#: Bits of a place in a frame's bytes or its answer's, and of how many there are.
PLACE_BITS = (MOST_BYTES + CRC_BYTES - 1).bit_length()


#: Cycles from a place in the memory to its byte: it has a register of its own behind a block memory, which is slow.
READ_CYCLES = 2


class FrameReceiver(Component):
    """Takes frames from bytes: writes what they hold, and judges them at their end.

    Timing: `whole` or `damaged` two cycles after the flag that ends a frame; a byte every other cycle or slower.
    Numerics: CRC-32 as zlib.crc32.

    Members
    -------
    data, strobe, broken : In
        Bytes, as of `uart.UartReceiver`.
    listen : In(1)
        Take them; while it is low all are dropped, and with them the rest of the frame.
    write : Out(write_port)
        Bytes behind the number, from 0 on; the CRC too.
    whole, damaged : Out(1)
        Strobes: a frame ended, as it was sent or not.
    number : Out(8)
        Its number; valid until the next byte.
    count : Out(PLACE_BITS)
        Bytes between number and CRC, of a whole one.
    """

    def __init__(self) -> None:
        ports = {
            "data": In(8),
            "strobe": In(1),
            "broken": In(1),
            "listen": In(1),
            "write": Out(write_port(PLACE_BITS, 8)),
        }
        ends = {"whole": Out(1), "damaged": Out(1), "number": Out(8), "count": Out(PLACE_BITS)}
        super().__init__(ports | ends)

    def elaborate(self, platform: object) -> Module:
        """Follow flags and escapes; count, and keep what was wrong."""
        m = Module()
        m.submodules.checksum = checksum = CRC32_ETHERNET(data_width=8).create()
        inside, escaped, spoilt = Signal(), Signal(), Signal()
        took = Signal(range(MOST_BYTES + NUMBER_BYTES + CRC_BYTES + 1))
        strobe = self.strobe & self.listen
        flag, escape = strobe & (self.data == FLAG), strobe & (self.data == ESCAPE)
        byte = self.data ^ Mux(escaped, ESCAPED, 0)
        full = took == MOST_BYTES + NUMBER_BYTES + CRC_BYTES
        good = checksum.match_detected & (took >= NUMBER_BYTES + CRC_BYTES) & ~spoilt & ~escaped
        m.d.sync += [self.whole.eq(0), self.damaged.eq(0)]
        m.d.comb += [
            *(connect(checksum.data, byte), checksum.start.eq(flag | ~self.listen)),
            checksum.valid.eq(strobe & ~flag & ~escape & inside),
            *(connect(self.write.data, byte), self.write.addr.eq(took - NUMBER_BYTES)),
            self.write.en.eq(checksum.valid & (took != 0) & ~full),
        ]
        m.d.sync += self.count.eq(took - (NUMBER_BYTES + CRC_BYTES))
        with m.If(flag & inside & (took != 0)):
            m.d.sync += [self.whole.eq(good), self.damaged.eq(~good), inside.eq(0)]
        with m.Elif(flag):
            m.d.sync += [inside.eq(1), escaped.eq(0), spoilt.eq(0), took.eq(0)]
        with m.Elif(strobe & inside):
            m.d.sync += [escaped.eq(escape), spoilt.eq(spoilt | self.broken | full)]
            with m.If(~escape):
                m.d.sync += took.eq(Mux(full, took, took + 1))
            with m.If(~escape & (took == 0)):
                m.d.sync += connect(self.number, byte)
        with m.If(~self.listen):
            m.d.sync += inside.eq(0)
        return m


class Part(enum.Enum):
    """A part of an answer's frame."""

    NUMBER = 0
    STATUS = 1
    BYTES = 2
    CRC = 3


#: States in which the memory is waited for, `READ_CYCLES` and one that takes the byte.
_LOOKS = ("LOOK", "WAIT", "PICK")


class FrameSender(Component):
    """Sends an answer as a frame: number, status, bytes of a memory, CRC.

    Timing: begins in the cycle after `start`; a byte every five cycles, or slower.
    Numerics: CRC-32 as zlib.crc32.

    Members
    -------
    start : In(1)
        Send, with what the other inputs are until `done`.
    number, status : In(8)
        Begin it.
    count : In(PLACE_BITS)
        Bytes of the memory.
    read : Out(read_port)
        The memory, from place 0 on; a byte comes `READ_CYCLES` behind its place.
    data : Out(stream of 8 bits)
        What goes out.
    done : Out(1)
        Strobe: the last byte was taken.
    """

    def __init__(self) -> None:
        told = {"start": In(1), "number": In(8), "status": In(8), "count": In(PLACE_BITS)}
        super().__init__(
            told | {"read": Out(read_port(PLACE_BITS, 8)), "data": Out(stream.Signature(8)), "done": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        """Walk over the bytes: look one up, escape it, offer it."""
        m = Module()
        m.submodules.checksum = checksum = CRC32_ETHERNET(data_width=8).create()
        part, byte = Signal(Part), Signal(8)
        at, left = Signal(PLACE_BITS), Signal(PLACE_BITS)
        special = (byte == FLAG) | (byte == ESCAPE)
        m.d.comb += [
            *(connect(self.read.addr, at), connect(checksum.data, byte)),
            checksum.start.eq(self.start),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [part.eq(Part.NUMBER), at.eq(0)]
                with m.If(self.start):
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.sync += left.eq(self.count)
                self._offer(m, Const(FLAG), "LOOK")
            for state, following in pairwise(_LOOKS):
                with m.State(state):
                    m.next = following
            with m.State(_LOOKS[-1]):
                choice = Array([self.number, self.status, self.read.data, checksum.crc.word_select(at[:2], 8)])
                m.d.sync += byte.eq(choice[Value.cast(part)])
                m.next = "OFFER"
            with m.State("OFFER"):
                self._offer(m, Mux(special, ESCAPE, byte), "NEXT")
                with m.If(self.data.ready & special):
                    m.next = "ESCAPED"
            with m.State("ESCAPED"):
                self._offer(m, byte ^ ESCAPED, "NEXT")
            with m.State("NEXT"):
                m.d.comb += checksum.valid.eq(part != Part.CRC)
                m.next = "LOOK"
                self._step(m, part, at, left)
            with m.State("END"):
                self._offer(m, Const(FLAG), "IDLE")
                m.d.comb += self.done.eq(self.data.ready)
        return m

    def _offer(self, m: Module, byte: Value, following: str) -> None:
        """Offer a byte until it is taken."""
        m.d.comb += [self.data.valid.eq(1), self.data.payload.eq(byte)]
        with m.If(self.data.ready):
            m.next = following

    @staticmethod
    def _step(m: Module, part: Signal, at: Signal, left: Signal) -> None:
        """Go to the next byte."""
        with m.Switch(part):
            with m.Case(Part.NUMBER):
                m.d.sync += part.eq(Part.STATUS)
            with m.Case(Part.STATUS):
                m.d.sync += part.eq(Mux(left == 0, Part.CRC, Part.BYTES))
            with m.Case(Part.BYTES):
                m.d.sync += [at.eq(at + 1), left.eq(left - 1)]
                with m.If(left == 1):
                    m.d.sync += [part.eq(Part.CRC), at.eq(0)]
            with m.Case(Part.CRC):
                m.d.sync += at.eq(at + 1)
                with m.If(at[:2] == CRC_BYTES - 1):
                    m.next = "END"
