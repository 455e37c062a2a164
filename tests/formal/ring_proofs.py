"""The ring of patches: each byte of each beat lies where its pixel is read, until its pass is released.

It is proved in two links: the ring's counters stand where the stream is (`ring_place`), and with that any one byte is
followed, whichever the solver likes (`ring_byte`). No word is read in the cycle in which it is written: a pass is
read where it is available, and then nothing goes into its slot.
"""

from __future__ import annotations

from functools import partial
from itertools import accumulate
from typing import Any

from amaranth.hdl import Array, Cat, Module, Signal, Value
from proving import Fault, Harness, Proof, assume, before, claim
from ring_stream import Beat, Shape, Stream, claim_counts, claim_slots, inner_of, known

from bivit.hw.edge import patch_ring, piece_place


def ring(shape: Shape, followed: bool) -> Harness:
    """The whole ring: its counters; or one byte of a piece that goes in, with what is proved of the counters."""
    unit, values = shape.unit, shape.settings
    says = known if followed else claim

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = patch_ring.PatchRing(unit)
        m.d.comb += [
            getattr(dut, name).eq(getattr(h, name)) for name in ("start", "beat_en", "beat", "release", "addr")
        ]
        m.d.comb += [dut.settings[name].eq(value) for name, value in values.items()]
        started, loaded = before(m, h.start, 1, "start", reset_less=False), Signal()
        m.d.sync += loaded.eq(~h.start & (loaded | started))
        # Beats come behind a start, where there is room; a pass is released that is there.
        assume(m, ~h.beat_en | (dut.room & (started | loaded)))
        assume(m, ~h.release | dut.available)
        stream, beat = Stream(m, h, shape), Beat(m, h, shape, dut.room, says)
        says(m, "behind_start", ~beat.some | loaded)
        says(m, "fire", h.fire == (beat.some & ~(stream.opens & (stream.opened == stream.slots))))
        claim_counts(m, h, stream, loaded, says)
        claim_slots(m, h, stream, loaded, says)
        says(m, "available", dut.available == (stream.complete != 0))
        says(m, "nothing_more", ~(h.fire & dut.available) | (stream.slot(stream.ahead) != stream.read_slot))
        if followed:
            follow(m, h, shape, dut, stream, beat)

    places = [(bank, word) for bank in range(shape.patches) for word in range(shape.words)] if followed else []
    store = {f"bank_{n}_{k}": (8 * shape.beat, f"dut.bank{n}.store[{k}]") for n, k in places}
    lanes = max(1, shape.beat.bit_length() - 1)
    free = {"start": 1, "beat_en": 1, "beat": 8 * shape.beat, "release": 1, "addr": 10, "mark": 1, "lane": lanes}
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
    bytes_ = [getattr(h, f"bank_{n}_{k}") for n in range(shape.patches) for k in range(shape.words)]
    word = Array(bytes_)[bank * shape.words + address]
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


SHAPES = {
    "two": Shape(6, 2, 1, 2, 2, 3),
    "three": Shape(4, 2, 1, 3, 4, 3),
    "pieces": Shape(6, 3, 2, 2, 4, 2),
    "one": Shape(4, 2, 1, 1, 1, 3),
}
PLACE = (
    "bank, slot and offset of each piece follow from its number in the stream; a beat comes only behind the last piece "
    "of the one before; a piece waits where it begins a pass and no slot is free, and only there; a pass is "
    "`available` when all of it is there, and then nothing goes into its slot"
)
BYTE = (
    "so any one byte lies at its place in its bank from then on until its pass is released, and is read `input_stage` "
    "cycles after its number, up to the cycle of the release"
)


def size(shape: Shape) -> str:
    """The shape in words."""
    grid, patch = shape.side // shape.patch, shape.patch**2 * shape.channels
    return (
        f"{grid} x {grid} patches of {patch} bytes, {shape.patches} of a pass, beats of {shape.beat} bytes, "
        f"{shape.slots} slots, any number of images"
    )


PROOFS: dict[str, Proof] = {
    **{
        f"ring_place_{name}": Proof("hw/edge/piece_place.py", PLACE, size(shape), partial(ring, shape, False), 2)
        for name, shape in SHAPES.items()
    },
    **{
        f"ring_byte_{name}": Proof("hw/edge/patch_ring.py", BYTE, size(shape), partial(ring, shape, True), 4)
        for name, shape in SHAPES.items()
    },
}

FAULTS: dict[str, Fault] = {
    "a pass without a slot": Fault(
        "ring_place_two",
        piece_place,
        "self.blocked.eq(opens & self._full(",
        "self.blocked.eq(opens & ~opens & self._full(",
        "fire",
    ),
    "a pass that is half there": Fault(
        "ring_place_two", piece_place, 'ends["patch"] & last_row & wraps', 'ends["patch"] & wraps', "complete"
    ),
    "a slot of two images": Fault(
        "ring_place_three",
        piece_place,
        '(bank == self.unit.patches - 1) | ends["image"]',
        "bank == self.unit.patches - 1",
        "place",
    ),
    "a row that goes back too far": Fault(
        "ring_place_two", piece_place, 'slots.keep.eq(ends["strip"])', "slots.keep.eq(0)", "slot"
    ),
    "a beat over a beat": Fault(
        "ring_place_three", patch_ring, "self.room.eq(~some | (fire & last))", "self.room.eq(~some | fire)", "room"
    ),
    "half a byte too far": Fault("ring_place_three", patch_ring, "held >> (8 << bit)", "held >> (4 << bit)", "held"),
    "bytes of another piece": Fault(
        "ring_byte_three", patch_ring, "(offset ^ lane) & ~mask", "(offset ^ lane) & mask", "kept"
    ),
    "the slot that comes in": Fault(
        "ring_byte_two", patch_ring, "place.read_base + (self.addr", "place.base + (self.addr", "read"
    ),
    "a byte too late": Fault(
        "ring_byte_three", patch_ring, "word.word_select(chosen, 8)", "word.word_select(self.r_byte, 8)", "read"
    ),
}
