import random
from typing import Any

import pytest
from amaranth.hdl import Module, Shape, Signal, Value, signed, unsigned
from amaranth.sim import Simulator

from bivit.hw.parts.arithmetic import Delay, Multiply, Tree, delay_flag, delayed
from bivit.sim.engine.pipeline import MULTIPLY_CYCLES, tree_cycles
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
def test_products(a: Shape, b: Shape) -> None:
    rng = random.Random(a.width)
    pairs = list(zip(some_values(a, rng, 40), some_values(b, rng, 40)[::-1], strict=True))
    pairs += [(pairs[x][0], pairs[~y][1]) for x in (0, 1) for y in (0, 1)]
    dut = Multiply(a, b)
    assert dut.latency_cycles == MULTIPLY_CYCLES
    assert stream(dut, [dut.a, dut.b], pairs, dut.p, dut.latency_cycles) == [x * y for x, y in pairs]


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
