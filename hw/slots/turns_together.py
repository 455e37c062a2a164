"""Lanes that go through the blocks side by side, so that they share the weights that are streamed."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, Signal

from ...sim.flow.memories import head_eps
from ...sim.flow.residual_add import ResidualAddUnit
from ...sim.flow.streams import Stream
from ..flow.jobs import Credits, following
from ..parts.connect import connect
from .records import next_address
from .turns import Turns


class TurnsTogether(Turns):
    """The records of all turns, where lanes take images only together.

    A *round* is a turn of each lane, all with the same block. The first lane decides as if it were alone; the others
    are in its block, and take an image where it takes one, if there is one left. So whatever goes on, the first lane
    has an image, and where that has none all lanes wait.

    Timing: as of `Turns`.

    Numerics: none; counts are exact.

    Parameters
    ----------
    flow : FlowConfig
        With streamed weights.

    Members
    -------
    settings, turn, record, valid, settled, asked, began, embedded, taken : In, Out
        Of `Turns`.
    decided_next, idle, follows, follows_next, goes_on, next_bank, known_next, table_put, table : Out
        Of `Turns`.
    """

    def _beside(self, m: Module, records: list[Signal], turn: Signal) -> Signal:
        """What the first lane works on in the next round, and whether the turn is that lane's own."""
        lanes = self.flow.images
        first = Signal(self.layout, name="first_lane", reset_less=True)
        chosen = Array(records[(at - at % lanes + lanes) % self.turns].as_value() for at in range(self.turns))
        m.d.sync += first.as_value().eq(chosen[turn])
        return first

    def _decide(self, m: Module, record: Signal, beside: Signal, decided: Signal, new: Signal) -> tuple[Signal, Signal]:
        """Whether it is decided in this cycle, and whether for the image's next block; `new` is the record then."""
        banks, lanes = ResidualAddUnit(self.flow).banks, self.flow.images
        m.submodules.waiting = waiting = Credits(banks)
        bank = Signal(range(banks))
        leads, may, decide, goes_on, idle = Signal(), Signal(), Signal(), Signal(), Signal()
        turn = self.turn[Stream.FC2]
        m.d.sync += leads.eq((turn == 0) | (turn == lanes))
        m.d.comb += [
            connect(waiting.give, self.embedded),
            goes_on.eq(record.valid & ~record.last),
            may.eq(leads | (beside.valid & (beside.block == 0))),
            idle.eq(leads & ~record.valid & ~waiting.some),
            self.idle.eq(self.asked & ~decided & idle),
            decide.eq((self.settled & goes_on) | (self.asked & ~decided & ~idle)),
            waiting.take.eq(decide & ~goes_on & may & waiting.some),
        ]
        with m.If(waiting.take):
            m.d.sync += bank.eq(following(bank, banks))
        with m.If(leads):
            self._first(m, record, new, goes_on)
        with m.Else():
            m.d.comb += connect(new.as_value(), beside.as_value())
        m.d.comb += [
            new.valid.eq(goes_on | (may & waiting.some)),
            new.bank.eq(Mux(goes_on, record.bank, bank)),
        ]
        return decide, goes_on

    def _first(self, m: Module, record: Signal, new: Signal, goes_on: Signal) -> None:
        """What the first lane works on next: its image's next block, or the first one of another image."""
        settings = self.settings
        with m.If(goes_on):
            self._next_block(m, record, new)
        with m.Else():
            other = next_address(self.flow, settings, record, "weights")
            m.d.comb += [
                *(new.last.eq(settings.depth_last == 0), new.head_eps.eq(head_eps(self.flow))),
                # A round without images took no place; an address of a ring wraps.
                new.weights.eq(Mux(record.valid, other, record.weights)),
            ]
