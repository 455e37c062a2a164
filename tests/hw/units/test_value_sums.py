"""Column sums of v over tiles and groups, drained back to back."""

import random

from amaranth.sim import Simulator

from bivit.hw.units.value_sums import ValueSums
from bivit.sim.engine.presets import engine_for
from bivit.sim.network.presets import preset
from bivit.sim.units.value_sums import ValueSumsUnit
from helpers import CLK_PERIOD

ENGINE = engine_for(preset("digits"), rows=3, columns=16, lanes=8, dense_lanes=8, program_words=512)


def test_sums_of_two_groups_over_three_tiles():
    rng = random.Random(1)
    unit = ValueSums(ValueSumsUnit(ENGINE))
    tiles = [(tile, group, rows) for tile, rows in enumerate((3, 3, 1)) for group in (0, 2)]
    totals = {0: [0] * 16, 2: [0] * 16}

    async def capture(ctx, group, *, first):
        ctx.set(unit.capture, 1)
        ctx.set(unit.capture_group, group)
        ctx.set(unit.capture_first, first)
        await ctx.tick()
        ctx.set(unit.capture, 0)

    async def count(ctx, chunk, bits, *, last):
        ctx.set(unit.en, 1)
        ctx.set(unit.chunk, chunk)
        ctx.set(unit.bits, bits)
        ctx.set(unit.last, last)
        await ctx.tick()
        ctx.set(unit.en, 0)

    async def bench(ctx):
        for _ in range(2):  # the second time over the first one's sums
            for group in totals:
                totals[group] = [0] * 16
            for tile, group, rows in tiles:
                await capture(ctx, group, first=tile == 0)
                for row in range(rows):
                    for chunk in range(2):
                        bits = rng.getrandbits(8)
                        for i in range(8):
                            totals[group][chunk * 8 + i] += bits >> i & 1
                        await count(ctx, chunk, bits, last=row == rows - 1 and chunk == 1)
            for _ in range(ValueSumsUnit.write_stage):
                await ctx.tick()
            for group, expected in totals.items():
                ctx.set(unit.read.addr, group)
                await ctx.tick()
                word, bits = ctx.get(unit.read.data), ENGINE.acc_bits
                assert [word >> bits * c & (1 << bits) - 1 for c in range(16)] == expected

    sim = Simulator(unit)
    sim.add_clock(CLK_PERIOD)
    sim.add_testbench(bench)
    sim.run()
