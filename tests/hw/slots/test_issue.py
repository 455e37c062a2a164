"""The operation that is given to the array: its steps are counted, and what it has read is free once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from amaranth.sim import Simulator
from shapes import TINY

from bivit.hw.slots.issue import Issue
from bivit.sim.engine.presets import engine_for
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.streams import Stream
from helpers import CLK_PERIOD


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_what_an_operation_has_read_is_free_once_however_long_nothing_follows(steps: int) -> None:
    """Dot products have up to three words: steps are counted in two bits."""
    sizes = {"rows": 1, "columns": 8, "lanes": 8, "dense_lanes": 8, "program_words": 64, "pixel_bytes": 1}
    array = engine_for(replace(TINY, mlp_ratio=10.0), **sizes)
    issue = Issue(FlowConfig(engine=array, drain_rows=1, norm_lanes=8, head_norm_lanes=8, softmax_lanes=8))
    ended: list[int] = []

    async def bench(ctx: Any) -> None:
        ctx.set(issue.ops[Stream.SCORES].steps, steps)
        ctx.set(issue.hand, 1 << Stream.SCORES)
        for frees in (5, 2):  # the second one follows at once
            ctx.set(issue.begin, 1)
            ctx.set(issue.frees, frees)
            for _ in range(steps):
                await ctx.tick()
                ctx.set(issue.begin, 0)
                ended.append(ctx.get(issue.ended))
            assert ctx.get(issue.free)
        for _ in range(20):
            await ctx.tick()
            ended.append(ctx.get(issue.ended))

    simulator = Simulator(issue)
    simulator.add_clock(CLK_PERIOD)
    simulator.add_testbench(bench)
    simulator.run()
    assert ended == [0] * (steps - 1) + [5] + [0] * (steps - 1) + [2] + [0] * 20
