"""Latencies of the pipelined pieces that several units are made of, in cycles from input to output."""

from __future__ import annotations

#: `hw.parts.arithmetic.Multiply`: operands, partial products, their sum; these are the registers of a DSP block.
MULTIPLY_CYCLES = 3


def tree_cycles(count: int) -> int:
    """Latency of `hw.parts.arithmetic.Tree` over `count` values: a register after every second level.

    >>> [tree_cycles(n) for n in (1, 4, 8, 64)]
    [0, 1, 2, 3]
    """
    return ((count - 1).bit_length() + 1) // 2


def isqrt_cycles(bits: int) -> int:
    """Latency of `hw.parts.isqrt.Isqrt` on `bits` bits: a cycle for each bit of the root.

    >>> isqrt_cycles(49)
    25
    """
    return (bits + 1) // 2


def divide_cycles(power: int) -> int:
    """Latency of `hw.parts.divider.Divider`, 2^power over a number: a cycle a bit of the quotient, and one to start.

    >>> divide_cycles(36)
    38
    """
    return power + 2
