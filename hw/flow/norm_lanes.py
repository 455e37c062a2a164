"""What the norms of the dataflow share: which lanes hold channels, sums of rows, and the comparison."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed

from ...sim.engine.norm_widths import NormWidths
from ..parts.arithmetic import Tree, delayed, product
from ..parts.connect import connect
from ..parts.multiply_add import MultiplyPlus

#: Lanes of a word: those of each of its rows.
Lanes = Sequence[Sequence[Value]]


def channel_mask(m: Module, word: Value, channels: Value, columns: int, name: str) -> Value:
    """Return which columns of a word hold channels, one cycle later.

    Parameters
    ----------
    m : Module
    word : Value
        Number of the word in its row.
    channels : Value
        Channels of a row, in the same cycle.
    columns : int
        Columns of a word, a power of two.
    name : str
        Of the registers.
    """
    bits = columns.bit_length() - 1
    whole, tail = channels[bits:], channels[:bits]
    full, edge = Signal(name=f"{name}_full"), Signal(name=f"{name}_edge")
    held = Signal(bits, name=f"{name}_tail", reset_less=True)
    # Where one word holds all channels that there can be, none is full before it.
    m.d.sync += [full.eq(word < whole if len(whole) else 0), edge.eq(word == whole), held.eq(tail)]
    return Cat(full | (edge & (held > column)) for column in range(columns))


def row_sums(m: Module, widths: NormWidths, x: Lanes, first: Value) -> list[tuple[Signal, Signal]]:
    """Return S1 and S2 of each row, summed over words.

    They are there `multiply_cycles`, those of a tree over the columns, and one more after x.

    Parameters
    ----------
    m : Module
    widths : NormWidths
    x : lanes
        A word of x.
    first : Value
        Whether the row's sums begin with this word, one cycle before they are there.
    """
    square_bits = max(widths.x_min**2, widths.x_max**2).bit_length()
    block, cycles = widths.engine.block_bits, widths.multiply_cycles
    sums = []
    for row, values in enumerate(x):
        total = Tree(signed(widths.x_bits), len(values), "sum")
        squares = Tree(square_bits, len(values), "sum")
        m.submodules[f"sum{row}"], m.submodules[f"square_sum{row}"] = total, squares
        for column, value in enumerate(values):
            square = product(m, value, value, f"square{row}_{column}", block=block, cycles=cycles)
            m.d.comb += [connect(total.i[column], value), connect(squares.i[column], square[:square_bits])]
        s1 = Signal(signed(widths.s1_bits), name=f"s1_{row}", reset_less=True)
        s2 = Signal(widths.s2_bits, name=f"s2_{row}", reset_less=True)
        m.d.sync += [
            s1.eq(Mux(first, 0, s1) + delayed(m, total.o, cycles, f"sum_delay{row}")),
            s2.eq(Mux(first, 0, s2) + squares.o),
        ]
        sums.append((s1, s2))
    return sums


def row_bits(
    m: Module, widths: NormWidths, x: Lanes, channels: Value, theta: Sequence[Value], stats: Sequence[Value]
) -> Value:
    """Return the bits of a word, ``((N*x - S1) << Ft) >= Theta*R``, `multiply_cycles` + 1 after x.

    Parameters
    ----------
    m : Module
    widths : NormWidths
    x : lanes
        A word of x.
    channels : Value
        N, beside x.
    theta : sequence of Value
        Theta of each column, a cycle after x.
    stats : sequence of Value
        S1 and R of each row as the memory of rows has them, a cycle after x.
    """
    if widths.fused:
        return _fused_bits(m, widths, x, channels, theta, stats)
    multiply = partial(product, m, block=widths.engine.block_bits, cycles=widths.multiply_cycles)
    bits = []
    for row, values in enumerate(x):
        s1, r = stats[row][: widths.s1_bits].as_signed(), stats[row][widths.s1_bits :]
        row_sum = delayed(m, s1, widths.multiply_cycles - 1, f"s1_delay{row}")
        for column, value in enumerate(values):
            lane = f"{row}_{column}"
            centred = Signal(signed(widths.s1_bits + 1), name=f"centred{lane}", reset_less=True)
            m.d.sync += centred.eq(multiply(value, channels, f"scaled{lane}") - row_sum)
            limit = multiply(r, theta[column], f"limit{lane}")
            bits.append((centred << widths.theta_frac_bits) >= limit)
    return Cat(bits)


def _fused_bits(
    m: Module, widths: NormWidths, x: Lanes, channels: Value, theta: Sequence[Value], stats: Sequence[Value]
) -> Value:
    """What `row_bits` returns where every product fits a multiplier block: its adder subtracts, and it compares.

    The sign of ``((N*x - S1) << Ft) - Theta*R`` is the comparison.
    """
    scaled_bits, limit_bits = widths.compared
    centred_bits = widths.s1_bits + 1
    bits = []
    for row, values in enumerate(x):
        s1, r = stats[row][: widths.s1_bits].as_signed(), stats[row][widths.s1_bits :]
        less = Signal(signed(centred_bits), name=f"less_s1_{row}", reset_less=True)
        m.d.sync += less.eq(-s1)
        for column, value in enumerate(values):
            lane = f"{row}_{column}"
            centred = MultiplyPlus(*scaled_bits, centred_bits)
            limited = MultiplyPlus(*limit_bits, widths.compare_bits, minus=True)
            m.submodules[f"centred{lane}"], m.submodules[f"limited{lane}"] = centred, limited
            m.d.comb += [
                *(connect(centred.a, value), centred.b.eq(channels), connect(centred.c, less)),
                *(limited.a.eq(r), connect(limited.b, theta[column])),
                limited.c.eq(centred.sum << widths.theta_frac_bits),
            ]
            bits.append(~limited.sum[-1])
    return Cat(bits)
