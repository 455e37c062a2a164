"""AttentionThreshold: the softmax of the scores compared with a threshold, without a division (docs/semantics.md 8)."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ...sim.engine import commands
from ...sim.network.formats import EXP_BITS
from ...sim.units.attention_threshold import AttentionThresholdUnit
from ..parts.arithmetic import Tree, delay_flag, delayed, product
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.memory import WordMemory
from ..parts.row_walk import RowWalk, lane_mask
from ..parts.stream import CHUNK_BITS, LOAD_BUS, bits_port, command_layout, command_port
from .exp_tables import ExpTables

#: The passes over the scores.
PASS_TOP, PASS_SUM, PASS_COMPARE = range(3)


class AttentionThreshold(Component):
    """Attention bits of a tile and head: ``(Exp[m - p] << 16) >= Tau * Z``, m a row's largest score, Z its sum of Exp.

    Three passes over the score memory: m of each row, then Z and from it the limit that Exp is compared with, then the
    bits. Exp and Tau are those of the last command `table`. Lanes beyond `keys` in the last chunk add nothing, give 0.

    Timing: one chunk a cycle, the first address at offset 1; a pass follows the one before without a gap, or as soon as
    the first row is through, see `sim.units.attention_threshold`. Either command may be issued when the last one is not
    busy.

    Numerics: exact; Z has 16 bits and the bits of `max_tokens`. Exp is an integer, so it is at least Tau*Z / 2^16 just
    when it is at least the ceiling of that, the row's *limit*: a lane compares 17 bits and not the whole product. The
    limit saturates at 2^17 - 1, above every Exp.

    Parameters
    ----------
    unit : AttentionThresholdUnit

    Members
    -------
    score_en, score_row, score_chunk, score_data : In
        Write of one chunk of scores; `score_chunk` counts over all keys of the row.
    command : In
        `table` loads Exp and Tau of a head; `attention`, whose `dst_addr` is for the receiver of the bits.
    load, bank : In
        Load bus and bank of the tables.
    bits : Out(bits_port(lanes))
        Result; `chunk` counts over all keys of the row.
    m_en, m_row, m_value : Out
        A row's largest score.
    z_en, z_row, z_value : Out
        A row's sum of Exp.
    """

    def __init__(self, unit: AttentionThresholdUnit):
        self.unit, self.commands = unit, unit.commands
        self.lanes, self.score_bits = unit.lanes, unit.engine.score_bits
        self.tables = ExpTables(unit.load_memories["tables"], unit.lanes)
        self.fields = command_layout(commands.Attention)
        row_bits = self.fields["rows"].width
        super().__init__(
            {
                "score_en": In(1),
                "score_row": In(row_bits),
                "score_chunk": In(CHUNK_BITS),
                "score_data": In(self.lanes * self.score_bits),
                "command": In(command_port(*self.commands)),
                "load": In(LOAD_BUS),
                "bank": In(1),
                "bits": Out(bits_port(self.lanes)),
                "m_en": Out(1),
                "m_row": Out(row_bits),
                "m_value": Out(self.score_bits),
                "z_en": Out(1),
                "z_row": Out(row_bits),
                "z_value": Out(unit.z_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Address (stage 0), scores (1, 2), index (3), Exp (4); the trees and what follows them."""
        m = Module()
        m.submodules.tables = tables = self.tables
        m.d.comb += [
            connect(tables.start, self.command.table.issue),
            connect(tables.param_addr, self.command.table.fields.param_addr),
            connect(tables.load, self.load),
            connect(tables.bank, self.bank),
        ]
        walk, number, keys = self._stage_address(m)
        mask = Signal(self.lanes, reset_less=True)
        m.d.sync += mask.eq(lane_mask(keys, walk.row_end, self.lanes))
        scores = self._stage_scores(m, walk, mask)

        first = walk.chunk == 0
        top = self._tops(m, walk, number, scores, first)
        index = Signal(data.ArrayLayout(self.score_bits, self.lanes), reset_less=True)
        exp = Signal(data.ArrayLayout(EXP_BITS, self.lanes), reset_less=True)
        exp_mask = delayed(m, mask, self.unit.exp_stage - self.unit.scores_stage, "mask_delay")
        m.d.comb += connect(tables.index, index)
        for lane in range(self.lanes):
            # m - p - 1, the address of Exp[m - p] in a table without Exp[0].
            m.d.sync += index[lane].eq(top + ~scores[lane])
            m.d.sync += exp[lane].eq(tables.exp[lane])
            with m.If(~exp_mask[lane]):
                m.d.sync += exp[lane].eq(0)
        limit = self._limits(m, walk, number, exp, first)

        stage = self.unit.bits_stage
        compare_mask = Signal(self.lanes, reset_less=True)
        m.d.sync += [
            compare_mask.eq(exp_mask),
            self.bits.data.eq(Cat(exp[lane] >= limit for lane in range(self.lanes)) & compare_mask),
        ]
        m.d.comb += [
            self.bits.en.eq(delay_flag(m, walk.active & (number == PASS_COMPARE), stage, "bits_valid")),
            Cat(self.bits.row, self.bits.chunk).eq(
                delayed(m, Cat(walk.row, walk.chunk[:CHUNK_BITS]), stage, "place_delay")
            ),
        ]
        return m

    def _stage_address(self, m: Module) -> tuple[RowWalk, Signal, Signal]:
        """Stage 0: walk the tile three times; return the walk, the pass and the number of keys.

        The first row of the next pass follows the end of this row here by no less than `gap` cycles. Every row takes
        the same time in both passes, so the rows after it are in time too.
        """
        shift = exact_log2(self.lanes)
        issue, command = self.command.attention.issue, self.command.attention.fields
        m.submodules.walk = walk = RowWalk(len(command.rows), CHUNK_BITS + 1)
        rows = Signal.like(command.rows, reset_less=True)
        keys = Signal.like(command.keys, reset_less=True)
        chunks, new_chunks = Signal.like(walk.chunks, reset_less=True), Signal.like(walk.chunks)
        number = Signal(range(3))
        walked, again = Signal(), Signal()
        gaps = {PASS_TOP: self.unit.top_gap, PASS_SUM: self.unit.sum_gap}
        wait = Signal(range(gaps[PASS_SUM]))
        # Each of what decides about the next pass is a register: the tile's first row, `wait` is not 0, a pass follows.
        first_row, waiting, follows = Signal(), Signal(), Signal()
        first_row_end = walk.row_end & first_row
        m.d.comb += [
            walk.start.eq(issue | again),
            walk.rows.eq(Mux(issue, command.rows, rows)),
            walk.chunks.eq(Mux(issue, new_chunks, chunks)),
            new_chunks.eq((command.keys + self.lanes - 1) >> shift),
            again.eq((walk.end | walked) & ~first_row_end & ~waiting & follows),
        ]
        with m.If(walk.start):
            m.d.sync += first_row.eq(1)
        with m.Elif(walk.row_end):
            m.d.sync += first_row.eq(0)
        with m.If(first_row_end):
            # The next pass is decided one cycle before its first address, and this count is seen one cycle late.
            m.d.sync += [wait.eq(Mux(number == PASS_TOP, gaps[PASS_TOP] - 2, gaps[PASS_SUM] - 2)), waiting.eq(1)]
        with m.Elif(waiting):
            m.d.sync += [wait.eq(wait - 1), waiting.eq(wait != 1)]
        with m.If(again):
            m.d.sync += [walked.eq(0), number.eq(number + 1), follows.eq(number == PASS_TOP)]
        with m.Elif(walk.end):
            m.d.sync += walked.eq(follows)
        with m.If(issue):
            m.d.sync += [
                *(number.eq(PASS_TOP), follows.eq(1)),
                connect(rows, command.rows),
                connect(keys, command.keys),
                connect(chunks, new_chunks),
            ]
        return walk, number, keys

    def _stage_scores(self, m: Module, walk: RowWalk, mask: Signal) -> list[Value]:
        """Read the scores at the walk's place; return them in stage 2, 0 beyond the last key."""
        chunk_bits = self.unit.row_chunks_bits
        m.submodules.scores = store = WordMemory.of(self.unit.memories["scores"])
        scores = Signal(data.ArrayLayout(self.score_bits, self.lanes), reset_less=True)
        m.d.comb += [
            connect(store.w_en, self.score_en),
            connect_address(store.w_addr, Cat(self.score_chunk[:chunk_bits], self.score_row)),
            connect(store.w_data, self.score_data),
            connect_address(store.r_addr[0], Cat(walk.chunk[:chunk_bits], walk.row)),
        ]
        m.d.sync += scores.as_value().eq(store.r_data[0])
        for lane in range(self.lanes):
            # The mask is the registers' reset, so nothing stands between them and the memory.
            with m.If(~mask[lane]):
                m.d.sync += scores[lane].eq(0)
        return [scores[lane] for lane in range(self.lanes)]

    def _tops(self, m: Module, walk: RowWalk, number: Signal, scores: list[Value], first: Value) -> Value:
        """First pass: each row's largest score; return that of the row of `scores`."""
        m.submodules.top_tree = tree = Tree(self.score_bits, self.lanes, "max")
        m.submodules.tops = tops = WordMemory.of(self.unit.memories["tops"])
        stage = self.unit.top_stage
        begins = delay_flag(m, first, stage - 1, "top_first")
        done = walk.row_end & (number == PASS_TOP)
        m.d.sync += self.m_value.eq(Mux(begins | (tree.o > self.m_value), tree.o, self.m_value))
        m.d.comb += [
            *(connect(tree.i[lane], score) for lane, score in enumerate(scores)),
            self.m_en.eq(delay_flag(m, done, stage, "top_done")),
            self.m_row.eq(delayed(m, walk.row, stage, "top_row")),
            connect(tops.w_en, self.m_en),
            connect_address(tops.w_addr, self.m_row),
            connect(tops.w_data, self.m_value),
            connect_address(tops.r_addr[0], delayed(m, walk.row, self.unit.top_read_stage, "row_delay")),
        ]
        return tops.r_data[0]

    def _limits(self, m: Module, walk: RowWalk, number: Signal, exp: data.View, first: Value) -> Value:
        """Second pass: each row's Z and limit; return the limit of the row of `exp`."""
        m.submodules.sum_tree = tree = Tree(EXP_BITS, self.lanes, "sum")
        m.submodules.limits = limits = WordMemory.of(self.unit.memories["limits"])
        stage, limit_cycles = self.unit.sum_stage, self.unit.limit_stage - self.unit.sum_stage
        begins = delay_flag(m, first, stage - 1, "sum_first")
        done = walk.row_end & (number == PASS_SUM)
        m.d.sync += self.z_value.eq(Mux(begins, 0, self.z_value) + tree.o)
        m.d.comb += [
            *(connect(tree.i[lane], exp[lane]) for lane in range(self.lanes)),
            self.z_en.eq(delay_flag(m, done, stage, "sum_done")),
            self.z_row.eq(delayed(m, walk.row, stage, "sum_row")),
        ]
        block, cycles = self.unit.engine.block_bits, self.unit.multiply_cycles
        scaled = product(m, self.z_value, self.tables.tau, "scaled_sum", block=block, cycles=cycles)
        ceiling = Signal(len(scaled) + 1 - 16, reset_less=True)
        limit = Signal(EXP_BITS + 1, reset_less=True)
        m.d.sync += [ceiling.eq((scaled + (1 << 16) - 1) >> 16), limit.eq(ceiling[: len(limit)])]
        with m.If(ceiling[len(limit) :].any()):
            m.d.sync += limit.eq(~0)
        m.d.comb += [
            limits.w_en.eq(delay_flag(m, self.z_en, limit_cycles, "limit_done")),
            connect_address(limits.w_addr, delayed(m, self.z_row, limit_cycles, "limit_row")),
            connect(limits.w_data, limit),
            connect_address(limits.r_addr[0], delayed(m, walk.row, self.unit.limit_read_stage, "limit_row_delay")),
        ]
        return limits.r_data[0]
