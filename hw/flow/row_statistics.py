"""S1 and S2 of the rows of tiles that come in column groups, and R of each row when its tile is complete."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.flow.residual_add import ResidualAddUnit
from ...sim.flow.sign_norm import SignNormUnit
from ..parts.arithmetic import delay_flag, delayed
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.memory import WordMemory
from ..parts.norm_root import NormRoot
from .group_walk import GroupWalk
from .jobs import Credits, JobQueue, scaled
from .norm_lanes import row_sums


def stats_write(unit: ResidualAddUnit) -> data.StructLayout:
    """Write of S1 and R of a row: the word of the memory of rows, the row in it."""
    widths = unit.widths
    return data.StructLayout(
        {
            "en": 1,
            "addr": unit.address_bits(unit.memories["residual_rows"].depth),
            "row": unit.address_bits(unit.side),
            "s1": signed(widths.s1_bits),
            "r": widths.r_bits,
        }
    )


class RowStatistics(Component):
    """Adds a word's lanes to the sums of its rows; of complete tiles it takes the roots, row after row.

    The sums of each staged tile lie in a memory, where a row group's are read, added to, and written in the third
    cycle; the roots read them there, so tiles may wait for their roots.

    Timing: stages are those of `ResidualAddUnit`; x comes in the stage after `write_stage`, the rest in stage 0.

    Numerics: exact; widths are those of `NormWidths`.

    Parameters
    ----------
    unit : ResidualAddUnit

    Members
    -------
    en, row_first, row_last, begins, ends, slot, group : In
        A word, when `en`; whether it is a row's first or last of the job, and the job its tile's; slot and row group.
    x : In
        The word's lanes, 0 where there is no channel.
    put, put_tile : In
        A tile whose last job has begun.
    stats : Out
        S1 and R of a row, when its `en`.
    tile_put, tile, tile_ready : Out
        The tile, for SignNorm, and when its first row group's S1 and R are there for a read that starts now.
    """

    def __init__(self, unit: ResidualAddUnit):
        self.unit, self.widths = unit, unit.widths
        norm = SignNormUnit(unit.flow)
        self.ready_stage = unit.root_stage + unit.side - 1 - 1 - norm.stats_read_stage
        self.fields = data.StructLayout({**norm.tile, "eps": unit.widths.eps_bits, "mean": 1})
        self.tile_layout = data.StructLayout(norm.tile)
        super().__init__(
            {
                "en": In(1),
                "row_first": In(1),
                "row_last": In(1),
                "begins": In(1),
                "ends": In(1),
                "slot": In(unit.slot_bits),
                "group": In(range(unit.most_groups + 1)),
                "x": In(data.ArrayLayout(signed(unit.widths.x_bits), unit.lanes)),
                "put": In(1),
                "put_tile": In(self.fields),
                "stats": Out(stats_write(unit)),
                "tile_put": Out(1),
                "tile": Out(self.tile_layout),
                "tile_ready": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Sum up in a memory, and walk over complete tiles."""
        m = Module()
        m.submodules.rows = rows = WordMemory.of(self.unit.memories["residual_rows"])
        self._sum(m, rows)
        self._roots(m, rows)
        return m

    def _sum(self, m: Module, rows: WordMemory) -> None:
        """Sums of a row group's words in `sums_stage`; with those of its groups before they are written there."""
        u, at = self.unit, self.unit.sums_stage
        x = [[self.x[row * u.columns + column] for column in range(u.columns)] for row in range(u.side)]
        sums = row_sums(m, self.widths, x, delay_flag(m, self.row_first, at - 1, "row_first_line"))
        place = Signal(len(rows.w_addr), reset_less=True)
        m.d.sync += place.eq(scaled(self.slot, u.flow.staged_tiles, u.most_groups) + self.group)
        read = delayed(m, place, at - 3, "place_delay")
        before = Signal(len(rows.w_data), reset_less=True)
        m.d.sync += connect(before, rows.r_data[0])
        with m.If(delay_flag(m, self.begins, at - 1, "begins_line")):
            m.d.sync += before.eq(0)
        m.d.comb += [
            connect(rows.r_addr[0], read),
            connect(rows.w_addr, delayed(m, read, 2, "write_delay")),
            rows.w_en.eq(delay_flag(m, self.en & self.row_last, at, "write_en")),
            rows.w_data.eq(Cat(self._added(before, row, s1, s2) for row, (s1, s2) in enumerate(sums))),
        ]

    def _added(self, before: Value, row: int, s1: Value, s2: Value) -> Value:
        """A row's S1 and S2 with those of the groups before."""
        bits = self.widths.s1_bits
        old = before.word_select(row, bits + self.widths.s2_bits)
        return Cat((old[:bits].as_signed() + s1)[:bits], (old[bits:] + s2)[: self.widths.s2_bits])

    def _roots(self, m: Module, rows: WordMemory) -> None:
        """Walk over a tile whose first row group is there: the rows of each, one a cycle, with those the tile has."""
        u, widths = self.unit, self.widths
        m.submodules.tiles = tiles = JobQueue(dict(self.fields.members), u.flow.staged_tiles)
        m.submodules.summed = summed = Credits(u.flow.staged_tiles)
        m.submodules.walk = walk = GroupWalk(u.flow.engine.rows, u.side, u.side, u.root_pace)
        # In the cycle before the sums are written: the read is two cycles later.
        complete = self.en & self.ends & self.row_last & (self.group == 0)
        take = Signal()
        held = Signal(self.fields, reset_less=True)
        m.d.comb += [
            connect(tiles.put, self.put),
            connect(tiles.put_job.as_value(), self.put_tile.as_value()),
            summed.give.eq(delay_flag(m, complete, u.sums_stage - 1, "complete_line")),
            take.eq(tiles.valid & summed.some & walk.idle),
            *(tiles.take.eq(take), summed.take.eq(take), walk.start.eq(take)),
            *(connect(walk.rows, tiles.job.rows), walk.words.eq(u.side)),
            self.tile_put.eq(take),
            *(connect(self.tile[name], tiles.job[name]) for name in self.tile_layout.members),
        ]
        with m.If(take):
            m.d.sync += connect(held.as_value(), tiles.job.as_value())

        addr = Signal(len(rows.w_addr))
        row = walk.word[: len(self.stats.row)]
        m.d.comb += [
            addr.eq(scaled(held.slot, u.flow.staged_tiles, u.most_groups) + walk.group),
            connect(rows.r_addr[1], addr),
        ]
        chosen = Signal.like(row, reset_less=True)
        sums = Signal(widths.s1_bits + widths.s2_bits, reset_less=True)
        m.d.sync += [chosen.eq(row), sums.eq(rows.r_data[1].word_select(chosen, len(sums)))]
        m.submodules.root = root = NormRoot(widths, len(addr) + len(row))
        valid = walk.active & walk.here.bit_select(row, 1)
        beside = delayed(m, Cat(addr, row, held.channels, held.eps, held.mean), 2, "beside_delay")
        m.d.comb += [
            root.sums_valid.eq(delay_flag(m, valid, 2, "valid_line")),
            Cat(root.row, root.channels, root.eps, root.mean).eq(beside),
            *(root.s1.eq(sums[: widths.s1_bits]), root.s2.eq(sums[widths.s1_bits :])),
            *(connect(self.stats.en, root.stat_en), Cat(self.stats.addr, self.stats.row).eq(root.stat_row)),
            *(connect(self.stats.s1, root.stat_s1), connect(self.stats.r, root.stat_r)),
        ]
        first = walk.active & (walk.group == 0) & (walk.word == 0)
        m.d.comb += self.tile_ready.eq(delay_flag(m, first, self.ready_stage, "ready_line"))
