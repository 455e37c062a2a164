"""What both pipelines of HeadNorm begin with: jobs in their order, the sums of each, times Scale."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.engine.words import LoadMemory
from ...sim.flow.head_norm import HeadNormUnit
from ..parts.arithmetic import product
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.memory import LoadableMemory
from ..parts.stream import LOAD_BUS
from .group_walk import GroupWalk
from .jobs import Credits, JobQueue, following, scaled
from .norm_lanes import channel_mask


class HeadReader(Component):
    """Takes jobs and walks over the sums of each: row group after row group, in it the columns of the head.

    Timing: a job is taken when it and its `ready` are there and the one before is through; stages as in `HeadNormUnit`.

    Numerics: exact; x = Scale * acc, and acc is twice the sum. Where there is no channel, x is 0.

    Parameters
    ----------
    unit : HeadNormUnit
    parameters : LoadMemory
        Scale of each column, and maybe more.

    Members
    -------
    put, put_job, ready : In
        A job, when `put`; that one more can begin.
    r_addr, r_part, part : Out, Out, In
        Reader of the queue of sums.
    load, bank : In
        Load bus, and the bank in use.
    take, job : Out
        The job that begins in the next cycle, when `take`.
    held, slot : Out
        The job of this cycle, and its slot of the queue.
    active, group, word, here, last, final, end : Out
        As of `GroupWalk`.
    columns : Out
        Which columns of the word hold channels, in stage 1.
    words : Out
        Parameters, in stage 1.
    x : Out
        Lanes of x, in `x_stage`.
    """

    def __init__(self, unit: HeadNormUnit, parameters: LoadMemory):
        self.unit, self.flow, self.widths = unit, unit.flow, unit.widths
        self.fields = data.StructLayout(unit.job)
        self.walk = GroupWalk(unit.flow.engine.rows, unit.side, unit.most_words, unit.pace)
        self.parameters = LoadableMemory(parameters)
        queue = unit.memories["head_queue"]
        walked = {name: Out(self.walk.signature.members[name].shape) for name in _WALKED}
        super().__init__(
            {
                "put": In(1),
                "put_job": In(self.fields),
                "ready": In(1),
                "r_addr": Out(unit.address_bits(queue.depth)),
                "r_part": Out(unit.address_bits(unit.drain_parts)),
                "part": In(queue.width // unit.drain_parts),
                "load": In(LOAD_BUS),
                "bank": In(1),
                "take": Out(1),
                "job": Out(self.fields),
                "held": Out(self.fields),
                "slot": Out(range(unit.flow.head_slots)),
                **walked,
                "columns": Out(unit.columns),
                "words": Out(parameters.width),
                "x": Out(data.ArrayLayout(signed(unit.widths.x_bits), unit.lanes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Take a job, walk (stage 0), parameters (1), operands (2), product."""
        m = Module()
        self._address(m, self._take(m))
        self._scale(m)
        return m

    def _take(self, m: Module) -> Value:
        """Queue the jobs, count what can begin; hold the job and its slot, and return the next one's slot."""
        u, walk = self.unit, self.walk
        m.submodules.walk = walk
        m.submodules.jobs = jobs = JobQueue(u.job, self.flow.head_slots)
        m.submodules.started = started = Credits(self.flow.head_slots)
        held = Signal(self.fields, reset_less=True)
        slot = Signal.like(self.slot, reset_less=True)
        next_slot = Signal.like(self.slot)
        shift = u.columns.bit_length() - 1
        m.d.comb += [
            *(connect(jobs.put, self.put), connect(jobs.put_job.as_value(), self.put_job.as_value())),
            started.give.eq(self.ready),
            self.take.eq(jobs.valid & started.some & walk.idle),
            *(jobs.take.eq(self.take), started.take.eq(self.take), walk.start.eq(self.take)),
            connect(walk.rows, jobs.job.rows),
            walk.words.eq((jobs.job.channels + (u.columns - 1)) >> shift),
            connect(self.job.as_value(), jobs.job.as_value()),
            *(connect(self.held.as_value(), held.as_value()), connect(self.slot, slot)),
            *(connect(getattr(self, name), getattr(walk, name)) for name in _WALKED),
        ]
        with m.If(self.take):
            m.d.sync += [
                connect(held.as_value(), jobs.job.as_value()),
                connect(slot, next_slot),
                next_slot.eq(following(next_slot, self.flow.head_slots)),
            ]
        return next_slot

    def _address(self, m: Module, next_slot: Value) -> None:
        """Stage 0: the parts of a word of sums, then the same of the head's next column group; rows lie in words."""
        u, walk = self.unit, self.walk
        part_bits = (u.parts - 1).bit_length()
        groups = u.drain_parts // u.parts
        addr = Signal.like(self.r_addr, reset_less=True)
        row = Signal.like(self.r_addr, reset_less=True)
        group = Signal(range(groups), reset_less=True)
        next_row = Signal.like(row)
        m.d.comb += [
            next_row.eq(row + (group == groups - 1)),
            connect(self.r_addr, addr),
            self.r_part.eq(Cat(walk.word[:part_bits], group)),
        ]
        with m.If(walk.word[:part_bits].all() if part_bits else 1):
            m.d.sync += addr.eq(addr + self.flow.drain_cycles)
        with m.If(walk.group_end):
            m.d.sync += [addr.eq(next_row), row.eq(next_row), group.eq(group + 1)]
            with m.If(group == groups - 1):
                m.d.sync += group.eq(0)
        with m.If(self.take):
            base = scaled(next_slot, self.flow.head_slots, u.slot_words)
            m.d.sync += [addr.eq(base), row.eq(base), group.eq(0)]

    def _scale(self, m: Module) -> None:
        """Scale of each column is registered in stage 2, where the part of the sums is; their product is x."""
        u, widths = self.unit, self.widths
        m.submodules.parameters = params = self.parameters
        columns = channel_mask(m, self.word, self.held.channels, u.columns, "mask")
        m.d.comb += [
            connect(params.load, self.load),
            connect(params.bank, self.bank),
            connect_address(params.r_addr, self.held.param_addr + self.word),
            connect(self.words, params.r_data),
            connect(self.columns, columns),
        ]
        scales: list[Value] = []
        for column in range(u.columns):
            scale = Signal(widths.scale_bits, name=f"scale_{column}", reset_less=True)
            m.d.sync += scale.eq(params.r_data.word_select(column, widths.scale_bits))
            with m.If(~columns[column]):
                m.d.sync += scale.eq(0)
            scales.append(scale)
        block, cycles = widths.engine.block_bits, widths.multiply_cycles
        for lane in range(u.lanes):
            half = self.part[lane * widths.word_bits :][: widths.value_bits].as_signed()
            value = product(m, half, scales[lane % u.columns], f"scaled{lane}", block=block, cycles=cycles)
            m.d.comb += self.x[lane].eq((value << 1)[: widths.x_bits])


#: What is handed on of the walk.
_WALKED = ("active", "group", "word", "here", "last", "final", "end")


def lanes_by_row(unit: HeadNormUnit, x: Value) -> list[list[Value]]:
    """Return the lanes of each row of a row group.

    Parameters
    ----------
    unit : HeadNormUnit
    x : Value
        All lanes, as `HeadReader.x`.
    """
    return [[x[row * unit.columns + column] for column in range(unit.columns)] for row in range(unit.side)]
