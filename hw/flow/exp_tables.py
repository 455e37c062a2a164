"""Exp of both sets of tables, looked up by all lanes at once (docs/semantics.md 8)."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.engine.memories import TABLE_BITS
from ...sim.engine.words import WORD
from ...sim.flow.softmax import SoftmaxUnit
from ...sim.network.formats import EXP_BITS
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.memory import registered_read, unmet
from ..parts.stream import write_port

#: Exp[0], the same for every head, so it is not stored.
EXP_ZERO = 1 << 15


def table_addr(unit: SoftmaxUnit) -> int:
    """Return the address bits of a write to the tables: the word, 0 for Tau and k for Exp[k], then the table."""
    return WORD.bit_length() + (unit.tables - 1).bit_length()


class ExpTables(Component):
    """Copies of the tables, one a lane.

    Timing: `exp` is there two cycles after `index` and `table`; a word that is written is seen by an index
    `table_cycles` later.

    Numerics: a lane's `index` is d - 1 for Exp[d], d = 0 to 64, modulo 128: 127 means Exp[0].

    Parameters
    ----------
    unit : SoftmaxUnit

    Members
    -------
    write : In(write_port(...))
        A word of a table, see `table_addr`.
    index, table : In
        Lookup of each lane, in one table.
    keep : In
        Lanes that are not 0, a cycle after their index: of each row side by side, or, with windows, of all.
    exp : Out
        Exp of each lane.
    """

    def __init__(self, unit: SoftmaxUnit):
        self.unit = unit
        super().__init__(
            {
                "write": In(write_port(table_addr(unit), TABLE_BITS)),
                "index": In(data.ArrayLayout(WORD.bit_length(), unit.lanes)),
                "table": In(unit.job_bits["table"]),
                "keep": In(unit.lanes if unit.flow.windows else unit.columns),
                "exp": Out(data.ArrayLayout(EXP_BITS, unit.lanes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the copies; a write goes on from some lanes to the next ones."""
        m = Module()
        unit, bits = self.unit, WORD.bit_length() - 1
        enable, addr, word = self._written(m)
        for lane in range(unit.lanes):
            if lane % unit.write_lanes == 0 and lane:
                enable, addr, word = (self._moved(m, value, lane) for value in (enable, addr, word))
            m.submodules[f"copy{lane}"] = copy = unmet(EXP_BITS, unit.tables * WORD)
            write, index = copy.write_port(), self.index[lane]
            zero = Signal(name=f"zero{lane}")
            m.d.comb += [connect(write.en, enable), connect(write.addr, addr), connect(write.data, word)]
            found = registered_read(m, copy, Cat(index[:bits], self.table), f"word{lane}")
            m.d.sync += [zero.eq(index[bits]), self.exp[lane].eq(found)]
            with m.If(zero):
                m.d.sync += self.exp[lane].eq(EXP_ZERO)
            with m.If(~self.keep[lane % len(self.keep)]):
                m.d.sync += self.exp[lane].eq(0)
        return m

    def _written(self, m: Module) -> tuple[Value, Value, Value]:
        """Return the write of Exp[k] to word k - 1 of its table; Tau is no word of these."""
        bits = WORD.bit_length()
        number, table = self.write.addr[:bits], self.write.addr[bits:]
        enable, word = Signal(), Signal(EXP_BITS, reset_less=True)
        addr = Signal(len(self.write.addr) - 1, reset_less=True)
        m.d.sync += [
            enable.eq(self.write.en & number.any()),
            word.eq(self.write.data[:EXP_BITS]),
            addr.eq(Cat((number - 1)[: bits - 1], table)),
        ]
        return enable, addr, word

    @staticmethod
    def _moved(m: Module, value: Value, lane: int) -> Value:
        """Return a register that takes the value of the lanes before."""
        register = Signal(len(value), name=f"moved_{lane}_{value.name}")
        m.d.sync += register.eq(value)
        return register
