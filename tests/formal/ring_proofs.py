"""The ring of patches: each byte of each beat lies where its pixel is read, until its pass is released.

Any one byte is followed, whichever the solver likes, from the beat that it comes in. Its place is worked out from its
number in the stream alone: row of patches, row of pixels, patch, piece of the patch's row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, signed
from flow_edge import flow_of, tiny
from proving import Fault, Harness, Proof, assume, before, claim

from bivit.hw.edge import patch_ring, piece_place
from bivit.sim.flow.edge import EdgeUnit
from bivit.sim.flow.edge_settings import edge_settings


@dataclass(frozen=True)
class Shape:
    """Image, patch and channels of a network; patches of a pass and bytes of a beat of its engine."""

    side: int
    patch: int
    channels: int
    patches: int
    beat: int

    @property
    def settings(self) -> dict[str, int]:
        """Settings of the ring."""
        config, flow = self._engine()
        return {name: edge_settings(config, flow, 1)[name] for name in piece_place.RING_SETTINGS.members}

    @property
    def unit(self) -> EdgeUnit:
        """The edge of the engine."""
        return EdgeUnit(self._engine()[1])

    def _engine(self) -> tuple[Any, Any]:
        config = tiny(img_size=self.side, patch_size=self.patch, in_chans=self.channels)
        return config, flow_of(config, dense_patches=self.patches, pixel_bytes=self.beat)


class Stream:
    """The place of the next piece, and how the passes of its image lie to the pass that is read."""

    def __init__(self, m: Module, h: Any, shape: Shape, fire: Value):
        values = self.values = shape.settings
        self.grid, self.patches, self.slots = values["strips"], shape.patches, values["pass_slots"]
        self.strip, self.patch = Signal(range(self.grid)), Signal(range(self.grid))
        self.row, self.piece = Signal(range(values["patch_rows"])), Signal(range(values["row_pieces"]))
        # Passes of the images before, less those that were released; and the slot that is read.
        self.lead, self.read_slot = Signal(signed(8)), Signal(range(self.slots))
        self.number = self.strip * self.grid + self.patch
        self.whole, self.bank = self.number // self.patches, self.number % self.patches
        self.offset = (self.row * values["row_pieces"] + self.piece) * values["piece_bytes"]
        self.ahead = self.lead + self.whole
        self.opens = (self.bank == 0) & (self.row == 0) & (self.piece == 0)
        self.last_row = self.row == values["patch_rows"] - 1
        row_whole = (self.strip * self.grid + self.grid - 1) // self.patches
        self.opened = self.lead + Mux(self.row == 0, self.whole + ~self.opens, row_whole + 1)
        self.complete = self.lead + (self.strip * self.grid + Mux(self.last_row, self.patch, 0)) // self.patches
        self._count(m, h, fire)

    def _count(self, m: Module, h: Any, fire: Value) -> None:
        """Go on, a piece at a time: pieces of a patch's row, patches, rows of pixels, rows of patches."""
        ends, goes = [], fire
        counts = {"row_pieces": self.piece, "strips": self.patch, "patch_rows": self.row, "images": self.strip}
        for name, position in counts.items():
            most = self.values.get(name, self.grid)
            with m.If(goes):
                m.d.sync += position.eq(Mux(position == most - 1, 0, position + 1))
            goes = goes & (position == most - 1)
            ends.append(goes)
        passes = -(-(self.grid**2) // self.patches)
        self.image_end = ends[-1]
        m.d.sync += self.lead.eq(self.lead + Mux(self.image_end, passes, 0) - h.release)
        with m.If(h.release):
            m.d.sync += self.read_slot.eq(Mux(self.read_slot == self.slots - 1, 0, self.read_slot + 1))
        with m.If(h.start):
            m.d.sync += [*(value.eq(0) for value in counts.values()), self.lead.eq(0), self.read_slot.eq(0)]

    def slot(self, ahead: Value) -> Value:
        """The slot of a pass so many behind the one that is read."""
        around = self.read_slot + ahead
        return Mux(around >= self.slots, around - self.slots, around)


def claim_stream(m: Module, h: Any, stream: Stream, loaded: Value) -> None:
    """Claim that the ring's counters stand where the stream is."""
    values, words = stream.values, stream.values["patch_words"]
    positions = {"patch": ("row_pieces", stream.piece), "row": ("strips", stream.patch)}
    positions |= {"strip": ("patch_rows", stream.row), "image": ("strips", stream.strip)}
    for name, (setting, position) in positions.items():
        most = values[setting]
        last, left, top, single = (getattr(h, f"{name}_{part}") for part in ("last", "left", "top", "single"))
        claim(m, f"{name}_within", position < most)
        with m.If(loaded):
            claim(m, f"{name}_count", (last == (position == most - 1)) & (left == most - 1 - position))
            claim(m, f"{name}_top", (top == most - 1) & (single == (most == 1)))
    claim(m, "place", (h.bank == stream.bank) & (h.offset == stream.offset))
    claim(m, "first_row", h.first_row == (stream.row == 0))
    claim(m, "row_offset", h.row_offset == stream.row * values["row_pieces"] * values["piece_bytes"])
    first = stream.strip * stream.grid
    claim(m, "first_bank", h.first_bank == first % stream.patches)
    claim(m, "read_slot", (stream.read_slot < stream.slots) & (h.read_number == stream.read_slot))
    claim(m, "read_base", h.read_base == stream.read_slot * words)
    claim(m, "in_ring", (stream.ahead >= 0) & (stream.ahead <= stream.slots))
    slot, kept = stream.slot(stream.ahead), stream.slot(stream.lead + first // stream.patches)
    claim(m, "slot", (h.number == slot) & (h.base == slot * words))
    # It goes back behind each row of pixels but the last one.
    claim(m, "kept_slot", stream.last_row | ((h.kept_number == kept) & (h.kept_base == kept * words)))
    claim(m, "taken", (h.taken == stream.opened) & (stream.opened >= 0) & (stream.opened <= stream.slots))
    claim(m, "complete", (h.complete == stream.complete) & (h.some == (stream.complete != 0)))


class Beat:
    """The beat that is cut into pieces, as it came, and how many of its bytes are through."""

    def __init__(self, m: Module, h: Any, shape: Shape, room: Value, fire: Value):
        size = shape.settings["piece_bytes"]
        self.bytes, self.through, self.some = Signal(8 * shape.beat), Signal(range(shape.beat + 1)), Signal()
        with m.If(fire):
            m.d.sync += [self.through.eq(self.through + size), self.some.eq(self.through + size != shape.beat)]
        with m.If(h.beat_en):
            m.d.sync += [self.bytes.eq(h.beat), self.through.eq(0), self.some.eq(1)]
        with m.If(h.start):
            m.d.sync += self.some.eq(0)
        claim(m, "some", h.some_held == self.some)
        claim(m, "room", ~room | ~self.some | (fire & (self.through + size == shape.beat)))
        with m.If(self.some):
            claim(m, "pieces", (self.through % size == 0) & (self.through < shape.beat) & (h.at == self.through + size))
            claim(m, "held", h.held == self.bytes >> 8 * self.through)


def ring(shape: Shape) -> Harness:
    """The whole ring, and one byte of a piece that goes in."""
    unit, values = shape.unit, shape.settings
    words, beat_bits = unit.ring_words, shape.beat.bit_length() - 1

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = patch_ring.PatchRing(unit)
        m.d.comb += [getattr(dut, name).eq(getattr(h, name)) for name in ("start", "beat_en", "beat", "release", "addr")]
        m.d.comb += [dut.settings[name].eq(value) for name, value in values.items()]
        started, loaded = before(m, h.start, 1, "start", reset_less=False), Signal()
        m.d.sync += loaded.eq(~h.start & (loaded | started))
        # Beats come behind a start, where there is room; a pass is released that is there.
        assume(m, ~h.beat_en | (dut.room & (started | loaded)))
        assume(m, ~h.release | dut.available)
        fire = h.fire
        stream, beat = Stream(m, h, shape, fire), Beat(m, h, shape, dut.room, fire)
        claim(m, "behind_start", ~beat.some | loaded)
        claim(m, "fire", fire == (beat.some & ~(stream.opens & (stream.opened == stream.slots))))
        claim_stream(m, h, stream, loaded)
        claim(m, "available", dut.available == (stream.complete != 0))
        claim(m, "nothing_more", ~(fire & dut.available) | (stream.slot(stream.ahead) != stream.read_slot))
        follow(m, h, shape, dut, stream, beat)

    store = {f"bank_{n}_{k}": (8 * shape.beat, f"dut.bank{n}.store[{k}]") for n in range(shape.patches) for k in range(words)}
    free = {"start": 1, "beat_en": 1, "beat": 8 * shape.beat, "release": 1, "addr": 10, "mark": 1, "lane": max(1, beat_bits)}
    return Harness(free, body, inner_of(unit) | store)


def follow(m: Module, h: Any, shape: Shape, dut: Any, stream: Stream, beat: Beat) -> None:
    """Claim where one byte is."""
    fire, words, size = h.fire, shape.settings["patch_words"], shape.settings["piece_bytes"]
    on, what, older = Signal(), Signal(8), Signal()
    ahead = Signal(range(stream.slots))
    bank, offset = Signal.like(h.bank), Signal.like(h.offset)
    position = Cat(stream.piece, stream.patch, stream.row, stream.strip)
    then = Signal(len(position))
    begins = Signal()
    assume(m, h.lane < size)
    m.d.comb += begins.eq(fire & h.mark & ~on)
    with m.If(begins):
        m.d.sync += [on.eq(1), what.eq(beat.bytes.word_select(beat.through + h.lane, 8)), older.eq(stream.image_end)]
        m.d.sync += [ahead.eq(stream.ahead - h.release), bank.eq(stream.bank), offset.eq(stream.offset + h.lane)]
        m.d.sync += [then.eq(position)]
    with m.Elif(on):
        m.d.sync += older.eq(older | stream.image_end)
        with m.If(h.release):
            m.d.sync += [ahead.eq(ahead - 1), on.eq(ahead != 0)]
    with m.If(h.start):
        m.d.sync += on.eq(0)
    fresh = before(m, begins, 1, "begins", reset_less=False)
    slot = stream.slot(ahead)
    address = slot * words + offset // shape.beat
    piece, patch, row, strip = split(then, [stream.piece, stream.patch, stream.row, stream.strip])
    number = strip * stream.grid + patch
    with m.If(on):
        claim(m, "its_patch", (bank == number % stream.patches) & (patch < stream.grid) & (strip < stream.grid))
        pieces = shape.settings["row_pieces"]
        claim(m, "its_piece", (piece < pieces) & (row < shape.settings["patch_rows"]))
        claim(m, "its_offset", offset // size == row * pieces + piece)
    with m.If(on & older):
        claim(m, "image_before", ahead < stream.lead)
    with m.If(on & ~older):
        claim(m, "order", (then < position) & (ahead == stream.lead + number // stream.patches))
    bytes_ = [getattr(h, f"bank_{n}_{k}") for n in range(shape.patches) for k in range(shape.unit.ring_words)]
    word = Array(bytes_)[bank * shape.unit.ring_words + address]
    stored = word.word_select(offset % shape.beat, 8)
    with m.If(on):
        claim(m, "in_patch", (bank < shape.patches) & (offset < words * shape.beat))
        claim(m, "kept", fresh | (stored == what))
    hit = on & dut.available & (ahead == 0) & (h.addr == offset)
    hits = before(m, hit, shape.unit.input_stage, "hit", reset_less=False)
    found = Array(dut.pixels[n] for n in range(shape.patches))[before(m, bank, shape.unit.input_stage, "bank")]
    claim(m, "read", ~hits | (found == before(m, what, shape.unit.input_stage, "what")))


def split(value: Value, parts: list[Signal]) -> list[Value]:
    """What was put together of such parts."""
    ends = list(accumulate(len(part) for part in parts))
    return [value[end - len(part) : end] for part, end in zip(parts, ends, strict=True)]


def inner_of(unit: EdgeUnit) -> dict[str, tuple[Any, str]]:
    """Registers of the ring."""
    place, base = "dut.place", max(1, (unit.ring_words - 1).bit_length())
    bank = max(1, (unit.patches - 1).bit_length())
    found: dict[str, tuple[Any, str]] = {
        "fire": (1, "dut.fire"),
        "some_held": (1, "dut.some|dut.$signal"),
        "held": (8 * unit.flow.engine.pixel_bytes, "dut.held|dut.$like"),
        "at": (unit.flow.engine.pixel_bytes.bit_length(), "dut.at|dut.size"),
        **{"bank": (bank, f"{place}.bank"), "first_bank": (bank, f"{place}.first_bank")},
        **{"offset": (10, f"{place}.offset"), "row_offset": (10, f"{place}.row_offset")},
        "first_row": (1, f"{place}.first_row|{place}.$signal$#"),
        "taken": (12, f"{place}.taken"),
        "complete": (unit.ring_words.bit_length(), f"{place}.complete.count"),
        "some": (1, f"{place}.complete.some"),
        "read_number": (12, f"{place}.read.number|{place}.read.$like$#"),
        "read_base": (base, f"{place}.read_base"),
        "base": (base, f"{place}.base"),
        "number": (12, f"{place}.slots$#.number|{place}.slots$#.$like$#"),
        "kept_number": (12, f"{place}.slots$#.kept_number|{place}.slots$#.$like$#2"),
        "kept_base": (base, f"{place}.slots$#.kept_base"),
    }
    for name, bits in {"patch": 10, "row": 8, "strip": 10, "image": 8}.items():
        count = f"{place}.{name}_count"
        found |= {f"{name}_{part}": (bits, f"{count}.{part}") for part in ("left", "top")}
        found |= {f"{name}_{part}": (1, f"{count}.{part}") for part in ("last", "single")}
    return found


PROOFS: dict[str, Proof] = {
    f"ring_{name}": Proof("hw/edge/patch_ring.py", "", "", partial(ring, shape), 4)
    for name, shape in {
        "two": Shape(6, 2, 1, 2, 2),
        "three": Shape(4, 2, 1, 3, 4),
    }.items()
}
FAULTS: dict[str, Fault] = {}
