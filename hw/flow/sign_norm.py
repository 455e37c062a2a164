"""SignNorm of the staged x: the comparison, tile after tile, into the rings of the two norms."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.flow.sign_norm import SignNormUnit
from ..parts.arithmetic import delay_flag, delayed
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.memory import LoadableMemory, SlotMemory, WordMemory
from ..parts.stream import LOAD_BUS, write_port
from .group_walk import GroupWalk
from .jobs import Credits, JobQueue, following, scaled
from .norm_lanes import channel_mask, row_bits
from .row_statistics import stats_write
from .staged import staged_base


def sign_bits(unit: SignNormUnit) -> data.StructLayout:
    """Bits of SignNorm: which ring and slot, row group, word of the row, and the lanes."""
    fields = {
        "en": 1,
        "ring": 1,
        "slot": unit.address_bits(unit.flow.norm_slots),
        "group": unit.most_groups.bit_length(),
        "word": unit.words(unit.flow.norm_dim).bit_length(),
        "data": unit.lanes,
    }
    return data.StructLayout(fields)


class SignNorm(Component):
    """``bit[c] = ((N*x[c] - S1) << Ft) >= Theta[c] * R`` of a tile of staged x: row group after row group.

    Timing: `SignNormUnit.times`. A tile is taken when its first rows' S1 and R are there, the tile before is through,
    and its ring has a free slot; a row group takes no fewer cycles than its roots.

    Numerics: exact; lanes beyond the channels, and rows that the tile has not, give 0.

    Parameters
    ----------
    unit : SignNormUnit

    Members
    -------
    staged : In(write_port)
        Write of the staged x.
    stats : In
        Write of S1 and R of a row.
    tile_put, tile, tile_ready : In
        A tile; that its first rows' S1 and R are about to be there.
    norm_free : In(2)
        Pulse: a slot of norm1, of norm2 is free.
    bits : Out(sign_bits)
        Bits, when its `en`.
    staging_free, staging_slot : Out
        Pulse: which slot of the staged x has been read.
    norm_full : Out(2)
        Pulse: a tile of norm1, of norm2 is complete.
    load, bank : In
        Load bus, and the bank in use.
    """

    def __init__(self, unit: SignNormUnit):
        self.unit, self.widths = unit, unit.widths
        self.fields = data.StructLayout(unit.tile)
        staging = unit.memories["staging"]
        self.most_words = unit.words(unit.flow.norm_dim)
        super().__init__(
            {
                "staged": In(write_port(unit.address_bits(staging.depth), staging.width)),
                "stats": In(stats_write(unit.source)),
                "tile_put": In(1),
                "tile": In(self.fields),
                "tile_ready": In(1),
                "norm_free": In(2),
                "bits": Out(sign_bits(unit)),
                "staging_free": Out(1),
                "staging_slot": Out(unit.source.slot_bits),
                "norm_full": Out(2),
                "load": In(LOAD_BUS),
                "bank": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Take a tile, walk (stage 0), memories (1), word (2), product, comparison."""
        m = Module()
        u = self.unit
        m.submodules.walk = walk = GroupWalk(u.flow.engine.rows, u.side, self.most_words, u.least_pace)
        head, take, slot = self._take(m, walk)
        held = Signal(self.fields, reset_less=True)
        with m.If(take):
            m.d.sync += connect(held.as_value(), head.as_value())
        x = self._x(m, walk, held, self._offset(m, walk, head, take))
        theta = self._theta(m, walk, held)
        stats = self._stats(m, walk, held)
        channels = delayed(m, held.channels, u.x_stage, "channels_delay")
        bits = row_bits(m, self.widths, x, channels, theta, stats)
        place = delayed(m, Cat(held.ring, slot, walk.group, walk.word), u.bits_stage, "place_delay")
        columns = channel_mask(m, walk.word, held.channels, u.columns, "mask")
        columns = delayed(m, columns, u.compare_stage - 1, "column_mask")
        rows = delayed(m, walk.here, u.compare_stage, "row_mask")
        mask = Cat(columns & rows[row].replicate(u.columns) for row in range(u.side))
        word = Signal(u.lanes, reset_less=True)
        m.d.sync += word.eq(bits & mask)
        full = delay_flag(m, walk.final, u.bits_stage, "full_line")
        m.d.sync += self.staging_free.eq(walk.end)
        m.d.sync += connect(self.staging_slot, held.slot)
        m.d.comb += [
            self.bits.en.eq(delay_flag(m, walk.active, u.bits_stage, "bits_line")),
            Cat(self.bits.ring, self.bits.slot, self.bits.group, self.bits.word).eq(place),
            connect(self.bits.data, word),
            self.norm_full.eq(Cat(full & ~self.bits.ring, full & self.bits.ring)),
        ]
        return m

    def _take(self, m: Module, walk: GroupWalk) -> tuple[data.View, Signal, Signal]:
        """Queue tiles and count credits; return the first tile, whether it begins next, and its slot of its ring."""
        u, slots = self.unit, self.unit.flow.norm_slots
        m.submodules.tiles = tiles = JobQueue(u.tile, u.flow.staged_tiles)
        m.submodules.rooted = rooted = Credits(u.flow.staged_tiles)
        take, free = Signal(), Signal(2)
        slot = Signal(range(slots), reset_less=True)
        m.d.comb += [
            *(connect(tiles.put, self.tile_put), connect(tiles.put_job.as_value(), self.tile.as_value())),
            rooted.give.eq(self.tile_ready),
            take.eq(tiles.valid & rooted.some & walk.idle & free.bit_select(tiles.job.ring, 1)),
            *(tiles.take.eq(take), rooted.take.eq(take), walk.start.eq(take)),
            *(connect(walk.rows, tiles.job.rows), walk.words.eq(self._words(tiles.job.channels))),
        ]
        for ring in range(2):
            m.submodules[f"ring{ring}"] = credits = Credits(slots, slots)
            mine = Signal(name=f"take_{ring}")
            next_slot = Signal(range(slots), name=f"next_slot_{ring}")
            m.d.comb += [
                mine.eq(take & (tiles.job.ring == ring)),
                *(credits.give.eq(self.norm_free[ring]), credits.take.eq(mine), free[ring].eq(credits.some)),
            ]
            with m.If(mine):
                m.d.sync += [slot.eq(next_slot), next_slot.eq(following(next_slot, slots))]
        return tiles.job, take, slot

    def _words(self, channels: Value) -> Value:
        """How many words hold so many channels."""
        columns = self.unit.columns
        return (channels + (columns - 1)) >> (columns.bit_length() - 1)

    def _offset(self, m: Module, walk: GroupWalk, head: data.View, take: Value) -> Value:
        """Stage 0: the word within the tile; row groups are as far apart as ResidualAdd stages them."""
        source, columns = self.unit.source, self.unit.flow.engine.columns
        offset = Signal(range(source.tile_words), reset_less=True)
        row = Signal.like(offset, reset_less=True)
        stride = Signal(range(source.row_words + 1), reset_less=True)
        m.d.sync += offset.eq(offset + 1)
        with m.If(walk.group_end):
            m.d.sync += [offset.eq(row + stride), row.eq(row + stride)]
        with m.If(take):
            groups = (head.channels + (columns - 1)) >> (columns.bit_length() - 1)
            m.d.sync += [offset.eq(0), row.eq(0), stride.eq(groups << (source.parts - 1).bit_length())]
        return offset

    def _x(self, m: Module, walk: GroupWalk, held: data.View, offset: Value) -> list[list[Value]]:
        """The staged x, registered in `x_stage`: rows of columns."""
        u = self.unit
        m.submodules.staging = staging = WordMemory.of(u.memories["staging"])
        word = Signal(len(staging.w_data), reset_less=True)
        base = staged_base(u.flow, held.slot, held.channels)
        m.d.comb += [
            connect(staging.w_en, self.staged.en),
            connect(staging.w_addr, self.staged.addr),
            connect(staging.w_data, self.staged.data),
            staging.r_addr[0].eq(base + offset),
        ]
        m.d.sync += connect(word, staging.r_data[0])
        lanes = [word.word_select(lane, self.widths.value_bits).as_signed() for lane in range(u.lanes)]
        return [lanes[row * u.columns : (row + 1) * u.columns] for row in range(u.side)]

    def _theta(self, m: Module, walk: GroupWalk, held: data.View) -> list[Value]:
        """Theta of each column, a cycle after x."""
        u, width = self.unit, self.widths.theta_bits
        m.submodules.parameters = params = LoadableMemory(u.load_memories["sign_norm"])
        m.d.comb += [
            connect(params.load, self.load),
            connect(params.bank, self.bank),
            connect_address(params.r_addr, held.theta_addr + walk.word),
        ]
        words = delayed(m, params.r_data, u.x_stage, "theta_delay")
        return [words.word_select(column, width).as_signed() for column in range(u.columns)]

    def _stats(self, m: Module, walk: GroupWalk, held: data.View) -> list[Value]:
        """S1 and R of each row of the row group, a cycle after x."""
        u = self.unit
        memory = u.memories["norm_rows"]
        store = SlotMemory(slots=u.side, slot_bits=memory.width // u.side, depth=memory.depth)
        m.submodules.rows = store
        place = Signal(len(store.r_addr), reset_less=True)
        m.d.sync += place.eq(scaled(held.slot, u.flow.staged_tiles, u.most_groups) + walk.group)
        m.d.comb += [
            connect(store.w_en, self.stats.en),
            connect(store.w_addr, self.stats.addr),
            connect(store.w_slot, self.stats.row),
            store.w_data.eq(Cat(self.stats.s1, self.stats.r)),
            connect(store.r_addr, delayed(m, place, u.stats_read_stage - 1, "place_rows_delay")),
        ]
        return [store.r_data.word_select(row, store.slot_bits) for row in range(u.side)]
