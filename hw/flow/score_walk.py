"""One reader of the queue of scores: takes its jobs in order, each as soon as it may, and walks them."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.flow.softmax import SoftmaxUnit
from ..parts.component import Component
from ..parts.connect import connect
from .jobs import Credits
from .part_walk import PartWalk

#: What is handed on of the walk.
_WALKED = (
    *("part", "addr", "top_part", "top_addr", "place"),
    *("active", "row", "chunk", "chunk_end", "row_end", "end"),
)


class ScoreWalk(Component):
    """Starts a job when there is one, the one before is through, and there is room for its results.

    Timing: a job that is `ready` in cycle t has its first address in t + 2, or later; a job takes 2 cycles or more.

    Numerics: none; counts are exact.

    Parameters
    ----------
    unit : SoftmaxUnit

    Members
    -------
    ready : In(1)
        One more job may be walked.
    room : In(1)
        There is room for the next job's results.
    slot, job : Out, In
        The slot of the next job, and what it is, in the same cycle.
    start : Out(1)
        A job is taken; its first address follows.
    keys, table : Out
        Keys in the last chunk of the job that is walked, 0 for all; its table of Exp.
    part, addr, top_part, top_addr, place, active, row, chunk, chunk_end, row_end, end : Out
        As of `PartWalk`.
    """

    def __init__(self, unit: SoftmaxUnit):
        self.unit, self.walk = unit, PartWalk(unit)
        job = data.StructLayout(unit.job_bits)
        super().__init__(
            {
                "ready": In(1),
                "room": In(1),
                "slot": Out((unit.flow.score_slots - 1).bit_length()),
                "job": In(job),
                "start": Out(1),
                "keys": Out(unit.job_bits["tail"]),
                "table": Out(unit.job_bits["table"]),
                **{name: self.walk.signature.members[name] for name in _WALKED},
            }
        )

    def elaborate(self, platform: object) -> Module:
        """What the next job is stands in registers: in the cycle after a start they are of the one just taken."""
        m = Module()
        slots = self.unit.flow.score_slots
        m.submodules.walk = walk = self.walk
        m.submodules.waiting = waiting = Credits(slots)
        fresh = Signal(init=1)
        coming = Signal.like(self.job, reset_less=True)
        m.d.comb += [
            connect(waiting.give, self.ready),
            connect(waiting.take, self.start),
            self.start.eq(waiting.some & self.room & fresh & walk.free),
            connect(walk.start, self.start),
            connect(walk.rows, coming.rows),
            connect(walk.chunks, coming.chunks),
            connect(walk.cycles, coming.cycles),
            *(connect(getattr(self, name), getattr(walk, name)) for name in _WALKED),
        ]
        m.d.sync += [fresh.eq(~self.start), connect(coming, self.job)]
        with m.If(self.start):
            m.d.sync += [
                self.slot.eq(Mux(self.slot == slots - 1, 0, self.slot + 1)),
                *(connect(self.keys, coming.tail), connect(self.table, coming.table)),
            ]
        flow = self.unit.flow
        strides = {
            "score_base": flow.drain_cycles * self.unit.max_groups,
            "top_base": flow.drain_cycles,
            "row_base": self.unit.row_groups,
        }
        for name, stride in strides.items():
            base = Signal.like(getattr(walk, name), name=name)
            m.d.comb += connect(getattr(walk, name), base)
            with m.Switch(self.slot):
                for number in range(slots):
                    with m.Case(number):
                        m.d.sync += base.eq(number * stride)
        return m
