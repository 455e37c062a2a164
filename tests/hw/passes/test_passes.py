"""Passes by themselves: which images go together, the settings of each pass, and when images are given back."""

from __future__ import annotations

from typing import Any

import pytest
from amaranth.sim import Simulator
from windowed import tiny_swin, windowed_for

from bivit.hw.passes.passes import Passes
from bivit.sim.flow.settings import passes_memory, setting_bits
from helpers import CLK_PERIOD, load_memory

FLOW = windowed_for([tiny_swin()], columns=8, together=3)
#: Passes, and settings of each: `last_pass` is 1 in the last one, and all others say which pass it is.
COUNT, NAMES = 3, list(setting_bits(FLOW))


def words() -> list[int]:
    """Settings of all passes: one window an image, one round."""
    found = []
    for number in range(COUNT):
        values = dict.fromkeys(NAMES, 0) | {"last_pass": int(number == COUNT - 1), "tiles_last": number}
        found += [values[name] for name in NAMES]
    return found


def run(images: int, embedded: dict[int, int], *, limit: dict[int, int] | None = None) -> tuple[list[int], list[int]]:
    """Return how many windows each pass takes, and in which cycles images are given back.

    Images are embedded in some cycles, so many in each; the limit of the run may change. A window that is taken is left
    a few cycles later.
    """
    unit, limits = Passes(FLOW), {0: images} | (limit or {})
    taken: list[int] = []
    given: list[int] = []

    async def bench(ctx: Any) -> None:
        await load_memory(ctx, unit.load, passes_memory(FLOW), words())
        settings, leaves = dict.fromkeys(NAMES, 0), list[int]()
        for cycle in range(1500):
            if cycle in limits:
                ctx.set(unit.limit, limits[cycle])
            ctx.set(unit.embedded, embedded.get(cycle, 0))
            if ctx.get(unit.settle.en):
                settings[NAMES[ctx.get(unit.settle.addr)]] = ctx.get(unit.settle.data)
                assert ctx.get(unit.settling)
                assert ctx.get(unit.between)
            if ctx.get(unit.restart):
                taken.append(0)
                assert settings["tiles_last"] == (len(taken) - 1) % COUNT
                for name, value in settings.items():
                    ctx.set(unit.settings[name], value)
            takes = ctx.get(unit.there) and not ctx.get(unit.between)
            if takes:
                taken[-1] += 1
                leaves.append(cycle + 5)
            ctx.set(unit.take, takes)
            ctx.set(unit.left, cycle in leaves)
            if ctx.get(unit.finished):
                given.append(cycle)
            await ctx.tick()

    simulator = Simulator(unit)
    simulator.add_clock(CLK_PERIOD)
    simulator.add_testbench(bench)
    simulator.run()
    return taken, given


@pytest.mark.parametrize(("images", "groups"), [(1, [1]), (2, [2]), (3, [3]), (4, [3, 1])])
def test_images_go_in_groups_through_every_pass(images: int, groups: list[int]) -> None:
    taken, given = run(images, {10 * number + 5: 1 for number in range(images)})
    assert taken == [group for group in groups for _ in range(COUNT)]
    assert len(given) == images


def test_a_group_waits_for_its_images() -> None:
    taken, given = run(3, {5: 1, 15: 1, 700: 1})
    assert taken == [3] * COUNT
    assert min(given) > 700


def test_a_run_that_ends_early_lets_go_what_is_there() -> None:
    """A stop lowers the limit to the images that were taken whole."""
    taken, given = run(3, {5: 1, 15: 1}, limit={600: 2})
    assert taken == [2] * COUNT
    assert min(given) > 600
    assert len(given) == 2
