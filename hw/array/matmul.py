"""Control of the array: walks the steps of operations, starts their sums, and says where these go."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.flow.matmul import MatmulUnit
from ...sim.flow.operation import Way
from ..parts.arithmetic import delay_flag, delayed
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.stream import read_port

#: Fields that the steps and the start of the sums need; the others travel on to the end of the sums.
_OF_STEPS = ("steps", "a_mem", "a_addr", "w_mem", "w_addr", "preload_addr", "add_sums", "sums_addr")


def operation(unit: MatmulUnit) -> data.StructLayout:
    """An operation, when its `en`."""
    return data.StructLayout({"en": 1, **unit.operands.fields})


def way_out(unit: MatmulUnit) -> data.StructLayout:
    """What of an operation says where its sums go."""
    return data.StructLayout({name: bits for name, bits in unit.operands.fields.items() if name not in _OF_STEPS})


class Matmul(Component):
    """Sequence operations: `steps` reads of both operands, the start of the sums, and the end of them.

    Timing: stages of `MatmulUnit`; an operation may come `steps` cycles after the last one.

    Numerics: sums begin at the preload's word, and the values' sums where they are added; two's complement, wraps.

    Parameters
    ----------
    unit : MatmulUnit

    Members
    -------
    op : In(operation)
        An operation.
    active : Out(1)
        A step is read: its addresses are given.
    a_mem, a_addr, w_mem, w_addr : Out
        Addresses of both operands.
    preload, sums : Out(read_port)
        Readers of the starts of sums, and of the values' sums.
    first, start : Out
        In `first_stage`: the sums begin at `start`.
    tile, rows, drain : Out(1)
        In `sum_stage`, the sums being complete: their signs go to a row memory as a whole; row by row; they themselves
        are drained.
    way : Out(way_out)
        Of that operation.
    """

    def __init__(self, unit: MatmulUnit):
        self.unit, self.engine = unit, unit.flow.engine
        fields, width = unit.operands.fields, unit.flow.engine.columns * unit.flow.engine.acc_bits
        super().__init__(
            {
                "op": In(operation(unit)),
                "active": Out(1),
                **{name: Out(fields[name]) for name in ("a_mem", "a_addr", "w_mem", "w_addr")},
                "preload": Out(read_port(fields["preload_addr"], width)),
                "sums": Out(read_port(fields["sums_addr"], width)),
                "first": Out(1),
                "start": Out(width),
                "tile": Out(1),
                "rows": Out(1),
                "drain": Out(1),
                "way": Out(way_out(unit)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count the steps; flags and fields follow them."""
        m = Module()
        u, op = self.unit, self.op
        held = Signal(operation(u), reset_less=True)
        with m.If(op.en):
            m.d.sync += connect(held.as_value(), op.as_value())
        first, last = self._steps(m, held)
        self._start(m, held)
        drained = held.way >= Way.RESIDUAL
        m.d.comb += [
            self.first.eq(delay_flag(m, first, u.first_stage, "first_line")),
            self.tile.eq(delay_flag(m, last & (held.way == Way.SIGN), u.sum_stage, "tile_line")),
            self.rows.eq(delay_flag(m, last & (held.way == Way.ROWS), u.sum_stage, "rows_line")),
            self.drain.eq(delay_flag(m, last & drained, u.sum_stage, "drain_line")),
        ]
        ways = Cat(held[name] for name in self.way.shape().members)
        m.d.comb += self.way.as_value().eq(delayed(m, ways, u.sum_stage, "way_delay"))
        return m

    def _steps(self, m: Module, held: data.View) -> tuple[Signal, Signal]:
        """Walk the addresses; return whether this is an operation's first step, and its last."""
        op = self.op
        active, first, last = Signal(), Signal(), Signal()
        after = Signal.like(op.steps, reset_less=True)  # steps after this one
        m.d.sync += [connect(first, op.en), after.eq(after - 1), last.eq(active & ~last & (after == 1))]
        with m.If(last):
            m.d.sync += active.eq(0)
        with m.If(op.en):
            m.d.sync += [active.eq(1), after.eq(op.steps - 1), last.eq(op.steps == 1)]
        for port, begin in ((self.a_addr, op.a_addr), (self.w_addr, op.w_addr)):
            address = Signal.like(port, reset_less=True)
            m.d.sync += address.eq(Mux(op.en, begin, address + 1))
            m.d.comb += connect(port, address)
        m.d.comb += [connect(self.active, active), connect(self.a_mem, held.a_mem), connect(self.w_mem, held.w_mem)]
        return first, last

    def _start(self, m: Module, held: data.View) -> None:
        """The words of both memories are registered, then added."""
        u, bits = self.unit, self.engine.acc_bits
        addresses = delayed(m, Cat(held.preload_addr, held.sums_addr), u.preload_stage, "start_delay")
        add = delayed(m, held.add_sums, u.preload_stage + 1, "add_delay")
        preload, sums = Signal.like(self.start, reset_less=True), Signal.like(self.start, reset_less=True)
        start = Signal.like(self.start, reset_less=True)
        m.d.comb += [
            Cat(self.preload.addr, self.sums.addr).eq(addresses),
            connect(self.start, start),
        ]
        m.d.sync += [connect(preload, self.preload.data), connect(sums, self.sums.data)]
        with m.If(~add):
            m.d.sync += sums.eq(0)

        def column(word: Value, number: int) -> Value:
            return word.word_select(number, bits)

        for number in range(self.engine.columns):
            m.d.sync += column(start, number).eq(column(preload, number) + column(sums, number))
