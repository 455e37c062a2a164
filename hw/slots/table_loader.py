"""The tables of Exp of a turn, word after word to the softmax, while the turn before works with its own."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from ...sim.engine.memories import TABLE_BITS, TABLE_WORDS
from ...sim.flow.config import FlowConfig
from ...sim.flow.memories import core_memories
from ...sim.flow.settings import setting_bits
from ...sim.flow.softmax import SoftmaxUnit
from ...sim.timing.plan import TABLE_SETS
from ..flow.exp_tables import table_addr
from ..flow.jobs import Credits, JobQueue
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.memory import LoadableMemory
from ..parts.stream import LOAD_BUS, write_port
from .records import record_layout, turns


class TableLoader(Component):
    """Copies the tables of all heads of a block into one of the softmax's two sets, turn after turn.

    Timing: a turn is taken when the one before is through and a set is free; a word a cycle from the next cycle on, and
    `full` beside the last one's write, two cycles later. A set is free when the last job of its turn is done.

    Numerics: none.

    Parameters
    ----------
    flow : FlowConfig

    Members
    -------
    put, first : In
        A turn, and the first word of its tables.
    words, jobs_last : In
        Words of a turn's tables, jobs of its softmax less one.
    job_done : In(1)
        Pulse: a job of the softmax is done.
    write : Out(write_port)
        To the softmax.
    full : Out(1)
        Pulse: a turn's tables are there.
    load, bank : In
        Load bus, and the bank in use.
    """

    def __init__(self, flow: FlowConfig):
        self.flow, self.unit = flow, SoftmaxUnit(flow)
        bits = setting_bits(flow)
        super().__init__(
            {
                "put": In(1),
                "first": In(record_layout(flow)["table"].width),
                "words": In(bits["table_step"]),
                "jobs_last": In(bits["table_jobs_last"]),
                "job_done": In(1),
                "write": Out(write_port(table_addr(self.unit), TABLE_BITS)),
                "full": Out(1),
                "load": In(LOAD_BUS),
                "bank": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Queue the turns; read (stage 0), word (1), write (2)."""
        m = Module()
        m.submodules.tables = tables = LoadableMemory(core_memories(self.flow)["tables"])
        m.submodules.turns = waiting = JobQueue({"first": len(self.first)}, turns(self.flow))
        m.submodules.sets = sets = Credits(TABLE_SETS, TABLE_SETS)
        take, active, last = Signal(), Signal(), Signal()
        left, address = Signal.like(self.words), Signal.like(self.first, reset_less=True)
        m.d.comb += [
            *(connect(tables.load, self.load), connect(tables.bank, self.bank)),
            *(connect(waiting.put, self.put), connect(waiting.put_job.first, self.first)),
            take.eq(waiting.valid & sets.some & ~active),
            *(waiting.take.eq(take), sets.take.eq(take)),
            connect_address(tables.r_addr, address),
        ]
        words = self._words(m, take, waiting.job.first)
        m.d.sync += [left.eq(left - 1), address.eq(address + 1), last.eq(left == 2)]
        with m.If(last):
            m.d.sync += active.eq(0)
        with m.If(take):
            m.d.sync += [
                *(active.eq(1), connect(left, words), connect(address, waiting.job.first)),
                last.eq(words == 1),
            ]
        self._write(m, active, last, tables)
        done = Signal.like(self.jobs_last)
        with m.If(self.job_done):
            m.d.sync += done.eq(Mux(done == self.jobs_last, 0, done + 1))
        m.d.comb += sets.give.eq(self.job_done & (done == self.jobs_last))
        return m

    def _words(self, m: Module, take: Signal, first: Value) -> Value:
        """How many words a turn's tables have that are loaded."""
        return self.words

    def _writes(self, there: Signal) -> Value:
        """Whether a word is written, where one is there."""
        return there

    def _write(self, m: Module, active: Signal, last: Signal, tables: LoadableMemory) -> None:
        """Count the words of a head and the heads, a cycle behind the address."""
        heads, bits = self.flow.engine.max_heads, (TABLE_WORDS - 1).bit_length()
        number, table = Signal(range(TABLE_WORDS)), Signal(range(self.unit.tables))
        other = Signal(init=1)  # the set that is taken next is the other one
        there, through = Signal(), Signal()
        writes = self._writes(there)
        m.d.sync += [there.eq(active), through.eq(active & last), connect(self.write.en, writes)]
        m.d.sync += [connect(self.full, through), connect(self.write.data, tables.r_data)]
        m.d.sync += self.write.addr.eq(Cat(number[:bits], table))
        with m.If(writes):
            m.d.sync += number.eq(number + 1)
            with m.If(number == TABLE_WORDS - 1):
                m.d.sync += [number.eq(0), table.eq(table + 1)]
        with m.If(through):
            m.d.sync += [other.eq(~other), table.eq(Mux(other, heads, 0))]
