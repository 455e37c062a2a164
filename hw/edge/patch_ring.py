"""The ring of patches: pixels in raster order go in, and come out a pixel of each patch of a pass side by side."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.engine.words import MemoryStyle
from ...sim.flow.edge import EdgeUnit
from ...sim.flow.edge_settings import EDGE_SETTINGS
from ..parts.component import Component, reset_by
from ..parts.connect import connect, connect_address
from ..parts.memory import registered_read, unmet
from .piece_place import RING_SETTINGS, PiecePlace


class PatchRing(Component):
    """Slots of a pass each: `patches` patches, one in each bank, its pixels one after the other.

    Patch k of an image lies in bank ``k mod patches``; each image begins with a slot of its own. A beat is cut into
    pieces so small that none belongs to two patches; they go in one a cycle. A row of patches goes through its slots
    again and again, row of pixels by row of pixels, so a slot that its first row begins must be free.

    Timing: a beat goes in from the cycle after it is taken on, a piece a cycle; a pass whose last piece goes in in
        cycle t is `available` from t + 1 on, and the slot of a pass released in t takes pieces from t + 1 on. Pixels
        follow their address by `EdgeUnit.input_stage` cycles.
    Numerics: none; byte 0 of a beat is the least significant.

    Parameters
    ----------
    unit : EdgeUnit

    Members
    -------
    start : In(1)
        A run begins: the ring is empty.
    settings : In
        `RING_SETTINGS`, constant from `start` on.
    beat_en, beat : In
        A beat, only where there is `room`.
    room : Out(1)
        Whether a beat can come in this cycle.
    available : Out(1)
        All pixels of the current pass are there.
    release : In(1)
        The current pass, which must be available, is read for the last time; the next one becomes the current one.
    addr : In
        Number of a pixel in the patches of the current pass.
    pixels : Out
        That pixel of each patch.
    """

    def __init__(self, unit: EdgeUnit):
        self.unit = unit
        self.beat_bytes = unit.flow.engine.pixel_bytes
        self.byte_bits = self.beat_bytes.bit_length() - 1
        super().__init__(
            {
                "start": In(1),
                "settings": In(RING_SETTINGS),
                "beat_en": In(1),
                "beat": In(8 * self.beat_bytes),
                "room": Out(1),
                "available": Out(1),
                "release": In(1),
                "addr": In(dict(EDGE_SETTINGS)["patch_steps"]),
                "pixels": Out(data.ArrayLayout(8, unit.patches)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Cut beats, find each piece's place, write it there, and read."""
        m = Module()
        place = PiecePlace(self.unit)
        m.submodules.place = reset_by(self.start, place)
        held, some, fire = Signal.like(self.beat, reset_less=True), Signal(), Signal()
        at, size = Signal(self.byte_bits + 1), self.settings.piece_bytes  # bytes of the beat up to the piece's end
        last = Signal()
        m.d.sync += place.start.eq(self.start)
        m.d.comb += [
            last.eq(at == self.beat_bytes),
            fire.eq(some & ~place.blocked),
            self.room.eq(~some | (fire & last)),
            *(place.fire.eq(fire), connect(place.release, self.release)),
            *(connect(place.settings.as_value(), self.settings.as_value()), self.available.eq(place.available)),
        ]
        with m.If(fire):
            m.d.sync += [at.eq(at + size), some.eq(~last)]
            for bit in range(self.byte_bits):
                with m.If(size[bit]):
                    m.d.sync += held.eq(held >> (8 << bit))
        with m.If(self.beat_en):
            m.d.sync += [connect(held, self.beat), at.eq(size[: len(at)]), some.eq(1)]
        with m.If(self.start):
            m.d.sync += some.eq(0)
        self._memory(m, held, fire, place)
        return m

    def _memory(self, m: Module, held: Value, fire: Value, place: PiecePlace) -> None:
        """Write a piece, registered, into its bytes of its bank; read a byte of each bank."""
        bits, lanes, size = self.byte_bits, range(self.beat_bytes), self.settings.piece_bytes
        offset, mask = place.offset[:bits], (size - 1)[:bits]
        here = Cat(fire & (((offset ^ lane) & ~mask) == 0) for lane in lanes)
        pieces = [
            reduce(or_, (size[k].replicate(8) & held.word_select(lane % (1 << k), 8) for k in range(bits + 1)))
            for lane in lanes
        ]
        en, word = Signal(self.beat_bytes), Signal.like(self.beat, reset_less=True)
        bank, addr = Signal.like(place.bank, reset_less=True), Signal.like(place.base, reset_less=True)
        read, byte = Signal.like(place.base, reset_less=True), Signal(max(1, bits), reset_less=True)
        m.d.sync += [
            *(en.eq(here), word.eq(Cat(pieces))),
            *(connect(bank, place.bank), addr.eq(place.base + (place.offset >> bits))),
            *(read.eq(place.read_base + (self.addr >> bits)), byte.eq(self.addr[:bits])),
        ]
        style = self.unit.flow.style_of("ring")
        for number in range(self.unit.patches):
            m.submodules[f"bank{number}"] = store = PatchBank(self.beat_bytes, self.unit.ring_words, style)
            m.d.comb += [
                store.w_en.eq(Mux(bank == number, en, 0)),
                *(connect_address(store.w_addr, addr), connect(store.w_data, word)),
                *(connect_address(store.r_addr, read), connect(store.r_byte, byte)),
                connect(self.pixels[number], store.r_data),
            ]


class PatchBank(Component):
    """Memory of one patch of each pass: written by bytes, read a byte at a time.

    Timing: the byte follows its address by two cycles; what is written in a cycle is read from the next one on.

    Numerics: none.

    Parameters
    ----------
    width, depth : int
        Bytes of a word, words.
    style : {"auto", "block", "distributed"}
        What it is asked to be made of.

    Members
    -------
    w_en, w_addr, w_data : In
        Write bytes, each when its `w_en`.
    r_addr, r_byte, r_data : In, In, Out
        Read.
    """

    def __init__(self, width: int, depth: int, style: MemoryStyle = "auto"):
        self.width, self.depth, self.style = width, depth, style
        addr_bits = max(1, (depth - 1).bit_length())
        super().__init__(
            {
                "w_en": In(width),
                "w_addr": In(addr_bits),
                "w_data": In(8 * width),
                "r_addr": In(addr_bits),
                "r_byte": In(max(1, width.bit_length() - 1)),
                "r_data": Out(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the memory and the choice of a byte."""
        m = Module()
        m.submodules.store = store = unmet(8 * self.width, self.depth, self.style)
        write = store.write_port(granularity=8 if self.width > 1 else None)
        word = registered_read(m, store, self.r_addr)
        byte, chosen = Signal(8, reset_less=True), Signal.like(self.r_byte, reset_less=True)
        m.d.sync += [connect(chosen, self.r_byte), byte.eq(word.word_select(chosen, 8))]
        m.d.comb += [
            connect(write.en, self.w_en),
            *(connect_address(write.addr, self.w_addr), connect(write.data, self.w_data)),
            connect(self.r_data, byte),
        ]
        return m
