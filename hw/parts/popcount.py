"""Popcount of xnor(a, w) over 64 bits from parity features: half the bits of a plain compressor tree.

For three products x = xnor(a, w) the count is s + 2c, and s = xnor(parity of the three a, parity of the three w).
Parities are computed once per operand
vector and broadcast, so s is never built per product; three such s again give one c from their parities, and so on:
64 products leave 32 bits of weight two and one bit of weight one (docs/accelerator.md, the dot unit).
"""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Signal, Value

from ...sim.engine.words import WORD

#: Sizes of the levels of parities over 64 bits: triples (and one last pair) of a level give the next.
LEVELS = (WORD, 22, 8, 3, 1)
#: Bits of weight two that the levels leave.
PAIRS = 32


def _thirds(v: Value) -> tuple[Value, Value, Value]:
    """Split into three equal slices; triple j is (v[j], v[j + n], v[j + 2n]), so that slices stay whole vectors."""
    n = len(v) // 3
    return v[:n], v[n : 2 * n], v[2 * n : 3 * n]


def _parities(level: Value, *, invert_pair: bool) -> Value:
    """Parities of the triples of a level, then what is left over (one bit, or the parity of two)."""
    a, b, c = _thirds(level)
    rest = level[3 * len(a) :]
    if len(rest) == 2:
        # Of two inverted products the inversions cancel; inverting one side's parity restores x = xnor(a, w).
        rest = rest[0] ^ rest[1] ^ int(invert_pair)
    return Cat(a ^ b ^ c, rest)


