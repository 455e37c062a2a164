"""The search alone: every count, around every entry, a row a cycle."""

from collections.abc import Sequence
from typing import Any

import pytest
from amaranth.sim import Simulator
from softmax_bench import exp_of, unit_of

from bivit.hw.flow.exp_search import ExpSearch
from helpers import CLK_PERIOD


def counts(table: Sequence[int], sums: list[int]) -> tuple[list[int], int]:
    """Counts of rows with these Z, one after the other, and the cycles from a Z to its count."""
    unit = unit_of(4, 8, 2, 8)
    dut, found, first = ExpSearch(unit), list[int](), 0

    async def bench(ctx: Any) -> None:
        nonlocal first
        for k, value in enumerate(table):
            ctx.set(dut.write.en, 1)
            ctx.set(dut.write.addr, 5 << 7 | k)
            ctx.set(dut.write.data, value)
            await ctx.tick()
        ctx.set(dut.write.en, 0)
        ctx.set(dut.table, 5)
        for cycle in range(len(sums) + 60):
            ctx.set(dut.en, cycle < len(sums))
            ctx.set(dut.z[0], sums[cycle] if cycle < len(sums) else 0)
            if ctx.get(dut.count_en):
                first = first or cycle
                found.append(ctx.get(dut.count_value))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(CLK_PERIOD)
    simulator.add_testbench(bench)
    simulator.run()
    return found, first


@pytest.mark.parametrize(
    "exp",
    [
        [32000 - 450 * k for k in range(1, 65)],
        [1 << 15] * 64,
        [*[1 << 15] * 20, *[7] * 30, *[0] * 14],
        [0] * 64,
        [*[20000] * 63, 0],
    ],
    ids=["different", "equal", "steps", "nothing", "last"],
)
def test_every_count(exp: list[int]) -> None:
    """With Tau 2^16 the limit is Z itself: just at every entry, above and below; and beyond its 17 bits."""
    table = [1 << 16, *exp]
    values = sorted({exp_of(table, k) for k in range(65)})
    sums = [max(0, value + more) for value in values for more in (-1, 0, 1)] + [0, 1 << 17, (1 << 17) - 1, 1 << 21]
    found, first = counts(table, sums)
    assert found == [sum(exp_of(table, k) >= z for k in range(65)) for z in sums]
    unit = unit_of(4, 8, 2, 8)
    assert first == unit.count_stage - unit.sum_stage


@pytest.mark.parametrize("tau", [0, 1, 3, 40000])
def test_the_limit_is_rounded_up(tau: int) -> None:
    table = [tau, *(64 - k for k in range(64))]
    sums = [*range(0, 1 << 21, 65111), *(k * 65536 // max(1, tau) + more for k in range(1, 66) for more in (0, 1))]
    sums = [z for z in sums if z < 1 << 22]
    assert counts(table, sums)[0] == [sum(exp_of(table, k) << 16 >= tau * z for k in range(65)) for z in sums]
