import math
import random

import pytest
from amaranth.sim import Simulator

from bivit.hw.parts.isqrt import Isqrt
from bivit.sim.engine.pipeline import isqrt_cycles
from helpers import CLK_PERIOD


def roots(dut: Isqrt, operands: list[int | None]) -> list[tuple[int, int]]:
    """Feed one operand (None: a gap) a cycle; return (cycle, root) of every valid output."""
    seen = []

    async def bench(ctx):
        for cycle in range(len(operands) + dut.latency_cycles + 2):
            operand = operands[cycle] if cycle < len(operands) else None
            ctx.set(dut.value_valid, operand is not None)
            ctx.set(dut.value, operand or 0)
            if ctx.get(dut.root_valid):
                seen.append((cycle, ctx.get(dut.root)))
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(CLK_PERIOD)
    sim.add_testbench(bench)
    sim.run()
    return seen


@pytest.mark.parametrize("bits", range(1, 10))
def test_every_value_of_a_few_bits(bits: int) -> None:
    values = range(1 << bits)
    assert [root for _, root in roots(Isqrt(bits), list(values))] == [math.isqrt(v) for v in values]


@pytest.mark.parametrize("bits", [49, 50, 64])
def test_wide_values_at_the_edges_of_squares(bits: int) -> None:
    rng = random.Random(bits)
    largest = math.isqrt((1 << bits) - 1)
    bases = [1, 2, 3, largest, largest - 1, 1 << (bits // 2 - 1)] + [rng.randrange(1, largest + 1) for _ in range(60)]
    values = [0, (1 << bits) - 1] + [v for base in bases for v in (base**2 - 1, base**2, base**2 + 1)]
    values = [v for v in values if v < 1 << bits]
    assert [root for _, root in roots(Isqrt(bits), list(values))] == [math.isqrt(v) for v in values]


def test_latency_and_gaps() -> None:
    dut = Isqrt(20)
    operands = [9, None, None, 1 << 19, 100, None, 0]
    assert dut.latency_cycles == isqrt_cycles(20) == 10
    expected = [(k + 10, math.isqrt(v)) for k, v in enumerate(operands) if v is not None]
    assert roots(dut, operands) == expected
