"""Root and quotient: what a stage keeps, at the real widths, and from that what comes out."""

from __future__ import annotations

from functools import partial
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from proving import Fault, Harness, Proof, before, claim

from bivit.hw.parts import divider, isqrt


def root(bits: int) -> Harness:
    """The root with all its stages.

    Of the first k pairs of a value's bits, root r and remainder r' keep ``r^2 + r' = prefix`` and ``r' <= 2*r``; the
    square follows ``(2*r + b)^2 = 4*r^2 + b*(4*r + 1)``, so that no stage needs a multiplication.
    """
    digits = isqrt.Isqrt(bits).latency_cycles

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = isqrt.Isqrt(bits)
        m.d.comb += [dut.value.eq(h.value), dut.value_valid.eq(h.value_valid)]
        value: Value = Cat(h.value, Const(0, 2 * digits - bits))
        valid: Value = h.value_valid
        square: Value = Const(0, 1)
        for stage in range(digits):
            value = before(m, value, 1, f"value_{stage}")
            valid = before(m, valid, 1, f"valid_{stage}", reset_less=False)
            now, remainder = getattr(h, f"root_{stage}"), getattr(h, f"remainder_{stage}")
            # The square of the root before this stage, a cycle ago.
            last = before(m, square, 1, f"square_{stage}")
            square = Signal(2 * stage + 2, name=f"squared_{stage}")
            m.d.comb += square.eq((last << 2) + Mux(now[0], (now[1:] << 2) + 1, 0))
            if stage:
                claim(
                    m,
                    f"higher_digits_{stage}",
                    now[1:] == before(m, getattr(h, f"root_{stage - 1}"), 1, f"root_{stage}"),
                )
            if stage < digits - 1:
                claim(m, f"rest_{stage}", getattr(h, f"rest_{stage}") == value[: 2 * (digits - 1 - stage)])
            claim(m, f"remainder_{stage}", square + remainder == value[2 * (digits - 1 - stage) :])
            claim(m, f"valid_{stage}", h.valid[stage] == valid)
            claim(m, f"bound_{stage}", remainder <= (now << 1))
        claim(m, "valid", dut.root_valid == valid)
        claim(m, "root", dut.root == getattr(h, f"root_{digits - 1}"))
        # From the last stage's two: root^2 <= value < (root + 1)^2 = root^2 + 2*root + 1.
        claim(m, "not_above", square <= value)
        claim(m, "not_below", value < square + (dut.root << 1) + 1)

    inner = {f"root_{k}": (k + 1, f"dut.root{k}") for k in range(digits)}
    inner |= {f"remainder_{k}": (k + 2, f"dut.remainder{k}") for k in range(digits)}
    inner |= {f"rest_{k}": (2 * (digits - 1 - k), f"dut.rest{k}") for k in range(digits - 1)}
    inner["valid"] = (digits, "dut.valid")
    return Harness({"value": bits, "value_valid": 1}, body, inner)


def squares(bits: int) -> Harness:
    """The root as it is seen from outside, squared by a multiplication."""

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = isqrt.Isqrt(bits)
        m.d.comb += [dut.value.eq(h.value), dut.value_valid.eq(h.value_valid)]
        value = before(m, h.value, dut.latency_cycles, "value")
        with m.If(dut.root_valid):
            claim(m, "not_above", dut.root * dut.root <= value)
            claim(m, "not_below", value < (dut.root + 1) * (dut.root + 1))

    return Harness({"value": bits, "value_valid": 1}, body)


def quotient(power: int, bits: int) -> Harness:
    """The divider: of the dividend's bits so far, ``quotient * divisor + remainder`` is the number that they make.

    The product follows ``(2*q + b)*d = 2*q*d + b*d``.
    """

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = divider.Divider(power, bits)
        divisor, product, steps, run = Signal(bits), Signal(power + bits + 1), Signal(range(power + 3)), Signal()
        m.d.comb += [dut.start.eq(h.start & h.divisor.any()), dut.divisor.eq(h.divisor)]
        with m.If(dut.start):
            m.d.sync += [divisor.eq(h.divisor), product.eq(0), steps.eq(0), run.eq(1)]
        with m.Elif(run & (steps <= power)):
            fits = h.rest >= divisor
            m.d.sync += [steps.eq(steps + 1), product.eq((product << 1) + Mux(fits, divisor, 0))]
        with m.If(run):
            claim(m, "divisor", (h.dut_divisor == divisor) & divisor.any())
            claim(m, "steps", (steps <= power + 1) & (h.left == power + 1 - steps))
            # Behind step k the remainder of 2^k is in the upper bits of twice it.
            claim(m, "remainder", h.rest < (divisor << 1))
            with m.If(steps == 0):
                claim(m, "first", (h.rest == 1) & (product == 0))
            with m.Else():
                claim(m, "equation", (product << 1) + h.rest == (Const(1, power + 2) << steps)[: power + 2])
                claim(m, "even", ~h.rest[0])
            with m.If(steps == power + 1):
                claim(m, "not_above", product <= 1 << power)
                claim(m, "not_below", 1 << power < product + divisor)
        with m.Else():
            claim(m, "rests", h.left == 0)
        claim(m, "done", dut.done == before(m, run & (steps == power), 1, "last", reset_less=False))

    inner = {
        "rest": (bits + 1, "dut.rest"),
        "left": ((power + 1).bit_length(), "dut.left"),
        "dut_divisor": (bits, "dut.divisor$#"),
    }
    return Harness({"start": 1, "divisor": bits}, body, inner)


PROOFS: dict[str, Proof] = {
    **{
        name: Proof(
            "hw/parts/isqrt.py",
            "root^2 <= value < (root + 1)^2, `latency_cycles` after the value, and so in each stage of the bits so far",
            f"{bits} bits",
            partial(root, bits),
            2,
            long=long,
        )
        for name, bits, long in (("root", 32, False), ("root_widest", 52, True))
    },
    "root_squared": Proof(
        "hw/parts/isqrt.py",
        "the same as it is seen from outside, squared by a multiplication",
        "12 bits",
        partial(squares, 12),
        8,
    ),
    "quotient": Proof(
        "hw/parts/divider.py",
        "quotient * divisor <= 2^power < (quotient + 1) * divisor when `done`, `latency` after `start`, "
        "also when it is started again before",
        "2^36 over 24 bits",
        partial(quotient, 36, 24),
        2,
    ),
}

FAULTS: dict[str, Fault] = {
    "a root's digit": Fault("root", isqrt, "Cat(Const(1, 2), root)", "Cat(Const(2, 2), root)", "bound_0"),
    "a value that just fits": Fault("root_squared", isqrt, "Cat(Const(1, 2), root)", "Cat(Const(2, 2), root)", "not"),
    "a quotient's digit": Fault(
        "quotient", divider, "fits.eq(~difference[-1])", "fits.eq(difference[-1])", "remainder"
    ),
    "a step less": Fault("quotient", divider, "left.eq(self.power + 1)", "left.eq(self.power)", "steps"),
}
