"""The grid of dot units: every cycle one step of all dot products."""

from __future__ import annotations

from amaranth.hdl import Cat, Module
from amaranth.lib.wiring import In, Out

from ...sim.engine.config import EngineConfig
from ...sim.engine.words import WORD
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.popcount import Features
from ..parts.xnor_dot import XnorDot


class SumArray(Component):
    """Output-stationary array: every cycle one 64-bit step of R x C dot products.

    Timing: the sums include a step `XNOR_ARRAY_CYCLES` cycles after its operands are on `a` and `w`; one step a cycle.

    Numerics: as `XnorDot`.

    Parameters
    ----------
    engine : EngineConfig
        Shape of the array.

    Members
    -------
    a, w : In
        64 bits a row, and a column; the first one is least significant.
    first : In(1)
        The sums start at `start`, `XNOR_ARRAY_CYCLES - 1` cycles after the operands of the first step.
    start : In(C * acc_bits)
        Start of the sums, a column each.
    o : Out(R * C * acc_bits)
        The sums, row by row.
    """

    def __init__(self, engine: EngineConfig):
        self.engine = engine
        self.features = Features(engine.fabric)
        super().__init__(
            {
                "a": In(engine.rows * WORD),
                "w": In(engine.columns * WORD),
                "first": In(1),
                "start": In(engine.columns * engine.acc_bits),
                "o": Out(engine.rows * engine.columns * engine.acc_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build features and dot units."""
        m = Module()
        rows, columns, bits = self.engine.rows, self.engine.columns, self.engine.acc_bits
        registered = self.features.registered
        a = [registered(m, self.a.word_select(row, WORD), f"a{row}", weights=False) for row in range(rows)]
        w = [registered(m, self.w.word_select(column, WORD), f"w{column}", weights=True) for column in range(columns)]
        sums = []
        for row in range(rows):
            for column in range(columns):
                m.submodules[f"dot_{row}_{column}"] = dot = XnorDot(self.engine.fabric, bits)
                m.d.comb += [
                    connect(dot.a, a[row]),
                    connect(dot.w, w[column]),
                    connect(dot.first, self.first),
                    dot.preload.eq(self.start.word_select(column, bits)),
                ]
                sums.append(dot.o)
        m.d.comb += connect(self.o, Cat(sums))
        return m
