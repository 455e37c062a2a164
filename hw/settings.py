"""The settings of a network: a few words that units need at all times, in two banks like every loadable memory."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from ..sim.engine.config import EngineConfig
from ..sim.engine.memories import SETTINGS
from .parts.component import Component
from .parts.contents import first_words
from .parts.stream import LOAD_BUS


class Settings(Component):
    """Registers in two banks that the load bus writes; `bank` chooses the ones on the outputs.

    A setting's word has 64 bits; those above the setting are 0 in every stream (`sim.program.load_words`). Bank 0
    begins with the words of `parts.contents.Contents`, where that is the platform.

    Timing: outputs follow `bank` at once.

    Parameters
    ----------
    engine : EngineConfig
        Shape of the engine.

    Members
    -------
    load, bank : In
        Load bus, and the bank in use.
    strip_beats, strips, network : Out
        Beats a strip, strips an image, first 32 bits of the network's hash.
    """

    def __init__(self, engine: EngineConfig):
        self.spec = engine.load_memories["settings"]
        super().__init__({"load": In(LOAD_BUS), "bank": In(1), **{name: Out(bits) for name, bits in SETTINGS}})

    def elaborate(self, platform: object) -> Module:
        """Build the registers."""
        m = Module()
        first = first_words(platform, self.spec) or [0] * len(SETTINGS)
        for word, (name, bits) in enumerate(SETTINGS):
            banks = [Signal(bits, name=f"{name}_{bank}", init=init) for bank, init in enumerate((first[word], 0))]
            here = self.load.en & (self.load.memory == self.spec.id) & (self.load.addr == word)
            for bank, register in enumerate(banks):
                with m.If(here & (self.bank != bank)):
                    m.d.sync += register.eq(self.load.data[:bits])
            m.d.comb += getattr(self, name).eq(Mux(self.bank, banks[1], banks[0]))
        return m
