"""Lanes that take windows: which one is next, and whether it can be taken, is told."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...sim.flow.config import FlowConfig
from ..parts.connect import connect
from .records import record_layout
from .turns import Turns

#: Fields of a record that are told when it is decided on, and their ports.
_TOLD = {"place": "next_place", "layer": "next_layer", "block": "next_block"}


class TurnsOfWindows(Turns):
    """The records of all turns, of an engine with windows.

    Timing: as of `Turns`; what is `there` in a cycle can be taken in it.

    Numerics: none; counts are exact.

    Parameters
    ----------
    flow : FlowConfig
        With windows.

    Members
    -------
    settings, turn, record, valid, settled, asked, began, embedded, taken : In, Out
        Of `Turns`; `embedded` is not looked at.
    decided_next, idle, follows, follows_next, goes_on, next_bank, known_next, table_put, table : Out
        Of `Turns`.
    there, window : In
        Whether a window can be taken, and the record with it.
    take : Out(1)
        It is taken.
    next_place, next_layer, next_block : Out
        Of what was decided, as `next_bank`.
    """

    def _more(self) -> dict[str, Any]:
        record = record_layout(self.flow)
        return {
            "there": In(1),
            "window": In(record),
            "take": Out(1),
            **{port: Out(record[name].width) for name, port in _TOLD.items()},
        }

    def _told(self, m: Module, decide: Signal, new: Signal) -> None:
        """Where its tiles are, and what is normalised with."""
        with m.If(decide):
            m.d.sync += [connect(getattr(self, port), new[name]) for name, port in _TOLD.items()]

    def _decide(self, m: Module, record: Signal, others: Signal, decided: Signal, new: Signal) -> tuple[Signal, Signal]:
        """Whether it is decided in this cycle, and whether for the next block; `new` is the record then."""
        decide, goes_on, idle = Signal(), Signal(), Signal()
        m.d.comb += [
            goes_on.eq(record.valid & ~record.last),
            idle.eq(~record.valid & ~others & ~self.there),
            self.idle.eq(self.asked & ~decided & idle),
            decide.eq((self.settled & goes_on) | (self.asked & ~decided & ~idle)),
            self.take.eq(decide & ~goes_on & self.there),
        ]
        with m.If(goes_on):
            m.d.comb += connect(new.as_value(), record.as_value())
            self._next_block(m, record, new)
        with m.Else():
            m.d.comb += [connect(new.as_value(), self.window.as_value()), connect(new.valid, self.there)]
        return decide, goes_on


def windows_ports(flow: FlowConfig) -> dict[str, wiring.Member]:
    """Return the ports of windows, see `Slots`.

    Parameters
    ----------
    flow : FlowConfig
    """
    if flow.windows is None:
        return {}
    return {"window_there": In(1), "window": In(record_layout(flow)), "window_take": Out(1)}
