"""The queue of logits: an image as large as the queue goes in without a pause, but for a queue of two."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from amaranth.sim import Simulator

from bivit.hw.edge.logits_queue import LogitsQueue
from bivit.sim.flow.presets import FLOW_ENGINES
from helpers import CLK_PERIOD


def burst(depth: int) -> list[int]:
    """Logits that come out of a queue of a depth, into which as many went in one behind the other, unread."""
    queue = LogitsQueue(replace(FLOW_ENGINES["sim"].engine, max_classes=1, queue_logits=max(3, depth)))
    queue.depth, found = depth, list[int]()

    async def bench(ctx: Any) -> None:
        await ctx.tick()
        for number in range(depth):
            ctx.set(queue.entry.en, 1)
            ctx.set(queue.entry.beat.data, 100 + number)
            await ctx.tick()
        ctx.set(queue.entry.en, 0)
        await ctx.tick().repeat(3)
        ctx.set(queue.logits.ready, 1)
        for _ in range(2 * depth + 4):
            if ctx.get(queue.logits.valid):
                found.append(ctx.get(queue.logits.payload.data))
            await ctx.tick()

    simulator = Simulator(queue)
    simulator.add_clock(CLK_PERIOD)
    simulator.add_testbench(bench)
    simulator.run()
    return found


@pytest.mark.parametrize("depth", [3, 4, 9])
def test_an_image_as_large_as_the_queue_goes_in_whole(depth: int) -> None:
    assert burst(depth) == [100 + number for number in range(depth)]


def test_one_of_two_logits_would_lose_the_second() -> None:
    """Why `queue_logits` is 3 or more."""
    assert burst(2) == [100]
