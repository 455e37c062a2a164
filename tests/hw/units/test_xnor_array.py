"""The dot unit and the array: popcounts from parity features equal popcounts of every product."""

import random

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from bivit.hw.parts.popcount import PAIRS, Features
from bivit.hw.units.xnor_array import XnorArray
from bivit.sim.engine.config import EngineConfig
from bivit.sim.engine.pipeline import XNOR_ARRAY_CYCLES
from bivit.sim.engine.presets import ENGINES, engine_for
from bivit.sim.network.presets import preset
from helpers import CLK_PERIOD, signed

WORD_MAX = (1 << 64) - 1


def small_engine(fabric: str) -> EngineConfig:
    return engine_for(preset("digits"), rows=2, columns=8, lanes=8, dense_lanes=8, program_words=512, fabric=fabric)


def xnor_count(a: int, w: int) -> int:
    return 64 - (a ^ w).bit_count()


@pytest.mark.parametrize("fabric", ["lut6", "lut4"])
def test_pair_bits_count_the_products(fabric):
    """32 bits of weight two and one of weight one hold the popcount, for any two words."""
    m = Module()
    features = Features(fabric)
    a, w = Signal(64), Signal(64)
    bits = Signal(PAIRS + 1)

    def both(operand, name, weights):
        levels, top = features.first_stage(m, operand, name, weights=weights)
        wires = Signal(len(levels)), Signal(len(top)), Signal(features.width)
        m.d.comb += [wires[0].eq(levels), wires[1].eq(top)]
        m.d.comb += wires[2].eq(features.second_stage(m, wires[0], wires[1], name, weights=weights))
        return wires[2]

    m.d.comb += bits.eq(features.pair_bits(m, both(a, "a", False), both(w, "w", True)))
    rng = random.Random(1)
    words = [0, WORD_MAX, 1, 1 << 63, 0x5555555555555555, *(rng.getrandbits(64) for _ in range(60))]

    async def bench(ctx):
        for x in words:
            for y in (rng.choice(words), x, x ^ WORD_MAX):
                ctx.set(a, x)
                ctx.set(w, y)
                await ctx.delay(1e-9)
                got = ctx.get(bits)
                assert 2 * (got & ((1 << PAIRS) - 1)).bit_count() + (got >> PAIRS) == xnor_count(x, y)

    simulate(m, bench, clock=False)


def simulate(design, bench, *, clock=True):
    sim = Simulator(design)
    if clock:
        sim.add_clock(CLK_PERIOD)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize("fabric", ["lut6", "lut4"])
def test_array_accumulates_preloads_and_drains(fabric):
    """Dots of several steps, back to back, with preloads of both signs; sums appear LATENCY cycles after their step."""
    engine = small_engine(fabric)
    array = XnorArray(engine)
    rng = random.Random(2)
    lengths = [1, 3, 1, 2, 4]
    steps = [(i == 0, i == n - 1) for n in lengths for i in range(n)]
    operands = [
        ([rng.getrandbits(64) for _ in range(2)], [rng.choice([0, WORD_MAX, rng.getrandbits(64)]) for _ in range(8)])
        for _ in steps
    ]
    preloads = [[rng.randrange(-200, 200) for _ in range(8)] for _ in steps]
    bits = engine.acc_bits

    sums, expected = None, []
    for (first, last), (a, w), start in zip(steps, operands, preloads, strict=True):
        if first:
            sums = [list(start) for _ in range(2)]
        sums = [[sums[r][c] + xnor_count(a[r], w[c]) for c in range(8)] for r in range(2)]
        if last:
            expected.append(sums)

    async def bench(ctx):
        got = []
        for cycle in range(len(steps) + XNOR_ARRAY_CYCLES + 3):
            if cycle < len(steps):
                a, w = operands[cycle]
                ctx.set(array.a, a[0] | a[1] << 64)
                ctx.set(array.w, sum(word << 64 * c for c, word in enumerate(w)))
            late = cycle - (XNOR_ARRAY_CYCLES - 1)
            ctx.set(array.first, 0 <= late < len(steps) and steps[late][0])
            if 0 <= late < len(steps):
                ctx.set(array.preload, sum((p & ((1 << bits) - 1)) << bits * c for c, p in enumerate(preloads[late])))
            done = cycle - XNOR_ARRAY_CYCLES
            for strobe in (array.move, array.capture):
                ctx.set(strobe, 0 <= done < len(steps) and steps[done][1])
            await ctx.tick()
            if 0 <= done < len(steps) and steps[done][1]:
                word = ctx.get(array.o)
                got.append([signed(word >> bits * c, bits) for c in range(8)])
        assert got == [sums[0] for sums in expected]

    simulate(array, bench)


def test_drain_shifts_rows_out():
    """After a capture, each move brings the next row."""
    engine = small_engine("lut6")
    array = XnorArray(engine)

    async def bench(ctx):
        ctx.set(array.a, WORD_MAX)  # row 0 all ones, row 1 all zeros
        ctx.set(array.first, 1)
        ctx.set(array.w, sum(WORD_MAX << 64 * c for c in range(8)))
        for _ in range(XNOR_ARRAY_CYCLES + 1):
            await ctx.tick()
        ctx.set(array.move, 1)
        ctx.set(array.capture, 1)
        await ctx.tick()
        ctx.set(array.capture, 0)
        assert ctx.get(array.o) & ((1 << engine.acc_bits) - 1) == 64
        await ctx.tick()
        assert ctx.get(array.o) == 0

    simulate(array, bench)


def test_named_engines_are_valid():
    assert {"digits", "deit_tiny_6x32", "deit_tiny_33x32"} <= set(ENGINES)
