"""Two channels that share a multiplier: their sums are those of two multipliers, at all limits, in the same cycles."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from random import Random
from typing import Any, NamedTuple

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator
from flow_edge import flow_of, tiny

from bivit.hw.edge.dense_block import DenseBlock
from bivit.hw.edge.pair_block import PairBlock, Unpair
from bivit.hw.synthesis.synth import synthesise, synthesise_component
from bivit.sim.engine.pipeline import SHARED_BITS
from bivit.sim.estimate.resources import unit_cost
from bivit.sim.flow.edge import PIXEL_BITS, EdgeUnit
from helpers import CLK_PERIOD

LIMITS = (-128, -1, 0, 1, 127)
PIXELS = (0, 1, 127, 128, 254, 255)
CHUNKS, LANES = 2, 8
CHANNELS = CHUNKS * LANES


class Step(NamedTuple):
    """A pixel, and the weights of all channels."""

    pixel: int
    weights: Sequence[int]


#: Steps of a group of channels.
Group = list[Step]


def unit_of(steps: int) -> EdgeUnit:
    """An edge whose largest patch has so many pixels."""
    flow = flow_of(tiny(), dense_patches=2, dense_lanes=CHANNELS, products_per_dsp=2)
    return EdgeUnit(replace(flow, engine=replace(flow.engine, max_patch_dim=steps)))


def sums_of(unit: EdgeUnit, groups: Sequence[Group], *, gap: int = 0, lost: str = "") -> list[tuple[list[int], ...]]:
    """Sums of each group: of plain multipliers, and of pairs, of which `lost` is not handed on.

    Behind each group its sums leave, as soon as they can, and the next group begins as soon as it can, or later; inputs
    and weights meanwhile are of steps that do not count.
    """
    m, chance = Module(), Random(gap)
    m.submodules.plain = plain = DenseBlock(CHUNKS, LANES, PIXEL_BITS, unit.patch_bits)
    m.submodules.pairs = pairs = PairBlock(unit, CHUNKS)
    m.submodules.unpair = unpair = Unpair(unit)
    sums, word = Signal.like(pairs.sums), Signal.like(unpair.group.pairs)  # two cycles later, as what is beside it
    m.d.sync += sums.eq(pairs.sums)
    for number in range(LANES // 2):
        one = sums[number]
        m.d.sync += [word[number].lower.eq(one[:SHARED_BITS]), word[number].upper.eq(one[SHARED_BITS:].as_signed())]
    m.d.comb += [
        *(unpair.group.pairs.eq(word), unpair.group.overflows.eq(pairs.overflows)),
        *(unpair.group.pixels.eq(pairs.pixels), unpair.group.paired.eq(1)),
    ]
    if lost:
        m.d.comb += unpair.group[lost].eq(0)
    cycles = list[tuple[Step, bool, bool]]()  # whether it is a first step, and a step at all
    left: dict[int, int] = {}  # chunk that leaves, by cycle
    for group in groups:
        cycles += [(step, number == 0, True) for number, step in enumerate(group)]
        left |= {len(cycles) + 1 + chunk: chunk for chunk in range(CHUNKS)}
        cycles += [(random_step(chance), False, False) for _ in range(CHUNKS + gap)]
    cycles += [(random_step(chance), False, False)] * 8
    found: tuple[list[int], list[int]] = ([], [])

    async def play(ctx: Any) -> None:
        weights = random_step(chance).weights
        for cycle, (step, first, add) in enumerate(cycles):
            for block in (plain, pairs):
                ctx.set(block.input, step.pixel)
                ctx.set(block.weights, weights)
                ctx.set(block.first, first)
                ctx.set(block.add, add)
                ctx.set(block.shift, cycle in left)
            ctx.set(pairs.chunk, left.get(cycle, 0))
            weights = step.weights
            if cycle - 2 in left:
                found[0].extend(ctx.get(one) for one in plain.sums)
            if cycle - 5 in left:
                found[1].extend(ctx.get(unpair.sums[lane]) for lane in range(LANES))
            await ctx.tick()

    sim = Simulator(m)
    sim.add_clock(CLK_PERIOD)
    sim.add_testbench(play)
    sim.run()
    starts = range(0, len(groups) * CHANNELS, CHANNELS)
    return [tuple(sums[start : start + CHANNELS] for sums in found) for start in starts]


def expected(groups: Sequence[Group]) -> list[tuple[list[int], ...]]:
    """The same sums, twice, in Python's integers."""
    sums = [[sum(step.pixel * step.weights[k] for step in group) for k in range(CHANNELS)] for group in groups]
    return [(one, one) for one in sums]


