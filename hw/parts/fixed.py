"""Fixed-point helpers with the names of `sim.reference.fixed`."""

from __future__ import annotations

from amaranth.hdl import Const, Mux, Value


def saturate_signed(value: Value, bits: int) -> tuple[Value, Value]:
    """Return `value` (signed) limited to two's complement of `bits`, and whether it had to be limited."""
    sign = value[-1]
    upper = value[bits - 1 :]
    overflow = upper != sign.replicate(len(upper))
    return Mux(overflow, limit_signed(sign, bits), value[:bits]), overflow


def limit_signed(sign: Value, bits: int) -> Value:
    """Return the least number of two's complement of `bits` where `sign` is set, else the largest one."""
    return Mux(sign, Const(1 << bits - 1, bits), Const((1 << bits - 1) - 1, bits))
