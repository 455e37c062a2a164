"""Sums, products, maxima, saturation, rounding and delays: what comes out, from what came in some cycles before."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from amaranth.hdl import Cat, Const, Module, Mux, ShapeLike, signed, unsigned
from proving import Fault, Harness, Proof, assume, before, claim

from bivit.hw.edge import requantize
from bivit.hw.parts import arithmetic, fixed
from bivit.hw.parts import multiply_add as multiply_add_unit
from bivit.sim.engine.pipeline import BLOCK_BITS, POSITION_READ_CYCLES, REQUANTIZE_CYCLES

#: Multiplier blocks of the proofs: those of FPGAs, and smaller ones that cut operands that a solver can multiply.
BLOCKS = {**BLOCK_BITS, "small": (4, 3)}


def multiplier(a: ShapeLike, b: ShapeLike, block: str) -> Harness:
    """A product in limbs."""

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = arithmetic.Multiply(a, b, BLOCKS[block])
        m.d.comb += [dut.a.eq(h.a), dut.b.eq(h.b)]
        product = before(m, h.a, dut.latency_cycles, "a") * before(m, h.b, dut.latency_cycles, "b")
        filled = before(m, Const(1, 1), dut.latency_cycles, "filled", reset_less=False)
        claim(m, "product", ~filled | (dut.p == product))

    return Harness({"a": a, "b": b}, body)


def multiply_add(a_bits: int, b_bits: int, sum_bits: int, *, in_luts: bool = False) -> Harness:
    """A multiplier with the sum behind it, from register to register; one of look-up tables has two sums of rows."""

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = multiply_add_unit.MultiplyAdd(a_bits, b_bits, sum_bits, in_luts=in_luts)
        for name in free:
            m.d.comb += getattr(dut, name).eq(getattr(h, name))
        operands = before(m, h.a, 1, "a") * before(m, h.b, 1, "b")
        product = before(m, operands, 1, "product")
        filled = before(m, Const(1, 1), 2, "filled", reset_less=False)
        product_2 = sum(getattr(h, name) for name in registers)[: a_bits + b_bits].as_signed()
        claim(m, "product", ~filled | (product_2 == product))
        first, shift = before(m, h.first, 1, "first"), before(m, h.shift, 1, "shift")
        following = Mux(shift, h.chain_in, Mux(first, 0, dut.sum) + product_2)[:sum_bits].as_signed()
        expected = before(m, Mux(h.enable, following, dut.sum), 1, "following")
        claim(m, "sum", ~filled | (dut.sum == expected))
        claim(m, "chain", dut.chain == dut.sum)

    free = {"a": signed(a_bits), "b": signed(b_bits), "enable": 1, "first": 1, "shift": 1}
    free |= {"chain_in": signed(multiply_add_unit.CHAIN_BITS)}
    registers = ["product_2", "product_2_"] if in_luts else ["product_2"]
    return Harness(free, body, {name: (signed(a_bits + b_bits), f"dut.{name}") for name in registers})


def tree(shape: ShapeLike, count: int, operation: Literal["sum", "max"]) -> Harness:
    """A sum is that of all values; a maximum is one of them, and none is above it."""

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = arithmetic.Tree(shape, count, operation)
        values = [getattr(h, f"value_{k}") for k in range(count)]
        m.d.comb += [dut.i[k].eq(value) for k, value in enumerate(values)]
        past = [before(m, value, dut.latency_cycles, f"value_{k}") for k, value in enumerate(values)]
        filled = before(m, Const(1, 1), dut.latency_cycles, "filled", reset_less=False)
        if operation == "sum":
            claim(m, "sum", ~filled | (dut.o == sum(past)))
        else:
            claim(m, "not_below", ~filled | Cat(dut.o >= value for value in past).all())
            claim(m, "one_of_them", ~filled | Cat(dut.o == value for value in past).any())

    return Harness({f"value_{k}": shape for k in range(count)}, body)


def delays(lengths: tuple[int, ...]) -> Harness:
    """Delays of so many cycles, by registers and by memories, and flags that begin with 0."""

    def body(m: Module, h: Any) -> None:
        for cycles in lengths:
            m.submodules[f"delay_{cycles}"] = dut = arithmetic.Delay(2, cycles)
            m.d.comb += dut.i.eq(h.i)
            filled = before(m, Const(1, 1), cycles, f"filled_{cycles}", reset_less=False)
            claim(m, f"delay_{cycles}", ~filled | (dut.o == before(m, h.i, cycles, f"i_{cycles}")))
            flag = arithmetic.delay_flag(m, h.flag, cycles, f"flag_{cycles}")
            claim(m, f"flag_{cycles}", flag == before(m, h.flag, cycles, f"kept_{cycles}", reset_less=False))

    return Harness({"i": 2, "flag": 1}, body)


def saturation(width: int, bits: int) -> Harness:
    """A value limited to fewer bits."""

    def body(m: Module, h: Any) -> None:
        value, clamped = fixed.saturate_signed(h.value, bits)
        low, high = -(1 << bits - 1), (1 << bits - 1) - 1
        claim(m, "value", value.as_signed() == Mux(h.value < low, low, Mux(h.value > high, high, h.value)))
        claim(m, "clamped", clamped == ((h.value < low) | (h.value > high)))

    return Harness({"value": signed(width)}, body)


def rounding(bits: int, residual_bits: int, shifts: int) -> Harness:
    """What `Requantizer` adds and then halves is rounded: ``((z >> n-1) + 2*P + 1) >> 1 = ((z + half) >> n) + P``."""

    def body(m: Module, h: Any) -> None:
        claim(m, "position", (h.z + (h.position << 1) + 1) >> 1 == ((h.z + 1) >> 1) + h.position)
        for shift in range(shifts):
            claim(m, f"shift_{shift}", ((h.z >> shift) + 1) >> 1 == (h.z + (1 << shift)) >> (shift + 1))

    return Harness({"z": signed(bits), "position": signed(residual_bits)}, body)


def requantizer(acc_bits: int, residual_bits: int) -> Harness:
    """One lane of ``saturate(((acc*S + B + half) >> n) + P)``, from register to register, with a shift that stays."""

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = requantize.Requantizer(
            lanes=1, acc_bits=acc_bits, residual_bits=residual_bits, block=BLOCK_BITS["lut6"]
        )
        m.d.comb += [
            *(dut.en.eq(h.en), dut.acc[0].eq(h.acc), dut.params[0].bias.eq(h.bias), dut.params[0].scale.eq(h.scale)),
            *(dut.shift_less_one.eq(h.shift), dut.bypass.eq(h.bypass), dut.position[0].eq(h.position)),
        ]
        assume(m, h.shift <= 39)
        acc, scale, bias = (before(m, getattr(h, name), 4, name) for name in ("acc", "scale", "bias"))
        filled = before(m, Const(1, 1), 4, "filled", reset_less=False)
        # The product fits in these bits: no sum is the least that its bits hold (`EdgeUnit.acc_bits`).
        claim(m, "sum", ~filled | (h.sum_4 == (acc * scale)[: dut.product_bits].as_signed() + bias))
        shift, still = before(m, h.shift, 3, "shift"), Const(1, 1)
        for ago in range(3):
            still = still & (before(m, h.shift, ago, f"shift_{ago}") == shift)
        shifted = Mux(before(m, h.bypass, 1, "bypass"), 0, before(m, h.sum_4, 2, "sum_4") >> shift)
        claim(m, "shifted", ~filled | ~still | (h.fine_6 == shifted))
        added = before(m, h.fine_6, 1, "fine_6") + (before(m, h.position, 2, "position") << 1) + 1
        claim(m, "added", ~filled | h.far_7 | (h.sum_7 == added))
        total, low, high = before(m, added, 1, "added") >> 1, -(1 << residual_bits - 1), (1 << residual_bits - 1) - 1
        claim(m, "x", ~filled | (dut.x[0] == Mux(total < low, low, Mux(total > high, high, total))))
        claim(m, "follows", dut.x_en == before(m, h.en, REQUANTIZE_CYCLES, "en", reset_less=False))
        early = requantize.POSITION_STAGE - POSITION_READ_CYCLES
        claim(m, "asks", dut.position_en == before(m, h.en, early, "en_early", reset_less=False))
        clamped = dut.x_en & ((total < low) | (total > high))
        claim(m, "saturations", ~filled | (dut.saturations == before(m, clamped, 1, "clamped", reset_less=False)))

    sum_bits = max(acc_bits + requantize.PATCH_SCALE_BITS - 1, requantize.PATCH_BIAS_BITS) + 1
    inner = {"sum_4": (signed(sum_bits), "dut.sum_4_0"), "fine_6": (signed(sum_bits), "dut.fine_6_0")}
    inner |= {"sum_7": (signed(residual_bits + 3), "dut.sum_7_0"), "far_7": (1, "dut.far_7_0")}
    free = {"en": 1, "shift": 6, "bypass": 1, "acc": signed(acc_bits), "position": signed(residual_bits)}
    free |= {"bias": signed(requantize.PATCH_BIAS_BITS), "scale": signed(requantize.PATCH_SCALE_BITS)}
    return Harness(free, body, inner)


ARITHMETIC, FIXED = "hw/parts/arithmetic.py", "hw/parts/fixed.py"
PROOFS: dict[str, Proof] = {
    "product_block": Proof(
        ARITHMETIC,
        "`Multiply`: the product, `latency_cycles` after its operands",
        "signed 26 x 16 bits in one block of 27 x 18",
        partial(multiplier, signed(26), signed(16), "lut6"),
        5,
    ),
    "product_cut": Proof(
        ARITHMETIC,
        "`Multiply`: the same, of limbs and sums in two stages",
        "signed 9 x 6 bits, nine blocks of 4 x 3",
        partial(multiplier, signed(9), signed(6), "small"),
        6,
    ),
    "product_unsigned": Proof(
        ARITHMETIC,
        "`Multiply`: the same, one operand unsigned",
        "unsigned 8 x signed 5 bits, blocks of 4 x 3",
        partial(multiplier, unsigned(8), signed(5), "small"),
        6,
    ),
    "multiply_add": Proof(
        "hw/parts/multiply_add.py",
        "`MultiplyAdd`: the product two cycles behind its operands; the sum takes it, begins with it, moves or stays",
        "25 x 9 bits, a sum of 35",
        partial(multiply_add, 25, 9, 35),
        3,
    ),
    "multiply_add_luts": Proof(
        "hw/parts/multiply_add.py",
        "`MultiplyAdd` of look-up tables: the same, of rows of the product",
        "6 x 8 bits, a sum of 17",
        partial(multiply_add, 6, 8, 17, in_luts=True),
        3,
    ),
    "tree_sum": Proof(
        ARITHMETIC,
        "`Tree`: the sum of all values, `latency_cycles` after them",
        "7 signed values of 5 bits",
        partial(tree, signed(5), 7, "sum"),
        4,
    ),
    "tree_max": Proof(
        ARITHMETIC,
        "`Tree`: one of the values, and none is above it",
        "9 values of 8 bits",
        partial(tree, unsigned(8), 9, "max"),
        4,
    ),
    "delays": Proof(
        ARITHMETIC,
        "`Delay`, `delay_flag`: what came in so many cycles ago; a flag is 0 until then",
        "0 to 5 and 15 cycles",
        partial(delays, (0, 1, 2, 3, 4, 5, 15)),
        32,
    ),
    "saturation": Proof(
        FIXED,
        "`saturate_signed`: the nearest value that fits, and whether it is another one",
        "51 to 24 bits",
        partial(saturation, 51, 24),
        0,
    ),
    "rounding": Proof(
        "hw/edge/requantize.py",
        "((z >> n-1) + 2*P + 1) >> 1 = ((z + half) >> n) + P",
        "z of 49 bits, P of 24, every n",
        partial(rounding, 49, 24, 40),
        0,
    ),
    "requantizer": Proof(
        "hw/edge/requantize.py",
        "what is in each register, from the one before it, as in `rounding`; bypass, saturations and latency",
        "one lane, acc of 18 bits, x of 16, S, B and shifts as they are",
        partial(requantizer, 18, 16),
        REQUANTIZE_CYCLES + 1,
    ),
}

FAULTS: dict[str, Fault] = {
    "a limb's place": Fault("product_cut", arithmetic, "at += bits - 1", "at += bits", "product"),
    "a sum that does not begin": Fault("multiply_add", multiply_add_unit, "Mux(first, 0, sum_3)", "sum_3", "sum"),
    "a row without its sign": Fault("multiply_add_luts", multiply_add_unit, "-(a << sign)", "(a << sign)", "product"),
    "a row that no sum has": Fault(
        "multiply_add_luts", multiply_add_unit, "rows[k + 1 : k + _ROWS]", "rows[k + 2 : k + _ROWS]", "product"
    ),
    "a pair of values": Fault("tree_max", arithmetic, "values[k], values[k + 1]", "values[k], values[k]", "not_below"),
    "a delay by a memory": Fault(
        "delays", arithmetic, "self.cycles - 1, 0, at + 1", "self.cycles - 2, 0, at + 1", "delay_4"
    ),
    "the largest value": Fault("saturation", fixed, "(1 << bits - 1) - 1, bits", "(1 << bits - 1) - 2, bits", "value"),
    "half of a step": Fault(
        "requantizer", requantize, "Cat(Const(1, 1), position_6)", "Cat(Const(0, 1), position_6)", "added"
    ),
    "how far is too far": Fault("requantizer", requantize, "(fine_6, near_bits)", "(fine_6, near_bits + 1)", "added"),
}
