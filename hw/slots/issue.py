"""Operations on their way to the array: how long it is taken, which way out is, and what is free at the end."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.flow.config import FlowConfig
from ...sim.flow.matmul import MatmulUnit
from ...sim.flow.operation import Operands
from ...sim.flow.streams import Stream
from ..parts.component import Component
from ..parts.connect import connect

#: What an operation frees when its last step is taken.
ENDS = ("norm1", "norm2", "query", "keys", "values", "attention", "context", "hidden")


def ends_of(flow: FlowConfig) -> tuple[str, ...]:
    """Return what an operation frees when its last step is taken; in a ring of weights these, too.

    Parameters
    ----------
    flow : FlowConfig
    """
    return (*ENDS, "weights") if flow.weight_ring else ENDS


class Issue(Component):
    """Registers the operation of a slot that passes, and counts its steps.

    Timing: the operation is at the port in the next cycle. `free` is high from `steps` cycles after the slot on, when
    `ended` tells what it has read; ways out are free again as `sim.timing.needs.earliest` says.

    Numerics: none; counts are exact.

    Parameters
    ----------
    flow : FlowConfig

    Members
    -------
    hand : In
        The stream of the slot at hand.
    begin : In(1)
        An operation is given to the array.
    sums, rows : In(1)
        It is given, and its sums leave by the drain; its bits row by row.
    frees : In
        What it frees, by `ends_of`.
    ops : In
        The next operation of each stream.
    en, op : Out
        An operation for the array.
    free, ended : Out
        The array can be given one; what is free, by `ends_of`.
    drain_free_next : Out
        By stream, whether its next operation's sums would find the drain free, in the next cycle.
    writer_free_next : Out(1)
        Bits of an operation would find the row writer free in the next cycle.
    """

    def __init__(self, flow: FlowConfig):
        self.flow, self.operands, self.gap = flow, Operands(flow), MatmulUnit(flow).writer_gap
        self.ends = len(ends_of(flow))
        fields = data.StructLayout(self.operands.fields)
        super().__init__(
            {
                "hand": In(len(Stream)),
                **{name: In(1) for name in ("begin", "sums", "rows")},
                "frees": In(self.ends),
                "ops": In(fields).array(len(Stream)),
                "en": Out(1),
                "op": Out(fields),
                "free": Out(1),
                "ended": Out(self.ends),
                "drain_free_next": Out(len(Stream)),
                "writer_free_next": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Choose the operation; count its steps, and those that are left of the drain and of the row writer."""
        m = Module()
        chosen = Signal.like(self.op.as_value(), reset_less=True)
        steps = Signal(len(self.op.steps))
        for number in range(len(Stream)):
            with m.If(self.hand[number]):
                m.d.comb += steps.eq(self.ops[number].steps)
                m.d.sync += chosen.eq(self.ops[number].as_value())
        m.d.sync += connect(self.en, self.begin)
        m.d.comb += connect(self.op.as_value(), chosen)
        self._steps(m, steps)
        self._drain(m, steps)
        left = Signal(range(self.gap + 1))
        free = Signal(init=1)
        m.d.comb += self.writer_free_next.eq(Mux(self.rows, self.gap == 1, free | (left == 1)))
        m.d.sync += connect(free, self.writer_free_next)
        with m.If(~free):
            m.d.sync += left.eq(left - 1)
        with m.If(self.rows):
            m.d.sync += left.eq(self.gap - 1)
        return m

    def _steps(self, m: Module, steps: Signal) -> None:
        """The array is free after an operation's steps, and what it has read in that cycle."""
        left, held = Signal.like(steps), Signal(self.ends)
        free, last = Signal(init=1), Signal()
        m.d.comb += [connect(self.free, free), self.ended.eq(held & last.replicate(self.ends))]
        m.d.sync += [last.eq(left == 2), left.eq(left - 1)]
        with m.If(left == 2):
            m.d.sync += free.eq(1)
        with m.If(last):
            m.d.sync += held.eq(0)  # the count goes on, and comes by again while nothing is given
        with m.If(self.begin):
            m.d.sync += [
                *(connect(left, steps), connect(held, self.frees)),
                *(free.eq(steps == 1), last.eq(steps == 1)),
            ]

    def _drain(self, m: Module, steps: Signal) -> None:
        """Whether the sums of an operation of so many steps, given next, would come when those before have left."""
        drain = self.flow.drain_cycles
        left = Signal(range((1 << len(steps)) + drain))
        others = [op.steps for op in self.ops]
        m.d.sync += left.eq(Mux(left == 0, 0, left - 1))
        m.d.comb += self.drain_free_next.eq(Cat(left <= other + 1 for other in others))
        # Steps are the network's: the comparisons of two streams' are made long before.
        after = [Signal(len(Stream), name=f"after_{stream.name.lower()}") for stream in Stream]
        for register, own in zip(after, others, strict=True):
            m.d.sync += register.eq(Cat(own + (drain - 1) <= other for other in others))
        with m.If(self.sums):
            m.d.sync += left.eq(steps + (drain - 1))
            for number, register in enumerate(after):
                with m.If(self.hand[number]):
                    m.d.comb += self.drain_free_next.eq(register)
