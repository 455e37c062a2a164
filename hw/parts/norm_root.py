"""The root of the norms' rows: R of S1 and S2 (docs/semantics.md 2)."""

from __future__ import annotations

from functools import partial

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib.wiring import In, Out

from ...sim.engine.norm_widths import NormWidths
from .arithmetic import delay_flag, delayed, product
from .component import Component
from .connect import connect
from .isqrt import Isqrt


class NormRoot(Component):
    """R of a row from its sums: ``isqrt(N*S2 - S1^2 + Eps)``, or the constant of mode `mean`.

    Timing: the result follows the sums by `latency_cycles`, in either mode; one row a cycle.

    Numerics: exact; V is not negative and fits `NormWidths.v_bits`.

    Parameters
    ----------
    unit : NormWidths
    row_bits : int
        Width of the row's number.

    Members
    -------
    sums_valid, row, channels, eps, mean, s1, s2 : In
        The row's number, the command's fields and the sums.
    stat_en, stat_row, stat_s1, stat_r : Out
        Result.
    """

    def __init__(self, unit: NormWidths, row_bits: int):
        self.unit = unit
        self.root = Isqrt(unit.v_bits)
        self.latency_cycles = unit.root_cycles
        super().__init__(
            {
                "sums_valid": In(1),
                "row": In(row_bits),
                "channels": In(unit.channels_bits),
                "eps": In(unit.eps_bits),
                "mean": In(1),
                "s1": In(signed(unit.s1_bits)),
                "s2": In(unit.s2_bits),
                "stat_en": Out(1),
                "stat_row": Out(row_bits),
                "stat_s1": Out(signed(unit.s1_bits)),
                "stat_r": Out(unit.r_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Multiply, subtract, add Eps, take the root; what belongs to the row goes round it in delay lines."""
        m = Module()
        m.submodules.root = self.root
        cycles = self.unit.multiply_cycles
        multiply = partial(product, m, block=self.unit.engine.block_bits, cycles=cycles)
        scatter = Signal(self.unit.v_bits, reset_less=True)
        variance = Signal(self.unit.v_bits, reset_less=True)
        m.d.sync += [
            scatter.eq(multiply(self.s2, self.channels, "scaled_squares") - multiply(self.s1, self.s1, "square")),
            variance.eq(scatter + delayed(m, self.eps, cycles + 1, "eps_delay")),
        ]
        around = delayed(m, Cat(self.mean, self.row, self.s1), self.latency_cycles, "row_delay")
        row_end = 1 + len(self.row)
        m.d.comb += [
            connect(self.root.value, variance),
            self.root.value_valid.eq(delay_flag(m, self.sums_valid, cycles + 2, "valid")),
            connect(self.stat_en, self.root.root_valid),
            self.stat_row.eq(around[1:row_end]),
            self.stat_s1.eq(around[row_end:]),
            self.stat_r.eq(Mux(around[0], self.unit.mean_r, self.root.root)),
        ]
        return m
