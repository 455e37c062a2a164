"""Pipelined pieces of arithmetic units: a multiplier in DSP-sized parts, a reduction tree, a delay line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from amaranth.hdl import Cat, Const, Module, Mux, Shape, ShapeLike, Signal, Value, ValueLike, unsigned
from amaranth.lib import data, memory
from amaranth.lib.wiring import In, Out

from ...sim.engine.pipeline import Product, multiply_cycles, tree_cycles
from ...sim.errors import check
from .component import Component
from .connect import connect
from .multiply_add import MultiplyPlus

#: Values that `Tree` and `Multiply` add in one cycle.
SUM_OF = 4
#: Longest delay that is made of registers; a longer one is cheaper as a small memory.
MAX_SHIFT_CYCLES = 3


class Multiply(Component):
    """Product ``p = a * b``, pipelined so that every stage is one multiplier block or one sum.

    Timing: `p` is valid `latency_cycles` after `a` and `b`; one product a cycle.

    Numerics: exact; wide operands are cut in limbs, the lower ones unsigned, so that a partial product fits one
    block.

    Parameters
    ----------
    a, b : ShapeLike
        Shapes of the operands; the wider one first gives the fewest blocks.
    block : tuple of int
        Signed operands of a multiplier block, `EngineConfig.block_bits`.

    Members
    -------
    a, b : In
        Operands.
    p : Out
        Product, in the shape of ``a * b``.
    """

    def __init__(self, a: ShapeLike, b: ShapeLike, block: Product):
        self.a_shape, self.b_shape, self.block = Shape.cast(a), Shape.cast(b), block
        self.latency_cycles = multiply_cycles((_signed_bits(self.a_shape), _signed_bits(self.b_shape)), block)
        width = self.a_shape.width + self.b_shape.width
        shape = Shape(width, signed=self.a_shape.signed or self.b_shape.signed)
        super().__init__({"a": In(self.a_shape), "b": In(self.b_shape), "p": Out(shape)})

    def elaborate(self, platform: object) -> Module:
        """Register operands, partial products and their sums."""
        m = Module()
        widths = _signed_bits(self.a_shape), _signed_bits(self.b_shape)
        if max(widths) <= self.block[0] and min(widths) <= self.block[1] and self.latency_cycles == 3:
            wide, narrow = (self.a, self.b) if widths[0] >= widths[1] else (self.b, self.a)
            m.submodules.block = block = MultiplyPlus(max(widths), min(widths), sum(widths))
            m.d.comb += [
                *(connect(block.a, _as_signed(wide)), connect(block.b, _as_signed(narrow)), block.c.eq(0)),
                connect(self.p, block.sum[: len(self.p)]),
            ]
            return m
        operand_a = Signal(self.a_shape, reset_less=True)
        operand_b = Signal(self.b_shape, reset_less=True)
        m.d.sync += [connect(operand_a, self.a), connect(operand_b, self.b)]
        terms: list[Value] = []
        for at_a, limb_a in _limbs(operand_a, self.block[0]):
            for at_b, limb_b in _limbs(operand_b, self.block[1]):
                product = limb_a * limb_b
                partial = Signal(product.shape(), reset_less=True, name=f"partial_{at_a}_{at_b}")
                m.d.sync += partial.eq(product)
                terms.append(partial << (at_a + at_b))
        for stage in range(2, self.latency_cycles):
            sums = [sum(terms[k + 1 : k + SUM_OF], terms[k]) for k in range(0, len(terms), SUM_OF)]
            terms = [Signal(self.p.shape(), reset_less=True, name=f"sum_{stage}_{k}") for k in range(len(sums))]
            m.d.sync += [register.eq(total) for register, total in zip(terms, sums, strict=True)]
        m.d.comb += connect(self.p, terms[0])
        return m


def _as_signed(value: Value) -> Value:
    """The same number, signed."""
    return value if value.shape().signed else Cat(value, Const(0, 1)).as_signed()


def _signed_bits(shape: Shape) -> int:
    """Width of a value of this shape as a signed one."""
    return shape.width + (not shape.signed)


def _limbs(value: Signal, bits: int) -> list[tuple[int, Value]]:
    """Cut `value` in limbs that fit `bits` signed bits, each with its position; only the top one can be negative."""
    limbs: list[tuple[int, Value]] = []
    is_signed, at = value.shape().signed, 0
    while len(value) - at + (not is_signed) > bits:
        limbs.append((at, value[at : at + bits - 1]))
        at += bits - 1
    top = value[at:]
    return [*limbs, (at, top.as_signed() if is_signed else top)]


class Tree(Component):
    """Sum or maximum of `count` values in a binary tree with a register after every second level.

    Timing: `o` is valid `latency_cycles` after `i`; one result a cycle.

    Numerics: exact; the sum is as much wider as its levels.

    Parameters
    ----------
    shape : ShapeLike
        Shape of a value.
    count : int
        Values.
    operation : {"sum", "max"}

    Members
    -------
    i : In(data.ArrayLayout(shape, count))
        Values.
    o : Out
        Result.
    """

    def __init__(self, shape: ShapeLike, count: int, operation: Literal["sum", "max"]):
        self.count, self.combine = count, _COMBINE[operation]
        cast = Shape.cast(shape)
        width = cast.width + ((count - 1).bit_length() if operation == "sum" else 0)
        self.latency_cycles = tree_cycles(count)
        super().__init__({"i": In(data.ArrayLayout(cast, count)), "o": Out(Shape(width, cast.signed))})

    def elaborate(self, platform: object) -> Module:
        """Combine neighbours, level by level."""
        m = Module()
        values: list[Value] = [self.i[k] for k in range(self.count)]
        for stage in range(self.latency_cycles):
            values = self._level(self._level(values))
            registers = [Signal(v.shape(), reset_less=True, name=f"stage{stage}_{k}") for k, v in enumerate(values)]
            m.d.sync += [register.eq(value) for register, value in zip(registers, values, strict=True)]
            values = list(registers)
        m.d.comb += connect(self.o, values[0])
        return m

    def _level(self, values: Sequence[Value]) -> list[Value]:
        pairs = [self.combine(values[k], values[k + 1]) for k in range(0, len(values) - 1, 2)]
        return pairs + ([values[-1]] if len(values) % 2 else [])


def _larger(a: Value, b: Value) -> Value:
    return Mux(a > b, a, b)


def _sum(a: Value, b: Value) -> Value:
    return a + b


_COMBINE: dict[str, Callable[[Value, Value], Value]] = {"sum": _sum, "max": _larger}


class Delay(Component):
    """Return `i` after `cycles` cycles.

    What comes out before that is unspecified: flags that must start at 0 use `delay_flag`.

    Timing: `cycles` of latency; a value a cycle.

    Numerics: none.

    Parameters
    ----------
    width : int
        Bits.
    cycles : int
        Delay, 0 or more.

    Members
    -------
    i, o : In(width), Out(width)
    """

    def __init__(self, width: int, cycles: int):
        self.width, self.cycles = width, cycles
        super().__init__({"i": In(width), "o": Out(width)})

    def elaborate(self, platform: object) -> Module:
        """Build registers for a short delay, a circular buffer for a long one."""
        m = Module()
        if self.cycles > MAX_SHIFT_CYCLES:
            self._circular_buffer(m)
            return m
        value: Value = self.i
        for stage in range(self.cycles):
            register = Signal(self.width, reset_less=True, name=f"stage{stage}")
            m.d.sync += register.eq(value)
            value = register
        m.d.comb += connect(self.o, value)
        return m

    def _circular_buffer(self, m: Module) -> None:
        """Write at `at` and read the position that comes next, whose word is then almost a turn old."""
        m.submodules.store = store = memory.Memory(shape=unsigned(self.width), depth=self.cycles, init=[])
        write, read = store.write_port(), store.read_port()
        at = Signal(range(self.cycles))
        following = Signal(range(self.cycles))
        m.d.comb += [
            following.eq(Mux(at == self.cycles - 1, 0, at + 1)),
            write.en.eq(1),
            connect(write.addr, at),
            connect(write.data, self.i),
            connect(read.addr, following),
            connect(self.o, read.data),
        ]
        m.d.sync += at.eq(following)


def delayed(m: Module, value: ValueLike, cycles: int, name: str) -> Value:
    """Return `value` after `cycles` cycles, through a `Delay` that becomes submodule `name` of `m`; keeps the sign."""
    value = Value.cast(value)
    delay = Delay(len(value), cycles)
    m.submodules[name] = delay
    m.d.comb += connect(delay.i, value)
    return delay.o.as_signed() if value.shape().signed else delay.o


def delay_stages(m: Module, value: Any, cycles: int, name: str, *, reset_less: bool) -> list[Any]:
    """Return `value` and its copies 1 to `cycles` cycles later, all of them registers: a delay line with taps.

    Parameters
    ----------
    m : Module
        Where the registers are built.
    value : Value or data.View
        What is delayed.
    cycles : int
        Copies.
    name : str
        Registers are this, an underscore and the number of cycles.
    reset_less : bool
        Whether what comes out before `cycles` is unspecified; flags must start at 0.
    """
    stages = [value]
    for k in range(1, cycles + 1):
        stages.append(Signal.like(value, name=f"{name}_{k}", reset_less=reset_less))
        m.d.sync += stages[-1].eq(stages[-2])
    return stages


def delay_flag(m: Module, flag: ValueLike, cycles: int, name: str) -> Value:
    """Return the one-bit `flag` after `cycles` cycles, 0 until then."""
    stages = Signal(cycles + 1, name=name)
    line = Signal(cycles, name=f"{name}_line")
    m.d.comb += stages.eq(Value.cast(flag) | (line << 1))
    m.d.sync += line.eq(stages[:cycles])
    return stages[cycles]


def product(m: Module, a: ValueLike, b: ValueLike, name: str, *, block: Product, cycles: int) -> Value:
    """Return ``a * b`` after `cycles`, through a `Multiply` that becomes submodule `name` of `m`.

    Parameters
    ----------
    m : Module
        Where it is built.
    a, b : ValueLike
        Operands.
    name : str
        Of the submodule.
    block : tuple of int
        As of `Multiply`.
    cycles : int
        Latency, at least that of the `Multiply`.
    """
    a, b = Value.cast(a), Value.cast(b)
    multiply = Multiply(a.shape(), b.shape(), block)
    check(
        cycles >= multiply.latency_cycles, f"{name} takes {multiply.latency_cycles} cycles, and its unit has {cycles}"
    )
    m.submodules[name] = multiply
    m.d.comb += [connect(multiply.a, a), connect(multiply.b, b)]
    return delayed(m, multiply.p, cycles - multiply.latency_cycles, f"{name}_delay")


def choice(words: list[Value], number: Value) -> Value:
    """Return the word of a number: halves by its bits, the lowest one first.

    Parameters
    ----------
    words : list of Value
    number : Value
    """
    if len(words) == 1:
        return words[0]
    return Mux(number[0], *(choice(words[odd::2], number[1:]) for odd in (1, 0)))
