"""The R x C grid of dot units: operand registers, broadcast features, and the drain register."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from ...sim.engine.config import EngineConfig
from ...sim.engine.words import WORD
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.popcount import Features
from ..parts.xnor_dot import XnorDot


class XnorArray(Component):
    """Output-stationary array: every cycle one 64-bit step of R x C dot products.

    Timing: the sums include a step `XNOR_ARRAY_CYCLES` cycles after its operands are on `a` and `w`; one step a cycle.
        `move` with `capture` copies all sums into the drain register; the next cycle its first row is on `o`.
    Numerics: as `XnorDot`.

    Parameters
    ----------
    engine : EngineConfig
        Shape of the array.

    Members
    -------
    a : In(R * 64)
        A 64-bit word a row, row 0 least significant.
    w : In(C * 64)
        A 64-bit word a column.
    first : In(1)
        The sums start at `preload`, `XNOR_ARRAY_CYCLES - 1` cycles after the operands of the first step.
    preload : In(C * acc_bits)
        Start of the sums, a column each.
    move : In(1)
        Move the drain register on by one row, or fill it when `capture` as well.
    capture : In(1)
        With `move`, copy the sums into the drain register.
    o : Out(C * acc_bits)
        The drain register's first row.
    """

    def __init__(self, engine: EngineConfig):
        self.engine = engine
        self.features = Features(engine.fabric)
        super().__init__(
            {
                "a": In(engine.rows * WORD),
                "w": In(engine.columns * WORD),
                "first": In(1),
                "preload": In(engine.columns * engine.acc_bits),
                "move": In(1),
                "capture": In(1),
                "o": Out(engine.columns * engine.acc_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build features, dot units and drain."""
        m = Module()
        rows, columns, bits = self.engine.rows, self.engine.columns, self.engine.acc_bits
        a = [self.features.registered(m, self.a.word_select(r, WORD), f"a{r}", weights=False) for r in range(rows)]
        w = [self.features.registered(m, self.w.word_select(c, WORD), f"w{c}", weights=True) for c in range(columns)]
        sums = []
        for r in range(rows):
            for c in range(columns):
                m.submodules[f"dot_{r}_{c}"] = dot = XnorDot(self.engine.fabric, bits)
                m.d.comb += [
                    connect(dot.a, a[r]),
                    connect(dot.w, w[c]),
                    connect(dot.first, self.first),
                    dot.preload.eq(self.preload.word_select(c, bits)),
                ]
                sums.append(dot.o)
        drain = [Signal(columns * bits, name=f"drain_{r}", reset_less=True) for r in range(rows)]
        with m.If(self.move):
            for r in range(rows):
                below = drain[r + 1] if r + 1 < rows else drain[r]
                m.d.sync += drain[r].eq(Mux(self.capture, Cat(*sums[r * columns : (r + 1) * columns]), below))
        m.d.comb += connect(self.o, drain[0])
        return m
