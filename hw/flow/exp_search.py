"""How many Exp reach the limit of a row: its limit from Z, then a search, a row a cycle (docs/semantics.md 8)."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.engine.memories import TABLE_BITS
from ...sim.engine.words import WORD
from ...sim.flow.softmax import SoftmaxUnit
from ...sim.network.formats import EXP_BITS
from ..parts.arithmetic import delay_flag, delayed, product
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.memory import registered_read, unmet
from ..parts.stream import write_port
from .exp_tables import EXP_ZERO, table_addr

#: Bits that are not in the product's integer part.
_FRACTION = 16


class ExpSearch(Component):
    """The number of k in 0..64 with ``Exp[k] >= limit``, where limit is the ceiling of ``Tau * Z / 2^16``.

    Exp does not rise with k, so a binary search finds it. Step i compares one of 2^(i - 1) entries, the one in the
    middle of what is left, and keeps only those; Exp[64] and Exp[0], which is 2^15, are compared beside the first step.

    Timing: rows side by side come together with `en`, at least as many cycles after the ones before as there are, and
    go on one after the other; stages are those of `SoftmaxUnit` from `sum_stage` on.

    Numerics: exact. Exp is an integer, so it is at least Tau*Z / 2^16 just when it is at least the ceiling of that. The
    limit saturates at 2^17 - 1, above every Exp.

    Parameters
    ----------
    unit : SoftmaxUnit

    Members
    -------
    write : In(write_port(...))
        A word of a table, see `exp_tables.table_addr`.
    en, z, table : In
        Sums of the rows side by side, of a job with this table.
    first, place : In
        Whether these are a job's first rows; where their counts go.
    through : Out(1)
        In the next cycle the last count of a job's first rows side by side is written.
    z_en, z_value : Out
        Z of one row.
    count_en, count_row, count_place, count_value : Out
        Count of one row: which of those side by side, and their place.
    """

    def __init__(self, unit: SoftmaxUnit):
        self.unit = unit
        place = (unit.memories["counts"].depth - 1).bit_length()
        super().__init__(
            {
                "write": In(write_port(table_addr(unit), TABLE_BITS)),
                "en": In(1),
                "z": In(data.ArrayLayout(unit.z_bits, unit.rows)),
                "table": In(unit.job_bits["table"]),
                "first": In(1),
                "place": In(place),
                "through": Out(1),
                "z_en": Out(1),
                "z_value": Out(unit.z_bits),
                "count_en": Out(1),
                "count_row": Out((unit.rows - 1).bit_length()),
                "count_place": Out(place),
                "count_value": Out(unit.flow.engine.score_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Rows one after the other; their limit; the steps; the count."""
        m = Module()
        unit = self.unit
        table, tau = self._serial(m)
        limit = self._limit(m, tau)
        first_read = unit.limit_stage - 2
        at_read = delayed(m, table, first_read - unit.sum_stage - 1, "table_delay")
        some, every = Signal(reset_less=True), Signal(reset_less=True)
        last_entry = self._entries(m, 0, at_read)
        m.d.sync += [some.eq(limit <= EXP_ZERO), every.eq(last_entry >= limit)]
        position: Value = Const(0, 0)
        for step in range(1, unit.search_steps + 1):
            entry = self._entries(m, step, Cat(position, at_read))
            before = delayed(m, position, 2, f"position_delay_{step}")
            bit = Signal(name=f"bit_{step}", reset_less=True)
            high = Signal(len(position), name=f"position_{step}", reset_less=True)
            m.d.sync += [bit.eq(entry >= limit), high.eq(before)]
            position = Cat(bit, high)
            if step < unit.search_steps:
                limit = delayed(m, limit, unit.step_cycles, f"limit_delay_{step}")
                at_read = delayed(m, at_read, unit.step_cycles, f"table_delay_{step}")
        wait = unit.step_cycles * (unit.search_steps - 1)
        m.d.sync += self.count_value.eq(position + 1 + delayed(m, every, wait, "every_delay"))
        with m.If(~delayed(m, some, wait, "some_delay")):
            m.d.sync += self.count_value.eq(0)
        return m

    def _serial(self, m: Module) -> tuple[Value, Value]:
        """Take rows side by side apart: Z, and where its count goes; return the table, and Tau when Z is there."""
        unit = self.unit
        waiting, place = Signal.like(self.z, reset_less=True), Signal.like(self.place, reset_less=True)
        table, row = Signal.like(self.table, reset_less=True), Signal.like(self.count_row, reset_less=True)
        valid = Signal(unit.rows)
        m.d.sync += [
            *(waiting[k].eq(waiting[k + 1]) for k in range(unit.rows - 1)),
            *(valid.eq(Cat(self.en, valid[:-1])), row.eq(row + 1)),
        ]
        with m.If(self.en):
            m.d.sync += [*(waiting[k].eq(self.z[k]) for k in range(unit.rows)), row.eq(0)]
            m.d.sync += [connect(place, self.place), connect(table, self.table)]
        m.submodules.tau = store = unmet(TABLE_BITS, unit.tables)
        write, number = store.write_port(), self.write.addr[: WORD.bit_length()]
        m.d.comb += [
            write.en.eq(self.write.en & ~number.any()),
            connect(write.addr, self.write.addr[len(number) :]),
            connect(write.data, self.write.data),
        ]
        tau = registered_read(m, store, table, "tau_read")
        m.d.sync += [self.z_en.eq(valid.any()), connect(self.z_value, waiting[0])]
        left = unit.count_stage - unit.sum_stage - 1
        m.d.comb += [
            self.count_en.eq(delay_flag(m, valid.any(), left, "count_valid")),
            Cat(self.count_row, self.count_place).eq(delayed(m, Cat(row, place), left, "place_delay")),
            self.through.eq(delay_flag(m, self.en & self.first, left + unit.rows - 1, "first_delay")),
        ]
        return table, tau

    def _limit(self, m: Module, tau: Value) -> Value:
        """Return the ceiling of ``Z * Tau / 2^16``, limited, at `limit_stage`."""
        unit = self.unit
        block, cycles = unit.flow.engine.block_bits, unit.multiply_cycles
        scaled = product(m, self.z_value, tau, "scaled_sum", block=block, cycles=cycles)
        ceiling = Signal(len(scaled) + 1 - _FRACTION, reset_less=True)
        limit = Signal(EXP_BITS + 1, reset_less=True)
        m.d.sync += [ceiling.eq((scaled + (1 << _FRACTION) - 1) >> _FRACTION), limit.eq(ceiling[: len(limit)])]
        with m.If(ceiling[len(limit) :].any()):
            m.d.sync += limit.eq(~0)
        return limit

    def _entries(self, m: Module, step: int, addr: Value) -> Value:
        """Return the entry that a step compares, two cycles after its address; "step" 0 has Exp[64].

        Entry k of step i is ``(2*k + 1) * 2^(6 - i)``: the k-th number with just so many zeros at its end.
        """
        unit, bits = self.unit, WORD.bit_length()
        number, table = self.write.addr[:bits], self.write.addr[bits:]
        zeros = unit.search_steps - step
        mine = number[: zeros + 1] == 1 << zeros
        m.submodules[f"step_{step}"] = store = unmet(EXP_BITS, unit.memories[f"step_{step}"].depth)
        write = store.write_port()
        m.d.comb += [
            write.en.eq(self.write.en & mine),
            write.addr.eq(Cat((number >> zeros + 1)[: max(0, step - 1)], table)),
            connect(write.data, self.write.data[:EXP_BITS]),
        ]
        word = registered_read(m, store, addr, f"read_{step}")
        entry = Signal(EXP_BITS, name=f"entry_{step}", reset_less=True)
        m.d.sync += entry.eq(word)
        return entry
