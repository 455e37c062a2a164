"""Lanes and turns: which image and block each lane works on, and what it works on next."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.flow.config import FlowConfig
from ...sim.flow.memories import head_eps
from ...sim.flow.residual_add import ResidualAddUnit
from ...sim.flow.settings import setting_bits
from ...sim.flow.streams import Stream
from ...sim.timing.needs import NEXT_TURN_CYCLES
from ..flow.jobs import Credits, following
from ..parts.arithmetic import delay_flag
from ..parts.component import Component
from ..parts.connect import connect
from .records import block_steps, next_address, record_layout, turns


class Turns(Component):
    """The records of all turns, and the decision what a lane's next one is.

    It is made when fc2 comes to a turn: the image's next block; or else an image whose patches are embedded; or else
    nothing, but where no lane works on anything, fc2 waits for an image.

    Timing: a record is read a cycle after its turn. A decision is made in the cycle before fc2 is ready, where the
    image has a next block, else in the first cycle with `asked` in which it can be; see
    `sim.timing.needs.NEXT_TURN_CYCLES`.

    Numerics: none; counts are exact.

    Parameters
    ----------
    flow : FlowConfig

    Members
    -------
    settings : In
        Of the network.
    turn, record, valid : In, Out, Out, arrays by stream
        The turn of each stream, and what its lane works on; whether it does, a cycle before that.
    settled, asked : In(1)
        fc2 is ready in the next cycle, at a turn's first slot; its slot is at hand and could pass.
    began : In(1)
        A turn's first slot of fc2 passes.
    embedded : In(1)
        Pulse: one more image is embedded.
    decided_next : Out(1)
        It is decided for the turn of fc2, in the next cycle: from the decision until the slot passes.
    idle : Out(1)
        The slot of fc2 waits for an image.
    follows, follows_next, goes_on, next_bank : Out
        What was decided: the lane works on something in its next turn, and whether that is so in the next cycle; on its
        image's next block; in which bank.
    known_next, taken : Out(1), In(1)
        It is decided what QKV's next turn works on, in the next cycle; its first slot passes.
    table_put, table : Out
        Of what a lane works on next, the first word of its block's tables of Exp.
    """

    def __init__(self, flow: FlowConfig):
        self.flow, self.layout, self.turns = flow, record_layout(flow), turns(flow)
        super().__init__(
            {
                "settings": In(data.StructLayout(setting_bits(flow))),
                "turn": In(range(self.turns)).array(len(Stream)),
                "record": Out(self.layout).array(len(Stream)),
                "valid": Out(1).array(len(Stream)),
                **{name: In(1) for name in ("settled", "asked", "began", "embedded", "taken")},
                **{name: Out(1) for name in ("idle", "follows", "follows_next", "goes_on", "table_put")},
                **{name: Out(1) for name in ("decided_next", "known_next")},
                "next_bank": Out(self.layout["bank"].width),
                "table": Out(self.layout["table"].width),
                **self._more(),
            }
        )

    def _more(self) -> dict[str, Any]:
        """Return further ports."""
        return {}

    def elaborate(self, platform: object) -> Module:
        """Build the records, a register of its record for each stream, and the decision."""
        m = Module()
        records = [Signal(self.layout, name=f"record_{turn}") for turn in range(self.turns)]
        held = []
        for number, turn in enumerate(self.turn):
            of = Signal(self.layout, name=f"of_{Stream(number).name.lower()}", reset_less=True)
            m.d.sync += of.as_value().eq(Array(record.as_value() for record in records)[turn])
            m.d.comb += [
                connect(self.record[number].as_value(), of.as_value()),
                connect(self.valid[number], Array(record.valid for record in records)[turn]),
            ]
            held.append(of)
        turn, record = self.turn[Stream.FC2], held[Stream.FC2]
        beside = self._beside(m, records, turn)
        new = Signal(self.layout)
        decided = Signal()
        decide, goes_on = self._decide(m, record, beside, decided, new)
        m.d.comb += [
            self.decided_next.eq((decide | decided) & ~self.began),
            self.follows_next.eq(Mux(decide, new.valid, self.follows)),
        ]
        m.d.sync += [connect(decided, self.decided_next), connect(self.follows, self.follows_next)]
        with m.If(decide):
            m.d.sync += [
                connect(self.goes_on, goes_on),
                *(connect(self.next_bank, new.bank), connect(self.table, new.table)),
            ]
            with m.Switch(turn):
                for at in range(self.turns):
                    with m.Case(at):
                        m.d.sync += records[(at + self.flow.images) % self.turns].eq(new)
        self._told(m, decide, new)
        m.submodules.known = known = Credits(self.turns, early=True)
        m.d.sync += self.table_put.eq(decide & new.valid & self.settings.softmax)
        m.d.comb += [
            known.give.eq(delay_flag(m, decide, NEXT_TURN_CYCLES - 1, "known_line")),
            connect(known.take, self.taken),
            connect(self.known_next, known.some_next),
        ]
        return m

    def _told(self, m: Module, decide: Signal, new: Signal) -> None:
        """Tell more of what was decided."""

    def _beside(self, m: Module, records: list[Signal], turn: Signal) -> Signal:
        """Whether other lanes work on something, in a turn or later ones."""
        others = Signal()
        m.d.sync += others.eq(Array(self._others(records, at) for at in range(self.turns))[turn])
        return others

    def _others(self, records: list[Signal], turn: int) -> object:
        """Whether any lane but that of a turn works on something."""
        lanes = self.flow.images
        found = [records[(turn + other) % self.turns].valid for other in range(1, lanes)]
        return sum(found[1:], found[0]) != 0 if found else 0

    def _next_block(self, m: Module, record: Signal, new: Signal) -> None:
        """The image's next block, with addresses that move on."""
        block = record.block + 1
        m.d.comb += [new.block.eq(block), new.last.eq(block == self.settings.depth_last)]
        m.d.comb += [
            new[name].eq(next_address(self.flow, self.settings, record, name)) for name in block_steps(self.flow)
        ]

    def _decide(self, m: Module, record: Signal, others: Signal, decided: Signal, new: Signal) -> tuple[Signal, Signal]:
        """Whether it is decided in this cycle, and whether for the image's next block; `new` is the record then."""
        banks = ResidualAddUnit(self.flow).banks
        m.submodules.waiting = waiting = Credits(banks)
        bank = Signal(range(banks))
        decide, goes_on, idle = Signal(), Signal(), Signal()
        m.d.comb += [
            connect(waiting.give, self.embedded),
            goes_on.eq(record.valid & ~record.last),
            idle.eq(~record.valid & ~others & ~waiting.some),
            self.idle.eq(self.asked & ~decided & idle),
            decide.eq((self.settled & goes_on) | (self.asked & ~decided & ~idle)),
        ]
        settings = self.settings
        with m.If(goes_on):
            m.d.comb += [new.valid.eq(1), new.bank.eq(record.bank)]
            self._next_block(m, record, new)
        with m.Else():
            m.d.comb += [
                *(connect(new.valid, waiting.some), connect(new.bank, bank), new.last.eq(settings.depth_last == 0)),
                new.head_eps.eq(head_eps(self.flow)),
                waiting.take.eq(decide & waiting.some),
            ]
            with m.If(waiting.take):
                m.d.sync += bank.eq(following(bank, banks))
        return decide, goes_on