def random_step(chance: Random) -> Step:
    """Half of all pixels and weights at a limit."""
    pixel = chance.choice((chance.choice(PIXELS), chance.randrange(256)))
    return Step(pixel, [chance.choice((chance.choice(LIMITS), chance.randrange(-128, 128))) for _ in range(CHANNELS)])


def constant(pixel: int, pairs: Sequence[tuple[int, int]], steps: int) -> Group:
    """One step again and again; the pairs of weights in turn."""
    weights = [weight for number in range(CHANNELS // 2) for weight in pairs[number % len(pairs)]]
    return [Step(pixel, weights)] * steps


def test_every_pair_of_limits_in_groups_of_every_short_length() -> None:
    pairs = list(product(LIMITS, LIMITS))
    some = [pairs[at : at + CHANNELS // 2] for at in range(0, len(pairs), CHANNELS // 2)]
    groups = [constant(pixel, few, steps) for pixel in PIXELS for few in some for steps in (2, 3, 7)]
    assert sums_of(unit_of(7), groups) == expected(groups)


def test_the_longest_sums_at_their_limits() -> None:
    """The lower sum overflows 381 times, and the upper one reaches its ends."""
    steps = 768
    unit = unit_of(steps)
    groups = [constant(255, [(127, 127), (127, -128), (-128, 127), (-128, -128), (0, 0), (-1, 1)], steps)] * 2
    assert sums_of(unit, groups, gap=3) == expected(groups)
    assert 255 * 255 * steps >> 17 == 381 < 1 << unit.overflow_bits


@pytest.mark.parametrize(("steps", "gap"), [(1, 1), (1, 4), (2, 0), (3, 0), (17, 2), (303, 0)])
def test_random_groups(steps: int, gap: int) -> None:
    """From patches of one pixel on, back to back and with steps between them that do not count."""
    chance = Random(steps + gap)
    groups = [[random_step(chance) for _ in range(steps)] for _ in range(1 + 300 // steps)]
    assert sums_of(unit_of(steps), groups, gap=gap) == expected(groups)


@pytest.mark.parametrize(("lost", "wrong"), [("overflows", {0, 1}), ("pixels", {0})])
def test_a_lost_overflow_or_sum_of_pixels_is_seen(lost: str, wrong: set[int]) -> None:
    """Of every pair both sums, or the lower one."""
    group = [constant(200, [(100, 100)], 9)]
    (plain, paired), *_ = sums_of(unit_of(9), group, lost=lost)
    assert plain == expected(group)[0][0]
    assert [one != other for one, other in zip(plain, paired, strict=True)] == [k % 2 in wrong for k in range(CHANNELS)]


@pytest.mark.slow
def test_on_7_series_half_the_multiplier_blocks_have_the_adders_too() -> None:
    """There Yosys takes a sum into the block: what is left are a counter of 5 bits a pair, and the sum of pixels."""
    unit = unit_of(48)
    plain = synthesise_component(DenseBlock(1, LANES, PIXEL_BITS, unit.patch_bits), "xc7")
    paired = synthesise_component(PairBlock(unit, 1), "xc7")
    assert (plain.dsps, paired.dsps) == (LANES, LANES // 2)
    assert paired.luts - plain.luts <= LANES // 2 * (unit.overflow_bits + 2) + 1.5 * unit.pixels_bits


@pytest.mark.slow
def test_the_unit_takes_as_many_as_estimated() -> None:
    """One for each channel of the first patch, and one for two of the second."""
    flow = unit_of(4).flow
    estimated = unit_cost("dense", flow, "xcup", (27, 18))
    assert synthesise("dense", flow, "xcup").dsps == estimated.dsps == CHANNELS * 3 // 2
