"""ResidualAdd: the drained sums of proj and fc2, scaled and added to the residual (semantics.md, 4)."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import In, Out

from ...sim.engine.commands import Matmul
from ...sim.units.residual_add import ResidualAddUnit
from ..parts.arithmetic import delay_stages
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.fixed import saturate_signed
from ..parts.memory import LoadableMemory
from ..parts.stream import LOAD_BUS, X_ADDR_BITS, field_bits, write_port


class ResidualAdd(Component):
    """``X = saturate(X + Scale * acc + Bias)`` for one chunk a cycle; the array's sums are acc / 2.

    Timing: the residual and its parameters are read in the cycle of `en`; the new word is written
        `ResidualAddUnit.write_stage` cycles later; one chunk a cycle.
    Numerics: exact; saturates at `residual_bits`, and `saturations` counts the lanes that did.

    Parameters
    ----------
    unit : ResidualAddUnit

    Members
    -------
    en, addr, param_addr, sums : In
        A chunk of sums, the word of the residual it belongs to, and the word of its parameters.
    x_data : In(lanes * residual_bits)
        The residual's word, one cycle after `en`.
    x_write : Out(write_port)
        The new word.
    saturations : Out
        Lanes saturated in the word that is written.
    load, bank : In
        Load bus, and the bank in use.
    """

    def __init__(self, unit: ResidualAddUnit):
        self.unit, self.engine, self.lanes = unit, unit.engine, unit.lanes
        engine, lanes = unit.engine, unit.lanes
        word = lanes * engine.formats.residual_bits
        super().__init__(
            {
                "en": In(1),
                "addr": In(X_ADDR_BITS),
                "param_addr": In(field_bits(Matmul, "param_addr")),
                "sums": In(lanes * engine.acc_bits),
                "x_data": In(word),
                "x_write": Out(write_port(X_ADDR_BITS, word)),
                "saturations": Out(range(lanes + 1)),
                "load": In(LOAD_BUS),
                "bank": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the parameter memory and `lanes` three-stage lanes."""
        m = Module()
        m.submodules.residual = params = LoadableMemory(self.unit.load_memories["residual"])
        m.d.comb += [
            connect(params.load, self.load),
            connect(params.bank, self.bank),
            connect_address(params.r_addr, self.param_addr),
        ]
        stages = delay_stages(m, Cat(self.en, self.addr), self.unit.write_stage, "write", reset_less=False)
        m.d.comb += [self.x_write.en.eq(stages[-1][0]), self.x_write.addr.eq(stages[-1][1:])]
        sums = Signal(len(self.sums), reset_less=True)
        m.d.sync += connect(sums, self.sums)
        overflows = [self._lane(m, lane, sums, params.r_data) for lane in range(self.lanes)]
        # Counted a cycle later than written: only the total matters.
        m.d.sync += self.saturations.eq(Mux(self.x_write.en, sum(overflows[1:], overflows[0]), 0))
        return m

    def _lane(self, m: Module, lane: int, sums: Signal, params: Value) -> Signal:
        """Build one lane; return whether its word on `x_write` saturated."""
        f = self.engine.formats
        width = f.residual_bits
        scale_bias = params.word_select(lane, f.scale_bits + width)
        half = sums.word_select(lane, self.engine.acc_bits).as_signed()
        old = self.x_data.word_select(lane, width).as_signed()

        # Stage 1: operands, two of them words of memories.
        half_1 = Signal.like(half, name=f"half_1_{lane}", reset_less=True)
        scale_1 = Signal(f.scale_bits, name=f"scale_1_{lane}", reset_less=True)
        bias_1 = Signal(signed(width), name=f"bias_1_{lane}", reset_less=True)
        old_1 = Signal(signed(width), name=f"old_1_{lane}", reset_less=True)
        m.d.sync += [
            half_1.eq(half),
            scale_1.eq(scale_bias[: f.scale_bits]),
            bias_1.eq(scale_bias[f.scale_bits :]),
            old_1.eq(old),
        ]
        # Stage 2: product of Scale and acc / 2; the residual with Bias.
        product_2 = Signal(self.engine.acc_bits + f.scale_bits, name=f"product_2_{lane}", reset_less=True)
        base_2 = Signal(width + 1, name=f"base_2_{lane}", reset_less=True)
        m.d.sync += [product_2.eq(half_1 * scale_1.as_signed()), base_2.eq(old_1 + bias_1)]
        # Stage 3: sum and saturation.
        new = Signal(width, name=f"new_{lane}", reset_less=True)
        overflow = Signal(name=f"overflow_{lane}", reset_less=True)
        total = base_2.as_signed() + Cat(Const(0, 1), product_2).as_signed()
        value, saturated = saturate_signed(total, width)
        m.d.sync += [new.eq(value), overflow.eq(saturated)]
        m.d.comb += self.x_write.data.word_select(lane, width).eq(new)
        return overflow
