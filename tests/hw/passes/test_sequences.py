"""Sequences by themselves: the order of windows, and when those of the next round may be taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from amaranth.sim import Simulator
from windowed import tiny_swin, windowed_for

from bivit.hw.passes.sequences import Sequences
from helpers import CLK_PERIOD

FLOW = windowed_for([tiny_swin()], columns=8, together=4)
#: Words of the places of a window.
PLACES = 4


def sequence(
    *, side: int, rounds: int, group: int, bank: int, ahead: int, shifted: int = 0
) -> tuple[list[dict[str, int]], int]:
    """Take windows as soon as they are there, of which at most `ahead` are not left; return records, and pulses."""
    unit = Sequences(FLOW)
    settings = {
        "windows_last": side**2 - 1,
        "side_last": side - 1,
        "rounds_last": rounds - 1,
        "window_places": PLACES,
        "first_shifted": shifted,
        "first_layer": 6,
        "layer_step": 3,
        "depth_last": 9,
    }
    records: list[dict[str, int]] = []
    through = 0

    async def bench(ctx: Any) -> None:
        nonlocal through
        for name, value in settings.items():
            ctx.set(unit.settings[name], value)
        ctx.set(unit.group, group)
        ctx.set(unit.bank, bank)
        ctx.set(unit.begin, 1)
        await ctx.tick()
        ctx.set(unit.begin, 0)
        left = 0
        for age in range(8 * side**2 * rounds * group + 20):
            there = ctx.get(unit.there) and len(records) - left < ahead
            if there:
                names = ("bank", "place", "layer", "kind", "block")
                records.append({name: ctx.get(unit.next[name]) for name in names})
            leaves = left < len(records) - there and age % 3 == 0
            ctx.set(unit.take, there)
            ctx.set(unit.finished, leaves)
            through += ctx.get(unit.through)
            left += leaves
            await ctx.tick()
        assert left == len(records)

    simulator = Simulator(unit)
    simulator.add_clock(CLK_PERIOD)
    simulator.add_testbench(bench)
    simulator.run()
    return records, through


@pytest.mark.parametrize("group", [1, 2, 3, 4])
@pytest.mark.parametrize(("side", "rounds"), [(1, 1), (2, 1), (2, 3), (3, 2)])
def test_windows_come_round_by_round_image_by_image(side: int, rounds: int, group: int) -> None:
    banks = Sequences(FLOW).banks
    records, through = sequence(side=side, rounds=rounds, group=group, bank=banks - 1, ahead=2, shifted=100)
    wanted = [
        {
            "bank": (banks - 1 + image) % banks,
            "place": (100 if number % 2 else 0) + PLACES * window,
            "layer": 6 + 6 * number,
            "kind": ((window // side == side - 1) + 2 * (window % side == side - 1)) * (number % 2),
            "block": number,
        }
        for number in range(rounds)
        for image in range(group)
        for window in range(side**2)
    ]
    assert records == wanted
    assert through == 1


def test_a_round_begins_when_the_image_has_been_left_in_the_round_before() -> None:
    """With windows that nobody leaves, those of one round of all images can be taken, and no more."""
    unit = Sequences(FLOW)
    taken = 0

    async def bench(ctx: Any) -> None:
        nonlocal taken
        for name, value in {"windows_last": 3, "side_last": 1, "rounds_last": 1, "window_places": PLACES}.items():
            ctx.set(unit.settings[name], value)
        ctx.set(unit.group, 2)
        ctx.set(unit.begin, 1)
        await ctx.tick()
        ctx.set(unit.begin, 0)
        for left in (0, 3, 1):  # none, three windows of the first image, its last one
            for _ in range(left):
                ctx.set(unit.finished, 1)
                await ctx.tick()
                ctx.set(unit.finished, 0)
            await ctx.tick()
            for _ in range(20):
                there = ctx.get(unit.there)
                taken += there
                ctx.set(unit.take, there)
                await ctx.tick()
            ctx.set(unit.take, 0)
            counts.append(taken)

    counts: list[int] = []
    simulator = Simulator(unit)
    simulator.add_clock(CLK_PERIOD)
    simulator.add_testbench(bench)
    simulator.run()
    assert counts == [8, 8, 12]


#: Passes: windows of a side, blocks, words of weights of each, and whether it is a patch merging.
STREAMED = ((2, 2, 5, False), (2, 1, 7, True), (2, 1, 11, False), (1, 1, 3, True), (1, 3, 13, False))


def test_streamed_weights_lie_behind_those_of_the_pass_before() -> None:
    """From pass to pass and from group to group, round the ring; a round has one who opens, and one who closes."""
    flow = replace(FLOW, images=4, weights="streamed")
    unit = Sequences(flow)
    most = 1 << len(unit.next.weights)
    taken: list[list[tuple[int, int, int]]] = []
    groups = 2 + most // sum(blocks * words for _, blocks, words, _ in STREAMED)

    async def bench(ctx: Any) -> None:
        ctx.set(unit.group, 2)
        for side, blocks, words, merges in STREAMED * groups:
            rounds = 1 if side == 1 else blocks
            settings = {"windows_last": side**2 - 1, "side_last": side - 1, "rounds_last": rounds - 1}
            settings |= {"merges": merges, "pass_weights": blocks * words, "weight_step": words}
            for name, value in settings.items():
                ctx.set(unit.settings[name], value)
            ctx.set(unit.begin, 1)
            await ctx.tick()
            ctx.set(unit.begin, 0)
            taken.append([])
            for _ in range(20 + 2 * rounds * side**2):
                there = ctx.get(unit.there)
                if there:
                    taken[-1].append(tuple(ctx.get(unit.next[name]) for name in ("weights", "opens", "closes")))
                # What is taken is left in the next cycle.
                ctx.set(unit.take, there)
                await ctx.tick()
                ctx.set(unit.take, 0)
                ctx.set(unit.finished, there)
                await ctx.tick()
                ctx.set(unit.finished, 0)

    simulator = Simulator(unit)
    simulator.add_clock(CLK_PERIOD)
    simulator.add_testbench(bench)
    simulator.run()
    place, wanted = 0, []
    for side, blocks, words, _ in STREAMED * groups:
        # Lanes themselves go through the blocks of a pass whose windows are whole images.
        rounds, windows = 1 if side == 1 else blocks, 2 * side**2
        wanted.append(
            [
                ((place + number * words) % most, int(window == 0), int(window == windows - 1))
                for number in range(rounds)
                for window in range(windows)
            ]
        )
        place += blocks * words
    assert taken == wanted
    assert place > most
