"""Where the pieces of images go in the ring of patches."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.flow.edge import EdgeUnit
from ...sim.flow.edge_settings import EDGE_SETTINGS
from ..flow.jobs import Credits
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.countdown import Countdown

_BITS = dict(EDGE_SETTINGS)
#: Settings that the ring follows.
RING_SETTINGS = data.StructLayout(
    {name: _BITS[name] for name in ("strips", "piece_bytes", "row_pieces", "patch_rows", "patch_words", "pass_slots")}
)


class PiecePlace(Component):
    """The place of the next piece; how many slots are taken and complete.

    Timing: as of `PatchRing`. After a reset, `start` comes before the first piece.

    Numerics: none.

    Parameters
    ----------
    unit : EdgeUnit

    Members
    -------
    start : In(1)
        Begin with an image's first piece, which does not come in this cycle.
    settings : In
        `RING_SETTINGS`.
    fire : In(1)
        The piece goes in, and the next one is the one behind it.
    blocked : Out(1)
        It begins a pass, and no slot is free.
    bank, base, offset : Out
        Its patch of the pass, the first word of its slot, and its first byte in the patch.
    available, release : Out(1), In(1)
        As of `PatchRing`.
    read_base : Out
        First word of the current pass.
    """

    def __init__(self, unit: EdgeUnit):
        self.unit = unit
        word_bits = max(1, (unit.ring_words - 1).bit_length())
        super().__init__(
            {
                **{name: In(1) for name in ("start", "fire", "release")},
                "settings": In(RING_SETTINGS),
                "blocked": Out(1),
                "available": Out(1),
                "bank": Out(max(1, (unit.patches - 1).bit_length())),
                "base": Out(word_bits),
                "offset": Out(_BITS["patch_steps"]),
                "read_base": Out(word_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count; behind a row of pixels go back to the first patch of the row of patches, behind its last one go on."""
        m = Module()
        settings, word_bits = self.settings, len(self.base)
        ends, last_row = self._ends(m)
        m.submodules.slots = slots = RingSlots(word_bits)
        m.submodules.read = read = RingSlots(word_bits)
        m.submodules.complete = complete = Credits(self.unit.ring_words)
        bank, first_bank, next_bank = (
            Signal.like(self.bank, name=name) for name in ("bank", "first_bank", "next_bank")
        )
        offset, row_offset, next_offset = (
            Signal.like(self.offset, name=n) for n in ("offset", "row_offset", "next_offset")
        )
        first_row, wraps, opens = Signal(init=1), Signal(), Signal(init=1, name="opens")
        m.d.comb += [
            wraps.eq((bank == self.unit.patches - 1) | ends["image"]),
            next_bank.eq(Mux(wraps, 0, bank + 1)),
            next_offset.eq(offset + settings.piece_bytes),
            self.blocked.eq(opens & self._full(m, self.fire & opens)),
            *(slots.step.eq(ends["patch"] & wraps), slots.back.eq(ends["row"]), slots.keep.eq(ends["strip"])),
            *(complete.give.eq(ends["patch"] & last_row & wraps), connect(complete.take, self.release)),
            *(connect(self.available, complete.some), connect(read.step, self.release)),
            *(connect(self.bank, bank), connect(self.offset, offset)),
            *(connect(self.base, slots.base), connect(self.read_base, read.base)),
        ]
        for ring in (slots, read):
            m.d.comb += [connect(ring.words, settings.patch_words), connect(ring.slots, settings.pass_slots)]
        with m.If(self.fire):
            m.d.sync += offset.eq(next_offset)
            # The first piece of a pass: what is behind the last patch of one, in a first row of pixels.
            m.d.sync += opens.eq(wraps & (ends["strip"] | (ends["patch"] & ~ends["row"] & first_row)))
        with m.If(ends["patch"]):
            m.d.sync += [offset.eq(row_offset), bank.eq(next_bank)]
        with m.If(ends["row"]):
            m.d.sync += [bank.eq(first_bank), offset.eq(next_offset), row_offset.eq(next_offset), first_row.eq(0)]
        with m.If(ends["strip"]):
            m.d.sync += [*(bank.eq(next_bank), first_bank.eq(next_bank)), first_row.eq(1)]
            m.d.sync += [offset.eq(0), row_offset.eq(0)]
        return m

    def _full(self, m: Module, take: Value) -> Signal:
        """Count the slots that are free, from all of them on; return whether none is, which is a register."""
        free, none = Signal.like(self.settings.pass_slots, name="free", reset_less=True), Signal(name="none_free")
        with m.If(self.start):
            m.d.sync += connect(free, self.settings.pass_slots)
        with m.Elif(take & ~self.release):
            m.d.sync += [free.eq(free - 1), none.eq(free == 1)]
        with m.Elif(self.release & ~take):
            m.d.sync += [free.eq(free + 1), none.eq(0)]
        return none

    def _ends(self, m: Module) -> tuple[dict[str, Signal], Signal]:
        """Count pieces, patches, rows of pixels and of patches; return what ends with the piece, and the last row."""
        counts = {"patch": "row_pieces", "row": "strips", "strip": "patch_rows", "image": "strips"}
        ends = {name: Signal(name=f"{name}_end") for name in counts}
        step, last_row = self.fire, Signal()
        for name, setting in counts.items():
            count = Countdown(_BITS[setting])
            m.submodules[f"{name}_count"] = count
            m.d.comb += [
                *(connect(count.start, self.start), connect(count.count, self.settings[setting])),
                *(connect(count.step, step), ends[name].eq(step & count.last)),
            ]
            if name == "strip":
                m.d.comb += last_row.eq(count.last)
            step = ends[name]
        return ends, last_row


class RingSlots(Component):
    """A place in a ring of slots, which goes on and back.

    Timing: `base` follows by one cycle.

    Numerics: none.

    Parameters
    ----------
    word_bits : int
        Width of an address.

    Members
    -------
    words, slots : In
        Words of a slot, slots of the ring.
    step, back, keep : In(1)
        Go to the next slot; go back to the one that was kept; keep the one that is next, and go there, not back.
    base : Out
        First word of the slot.
    """

    def __init__(self, word_bits: int):
        super().__init__(
            {
                **{name: In(1) for name in ("step", "back", "keep")},
                "words": In(_BITS["patch_words"]),
                "slots": In(_BITS["pass_slots"]),
                "base": Out(word_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Add up words and count slots."""
        m = Module()
        number, base = Signal.like(self.slots), Signal.like(self.base)
        kept_number, kept_base = Signal.like(number), Signal.like(base)
        next_number, next_base = Signal.like(number), Signal.like(base)
        m.d.comb += [connect(next_number, number), connect(next_base, base), connect(self.base, base)]
        with m.If(self.step):
            m.d.comb += [next_number.eq(number + 1), next_base.eq(base + self.words)]
            with m.If(number + 1 == self.slots):
                m.d.comb += [next_number.eq(0), next_base.eq(0)]
        m.d.sync += [connect(number, next_number), connect(base, next_base)]
        with m.If(self.keep):
            m.d.sync += [connect(kept_number, next_number), connect(kept_base, next_base)]
        with m.Elif(self.back):
            m.d.sync += [connect(number, kept_number), connect(base, kept_base)]
        return m
