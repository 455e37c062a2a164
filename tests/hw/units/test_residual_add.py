"""ResidualAdd: exact sums, saturation at both ends, its count, and its latency."""

import random

from amaranth.sim import Simulator

from bivit.hw.units.residual_add import ResidualAdd
from bivit.sim.engine.presets import engine_for
from bivit.sim.network.presets import preset
from bivit.sim.units.residual_add import ResidualAddUnit
from helpers import CLK_PERIOD, join, load_memory, signed

ENGINE = engine_for(preset("digits"), rows=2, columns=8, lanes=8, dense_lanes=8, program_words=512)
LOW, HIGH = -(1 << 19), (1 << 19) - 1


def test_words_equal_the_definition_and_saturations_are_counted():
    rng = random.Random(3)
    unit = ResidualAdd(ResidualAddUnit(ENGINE))
    memory = ENGINE.load_memories["residual"]
    params = [
        [
            (rng.choice([-32768, 32767, rng.randrange(-3000, 3000)]), rng.choice([LOW, HIGH, rng.randrange(-999, 999)]))
            for _ in range(8)
        ]
        for _ in range(16)
    ]
    beats = [
        (
            rng.randrange(16),
            rng.randrange(1 << 20),
            [rng.choice([-512, 256, 0, rng.randrange(-512, 512)]) for _ in range(8)],
            [rng.choice([LOW, HIGH, rng.randrange(LOW, HIGH)]) for _ in range(8)],
        )
        for _ in range(60)
    ]
    expected, saturated = [], 0
    for word, addr, sums, old in beats:
        exact = [x + s * 2 * v + b for x, v, (s, b) in zip(old, sums, params[word], strict=True)]
        saturated += sum(not LOW <= value <= HIGH for value in exact)
        expected.append((addr, [max(LOW, min(HIGH, value)) for value in exact]))
    assert 0 < saturated < 60 * 8

    async def bench(ctx):
        words = [join([f for pair in word for f in pair], [16, 20] * 8) for word in params]
        ctx.set(unit.bank, 1)
        await load_memory(ctx, unit.load, memory, words)
        ctx.set(unit.bank, 0)
        written, count, old_word = [], 0, 0
        for cycle in range(len(beats) + ResidualAddUnit.write_stage + 2):
            ctx.set(unit.x_data, old_word)
            ctx.set(unit.en, cycle < len(beats))
            if cycle < len(beats):
                word, addr, sums, old = beats[cycle]
                ctx.set(unit.param_addr, word)
                ctx.set(unit.addr, addr)
                ctx.set(unit.sums, join(sums, [ENGINE.acc_bits] * 8))
                old_word = join(old, [20] * 8)
            count += ctx.get(unit.saturations)
            if ctx.get(unit.x_write.en):
                data = ctx.get(unit.x_write.data)
                written.append((cycle, ctx.get(unit.x_write.addr), [signed(data >> 20 * i, 20) for i in range(8)]))
            await ctx.tick()
        assert [entry[0] for entry in written] == list(
            range(ResidualAddUnit.write_stage, ResidualAddUnit.write_stage + len(beats))
        )
        assert [(addr, values) for _, addr, values in written] == expected
        assert count == saturated

    sim = Simulator(unit)
    sim.add_clock(CLK_PERIOD)
    sim.add_testbench(bench)
    sim.run()
