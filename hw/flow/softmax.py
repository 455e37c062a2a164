"""The softmax of the scores compared with a threshold, without a division: attention bits (docs/semantics.md 8)."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.engine.memories import TABLE_BITS
from ...sim.engine.words import WORD
from ...sim.flow.softmax import SoftmaxUnit
from ...sim.network.formats import EXP_BITS
from ..parts.arithmetic import Tree, delay_flag, delayed
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.memory import WordMemory, registered_read, unmet
from ..parts.row_walk import lane_mask
from ..parts.stream import write_port
from .exp_search import ExpSearch
from .exp_tables import ExpTables, table_addr
from .jobs import Credits
from .score_bias import barred, bias_ports
from .score_queue import ScoreQueue
from .score_walk import ScoreWalk


class Softmax(Component):
    """Attention bits of tiles and heads: ``(Exp[m - p] << 16) >= Tau * Z``, m a row's largest score, Z its sum of Exp.

    Three jobs at a time, in order: one comes in, and m with it (`ScoreQueue`); one is read for Z, and from that comes
    the *count* of distances m - p whose Exp is large enough (`ExpSearch`); one is read again for its bits, which
    are 1 where p is above m - count. Keys beyond the last one add nothing and give 0.

    In an engine with windows scores get their relative position bias first, and pairs that may not attend add nothing
    and give 0; there mode `score` takes the same passes, but what a score is compared with is Theta of its table.

    Timing: `SoftmaxUnit.times`, to the cycle. A pass over a job starts when what it needs is there and the one before
    it is through; that for bits needs a slot of the attention as well, and holds it until `attention_freed`.

    Numerics: exact.

    Parameters
    ----------
    unit : SoftmaxUnit

    Members
    -------
    w_en, w_data, w_rows, w_keys, w_set, w_head : In
        Words of scores, as of `ScoreQueue`; a job takes a slot, from its first word on, until `score_free`.
    w_bias, w_mask, w_kind, w_step, load, bank : In
        With windows, as of `ScoreQueue`.
    scored : In(1)
        With windows, in all cycles: mode `score`, in which word 0 of a table is Theta.
    table : In(write_port(...))
        A word of a table, see `exp_tables.table_addr`, of a set that no job uses: the last one that did
        has had its `attention_full`.
    score_free : Out(1)
        The oldest slot of scores is free.
    attention_freed : In(1)
        The oldest slot of the attention is free.
    bits_en, bits_slot, bits_row, bits_chunk, bits : Out
        Bits of the rows side by side in one chunk: slot of the attention, row group, chunk of the row, and the bits,
        those of a row together. What a row has beyond its last chunk is 0, and not written.
    attention_full : Out(1)
        With the last of a job's bits.
    m_en, m_value, z_en, z_value : Out
        Largest scores of a word's rows; Z of a row, in order.
    """

    def __init__(self, unit: SoftmaxUnit):
        self.unit, self.score_bits = unit, unit.flow.engine.score_bits
        self.queue, self.tables, self.search = ScoreQueue(unit), ExpTables(unit), ExpSearch(unit)
        self.sums, self.compare = ScoreWalk(unit), ScoreWalk(unit)
        ports = self.queue.signature.members
        self.scores = ("w_en", "w_data", "w_rows", "w_keys", "w_set", "w_head", *bias_ports(unit))
        super().__init__(
            {
                **{name: ports[name] for name in self.scores},
                **({"scored": In(1)} if unit.flow.windows else {}),
                "table": In(write_port(table_addr(unit), TABLE_BITS)),
                "score_free": Out(1),
                "attention_freed": In(1),
                "bits_en": Out(1),
                "bits_slot": Out((unit.flow.attention_slots - 1).bit_length()),
                "bits_row": Out((unit.row_groups - 1).bit_length()),
                "bits_chunk": Out(unit.job_bits["chunks"]),
                "bits": Out(unit.lanes),
                "attention_full": Out(1),
                **{name: ports[name] for name in ("m_en", "m_value")},
                "z_en": Out(1),
                "z_value": Out(unit.z_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Wire the queue, both passes, and the search between them."""
        m = Module()
        m.submodules.queue, m.submodules.search = self.queue, self.search
        for name in self.scores:
            m.d.comb += connect(getattr(self.queue, name), getattr(self, name))
        for name in ("m_en", "m_value"):
            m.d.comb += connect(getattr(self, name), getattr(self.queue, name))
        self._table(m)
        m.d.comb += [
            connect(self.z_en, self.search.z_en),
            connect(self.z_value, self.search.z_value),
        ]
        m.submodules.sums, m.submodules.compare = self.sums, self.compare
        self._reads(m, self.sums, 0, 0)
        self._reads(m, self.compare, 1, self.unit.floor_stage - self.unit.scores_stage)
        m.d.comb += [
            connect(self.sums.ready, self.queue.ready),
            self.sums.room.eq(1),
            connect(self.compare.ready, self.search.through),
        ]
        self._sums(m, self.sums)
        self._compare(m, self.compare)
        return m

    def _table(self, m: Module) -> None:
        """Hand a word of a table on to the lanes and to the search."""
        m.submodules.tables = self.tables
        for name in ("en", "addr", "data"):
            given = getattr(self.table, name)
            register = Signal.like(given, name=f"table_{name}")
            m.d.sync += connect(register, given)
            m.d.comb += [connect(getattr(unit.write, name), register) for unit in (self.tables, self.search)]

    def _reads(self, m: Module, reader: ScoreWalk, number: int, late: int) -> None:
        """Connect one reader of the queue: m of its rows, and `late` cycles later the chunk."""
        port, walk = self.queue.readers[number], reader
        scores = delayed(m, Cat(walk.part, walk.addr), late, f"addr_delay_{number}")
        m.d.comb += [
            connect(port.slot, reader.slot),
            connect(reader.job, port.job),
            connect(port.top_addr, walk.top_addr),
            connect(port.top_part, walk.top_part),
            connect(port.part, scores[: len(walk.part)]),
            connect(port.addr, scores[len(walk.part) :]),
        ]

    def _sums(self, m: Module, reader: ScoreWalk) -> None:
        """SUM: scores and m (stage 2), m - p (3), Exp (4, 5), the trees, Z; then on to the search."""
        unit, walk = self.unit, reader
        tables = self.tables
        scores = self.queue.readers[0].scores
        index = Signal(data.ArrayLayout(self.score_bits, unit.lanes), reset_less=True)
        keep = Signal(unit.columns, name="sum_keep", reset_less=True)
        for lane in range(unit.lanes):
            top = self.queue.readers[0].tops.word_select(lane // unit.columns, self.score_bits)
            # m - p - 1, the address of Exp[m - p] in a table without Exp[0].
            m.d.sync += index[lane].eq(top + ~scores.word_select(lane, self.score_bits))
        m.d.sync += keep.eq(lane_mask(reader.keys, walk.chunk_end, unit.columns))
        with m.If(~walk.active):
            m.d.sync += keep.eq(0)
        m.d.comb += [
            connect(tables.index, index),
            connect(tables.table, delayed(m, reader.table, unit.index_stage, "table_delay")),
            connect(tables.keep, self._kept(m, keep)),
        ]
        z = Signal(data.ArrayLayout(unit.z_bits, unit.rows), reset_less=True)
        begins = delay_flag(m, walk.chunk == 0, unit.sum_stage - 1, "sum_first")
        for row in range(unit.rows):
            m.submodules[f"sum_tree_{row}"] = tree = Tree(EXP_BITS, unit.columns, "sum")
            exp = [tables.exp[row * unit.columns + column] for column in range(unit.columns)]
            m.d.comb += [connect(tree.i[column], value) for column, value in enumerate(exp)]
            m.d.sync += z[row].eq(Mux(begins, 0, z[row]) + tree.o)
        place = Cat(walk.row == 0, walk.place, reader.table)
        first, at, table = _split(delayed(m, place, unit.sum_stage, "sum_place"), 1, len(walk.place))
        m.d.comb += [
            self.search.en.eq(delay_flag(m, walk.row_end, unit.sum_stage, "sum_done")),
            connect(self.search.z, z),
            *(connect(self.search.first, first), connect(self.search.place, at), connect(self.search.table, table)),
        ]

    def _kept(self, m: Module, keep: Value) -> Value:
        """Return which lanes add their Exp: their columns have keys, and with windows their pairs may attend."""
        unit = self.unit
        if unit.flow.windows is None:
            return delayed(m, keep, unit.exp_stage - 2, "keep_delay")
        keep = delayed(m, keep, unit.scores_stage - 1, "keep_delay")
        lanes = Signal(unit.lanes, name="keep_lanes", reset_less=True)
        scores = self.queue.readers[0].scores
        for lane in range(unit.lanes):
            bar = barred(scores.word_select(lane, self.score_bits))
            m.d.sync += lanes[lane].eq(keep[lane % unit.columns] & ~bar)
        return delayed(m, lanes, unit.exp_stage - unit.index_stage - 1, "lanes_delay")

    def _compare(self, m: Module, reader: ScoreWalk) -> None:
        """COMPARE: m and the count (stage 2), their difference and the scores (3), bits (4)."""
        unit, walk, flow = self.unit, reader, self.unit.flow
        m.submodules.attention_room = room = Credits(flow.attention_slots, flow.attention_slots)
        m.d.comb += [
            connect(room.give, self.attention_freed),
            connect(room.take, reader.start),
            connect(reader.room, room.some),
        ]
        slot = Signal(range(flow.attention_slots), init=flow.attention_slots - 1)
        with m.If(reader.start):
            m.d.sync += slot.eq(Mux(slot == flow.attention_slots - 1, 0, slot + 1))
        keep = Signal(unit.columns, name="compare_keep", reset_less=True)
        m.d.sync += keep.eq(lane_mask(reader.keys, walk.chunk_end, unit.columns))
        kept = delayed(m, keep, unit.bits_stage - 2, "compare_keep_delay")
        scores, tops = self.queue.readers[1].scores, self.queue.readers[1].tops
        windows = flow.windows is not None
        theta = self._theta(m, reader.table) if windows else None
        for row in range(unit.rows):
            count, floor = self._count(m, walk.place, row), Signal(self.score_bits + 1, name=f"floor_{row}")
            m.d.sync += floor.eq(tops.word_select(row, self.score_bits) + 1 - count)
            if theta is not None:
                with m.If(self.scored):
                    m.d.sync += connect(floor, theta)
            # At most m + 1; negative where every score has its bit.
            lowest = floor.as_signed()
            for column in range(unit.columns):
                lane = row * unit.columns + column
                score = scores.word_select(lane, self.score_bits)
                reached = (score >= lowest) & kept[column]
                m.d.sync += self.bits[lane].eq(reached & ~barred(score) if windows else reached)
        m.d.comb += [
            self.bits_en.eq(delay_flag(m, walk.active, unit.bits_stage, "bits_valid")),
            Cat(self.bits_slot, self.bits_row, self.bits_chunk).eq(
                delayed(m, Cat(slot, walk.row, walk.chunk), unit.bits_stage, "bits_place")
            ),
            self.score_free.eq(delay_flag(m, walk.end, unit.free_stage, "score_done")),
            self.attention_full.eq(delay_flag(m, walk.end, unit.bits_stage, "bits_done")),
        ]

    def _theta(self, m: Module, table: Value) -> Value:
        """Keep word 0 of each table; return that of a table, two cycles later."""
        spec, number = self.unit.memories["theta"], self.search.write.addr[: WORD.bit_length()]
        m.submodules.theta = store = unmet(spec.width, spec.depth)
        write = store.write_port()
        m.d.comb += [
            write.en.eq(self.search.write.en & ~number.any()),
            connect(write.addr, self.search.write.addr[len(number) :]),
            connect(write.data, self.search.write.data[: spec.width]),
        ]
        return registered_read(m, store, table, "theta_read", self.unit.row_stage)

    def _count(self, m: Module, place: Value, row: int) -> Value:
        """Keep the counts of one of the rows side by side; return that of a place, two cycles later."""
        search, spec = self.search, self.unit.memories["counts"]
        m.submodules[f"counts_{row}"] = store = WordMemory(self.score_bits, spec.depth)
        count = Signal(self.score_bits, name=f"count_{row}", reset_less=True)
        m.d.comb += [
            store.w_en.eq(search.count_en & (search.count_row == row)),
            connect(store.w_addr, search.count_place),
            connect(store.w_data, search.count_value),
            connect(store.r_addr[0], place),
        ]
        m.d.sync += connect(count, store.r_data[0])
        return count


def _split(value: Value, *widths: int) -> list[Value]:
    """Cut a value into parts of these widths, and the rest."""
    parts, at = [], 0
    for width in widths:
        parts.append(value[at : at + width])
        at += width
    return [*parts, value[at:]]
