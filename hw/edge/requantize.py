"""Requantizer: from the patch embedding's sums to the residual grid (docs/semantics.md, paragraph 1)."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.engine.pipeline import POSITION_READ_CYCLES, REQUANTIZE_CYCLES, REQUANTIZE_PRODUCT_CYCLES, Product
from ...sim.network.formats import PATCH_BIAS_BITS, PATCH_SCALE_BITS
from ..parts.arithmetic import delay_stages, delayed, product
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.fixed import limit_signed, saturate_signed

#: Distance of the steps of the first of the two stages that shift.
COARSE_BITS = 3
#: Registers that hold the shift, each for a part of the lanes; each takes it from the one before, so that no synthesis
#: merges them into one with the loads of all.
SHIFT_COPIES = 8
#: From a chunk of sums to the cycle in which its word of P is due: it is registered before it is added.
POSITION_STAGE = REQUANTIZE_CYCLES - 3


def patch_params_layout(lanes: int) -> data.ArrayLayout:
    """Layout of a word of the memory `patch_params`: B, then S, a lane."""
    lane = data.StructLayout({"bias": signed(PATCH_BIAS_BITS), "scale": signed(PATCH_SCALE_BITS)})
    return data.ArrayLayout(lane, lanes)


class Requantizer(Component):
    """Multiply, shift with rounding, add the position and saturate: ``X = saturate(((acc*S + B + half) >> n) + P)``.

    Timing: one chunk a cycle. A chunk that comes in cycle t wants its word of P in cycle t + `POSITION_STAGE`
        (`position_en` is high `POSITION_READ_CYCLES` before, when a memory needs the address) and leaves in cycle
        t + `REQUANTIZE_CYCLES`; its saturations are counted one cycle after it left.
    Numerics: exact. ``(z + half) >> n`` is computed as ``((z >> (n - 1)) + 1) >> 1``, which is the same floor and
        needs no constant half; P joins in the same addition as ``2*P + 1``. |acc*S| < 2^(acc_bits - 1 + 15) and
        |B| <= 2^47, so z has one bit more than the wider of the two. Shifted, it is added only where it fits two bits
        more than X: what does not is beyond twice any P, which cannot bring it back into the range of X.

    Parameters
    ----------
    lanes : int
        Elements a cycle.
    acc_bits : int
        Signed width of the sums.
    residual_bits : int
        Signed width of X and P.
    block : tuple of int
        Signed operands of a multiplier block, `EngineConfig.block_bits`.

    Members
    -------
    en, acc, params : In
        A chunk of sums with its word of `patch_params`.
    shift_less_one : In(6)
        n - 1, 0 to 39; constant from 4 cycles before the first chunk comes until the last has left.
    bypass : In(1)
        X = P, whatever the sums; constant while chunks are in flight.
    position_en : Out(1)
        The word of P is due `POSITION_READ_CYCLES` later.
    position : In
        Word of P.
    x_en, x : Out
        A chunk of X.
    saturations : Out
        How many lanes of the chunk of one cycle ago were clamped.
    """

    def __init__(self, *, lanes: int, acc_bits: int, residual_bits: int, block: Product):
        self.lanes, self.acc_bits, self.residual_bits, self.block = lanes, acc_bits, residual_bits, block
        self.product_bits = acc_bits + PATCH_SCALE_BITS - 1
        self.sum_bits = max(self.product_bits, PATCH_BIAS_BITS) + 1
        super().__init__(
            {
                "en": In(1),
                "acc": In(data.ArrayLayout(signed(acc_bits), lanes)),
                "params": In(patch_params_layout(lanes)),
                "shift_less_one": In(6),
                "bypass": In(1),
                "position_en": Out(1),
                "position": In(data.ArrayLayout(signed(residual_bits), lanes)),
                "x_en": Out(1),
                "x": Out(data.ArrayLayout(signed(residual_bits), lanes)),
                "saturations": Out(range(lanes + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the chain of enables and the lanes."""
        m = Module()
        stages = Signal(REQUANTIZE_CYCLES)  # bit k: a chunk is in the registers of stage k + 1
        m.d.sync += stages.eq(Cat(self.en, stages[:-1]))
        m.d.comb += [
            connect(self.position_en, stages[POSITION_STAGE - POSITION_READ_CYCLES - 1]),
            connect(self.x_en, stages[-1]),
        ]
        shifts = delay_stages(m, self.shift_less_one, SHIFT_COPIES, "shift_less_one", reset_less=True)
        clamped = Signal(self.lanes)
        for lane in range(self.lanes):
            m.d.comb += clamped[lane].eq(self._lane(m, lane, shifts[1 + lane * SHIFT_COPIES // self.lanes]))
        m.d.sync += self.saturations.eq(Mux(self.x_en, sum(clamped), 0))
        return m

    def _lane(self, m: Module, lane: int, shift_less_one: Value) -> Value:
        """Build one lane; return whether its element of X was clamped."""

        def register(stage: str, bits: int) -> Signal:
            return Signal(signed(bits), name=f"{stage}_{lane}", reset_less=True)

        params, x_bits = self.params[lane], self.residual_bits
        bias_1, position_6 = register("bias_1", PATCH_BIAS_BITS), register("position_6", x_bits)
        sum_4 = register("sum_4", self.sum_bits)
        coarse_5, fine_6 = register("coarse_5", self.sum_bits), register("fine_6", self.sum_bits)
        near_bits = x_bits + 2
        sum_7, below_7 = register("sum_7", near_bits + 1), Signal(name=f"below_7_{lane}", reset_less=True)
        far_7 = Signal(name=f"far_7_{lane}", reset_less=True)
        x_8 = register("x_8", x_bits)
        clamped_8 = Signal(name=f"clamped_8_{lane}", reset_less=True)
        cycles = REQUANTIZE_PRODUCT_CYCLES
        product_3 = product(m, self.acc[lane], params.scale, f"product_{lane}", block=self.block, cycles=cycles)
        bias_3 = delayed(m, bias_1, cycles - 1, f"bias_delay_{lane}")
        coarse = Cat(Const(0, COARSE_BITS), shift_less_one[COARSE_BITS:])
        m.d.sync += [
            connect(bias_1, params.bias),
            sum_4.eq(product_3[: self.product_bits].as_signed() + bias_3),
            coarse_5.eq(sum_4 >> coarse),
            fine_6.eq(coarse_5 >> shift_less_one[:COARSE_BITS]),
            connect(position_6, self.position[lane]),
            sum_7.eq(fine_6[:near_bits].as_signed() + Cat(Const(1, 1), position_6).as_signed()),
            far_7.eq(saturate_signed(fine_6, near_bits)[1]),
            below_7.eq(fine_6[-1]),
        ]
        with m.If(self.bypass):
            # The position's sum is then (0 + 2*P + 1) >> 1 = P.
            m.d.sync += fine_6.eq(0)
        value, clamped = saturate_signed(sum_7[1:], x_bits)
        m.d.sync += [x_8.eq(value), clamped_8.eq(clamped | far_7)]
        with m.If(far_7):
            m.d.sync += x_8.eq(limit_signed(below_7, x_bits))
        m.d.comb += connect(self.x[lane], x_8)
        return clamped_8
