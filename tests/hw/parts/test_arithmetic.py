import random
import re
from typing import Any

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Shape, Signal, Value, signed, unsigned
from amaranth.sim import Simulator

from bivit.hw.parts.arithmetic import Delay, Multiply, Tree, delay_flag, delayed, product
from bivit.sim.engine.pipeline import BLOCK_BITS, multiply_cycles, tree_cycles
from bivit.sim.errors import BivitError
from helpers import CLK_PERIOD


def stream(dut: Any, ports: list[Any], inputs: list[tuple[Any, ...]], output: Value, latency: int) -> list[int]:
    """Apply one tuple of inputs to the ports a cycle; return the output of each, `latency` cycles later."""
    outputs = []

    async def bench(ctx: Any) -> None:
        for cycle in range(len(inputs) + latency):
            for port, value in zip(ports, inputs[min(cycle, len(inputs) - 1)], strict=True):
                ctx.set(port, value)
            if cycle >= latency:
                outputs.append(ctx.get(output))
            await ctx.tick()

    top, heartbeat = Module(), Signal()
    top.submodules.dut = dut
    top.d.sync += heartbeat.eq(~heartbeat)  # some of the units have no register, and a simulation needs a clock domain
    sim = Simulator(top)
    sim.add_clock(CLK_PERIOD)
    sim.add_testbench(bench)
    sim.run()
    return outputs


def some_values(shape: Shape, rng: random.Random, count: int) -> list[int]:
    low = -(1 << shape.width - 1) if shape.signed else 0
    high = low + (1 << shape.width) - 1
    return [low, high, 0, low, high, *(rng.randint(low, high) for _ in range(count - 5))]


@pytest.mark.parametrize("fabric", BLOCK_BITS)
@pytest.mark.parametrize(
    ("a", "b"),
    [
        (unsigned(1), unsigned(1)),
        (signed(18), signed(18)),
        (unsigned(26), signed(16)),  # one block each
        (unsigned(27), signed(16)),
        (signed(28), signed(28)),
        (unsigned(44), unsigned(11)),
        (signed(60), unsigned(40)),
    ],
)
def test_products(a: Shape, b: Shape, fabric: str) -> None:
    rng = random.Random(a.width)
    pairs = list(zip(some_values(a, rng, 40), some_values(b, rng, 40)[::-1], strict=True))
    pairs += [(pairs[x][0], pairs[~y][1]) for x in (0, 1) for y in (0, 1)]
    dut = Multiply(a, b, BLOCK_BITS[fabric])
    assert dut.latency_cycles == multiply_cycles(tuple(s.width + (not s.signed) for s in (a, b)), BLOCK_BITS[fabric])
    assert stream(dut, [dut.a, dut.b], pairs, dut.p, dut.latency_cycles) == [x * y for x, y in pairs]


@pytest.mark.parametrize("fabric", BLOCK_BITS)
def test_a_block_is_as_wide_as_the_fabric_s_and_four_products_are_added_a_cycle(fabric: str) -> None:
    dut = Multiply(signed(60), unsigned(40), BLOCK_BITS[fabric])
    wide, narrow = BLOCK_BITS[fabric]
    parts = -(-(60 - 1) // (wide - 1)) * -(-40 // (narrow - 1))
    cells = re.findall(r"cell \$mul .*?end\n", rtlil.convert(dut), re.S)
    factors = [re.findall(r"[AB]_WIDTH (\d+)", cell) for cell in cells]
    assert len(factors) == parts
    assert all(int(a) <= wide and int(b) <= narrow for a, b in factors)
    assert dut.latency_cycles == {9: 4, 12: 4}[parts]


def test_a_product_refuses_fewer_cycles_than_it_takes() -> None:
    m, a = Module(), Signal(signed(40))
    with pytest.raises(BivitError, match="square takes 4 cycles, and its unit has 2"):
        product(m, a, a, "square", block=(27, 18), cycles=2)
    assert product(m, a, a, "square", block=(18, 18), cycles=5).shape().width == 80


@pytest.mark.parametrize("operation", ["sum", "max"])
@pytest.mark.parametrize("shape", [signed(5), unsigned(7)])
@pytest.mark.parametrize("count", [1, 2, 5, 8, 16])
def test_trees(operation: str, shape: Shape, count: int) -> None:
    rng = random.Random(count)
    sets = [some_values(shape, rng, count + 5)[-count:] for _ in range(20)]
    sets += [[some_values(shape, rng, 5)[k]] * count for k in (0, 1)]
    dut = Tree(shape, count, operation)
    assert dut.latency_cycles == tree_cycles(count)
    expected = [sum(values) if operation == "sum" else max(values) for values in sets]
    assert stream(dut, [dut.i], [(values,) for values in sets], dut.o, dut.latency_cycles) == expected


@pytest.mark.parametrize("cycles", range(10))
def test_delays(cycles: int) -> None:
    dut = Delay(9, cycles)
    values = [random.Random(cycles).getrandbits(9) for _ in range(40)]
    assert stream(dut, [dut.i], [(value,) for value in values], dut.o, cycles) == values


@pytest.mark.parametrize("cycles", [2, 6])
def test_a_delayed_value_keeps_its_sign(cycles: int) -> None:
    m, value, o = Module(), Signal(signed(4)), Signal(signed(8))
    m.d.comb += o.eq(delayed(m, value, cycles, "delay"))
    assert stream(m, [value], [(k,) for k in range(-8, 8)], o, cycles) == list(range(-8, 8))


@pytest.mark.parametrize("cycles", [0, 1, 5])
def test_a_delayed_flag_starts_at_0(cycles: int) -> None:
    m, flag, o = Module(), Signal(), Signal()
    m.d.comb += o.eq(delay_flag(m, flag, cycles, "flag"))
    flags = [1, 0, 1, 1, 0, 0, 1, 0, 1, 1]
    assert stream(m, [flag], [(k,) for k in flags], o, 0) == ([0] * cycles + flags)[: len(flags)]
