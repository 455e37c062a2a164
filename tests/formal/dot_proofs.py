"""The dot unit: its counters keep the sum of what they count, layer by layer at the real widths, and whole when small.

That two popcounts of 64 bits are equal is too hard for a solver, so the sum of 64 products is proved in links: the
levels of parities, each layer of counters, and the adder behind them. Each takes values that nothing restricts where
the link before it ends, so the links hold together: what leaves one counts as much as what came in.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from proving import Fault, Harness, Proof, before, claim

from bivit.hw.parts import popcount, xnor_dot
from bivit.sim.engine.words import WORD

FABRICS = ("lut6", "lut4")
#: Bits of the accumulator in the proofs.
ACC = 24


def layers(fabric: str) -> list[tuple[int, ...]]:
    """Widths of the columns that each layer of `compress` takes, from the pairs to the two rows."""
    columns = (popcount.PAIRS,)
    found = []
    while max(columns) > 2:
        found.append(columns)
        bits = [Value.cast((1 << n) - 1)[:n] for n in columns]
        columns = tuple(len(column) for column in popcount._compress_step(bits, fabric))
    return found


def layer(fabric: str, widths: tuple[int, ...]) -> Harness:
    """One layer of counters, its columns free."""

    def body(m: Module, h: Any) -> None:
        columns = [getattr(h, name) for name in free]
        after = popcount._compress_step(columns, fabric)
        for name, inside, outside in groups_of(columns, after, fabric):
            claim(m, name, inside == outside)

    free = {f"column_{k}": width for k, width in enumerate(widths)}
    return Harness(free, body)


def groups_of(columns: list[Value], after: list[Value], fabric: str) -> list[tuple[str, Value, Value]]:
    """Each counter of a layer: its name, ones that go in, and what comes out, weighed.

    A column of the next layer has the bits of the counters in their order; every bit is used once.
    """
    left = [list(column) for column in after]
    found = []
    for weight, column in enumerate(columns):
        bits = list(column)
        sizes = [5] if fabric == "lut6" and len(bits) >= 5 else []
        for size in [*sizes, 3]:
            count = len(bits) // size
            taken, bits = bits[: size * count], bits[size * count :]
            outs = [[left[weight + place].pop(0) for _ in range(count)] for place in range(3 if size == 5 else 2)]
            for k in range(count):
                inside = sum(taken[k + i * count] for i in range(size))
                found.append((f"counter_{weight}_{size}_{k}", inside, sum(out[k] << i for i, out in enumerate(outs))))
        found += [(f"passed_{weight}_{k}", bit, left[weight].pop(0)) for k, bit in enumerate(bits)]
    assert not any(left)
    return found


def levels(fabric: str) -> Harness:
    """The features of two operands, and the pair bits made of them."""

    def body(m: Module, h: Any) -> None:
        features = popcount.Features(fabric)
        fa = features.registered(m, h.a, "a", weights=False)
        fw = features.registered(m, h.w, "w", weights=True)
        pairs = list(features.pair_bits(m, fa, fw))
        products = ~(before(m, h.a, 3, "a") ^ before(m, h.w, 3, "w"))
        found, at = [], 0
        for n in popcount.LEVELS:
            found.append(list(~(fa[at : at + n] ^ fw[at : at + n])))
            at += n
        one = pairs.pop()
        # The registers do not begin as features of anything.
        filled = before(m, Const(1, 1), 3, "filled", reset_less=False)
        with m.If(filled):
            claim(m, "products", Cat(found[0]) == products)
            claim(m, "one", one == found[-1][0])
        for number, (level, following) in enumerate(pairwise(found)):
            after = list(following)
            count, rest = divmod(len(level), 3)
            groups = [level[k : 3 * count : count] for k in range(count)] + ([level[-2:]] if rest == 2 else [])
            for k, group in enumerate(groups):
                equal = sum(group) == after.pop(0) + (pairs.pop(0) << 1)
                claim(m, f"level_{number}_{k}", ~filled | equal)
            if rest == 1:
                claim(m, f"level_{number}_passed", ~filled | (level[-1] == after.pop(0)))
            assert not after
        assert not pairs

    return Harness({"a": WORD, "w": WORD}, body)


def unit(fabric: str) -> Harness:
    """The dot unit between its registers: what goes from one to the next, and the sum."""

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = xnor_dot.XnorDot(fabric, ACC)
        m.d.comb += [dut.a.eq(h.a), dut.w.eq(h.w), dut.first.eq(h.first), dut.preload.eq(h.preload)]
        pairs = popcount.Features(fabric).pair_bits(m, h.a, h.w)
        claim(m, "count", h.count == before(m, pairs, 1, "pairs"))
        middle = [getattr(h, f"middle_{k}") for k in range(len(shape[1]))]
        columns = popcount._compress_step([h.count[: popcount.PAIRS]], fabric)
        for number, (register, column) in enumerate(zip(middle, columns, strict=True)):
            claim(m, f"middle_{number}", register == before(m, column, 1, f"middle_{number}"))
        columns = middle
        for _ in shape[1:]:
            columns = popcount._compress_step(columns, fabric)
        for number, register in enumerate((h.row_0, h.row_1)):
            row = Cat(column[number : number + 1] if len(column) > number else Const(0, 1) for column in columns)
            claim(m, f"row_{number}", register == before(m, row, 1, f"row_{number}"))
        claim(m, "one", h.one == before(m, h.count[popcount.PAIRS], 2, "single"))
        start = Mux(h.first, h.preload, dut.o)
        total = Signal(ACC)
        m.d.comb += total.eq(start + ((h.row_0 + h.row_1) << 1) + h.one)
        claim(m, "sum", dut.o == before(m, total, 1, "total", reset_less=False))

    features, shape = popcount.Features(fabric).width, layers(fabric)
    inner = {
        "count": (popcount.PAIRS + 1, "dut.count"),
        **{f"row_{k}": (rows_bits(fabric), f"dut.row_{k}") for k in range(2)},
        **{f"middle_{k}": (bits, f"dut.mid_{k}") for k, bits in enumerate(shape[1])},
        "one": (1, "dut.one_2"),
    }
    return Harness({"a": features, "w": features, "first": 1, "preload": ACC}, body, inner)


def rows_bits(fabric: str) -> int:
    """Width of the two rows that `compress` ends with."""
    bits = [Value.cast((1 << n) - 1)[:n] for n in layers(fabric)[-1]]
    return len(popcount._compress_step(bits, fabric))


def compressor(fabric: str, bits: int) -> Harness:
    """`compress` as a whole."""

    def body(m: Module, h: Any) -> None:
        (row_0, row_1), cycles = popcount.compress(m, h.bits, fabric)
        claim(m, "popcount", row_0 + row_1 == sum(before(m, h.bits, cycles, "bits")))

    return Harness({"bits": bits}, body)


PROOFS: dict[str, Proof] = {}
for _fabric in FABRICS:
    PROOFS |= {
        f"dot_levels_{_fabric}": Proof(
            "hw/parts/popcount.py",
            "products are xnor(a, w); of a triple or pair of a level as many are 1 as its bit of the next level and "
            "twice its pair bit say; features come three cycles after the operands",
            f"64 products, {_fabric}",
            partial(levels, _fabric),
            4,
        ),
        **{
            f"dot_layer_{number}_{_fabric}": Proof(
                "hw/parts/popcount.py",
                "each counter gives as many as it is given, and every bit is counted once",
                f"layer {number}, columns of {', '.join(map(str, _widths))} bits, {_fabric}",
                partial(layer, _fabric, _widths),
                0,
            )
            for number, _widths in enumerate(layers(_fabric))
        },
        f"dot_unit_{_fabric}": Proof(
            "hw/parts/xnor_dot.py",
            "pair bits, counters and sum follow each other at the stated cycles; the sum is the one before, or "
            "`preload` with `first`, and what the rows and the single bit are worth",
            f"64 products, {ACC} bits, {_fabric}",
            partial(unit, _fabric),
            4,
        ),
        f"dot_compressor_{_fabric}": Proof(
            "hw/parts/popcount.py",
            "the two rows together are the number of ones, two cycles later",
            f"16 bits, {_fabric}",
            partial(compressor, _fabric, 16),
            3,
        ),
    }

FAULTS: dict[str, Fault] = {
    "a carry": Fault("dot_layer_0_lut6", popcount, "(a & b) | (c & (a | b))", "(a & b) | (c & (a & b))", "counter_0_5"),
    "a counter's highest bit": Fault("dot_layer_0_lut6", popcount, "append(c1 & c2)", "append(c1 | c2)", "counter_0_5"),
    "a carry of two tables": Fault(
        "dot_levels_lut4", popcount, "(u1 & v2) ^ (u2 & v1)", "(u1 & v1) ^ (u2 & v2)", "level_0"
    ),
    "a pair's parity": Fault("dot_levels_lut6", popcount, "^ int(invert_pair)", "", "level_2_2"),
    "the single bit": Fault("dot_unit_lut6", xnor_dot, "Cat(ones[-1], row_1)", "Cat(ones[-2], row_1)", "sum"),
    "a start": Fault(
        "dot_unit_lut6", xnor_dot, "Mux(self.first, self.preload, self.o)", "Mux(self.first, 0, self.o)", "sum"
    ),
    "a counter's middle bit": Fault("dot_compressor_lut6", popcount, "append(c1 ^ c2)", "append(c1 | c2)", "popcount"),
}
