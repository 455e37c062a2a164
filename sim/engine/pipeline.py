"""Latencies of the pipelined pieces that several units are made of, in cycles from input to output."""

from __future__ import annotations

import itertools
from functools import lru_cache

from .words import ceil_div


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


#: Bits of a product from which on Yosys takes a multiplier block of AMD's for it.
LEAST_PRODUCT_BITS = 9
#: Chunks of a block of multipliers; words of which one is chosen in a cycle.
CHOICES = 8


def choose_cycles(count: int) -> int:
    """Latency of a choice of one of so many, a register after every `CHOICES` to one.

    >>> [choose_cycles(n) for n in (1, 2, 8, 9, 64)]
    [0, 1, 1, 2, 2]
    """
    cycles = 0
    while count > 1:
        count, cycles = ceil_div(count, CHOICES), cycles + 1
    return cycles


#: `hw.parts.xnor_dot.XnorDot`: from features to the sum that includes them.
XNOR_DOT_CYCLES = 4
#: `hw.array.sum_array.SumArray`: from operands to the sums that include them: one register, two of features, the dot.
XNOR_ARRAY_CYCLES = 3 + XNOR_DOT_CYCLES
#: `hw.edge.requantize.Requantizer`: from a chunk of sums to its product with S, and to the chunk of X.
REQUANTIZE_PRODUCT_CYCLES = 3
REQUANTIZE_CYCLES = REQUANTIZE_PRODUCT_CYCLES + 5
#: From the address of a word of P to the word, which goes to the adders of many lanes.
POSITION_READ_CYCLES = 2
#: From the address of a part of a word to that part: the word, in a register, and the choice, in another.
CHOSEN_READ_CYCLES = 3

#: Operands of a multiplication, as signed widths, the wider one first.
Product = tuple[int, int]
#: Largest signed operands of one multiplier block, by fabric: what is wider would be cut by synthesis, which puts an
#: adder behind the blocks in the same cycle.
BLOCK_BITS: dict[str, Product] = {"lut6": (27, 18), "lut4": (18, 18)}
#: From the address of an operand's word to the word, by fabric: block memories of parts with LUT4 take most of a cycle
#: by themselves, so what they read is registered once more before anything is chosen.
OPERAND_CYCLES: dict[str, int] = {"lut6": 1, "lut4": 2}
#: Bits of the adder in a multiplier block of AMD's.
SUM_BITS = 48
#: Distance of two int8 weights in one operand: products of a uint8 with a uint8, and a bit by which their sum is seen
#: to overflow (`hw.edge.pair_block`).
SHARED_BITS = 17
#: Signed operands of a product of two weights with a pixel.
SHARED_PRODUCT: Product = (SHARED_BITS + 8, 9)


def fits(product: Product, block: Product) -> bool:
    """Whether one multiplier block takes operands of these signed widths, the wider one first in both.

    >>> fits((26, 16), (27, 18)), fits((26, 16), (18, 18))
    (True, False)
    """
    return all(bits <= most for bits, most in zip(product, block, strict=True))


def limbs(bits: int, limit: int) -> list[int]:
    """Signed widths of the limbs of a signed operand, as `hw.parts.arithmetic.Multiply` cuts it.

    >>> limbs(30, 27)
    [27, 4]
    """
    widths = []
    while bits > limit:
        widths.append(limit)
        bits -= limit - 1
    return [*widths, bits]


def partial_products(product: Product, block: Product, bits: int | None = None) -> list[Product]:
    """Partial products of an `hw.parts.arithmetic.Multiply` with operands of these signed widths.

    Of the product only the first `bits` count, where that is given: what others depend on alone is left out, as by
    synthesis; and so are those of fewer bits than a block of AMD's is taken for.

    >>> partial_products((26, 16), (27, 18)), partial_products((26, 16), (18, 18))
    ([(26, 16)], [(18, 16), (9, 16)])
    >>> partial_products((26, 36), (18, 18), 30)
    [(18, 18), (13, 13), (9, 13)]
    >>> partial_products((26, 38), (27, 18), 41)
    [(26, 18), (24, 18)]
    """
    return [*_partial(product, block, bits)]


@lru_cache(maxsize=1024)
def _partial(product: Product, block: Product, bits: int | None) -> tuple[Product, ...]:
    """Them, made once: a search asks for the same ones time and again."""
    least = 1 if bits is None or block[0] == block[1] else LEAST_PRODUCT_BITS
    first, second = (list(enumerate(limbs(*one))) for one in zip(product, block, strict=True))
    found = list[Product]()
    for (at_a, a), (at_b, b) in itertools.product(first, second):
        counted = a + b if bits is None else bits - at_a * (block[0] - 1) - at_b * (block[1] - 1)
        found += [(min(a, counted), min(b, counted))] if counted >= least else []
    return tuple(found)


def multiply_cycles(product: Product, block: Product) -> int:
    """Latency of `hw.parts.arithmetic.Multiply`: operands, partial products, and their sum, four a cycle.

    For one block these are its own three registers, which synthesis finds there.

    >>> multiply_cycles((18, 18), (18, 18)), multiply_cycles((26, 38), (27, 18)), multiply_cycles((26, 38), (18, 18))
    (3, 3, 4)
    """
    return 2 + max(1, tree_cycles(len(partial_products(product, block))))