@dataclass(frozen=True)
class Features:
    """Layout of the broadcast features of one 64-bit operand.

    Parameters
    ----------
    fabric : str
        "lut6": the levels themselves, majority of three xnor per triple (one 6-input function).
        "lut4": for each triple its pairwise sum E and two pair parities u1, u2, from which the majority is bilinear
        (two 4-input functions).
    """

    fabric: str

    @property
    def width(self) -> int:
        """Bits of all features of one operand."""
        return sum(LEVELS) + (3 * sum(n // 3 for n in LEVELS) if self.fabric == "lut4" else 0)

    def first_stage(self, m: Module, operand: Value, name: str, *, weights: bool) -> tuple[Value, Value]:
        """Return levels 0 and 1, and level 2 (the input of the second stage)."""
        level1 = _wire(m, _parities(operand, invert_pair=weights), f"{name}_parities_1")
        return Cat(operand, level1), _parities(level1, invert_pair=weights)

    def second_stage(self, m: Module, levels01: Value, level2: Value, name: str, *, weights: bool) -> Value:
        """Return all features from the registered outputs of the first stage."""
        level3 = _wire(m, _parities(level2, invert_pair=weights), f"{name}_parities_3")
        level4 = _parities(level3, invert_pair=weights)
        levels = [levels01[: LEVELS[0]], levels01[LEVELS[0] :], level2, level3, level4]
        if self.fabric == "lut6":
            return Cat(*levels)
        return Cat(*levels, *(self._bilinear(level) for level in levels if len(level) >= 3))

    def registered(self, m: Module, operand: Value, name: str, *, weights: bool) -> Signal:
        """Return all features three cycles after the operand: registers of it, of both stages."""
        stage_1 = Signal(WORD, name=f"{name}_operand", reset_less=True)
        levels01, level2 = self.first_stage(m, stage_1, name, weights=weights)
        stage_2 = Signal(len(levels01), name=f"{name}_levels01", reset_less=True)
        stage_2_top = Signal(len(level2), name=f"{name}_level2", reset_less=True)
        stage_3 = Signal(self.width, name=f"{name}_features", reset_less=True)
        m.d.sync += [
            stage_1.eq(operand),
            stage_2.eq(levels01),
            stage_2_top.eq(level2),
            stage_3.eq(self.second_stage(m, stage_2, stage_2_top, name, weights=weights)),
        ]
        return stage_3

    @staticmethod
    def _bilinear(level: Value) -> Value:
        a, b, c = _thirds(level)
        return Cat((a & b) ^ (a & c) ^ (b & c), b ^ c, a ^ c)

    def _split(self, features: Value) -> tuple[list[Value], list[tuple[Value, Value, Value]]]:
        levels, at = [], 0
        for n in LEVELS:
            levels.append(features[at : at + n])
            at += n
        bilinear = []
        if self.fabric == "lut4":
            for n in LEVELS:
                if n >= 3:
                    bilinear.append(_thirds(features[at : at + 3 * (n // 3)]))
                    at += 3 * (n // 3)
        return levels, bilinear

    def pair_bits(self, m: Module, fa: Value, fw: Value) -> Value:
        """Return the `PAIRS` bits of weight two of popcount(xnor(a, w)), then the bit of weight one."""
        (a, ea), (w, ew) = self._split(fa), self._split(fw)
        bits = []
        for k, n in enumerate(LEVELS[:-1]):
            x = _wire(m, ~(a[k] ^ w[k]), f"products_{k}")
            if self.fabric == "lut6":
                bits.append(majority(*_thirds(x)))
            else:
                (e0, u1, u2), (e1, v1, v2) = ea[k], ew[k]
                bits.append(~(e0 ^ e1 ^ (u1 & v2) ^ (u2 & v1)))
            if n % 3 == 2:
                bits.append(x[n - 2] & x[n - 1])
        return Cat(*bits, ~(a[-1] ^ w[-1]))


def majority(a: Value, b: Value, c: Value) -> Value:
    """Bitwise majority of three vectors: the carry of a full adder."""
    return (a & b) | (c & (a | b))


def _compress_step(columns: list[Value], fabric: str) -> list[Value]:
    """One layer of counters over columns of equal weight: 5:3 on 6-input tables, 3:2 on others and for the rest."""
    out: list[list[Value]] = [[] for _ in range(len(columns) + 2)]
    for weight, column in enumerate(columns):
        if fabric == "lut6" and len(column) >= 5:
            n = len(column) // 5
            x = [column[i * n : (i + 1) * n] for i in range(5)]
            s1, c1 = x[0] ^ x[1] ^ x[2], majority(x[0], x[1], x[2])
            c2 = majority(s1, x[3], x[4])
            out[weight].append(s1 ^ x[3] ^ x[4])
            out[weight + 1].append(c1 ^ c2)
            out[weight + 2].append(c1 & c2)
            column = column[5 * n :]
        if len(column) >= 3:
            a, b, c = _thirds(column)
            out[weight].append(a ^ b ^ c)
            out[weight + 1].append(majority(a, b, c))
            column = column[3 * len(a) :]
        if len(column):
            out[weight].append(column)
    while not out[-1]:
        out.pop()
    return [Cat(*bits) for bits in out]


def compress(m: Module, bits: Value, fabric: str) -> tuple[list[Value], int]:
    """Compress equal bits to two rows per weight; one register after the first layer and one after the last.

    Parameters
    ----------
    m : Module
        Where the registers are built.
    bits : Value
        Bits of one weight.
    fabric : str
        As in `Features`.

    Returns
    -------
    rows : list of Value
        Two rows, the column of weight 2^k in bit k.
    latency_cycles : int
        Registers passed.
    """
    columns = _compress_step([bits], fabric)
    columns = [_register(m, column, f"mid_{k}") for k, column in enumerate(columns)]
    while max(len(column) for column in columns) > 2:
        columns = _compress_step(columns, fabric)
        columns = [_wire(m, column, f"layer_{len(column)}_{k}") for k, column in enumerate(columns)]
    rows = [Cat(*(column[r] if len(column) > r else Const(0, 1) for column in columns)) for r in range(2)]
    return [_register(m, row, f"row_{r}") for r, row in enumerate(rows)], 2


def _wire(m: Module, value: Value, name: str) -> Signal:
    """Give a value a name, so that it is computed once wherever parts of it are used."""
    wire = Signal(len(value), name=name)
    m.d.comb += wire.eq(value)
    return wire


def _register(m: Module, value: Value, name: str) -> Signal:
    register = Signal(len(value), name=name, reset_less=True)
    m.d.sync += register.eq(value)
    return register
