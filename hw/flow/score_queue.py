"""The queue of scores between the array and the softmax, and the largest score of each row."""

from __future__ import annotations

from itertools import pairwise

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from ...sim.flow.softmax import SoftmaxUnit
from ..parts.arithmetic import Tree, delay_flag, delayed
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from .part_memory import PartMemory
from .score_bias import ScoreBias, bias_ports


def queue_port(unit: SoftmaxUnit) -> wiring.Signature:
    """Signature of a reader of the queue: a slot's job at once; a chunk, and m of its rows, two cycles later."""
    scores, tops = unit.memories["scores"], unit.memories["tops"]
    row_bits = unit.flow.engine.score_bits
    return wiring.Signature(
        {
            "slot": Out((unit.flow.score_slots - 1).bit_length()),
            "job": In(data.StructLayout(unit.job_bits)),
            "addr": Out((scores.depth - 1).bit_length()),
            "part": Out(max(1, (unit.word_rows * unit.pieces - 1).bit_length())),
            "scores": In(unit.lanes * row_bits),
            "top_addr": Out((tops.depth - 1).bit_length()),
            "top_part": Out(max(1, (unit.word_rows - 1).bit_length())),
            "tops": In(unit.rows * row_bits),
        }
    )


class ScoreQueue(Component):
    """Ring of slots, each with the scores of a job, what the job is, and the largest score m of each of its rows.

    The scores of a job come word by word, `drain_cycles` words a column group, in any cycles; jobs follow each other.
    Columns beyond the last key have no part in m. In an engine with windows each score gets its bias before all that,
    and the score of a pair that may not attend becomes -1, modulo 128, which has no part in m either.

    Timing: m is written `top_stage` after its word of the last group; `ready` comes a cycle earlier, of the last word.

    Numerics: exact.

    Parameters
    ----------
    unit : SoftmaxUnit

    Members
    -------
    w_en, w_data : In
        A word of scores: `drain_rows` rows of `columns` columns, the first column of the first row least significant.
    w_rows, w_keys, w_set, w_head : In
        Beside a job's first word: its rows and keys, 1 or more, set of tables and head.
    w_bias, w_mask, w_kind : In
        Likewise, with windows: its first words in the memories `bias` and `masks`, whose scores and pairs are in the
        order of those in `w_data`, word after word; which of a pair's two bits in `masks` mean that it may not attend.
    w_step : In(1)
        With windows, in all cycles: 0 where all words of a job take the same word of both memories.
    load, bank : In
        With windows: load bus, and the bank in use.
    ready : Out(1)
        Once a job: its slot may be read from the second cycle after this one on.
    m_en, m_value : Out
        A word of m is written.
    readers : In
        Ports of the readers.
    """

    def __init__(self, unit: SoftmaxUnit):
        self.unit, self.score_bits = unit, unit.flow.engine.score_bits
        g, heads = unit.flow.drain_rows, unit.flow.engine.max_heads
        self.bias = ScoreBias(unit) if unit.flow.windows else None
        super().__init__(
            {
                "w_en": In(1),
                "w_data": In(unit.word_scores * self.score_bits),
                "w_rows": In(unit.row_bits),
                "w_keys": In(unit.key_bits),
                "w_set": In(1),
                "w_head": In(max(1, (heads - 1).bit_length())),
                **bias_ports(unit),
                "ready": Out(1),
                "m_en": Out(1),
                "m_value": Out(data.ArrayLayout(self.score_bits, g)),
                "readers": In(queue_port(unit)).array(2),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Word (stage 0), registers and write (1), masked scores (2), trees, m.

        With windows bias and masks of pairs come behind the registers, and the write behind them.
        """
        m = Module()
        unit, columns = self.unit, self.unit.flow.engine.columns
        enable, word = Signal(), Signal.like(self.w_data, reset_less=True)
        m.d.sync += [connect(enable, self.w_en), connect(word, self.w_data)]
        spec, parts = unit.memories["scores"], unit.word_rows * unit.pieces
        m.submodules.scores = scores = PartMemory(spec.width // parts, parts, spec.depth, spec.readers)
        first, keep, first_group, last_group, end = self._place(m, enable, scores)
        masked = Signal(data.ArrayLayout(self.score_bits, unit.word_scores), reset_less=True)
        left_out = [~keep[number % columns] for number in range(unit.word_scores)]
        write, stored = enable, word
        if self.bias is not None:
            word, bars = self._biased(m, self.bias, enable, first, word)
            keep = delayed(m, keep, unit.bias_cycles, "keep_delay")
            left_out = [~keep[number % columns] | bars[number] for number in range(unit.word_scores)]
            write = delay_flag(m, enable, unit.store_stage - 1, "write")
            stored = self._barred(m, word, bars)
        m.d.sync += masked.as_value().eq(word)
        for number, out in enumerate(left_out):
            # The mask is the registers' reset.
            with m.If(out):
                m.d.sync += masked[number].eq(0)
        self._tops(m, masked, enable, first_group, last_group)
        m.d.comb += [
            connect(scores.w_en, write),
            connect(scores.w_data, stored),
            self.ready.eq(delay_flag(m, end, unit.top_stage - 2, "ended")),
        ]
        for number, reader in enumerate(self.readers):
            m.d.comb += [
                connect_address(scores.r_addr[number], reader.addr),
                connect(scores.r_part[number], reader.part),
                connect(reader.scores, scores.r_data[number]),
            ]
        return m

    def _biased(self, m: Module, bias: ScoreBias, enable: Value, first: Value, word: Value) -> tuple[Value, Value]:
        """Return the scores with their bias, and which pairs may not attend, `bias_cycles` after the word."""
        m.submodules.bias = bias
        m.d.comb += [
            *(connect(getattr(bias, name), getattr(self, name)) for name in bias_ports(self.unit)),
            *(connect(bias.en, enable), connect(bias.first, first), connect(bias.word, word)),
        ]
        return bias.sums.as_value(), bias.bars

    def _barred(self, m: Module, word: Value, bars: Value) -> Value:
        """Return, a cycle later, the scores of a word, but -1 of pairs that may not attend."""
        stored = Signal(data.ArrayLayout(self.score_bits, self.unit.word_scores), reset_less=True)
        m.d.sync += stored.as_value().eq(word)
        for number in range(self.unit.word_scores):
            with m.If(bars[number]):
                m.d.sync += stored[number].eq(~0)
        return stored.as_value()

    def _place(self, m: Module, enable: Value, scores: PartMemory) -> tuple[Value, Value, Value, Value, Value]:
        """Stage 1: where the word is in its job; return first word, columns with keys, first and last group, end."""
        unit, columns = self.unit, self.unit.flow.engine.columns
        slots, words = unit.flow.score_slots, unit.flow.drain_cycles
        shift = columns.bit_length() - 1
        # Of the fields beside this word: groups after the first one, and which columns of the last group have keys.
        after, single = Signal(max(1, unit.key_bits - shift)), Signal()
        tail, keep = Signal(columns), Signal(columns)
        keys_tail = self.w_keys[:shift]
        m.d.sync += [
            after.eq((self.w_keys - 1) >> shift),
            single.eq(self.w_keys <= columns),
            tail.eq(Cat((keys_tail > column) | ~keys_tail.any() for column in range(columns))),
        ]
        first = Signal(init=1)
        groups_after, groups, last_group = Signal.like(after), Signal.like(after), Signal()
        job_last, job_tail = Signal(), Signal(columns)
        group_end, end, first_group = Signal(), Signal(), Signal(init=1)
        m.d.comb += [
            last_group.eq(Mux(first, single, job_last)),
            groups.eq(Mux(first, after, groups_after)),
            keep.eq(Mux(first, tail, job_tail) | (~last_group).replicate(columns)),
            group_end.eq(enable & _last_of(m, enable, words, "word")),
            end.eq(group_end & last_group),
        ]
        with m.If(enable & first):
            m.d.sync += [first.eq(0), groups_after.eq(after), job_last.eq(single), job_tail.eq(tail)]
        with m.If(group_end):
            m.d.sync += [groups_after.eq(groups - 1), job_last.eq(groups == 1), first_group.eq(0)]
        with m.If(end):
            m.d.sync += [first.eq(1), first_group.eq(1)]
        slot = Signal(range(slots))
        self._jobs(m, slot, enable & first)
        # The first word of the next slot comes out of a register: it is the ring's next but one from the next end on.
        base, next_base = words * unit.max_groups, Signal.like(scores.w_addr, init=words * unit.max_groups)
        addr = Signal.like(scores.w_addr)
        late = unit.store_stage - 1
        m.d.comb += connect(scores.w_addr, delayed(m, addr, late, "addr_delay") if late else addr)
        with m.If(enable):
            m.d.sync += addr.eq(addr + 1)
        with m.If(end):
            m.d.sync += [addr.eq(next_base), slot.eq(Mux(slot == slots - 1, 0, slot + 1))]
            with m.Switch(slot):
                for number in range(slots):
                    with m.Case(number):
                        m.d.sync += next_base.eq((number + 2) % slots * base)
        return first, keep, first_group, enable & last_group, end

    def _jobs(self, m: Module, slot: Value, begins: Value) -> None:
        """Keep what a job is, a cycle after its first word, in a memory that is read in the same cycle."""
        unit, columns = self.unit, self.unit.columns
        store = memory.Memory(shape=unit.memories["jobs"].width, depth=unit.flow.score_slots, init=[])
        m.submodules.jobs = store
        write, job = store.write_port(), Signal(data.StructLayout(unit.job_bits), reset_less=True)
        rows, keys, table = Signal.like(self.w_rows), Signal.like(self.w_keys), Signal(range(unit.tables))
        m.d.sync += [
            connect(rows, self.w_rows),
            connect(keys, self.w_keys),
            table.eq(self.w_head + Mux(self.w_set, unit.flow.engine.max_heads, 0)),
            connect(job.rows, rows),
            job.chunks.eq((keys + columns - 1) >> (columns.bit_length() - 1)),
            job.tail.eq(keys[: len(job.tail)]),
            connect(job.table, table),
            connect(write.addr, slot),
            connect(write.en, begins),
        ]
        m.d.comb += [
            job.cycles.eq(Mux(job.chunks < unit.rows, unit.rows, job.chunks)),
            connect(write.data, job.as_value()),
        ]
        for reader in self.readers:
            read = store.read_port(domain="comb")
            m.d.comb += [connect(read.addr, reader.slot), reader.job.eq(read.data)]

    def _tops(self, m: Module, masked: data.View, enable: Value, first_group: Value, last_group: Value) -> None:
        """Keep the maxima over the groups in a line of registers, a step a word, and write those of the last group."""
        unit, columns = self.unit, self.unit.flow.engine.columns
        g, words, spec = unit.flow.drain_rows, unit.flow.drain_cycles, unit.memories["tops"]
        m.submodules.tops = tops = PartMemory(spec.width // unit.word_rows, unit.word_rows, spec.depth, spec.readers)
        lines = [Signal.like(self.m_value, name=f"line_{number}", reset_less=True) for number in range(words)]
        moves = delay_flag(m, enable, unit.top_stage - 2, "moves")
        begins = delay_flag(m, first_group, unit.top_stage - 2, "begins")
        for row in range(g):
            m.submodules[f"tree_{row}"] = tree = Tree(self.score_bits, columns, "max")
            m.d.comb += [connect(tree.i[k], masked[row * columns + k]) for k in range(columns)]
            before = lines[-1][row]
            with m.If(moves):
                m.d.sync += lines[0][row].eq(Mux(begins | (tree.o > before), tree.o, before))
        for line, follower in pairwise(lines):
            with m.If(moves):
                m.d.sync += follower.eq(line)
        with m.If(self.m_en):
            m.d.sync += tops.w_addr.eq(Mux(tops.w_addr == spec.depth - 1, 0, tops.w_addr + 1))
        m.d.comb += [
            self.m_en.eq(delay_flag(m, last_group, unit.top_stage - 1, "written")),
            connect(self.m_value, lines[0]),
            connect(tops.w_en, self.m_en),
            connect(tops.w_data, self.m_value),
        ]
        for number, reader in enumerate(self.readers):
            m.d.comb += [
                connect_address(tops.r_addr[number], reader.top_addr),
                connect(tops.r_part[number], reader.top_part),
                connect(reader.tops, tops.r_data[number]),
            ]


def _last_of(m: Module, enable: Value, count: int, name: str) -> Value:
    """Return whether this is the last of every `count` cycles with `enable`, out of a register."""
    if count == 1:
        return Value.cast(1)
    number, last = Signal(range(count), name=name), Signal(name=f"{name}_last")
    with m.If(enable):
        m.d.sync += [number.eq(Mux(last, 0, number + 1)), last.eq(number == count - 2)]
        with m.If(last):
            m.d.sync += last.eq(0)
    return last
