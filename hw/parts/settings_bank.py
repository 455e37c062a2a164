"""The settings of a network: words that units need at all times, in banks like every loadable memory."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.engine.words import LoadMemory
from .arithmetic import delay_stages
from .component import Component
from .connect import connect
from .contents import first_words
from .stream import LOAD_BUS


class SettingsBank(Component):
    """Registers that the load bus writes; of two banks `bank` chooses the ones on the outputs.

    A setting's word has 64 bits; those above the setting are 0 in every stream. Bank 0 begins with the words of
    `parts.contents.Contents`, where that is the platform.

    Timing: outputs follow the load bus three cycles later; of two banks, `bank` one cycle later.

    Numerics: none.

    Parameters
    ----------
    memory : LoadMemory
        Id, words and banks.
    bits : dict of str to int
        Settings in the order of their words.

    Members
    -------
    load, bank : In
        Load bus, and the bank in use.
    settings : Out
        By name.
    """

    def __init__(self, memory: LoadMemory, bits: dict[str, int]):
        self.memory, self.bits = memory, bits
        super().__init__({"load": In(LOAD_BUS), "bank": In(1), "settings": Out(data.StructLayout(bits))})

    def elaborate(self, platform: object) -> Module:
        """Build the registers, and one behind a choice of the bank, from which thousands of gates follow."""
        m = Module()
        addr = self.load.addr[: (len(self.bits) - 1).bit_length()]  # no section is longer
        mine = self.load.en & (self.load.memory == self.memory.id)
        # What is loaded comes from far, and goes far: it is registered on its way, and a setting has a flag of its own.
        word_1, mine_1 = Signal.like(addr, name="word_1", reset_less=True), Signal(name="mine_1")
        loaded = delay_stages(m, self.load.data, 2, "loaded", reset_less=True)[-1]
        m.d.sync += [connect(word_1, addr), mine_1.eq(mine)]
        first = first_words(platform, self.memory) or [0] * len(self.bits)
        for word, (name, bits) in enumerate(self.bits.items()):
            here = Signal(name=f"{name}_here")
            m.d.sync += here.eq(mine_1 & (word_1 == word))
            inits = [first[word], 0][: self.memory.banks]
            banks = [Signal(bits, name=f"{name}_{bank}", init=init) for bank, init in enumerate(inits)]
            for bank, register in enumerate(banks):
                with m.If(here & ((self.bank != bank) if len(banks) == 2 else 1)):
                    m.d.sync += register.eq(loaded[:bits])
            shown = banks[0]
            if len(banks) == 2:
                shown = Signal(bits, name=f"{name}_shown", reset_less=True)
                m.d.sync += shown.eq(Mux(self.bank, banks[1], banks[0]))
            m.d.comb += connect(self.settings[name], shown)
        return m
