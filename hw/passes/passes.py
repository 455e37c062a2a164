"""Groups of images go through the passes of a network: settings are replaced, and the core begins again each time."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.flow.config import FlowConfig
from ...sim.flow.memories import LOADED
from ...sim.flow.residual_add import ResidualAddUnit
from ...sim.flow.settings import passes_memory, setting_bits
from ..flow.jobs import following
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.memory import LoadableMemory
from ..parts.stream import LOAD_BUS
from .sequences import Sequences

#: From the last word of settings to the reset of the core: its read, the bus, and the registers behind that.
_SETTLE_CYCLES = 6


class Passes(Component):
    """Takes a group of embedded images, lets the core do pass after pass with all of them, and gives them back.

    A group is as many images as go together, or those that are left of the run; it begins when they are embedded.

    Timing: `sim.timing.passes.run_passes`.

    Numerics: none; counts are exact.

    Parameters
    ----------
    flow : FlowConfig
        With windows.

    Members
    -------
    settings : In
        Of the pass.
    limit : In(32)
        Images of the run.
    embedded, finished : In(1), Out(1)
        Pulse: x of one more image is in the next bank; the oldest image is through all passes.
    settle : Out(LOAD_BUS)
        Settings of the next pass, as a load stream would bring them.
    settling : Out(1)
        These come, and no load stream.
    restart, between : Out(1)
        The core begins a pass; it does none, and settings may change.
    left : In(1)
        Pulse: the oldest window has been left.
    there, window, take : Out, Out, In
        Of `Sequences`.
    load, bank : In
        Load bus, and the bank in use.
    """

    def __init__(self, flow: FlowConfig):
        assert flow.windows is not None
        self.flow, self.words = flow, len(setting_bits(flow))
        self.memory, self.banks = passes_memory(flow), ResidualAddUnit(flow).banks
        self.sequences = Sequences(flow)
        self.images, ports = flow.windows.images, self.sequences.signature.members
        super().__init__(
            {
                "settings": In(data.StructLayout(setting_bits(flow))),
                "limit": In(32),
                "embedded": In(1),
                "finished": Out(1),
                "settle": Out(LOAD_BUS),
                "settling": Out(1),
                "restart": Out(1),
                "between": Out(1, init=1),
                "left": In(1),
                "there": Out(1),
                "window": ports["next"],
                "take": In(1),
                "load": In(LOAD_BUS),
                "bank": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Wait for a group; replace the settings; wait until the pass is through."""
        m = Module()
        m.submodules.sequences = sequences = self.sequences
        group, bank = Signal(range(self.images + 1)), Signal(range(self.banks))
        next_bank = Signal.like(bank)
        m.d.comb += [
            connect(sequences.settings.as_value(), self.settings.as_value()),
            *(connect(sequences.group, group), connect(sequences.bank, bank), connect(sequences.begin, self.restart)),
            *(connect(sequences.take, self.take), connect(sequences.finished, self.left)),
            *(connect(self.there, sequences.there), connect(self.window.as_value(), sequences.next.as_value())),
        ]
        busy, take = Signal(name="busy"), Signal()
        ready, count = self._group(m, take)
        m.d.comb += [take.eq(ready & ~busy), self.settling.eq(busy)]
        with m.If(take):
            m.d.sync += [busy.eq(1), connect(group, count), connect(bank, next_bank)]
        over = sequences.through & self.settings.last_pass
        with m.If(sequences.through):
            m.d.sync += self.between.eq(1)
        with m.If(self.restart):
            m.d.sync += self.between.eq(0)
        self._settle(m, take, sequences.through & ~self.settings.last_pass)
        with m.If(self._leave(m, over, group)):
            m.d.sync += busy.eq(0)
        with m.If(self.finished):
            m.d.sync += next_bank.eq(following(next_bank, self.banks))
        return m

    def _leave(self, m: Module, over: Value, group: Signal) -> Value:
        """Give the images of a group back, one a cycle; return whether that is the last one."""
        leaves, left = Signal(name="leaves"), Signal.like(group)
        with m.If(over):
            m.d.sync += [leaves.eq(1), connect(left, group)]
        with m.If(leaves):
            m.d.sync += left.eq(left - 1)
            with m.If(left == 1):
                m.d.sync += leaves.eq(0)
        m.d.comb += connect(self.finished, leaves)
        return leaves & (left == 1)

    def _group(self, m: Module, take: Signal) -> tuple[Signal, Signal]:
        """Count images that are embedded and wait; return whether a group is whole, and how many go together next."""
        waiting, taken = Signal(range(self.banks + 1)), Signal(32)
        count = Signal(range(self.images + 1))
        m.d.comb += count.eq(Mux(waiting > self.images, self.images, waiting))
        m.d.sync += waiting.eq(waiting + self.embedded - Mux(take, count, 0))
        ready = Signal(name="ready")
        whole = (waiting >= self.images) | (waiting.any() & (taken + waiting == self.limit))
        m.d.sync += ready.eq(whole & ~take)
        with m.If(take):
            m.d.sync += taken.eq(taken + count)
        return ready, count

    def _settle(self, m: Module, first: Value, again: Value) -> None:
        """Replace the settings by those of the first pass, or of the next one; then let the core begin."""
        address, left = Signal(range(self.memory.depth)), Signal(range(self.words))
        loads, waits, settle = Signal(name="loads"), Signal(name="waits"), Signal(range(_SETTLE_CYCLES))
        with m.If(first):
            m.d.sync += address.eq(0)
        with m.If(first | again):
            m.d.sync += [loads.eq(1), left.eq(self.words - 1)]
        with m.If(loads):
            m.d.sync += [address.eq(address + 1), left.eq(left - 1)]
            with m.If(left == 0):
                m.d.sync += [loads.eq(0), waits.eq(1), settle.eq(_SETTLE_CYCLES - 1)]
        m.d.sync += self.restart.eq(waits & (settle == 0))
        with m.If(waits):
            m.d.sync += settle.eq(settle - 1)
            with m.If(settle == 0):
                m.d.sync += waits.eq(0)
        self._bus(m, loads, address)

    def _bus(self, m: Module, loads: Signal, address: Signal) -> None:
        """Words of the settings on a bus of their own: address, word, bus."""
        m.submodules.passes = passes = LoadableMemory(self.memory)
        word, there = Signal(range(self.words)), Signal()
        m.d.comb += [
            *(connect(passes.load, self.load), connect(passes.bank, self.bank)),
            connect_address(passes.r_addr, address),
            *(self.settle.en.eq(there), self.settle.memory.eq(LOADED.index("settings"))),
            *(self.settle.addr.eq(word), self.settle.data.eq(passes.r_data)),
        ]
        m.d.sync += there.eq(loads)
        with m.If(there):
            m.d.sync += word.eq(following(word, self.words))
