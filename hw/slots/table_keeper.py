"""Tables of Exp of an engine with windows: a set that has them already is left as it is."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, Signal, Value

from ...sim.timing.plan import TABLE_SETS
from ..parts.connect import connect
from .table_loader import TableLoader


class TableKeeper(TableLoader):
    """As `TableLoader`; windows of a block follow each other, and have the same tables.

    Timing: as of `TableLoader`, as if a turn had one word where its set has its tables.

    Numerics: none.

    Parameters
    ----------
    flow : FlowConfig
        With windows.

    Members
    -------
    put, first, words, jobs_last, job_done, write, full, load, bank : In, Out
        Of `TableLoader`.
    """

    def _words(self, m: Module, take: Signal, first: Value) -> Value:
        """One, which is not written, where the set has the turn's tables."""
        turn = Signal(range(TABLE_SETS), name="set")
        held = [Signal(len(first), name=f"held_{number}", reset_less=True) for number in range(TABLE_SETS)]
        known = [Signal(name=f"known_{number}") for number in range(TABLE_SETS)]
        same, keeps = Signal(name="same"), Signal(name="keeps")
        self._kept = Signal(name="kept")
        m.d.comb += same.eq(Array(known)[turn] & (Array(held)[turn] == first))
        with m.If(take):
            m.d.sync += [turn.eq(turn + 1), connect(keeps, same)]
            for number in range(TABLE_SETS):
                with m.If(turn == number):
                    m.d.sync += [known[number].eq(1), connect(held[number], first)]
        m.d.sync += connect(self._kept, keeps)
        return Mux(same, 1, self.words)

    def _writes(self, there: Signal) -> Value:
        """Whether a word is written, where one is there."""
        return there & ~self._kept
