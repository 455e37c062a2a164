"""Multipliers with a sum behind them: what a multiplier block of AMD is, registers and all.

`hw.multiplier_blocks` puts one in the place of each of these, but of those that are asked to be of look-up tables.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import In, Out

from ...sim.engine.pipeline import SUM_BITS
from .component import Component
from .connect import connect

#: Bits of the way from one block's sum to the next one's.
CHAIN_BITS = SUM_BITS
#: Rows of a product in look-up tables that are added in a cycle.
_ROWS = 4


def _rows_of(a: Signal, b: Signal) -> list[Value]:
    """Return sums of up to `_ROWS` rows each that add up to ``a * b``, in which synthesis finds no multiplication."""
    sign = len(b) - 1
    rows: list[Value] = [Mux(b[k], a << k, 0) for k in range(sign)]
    rows.append(Mux(b[sign], -(a << sign), 0))
    return [sum(rows[k + 1 : k + _ROWS], rows[k]) for k in range(0, len(rows), _ROWS)]


class MultiplyAdd(Component):
    """Sum of products ``a * b``, in a chain of such sums that moves on by one.

    Timing: operands, product, sum, and `first` and `shift` have registers: a product is added two cycles behind its
        operands, when `enable` is high, and is in `sum` in the next cycle; `first` and `shift` come a cycle before
        `enable`. A product a cycle.
    Numerics: exact, modulo 2^`sum_bits`.

    Parameters
    ----------
    a_bits, b_bits, sum_bits : int
        Signed widths of the operands, the wider one first, and of the sum.
    in_luts : bool
        Whether it is made of look-up tables, `_ROWS` rows of the product a sum, instead of a block.

    Members
    -------
    a, b : In
        Operands.
    enable : In(1)
        Take another sum.
    first : In(1)
        It begins with the product.
    shift, chain_in : In
        It is that of the block before.
    chain, sum : Out
        The sum, on the way to the next block, and for all others.
    """

    def __init__(self, a_bits: int, b_bits: int, sum_bits: int, *, in_luts: bool = False):
        self.a_bits, self.b_bits, self.sum_bits, self.in_luts = a_bits, b_bits, sum_bits, in_luts
        super().__init__(
            {
                "a": In(signed(a_bits)),
                "b": In(signed(b_bits)),
                **{name: In(1) for name in ("enable", "first", "shift")},
                "chain_in": In(signed(CHAIN_BITS)),
                "chain": Out(signed(CHAIN_BITS)),
                "sum": Out(signed(sum_bits)),
            }
        )

    @property
    def module_name(self) -> str:
        """Name of its module, by which synthesis finds it."""
        return f"{'lut_' if self.in_luts else ''}multiply_add_{self.a_bits}x{self.b_bits}_{self.sum_bits}"

    def elaborate(self, platform: object) -> Module:
        """Register, multiply, add."""
        m = Module()
        a_1, b_1 = Signal.like(self.a, reset_less=True), Signal.like(self.b, reset_less=True)
        made = _rows_of(a_1, b_1) if self.in_luts else [a_1 * b_1]
        shape = signed(self.a_bits + self.b_bits)
        products = [Signal(shape, reset_less=True, name=f"product_2{'_' * k}") for k in range(len(made))]
        sum_3 = Signal.like(self.sum, reset_less=True)
        first, shift = Signal(reset_less=True), Signal(reset_less=True)
        m.d.sync += [connect(a_1, self.a), connect(b_1, self.b)]
        m.d.sync += [product.eq(value) for product, value in zip(products, made, strict=True)]
        m.d.sync += [connect(first, self.first), connect(shift, self.shift)]
        with m.If(self.enable):
            m.d.sync += sum_3.eq(Mux(shift, self.chain_in, Mux(first, 0, sum_3) + sum(products[1:], products[0])))
        m.d.comb += [connect(self.chain, sum_3), connect(self.sum, sum_3)]
        return m


class MultiplyPlus(Component):
    """``c + a * b``, or ``c - a * b``.

    Timing: operands, product and sum have registers: `c` comes two cycles behind `a` and `b`, and `sum` one cycle
        behind `c`; a sum a cycle.
    Numerics: exact, modulo 2^`sum_bits`.

    Parameters
    ----------
    a_bits, b_bits, sum_bits : int
        Signed widths of the operands, the wider one first, and of `c` and the sum.
    minus : bool
        Whether the product is subtracted.

    Members
    -------
    a, b, c, sum : In, In, In, Out
        Operands, what the product is added to, and the sum.
    """

    def __init__(self, a_bits: int, b_bits: int, sum_bits: int, *, minus: bool = False):
        self.a_bits, self.b_bits, self.sum_bits, self.minus = a_bits, b_bits, sum_bits, minus
        super().__init__(
            {
                **{"a": In(signed(a_bits)), "b": In(signed(b_bits))},
                **{"c": In(signed(sum_bits)), "sum": Out(signed(sum_bits))},
            }
        )

    @property
    def module_name(self) -> str:
        """Name of its module, by which synthesis finds it."""
        return f"multiply_{'minus' if self.minus else 'plus'}_{self.a_bits}x{self.b_bits}_{self.sum_bits}"

    def elaborate(self, platform: object) -> Module:
        """Register, multiply, add."""
        m = Module()
        a_1, b_1 = Signal.like(self.a, reset_less=True), Signal.like(self.b, reset_less=True)
        product_2 = Signal(signed(self.a_bits + self.b_bits), reset_less=True)
        sum_3 = Signal.like(self.sum, reset_less=True)
        m.d.sync += [
            *(connect(a_1, self.a), connect(b_1, self.b), product_2.eq(a_1 * b_1)),
            sum_3.eq(self.c - product_2 if self.minus else self.c + product_2),
        ]
        m.d.comb += connect(self.sum, sum_3)
        return m
