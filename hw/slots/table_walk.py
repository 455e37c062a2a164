"""The slot table's words in order, again and again: which stream's slot is at hand."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from ...sim.engine.words import LoadMemory
from ...sim.flow.memories import SLOT_BITS
from ...sim.flow.streams import Stream
from ...sim.timing.plan import TABLE_FILL_CYCLES
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.memory import LoadableMemory
from ..parts.stream import LOAD_BUS


class TableWalk(Component):
    """Reads two slots a word, a word ahead of the one at hand.

    Timing: `hand` is there `sim.timing.plan.TABLE_FILL_CYCLES` after `hold` falls; a slot may be taken in every cycle.

    Numerics: none.

    Parameters
    ----------
    memory : LoadMemory
        The slot table.
    based : bool
        Whether the table may begin anywhere.

    Members
    -------
    hold : In(1)
        Begin again with the first word.
    last, base : In
        The table's last word; its first one, if that is not 0.
    take : In(1)
        The slot at hand passes.
    hand, hand_next : Out
        Of each stream, whether the slot at hand is its own; the one of the next cycle.
    load, bank : In
        Load bus, and the bank in use.
    """

    def __init__(self, memory: LoadMemory, *, based: bool = False):
        self.memory, self.based = memory, based
        address = In(max(1, (memory.depth - 1).bit_length()))
        super().__init__(
            {
                "hold": In(1),
                "last": address,
                **({"base": address} if based else {}),
                "take": In(1),
                "hand_next": Out(len(Stream)),
                "hand": Out(len(Stream)),
                "load": In(LOAD_BUS),
                "bank": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the memory, the word that follows, the second slot of the one at hand, and the decoded slot."""
        m = Module()
        m.submodules.slots = slots = LoadableMemory(self.memory)
        address, following = Signal.like(self.last), Signal(2 * SLOT_BITS, reset_less=True)
        second, at_second = Signal(SLOT_BITS, reset_less=True), Signal()
        held, fill = Signal(), Signal(TABLE_FILL_CYCLES - 1)
        m.d.comb += [
            connect(slots.load, self.load),
            connect(slots.bank, self.bank),
            connect_address(slots.r_addr, address),
        ]
        move = (self.take & at_second) | fill[-1]
        m.d.sync += [connect(held, self.hold), fill.eq(Cat(held & ~self.hold, fill[:-1]))]
        with m.If(move | fill[0]):
            m.d.sync += [
                connect(following, slots.r_data),
                address.eq(Mux(address == self.last, self.base if self.based else 0, address + 1)),
            ]
        with m.If(move):
            m.d.sync += second.eq(following[SLOT_BITS:])
        # Which slot comes next is known before it is known whether one passes.
        to_first = at_second | fill[-1]
        passes = self.take | fill[-1]
        comes = _decoded(Mux(to_first, following[:SLOT_BITS], second))
        with m.If(passes):
            m.d.sync += at_second.eq(~to_first)
        m.d.comb += self.hand_next.eq(Mux(self.hold, 0, Mux(passes, comes, self.hand)))
        m.d.sync += connect(self.hand, self.hand_next)
        with m.If(self.hold):
            m.d.sync += address.eq(self.base if self.based else 0)
        return m


def _decoded(slot: Value) -> Value:
    return Cat(slot == int(stream) for stream in Stream)
