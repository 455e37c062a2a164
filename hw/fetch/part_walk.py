"""The parts of streamed weights in the order in which they are read: how long each is, and where it goes."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.flow.config import FlowConfig
from ...sim.flow.settings import BEATS, setting_bits
from ...sim.flow.weight_stream import WEIGHT_PARTS
from ..parts.component import Component
from ..parts.connect import connect


class PartWalk(Component):
    """The next part: of all blocks, again and again; blocks have two places in turn.

    Timing: what comes out is valid two cycles after `start` or `step`, which is never sooner than that again.

    Numerics: none; counts are exact.

    Parameters
    ----------
    flow : FlowConfig

    Members
    -------
    settings : In
        Of the network.
    start, step : In(1)
        Begin with the first block; go on.
    part, number : Out
        Which of `WEIGHT_PARTS`; its number among those of all blocks.
    beats, word : Out
        Its beats with the one that checks it; its first word in the engine's memory.
    final : Out(1)
        It is the last one of all blocks.
    """

    def __init__(self, flow: FlowConfig):
        self.flow = flow
        bits = setting_bits(flow)
        part = (len(WEIGHT_PARTS) - 1).bit_length()
        super().__init__(
            {
                "settings": In(data.StructLayout(bits)),
                "start": In(1),
                "step": In(1),
                "part": Out(part),
                "number": Out(part + bits["depth_last"]),
                "beats": Out(bits[BEATS[WEIGHT_PARTS[0]]]),
                "word": Out(bits["weight_step"] + 1),
                "final": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count parts and blocks; choose settings into registers."""
        m = Module()
        settings = self.settings
        part, block, odd = Signal.like(self.part), Signal(len(settings.depth_last)), Signal()
        last, deepest = part == len(WEIGHT_PARTS) - 1, Signal()
        with m.If(self.step):
            m.d.sync += part.eq(part + 1)
            with m.If(last):
                m.d.sync += [block.eq(Mux(deepest, 0, block + 1)), odd.eq(~odd)]
        with m.If(self.start):
            m.d.sync += [part.eq(0), block.eq(0), odd.eq(0)]
        first = Array(settings[f"{one.name.lower()}_weights"] for one in WEIGHT_PARTS)[part]
        m.d.comb += deepest.eq(block == settings.depth_last)
        m.d.sync += [
            *(connect(self.part, part), connect(self.number, Cat(part, block)), self.final.eq(last & deepest)),
            connect(self.beats, Array(settings[BEATS[one]] for one in WEIGHT_PARTS)[part]),
            connect(self.word, first + Mux(odd, settings.weight_step, 0)),
        ]
        return m
