"""HeadNorm of q and k: LayerNorm over the channels of one head, followed by sign, in two pipelines."""

from __future__ import annotations

from itertools import pairwise

from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.flow.head_norm import HeadNormUnit
from ..parts.arithmetic import delay_flag, delayed
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.memory import SlotMemory
from ..parts.norm_root import NormRoot
from ..parts.stream import LOAD_BUS
from .head_reader import HeadReader, lanes_by_row
from .jobs import following, scaled
from .norm_lanes import row_bits, row_sums
from .part_memory import PartMemory


def head_bits(unit: HeadNormUnit) -> data.StructLayout:
    """Bits of HeadNorm: the job's tag, row group, its rows that the tile has, word of the row, and the lanes."""
    fields = {
        "en": 1,
        "tag": unit.tag_bits,
        "group": unit.most_groups.bit_length(),
        "here": unit.side,
        "word": unit.most_words.bit_length(),
        "data": unit.lanes,
    }
    return data.StructLayout(fields)


class HeadNorm(Component):
    """``bit[c] = ((N*x[c] - S1) << Ft) >= Theta[c] * R`` with x = Scale * acc, of one tile and head a job.

    One pipeline takes the statistics of a job, a root a cycle; the other one compares, when the first row's S1 and R
    are there. Both read the queue of sums.

    Timing: `HeadNormUnit.times`. A job is given with the first word of its sums, or before.

    Numerics: exact; lanes beyond the channels, and rows that the tile has not, give 0.

    Parameters
    ----------
    unit : HeadNormUnit

    Members
    -------
    put, job : In
        A job, when `put`.
    sums_en, sums_last, sums_end, sums : In
        Sums of `drain_rows` rows, row after row, of one column group after the other; whether they are the last ones of
        their column group, and of their job.
    bits : Out(head_bits)
        Bits, when its `en`.
    sums_read : Out(1)
        Pulse: the slot of a job's sums is free.
    done : Out(1)
        Pulse, beside the last bits of a job.
    stats : Out
        S1 and R of a row, when its `en`: the row group's word in the memory of rows, the row in it.
    load, bank : In
        Load bus, and the bank in use.
    """

    def __init__(self, unit: HeadNormUnit):
        self.unit, self.flow, self.widths = unit, unit.flow, unit.widths
        memories = unit.memories
        super().__init__(
            {
                "put": In(1),
                "job": In(data.StructLayout(unit.job)),
                "sums_en": In(1),
                "sums_last": In(1),
                "sums_end": In(1),
                "sums": In(memories["head_queue"].width),
                "bits": Out(head_bits(unit)),
                "sums_read": Out(1),
                "done": Out(1),
                "stats": Out(self._stats_layout()),
                "load": In(LOAD_BUS),
                "bank": In(1),
            }
        )

    def _stats_layout(self) -> data.StructLayout:
        """Return the write of S1 and R of a row."""
        unit, widths = self.unit, self.widths
        return data.StructLayout(
            {
                "en": 1,
                "addr": unit.address_bits(unit.memories["head_rows"].depth),
                "row": unit.address_bits(unit.side),
                "s1": signed(widths.s1_bits),
                "r": widths.r_bits,
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the queue of sums, its two readers, and what each of them makes of x."""
        m = Module()
        loaded = self.unit.load_memories
        m.submodules.statistics = first = HeadReader(self.unit, loaded["head_norm_scales"])
        m.submodules.apply = second = HeadReader(self.unit, loaded["head_norm"])
        self._queue(m, [first, second])
        arrived = Signal()
        m.d.sync += arrived.eq(self.sums_en & self.sums_end)
        u = self.unit
        rooted = first.active & first.last & (first.group == 0)
        m.d.comb += [
            *(connect(first.put, self.put), connect(first.put_job.as_value(), self.job.as_value())),
            first.ready.eq(arrived),
            *(connect(second.put, first.take), connect(second.put_job.as_value(), first.job.as_value())),
            second.ready.eq(delay_flag(m, rooted, u.root_stage + u.pace - 2 - u.stats_read_stage, "rooted_line")),
        ]
        self._statistics(m, first)
        self._apply(m, second, self._stats(m, second))
        return m

    def _queue(self, m: Module, readers: list[HeadReader]) -> None:
        """The queue of sums: a slot's column groups one after the other, as far apart as a full tile's are."""
        u = self.unit
        queue, words = u.memories["head_queue"], self.flow.drain_cycles
        m.submodules.queue = store = PartMemory(queue.width // u.drain_parts, u.drain_parts, queue.depth, readers=2)
        for number, reader in enumerate(readers):
            m.d.comb += [
                connect(store.r_addr[number], reader.r_addr),
                connect(store.r_part[number], reader.r_part),
                connect(reader.part, store.r_data[number]),
                connect(reader.load, self.load),
                connect(reader.bank, self.bank),
            ]
        group = Signal(range(queue.depth + words), init=words)  # where the next column group begins
        slot = Signal(range(queue.depth), init=u.slot_words % queue.depth)  # and the next job
        m.d.comb += [connect(store.w_en, self.sums_en), connect(store.w_data, self.sums)]
        with m.If(self.sums_en):
            m.d.sync += store.w_addr.eq(store.w_addr + 1)
            with m.If(self.sums_last):
                m.d.sync += [connect_address(store.w_addr, group), group.eq(group + words)]
            with m.If(self.sums_end):
                m.d.sync += [
                    *(connect(store.w_addr, slot), group.eq(slot + words)),
                    slot.eq(following(slot, queue.depth, u.slot_words)),
                ]

    def _summed(self, m: Module, reader: HeadReader) -> tuple[list[tuple[Signal, Signal]], Value, Value]:
        """S1 and S2 of the rows of a row group; whether they are complete; the row group's place, and its job."""
        u, at = self.unit, self.unit.sums_stage
        first = delay_flag(m, reader.word == 0, at - 1, "first_line")
        sums = row_sums(m, self.widths, lanes_by_row(u, reader.x), first)
        summed = delay_flag(m, reader.active & reader.last, at, "summed_line")
        place = scaled(reader.slot, self.flow.head_slots, u.most_groups) + reader.group
        job = reader.held
        found = delayed(m, Cat(place[: len(self.stats.addr)], job.channels, job.eps, job.mean), at, "job_delay")
        return sums, summed, found

    def _statistics(self, m: Module, reader: HeadReader) -> None:
        """Sum up the words of a row group; its rows follow each other into the root."""
        u, widths, at = self.unit, self.widths, self.unit.sums_stage
        sums, summed, found = self._summed(m, reader)
        here = delayed(m, reader.here, at, "here_delay")

        beside = Signal.like(found, reset_less=True)
        row = Signal.like(self.stats.row, reset_less=True)
        valid = Signal(u.side)
        waiting = [
            Signal(len(Cat(*pair)), name=f"waiting_{number}", reset_less=True) for number, pair in enumerate(sums)
        ]
        m.d.sync += [row.eq(row + 1), valid.eq(valid >> 1)]
        m.d.sync += [earlier.eq(later) for earlier, later in pairwise(waiting)]
        with m.If(summed):
            m.d.sync += [row.eq(0), connect(valid, here), beside.eq(found)]
            m.d.sync += [register.eq(Cat(*pair)) for register, pair in zip(waiting, sums, strict=True)]
        m.submodules.root = root = NormRoot(widths, len(self.stats.addr) + len(row))
        addr_end = len(self.stats.addr)
        m.d.comb += [
            connect(root.sums_valid, valid[0]),
            root.row.eq(Cat(beside[:addr_end], row)),
            Cat(root.channels, root.eps, root.mean).eq(beside[addr_end:]),
            Cat(root.s1, root.s2).eq(waiting[0]),
            *(connect(self.stats.en, root.stat_en), Cat(self.stats.addr, self.stats.row).eq(root.stat_row)),
            *(connect(self.stats.s1, root.stat_s1), connect(self.stats.r, root.stat_r)),
        ]

    def _stats(self, m: Module, reader: HeadReader) -> list[Value]:
        """S1 and R of each row of the row group that is compared, a cycle after x."""
        u = self.unit
        memory = u.memories["head_rows"]
        store = SlotMemory(slots=u.side, slot_bits=memory.width // u.side, depth=memory.depth)
        m.submodules.rows = store
        place = Signal(len(store.r_addr), reset_less=True)
        m.d.sync += place.eq(scaled(reader.slot, self.flow.head_slots, u.most_groups) + reader.group)
        m.d.comb += [
            connect(store.w_en, self.stats.en),
            connect(store.w_addr, self.stats.addr),
            connect(store.w_slot, self.stats.row),
            store.w_data.eq(Cat(self.stats.s1, self.stats.r)),
            connect(store.r_addr, delayed(m, place, u.stats_read_stage - 1, "place_rows_delay")),
        ]
        return [store.r_data.word_select(row, store.slot_bits) for row in range(u.side)]

    def _apply(self, m: Module, reader: HeadReader, stats: list[Value]) -> None:
        """Compare, and say where the bits belong."""
        u, widths = self.unit, self.widths
        thetas = delayed(m, reader.words[u.columns * widths.scale_bits :], u.x_stage, "theta_delay")
        theta = [thetas.word_select(column, widths.theta_bits).as_signed() for column in range(u.columns)]
        channels = delayed(m, reader.held.channels, u.x_stage, "channels_delay")
        bits = row_bits(m, widths, lanes_by_row(u, reader.x), channels, theta, stats)
        columns = delayed(m, reader.columns, u.compare_stage - 1, "column_mask")
        rows = delayed(m, reader.here, u.compare_stage, "row_mask")
        mask = Cat(columns & rows[row].replicate(u.columns) for row in range(u.side))
        word, here = Signal(u.lanes, reset_less=True), Signal(u.side, reset_less=True)
        m.d.sync += [word.eq(bits & mask), connect(here, rows), self.sums_read.eq(reader.end)]
        place = delayed(m, Cat(reader.held.tag, reader.group, reader.word), u.bits_stage, "place_delay")
        m.d.comb += [
            self.bits.en.eq(delay_flag(m, reader.active, u.bits_stage, "bits_line")),
            Cat(self.bits.tag, self.bits.group, self.bits.word).eq(place),
            connect(self.bits.here, here),
            connect(self.bits.data, word),
            self.done.eq(delay_flag(m, reader.final, u.bits_stage, "done_line")),
        ]
