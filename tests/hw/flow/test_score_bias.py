"""Biases of scores out of a table of each head: of every word of every tile; a place that is wrong."""

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator
from softmax_bench import unit_of
from windowed import window_limits

from bivit.hw.flow.score_bias import ScoreBias
from bivit.sim.errors import BivitError
from bivit.sim.flow.softmax import BIAS_BITS, MASK_BITS, SoftmaxUnit
from bivit.sim.network.windows import relative_positions
from helpers import CLK_PERIOD, join, load_memory

#: Heads, and side of a window: nine tokens in tiles of five rows, keys in groups of eight.
HEADS, SIDE = 3, 3
LIMITS = window_limits(heads=HEADS, bias_words=HEADS, mask_words=64, bias_window=SIDE)
UNITS = {drain: unit_of(5, 8, drain, 8, 8, windows=LIMITS) for drain in (1, 2, 5)}


def place_words(unit: SoftmaxUnit, wrong: bool = False) -> list[int]:
    """Words of masks without any mask; `wrong`: the last two are exchanged."""
    assert unit.bias_table is not None
    places = list(range(unit.bias_table.places))
    if wrong:
        places[-2:] = places[:-3:-1]
    return [place << MASK_BITS * unit.word_scores for place in places]


def sums(unit: SoftmaxUnit, tables: np.ndarray, masks: list[int], scores: list[list[int]]) -> list[list[int]]:
    """Send all words of a window's tiles and heads, in a row; return the sums, word by word."""
    dut, found = ScoreBias(unit), list[list[int]]()
    assert unit.bias_table is not None
    memories, tiles = unit.load_memories, -(-(SIDE**2) // unit.flow.engine.rows)
    each = unit.bias_table.places // tiles
    jobs = [(head, tile * each) for tile in range(tiles) for head in range(HEADS)]

    async def bench(ctx: Any) -> None:
        words = [join(table.tolist(), [BIAS_BITS] * len(table)) for table in tables]
        await load_memory(ctx, dut.load, memories["bias"], words)
        await load_memory(ctx, dut.load, memories["masks"], masks)
        ctx.set(dut.w_step, 1)
        sent = iter(scores)
        for head, mask in jobs:
            ctx.set(dut.w_bias, head)
            ctx.set(dut.w_mask, mask)
            ctx.set(dut.en, 0)
            await tick(ctx)
            ctx.set(dut.en, 1)
            for number in range(each):
                ctx.set(dut.first, number == 0)
                ctx.set(dut.word, join(next(sent), [unit.flow.engine.score_bits] * unit.word_scores))
                await tick(ctx)
        ctx.set(dut.en, 0)
        for _ in range(unit.bias_cycles):
            await tick(ctx)

    line = list[bool]()

    async def tick(ctx: Any) -> None:
        line.append(bool(ctx.get(dut.en)))
        await ctx.tick()
        if len(line) >= unit.bias_cycles and line[-unit.bias_cycles]:
            found.append([ctx.get(dut.sums[number]) for number in range(unit.word_scores)])

    simulator = Simulator(dut)
    simulator.add_clock(CLK_PERIOD)
    simulator.add_testbench(bench)
    simulator.run()
    return found


def expected(unit: SoftmaxUnit, tables: np.ndarray, scores: list[list[int]]) -> list[list[int | None]]:
    """The sums of pairs of the window; None of others."""
    rows, columns, side = unit.flow.engine.rows, unit.flow.engine.columns, unit.flow.drain_rows
    pairs, sent, found = relative_positions(SIDE), iter(scores), []
    for first in range(0, SIDE**2, rows):
        for head in range(HEADS):
            for group in range(0, SIDE**2, columns):
                for word in range(0, rows, side):
                    mine, sums_here = next(sent), list[int | None]()
                    for number, score in enumerate(mine):
                        row, key = word + number // columns, group + number % columns
                        there = row < rows and first + row < SIDE**2 and key < SIDE**2
                        sums_here.append(score + int(tables[head, pairs[first + row, key]]) if there else None)
                    found.append(sums_here)
    return found


def case(drain: int) -> tuple[SoftmaxUnit, np.ndarray, list[list[int]]]:
    unit, rng = UNITS[drain], random.Random(drain)
    assert unit.bias_table is not None
    tables = np.random.default_rng(drain).integers(0, 33, (HEADS, unit.bias_table.entries))
    words = HEADS * unit.bias_table.places
    return unit, tables, [[rng.randrange(65) for _ in range(unit.word_scores)] for _ in range(words)]


def same(found: list[list[int]], wanted: list[list[int | None]]) -> bool:
    assert len(found) == len(wanted)
    return all(
        one is None or got == one for a, b in zip(found, wanted, strict=True) for got, one in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("drain", UNITS)
def test_every_score_of_a_window_gets_the_entry_of_its_pair(drain: int) -> None:
    unit, tables, scores = case(drain)
    assert same(sums(unit, tables, place_words(unit), scores), expected(unit, tables, scores))


def test_a_place_that_is_another_one_is_noticed() -> None:
    unit, tables, scores = case(2)
    assert not same(sums(unit, tables, place_words(unit, wrong=True), scores), expected(unit, tables, scores))


@pytest.mark.parametrize("side", [1, 14])
def test_sides_that_no_word_holds_are_refused(side: int) -> None:
    with pytest.raises(BivitError, match=rf"windows\.bias_window must be 0 or 2 to 13, got {side}"):
        replace(LIMITS, bias_window=side)
