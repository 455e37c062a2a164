"""What goes into the ring of patches: where each piece of the stream belongs, and what the ring's counters say of it.

A piece's place is worked out from its number in the stream alone: row of patches, row of pixels, patch, piece of the
patch's row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, signed
from flow_edge import flow_of, tiny
from proving import assume

from bivit.hw.edge.piece_place import RING_SETTINGS
from bivit.sim.flow.edge import EdgeUnit
from bivit.sim.flow.edge_settings import edge_settings


@dataclass(frozen=True)
class Shape:
    """Image, patch and channels of a network; patches of a pass, bytes of a beat, slots of the ring."""

    side: int
    patch: int
    channels: int
    patches: int
    beat: int
    slots: int

    @property
    def settings(self) -> dict[str, int]:
        """Settings of the ring."""
        config, flow = self._engine()
        values = edge_settings(config, flow, 1) | {"pass_slots": self.slots}
        return {name: values[name] for name in RING_SETTINGS.members}

    @property
    def words(self) -> int:
        """Words of a bank that are used."""
        return self.slots * self.settings["patch_words"]

    @property
    def unit(self) -> EdgeUnit:
        """The edge of the engine."""
        return EdgeUnit(self._engine()[1])

    def _engine(self) -> tuple[Any, Any]:
        config = tiny(img_size=self.side, patch_size=self.patch, in_chans=self.channels)
        return config, flow_of(config, dense_patches=self.patches, pixel_bytes=self.beat)


#: Claims something, or takes it as known.
Says = Callable[[Module, str, Value], None]


def known(m: Module, name: str, condition: Value) -> None:
    """Assume what another proof of the same harness claims."""
    assume(m, condition)


class Stream:
    """The place of the next piece, and how the passes of its image lie to the pass that is read."""

    def __init__(self, m: Module, h: Any, shape: Shape):
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
        self._count(m, h)

    def _count(self, m: Module, h: Any) -> None:
        """Go on, a piece at a time: pieces of a patch's row, patches, rows of pixels, rows of patches."""
        ends, goes = [], h.fire
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


def claim_counts(m: Module, h: Any, stream: Stream, loaded: Value, says: Says) -> None:
    """The ring's counters stand where the stream is."""
    values = stream.values
    positions = {"patch": ("row_pieces", stream.piece), "row": ("strips", stream.patch)}
    positions |= {"strip": ("patch_rows", stream.row), "image": ("strips", stream.strip)}
    for name, (setting, position) in positions.items():
        most = values[setting]
        last, left, top, single = (getattr(h, f"{name}_{part}") for part in ("last", "left", "top", "single"))
        says(m, f"{name}_within", position < most)
        with m.If(loaded):
            says(m, f"{name}_count", (last == (position == most - 1)) & (left == most - 1 - position))
            says(m, f"{name}_top", (top == most - 1) & (single == (most == 1)))
    says(m, "place", (h.bank == stream.bank) & (h.offset == stream.offset))
    says(m, "first_row", h.first_row == (stream.row == 0))
    says(m, "row_offset", h.row_offset == stream.row * values["row_pieces"] * values["piece_bytes"])


def claim_slots(m: Module, h: Any, stream: Stream, loaded: Value, says: Says) -> None:
    """So do its slots, and those that are free and complete are counted."""
    words = stream.values["patch_words"]
    first = stream.strip * stream.grid
    says(m, "first_bank", h.first_bank == first % stream.patches)
    says(m, "read_slot", (stream.read_slot < stream.slots) & (h.read_number == stream.read_slot))
    says(m, "read_base", h.read_base == stream.read_slot * words)
    says(m, "in_ring", (stream.ahead >= 0) & (stream.ahead <= stream.slots))
    slot, kept = stream.slot(stream.ahead), stream.slot(stream.lead + first // stream.patches)
    says(m, "slot", (h.number == slot) & (h.base == slot * words))
    # It goes back behind each row of pixels but the last one.
    says(m, "kept_slot", stream.last_row | ((h.kept_number == kept) & (h.kept_base == kept * words)))
    says(m, "opened", (stream.opened >= 0) & (stream.opened <= stream.slots))
    says(m, "opens", h.opens == stream.opens)
    says(m, "free", ~loaded | (h.free == stream.slots - stream.opened))
    says(m, "none_free", h.none_free == (loaded & (stream.opened == stream.slots)))
    says(m, "complete", (h.complete == stream.complete) & (h.some == (stream.complete != 0)))


class Beat:
    """The beat that is cut into pieces, as it came, and how many of its bytes are through."""

    def __init__(self, m: Module, h: Any, shape: Shape, room: Value, says: Says):
        fire, size = h.fire, shape.settings["piece_bytes"]
        self.bytes, self.through, self.some = Signal(8 * shape.beat), Signal(range(shape.beat + 1)), Signal()
        with m.If(fire):
            m.d.sync += [self.through.eq(self.through + size), self.some.eq(self.through + size != shape.beat)]
        with m.If(h.beat_en):
            m.d.sync += [self.bytes.eq(h.beat), self.through.eq(0), self.some.eq(1)]
        with m.If(h.start):
            m.d.sync += self.some.eq(0)
        says(m, "some", h.some_held == self.some)
        says(m, "room", ~room | ~self.some | (fire & (self.through + size == shape.beat)))
        with m.If(self.some):
            says(m, "pieces", (self.through % size == 0) & (self.through < shape.beat) & (h.at == self.through + size))
            says(m, "held", h.held == self.bytes >> 8 * self.through)


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
        "free": (12, f"{place}.free"),
        **{name: (1, f"{place}.{name}") for name in ("opens", "none_free")},
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
