"""The register between the link and the engine: every beat once, in order, whatever the two sides do."""

from __future__ import annotations

import random
from typing import Any

import pytest
from bus import watched_simulator

from bivit.hw.board.beat_buffer import BeatBuffer
from bivit.hw.parts.stream import LOAD_BEAT


@pytest.mark.parametrize(("offered", "wanted"), [(1.0, 1.0), (0.3, 1.0), (1.0, 0.2), (0.5, 0.5)])
def test_every_beat_passes_once_in_order(offered: float, wanted: float) -> None:
    dut, chance, beats = BeatBuffer(LOAD_BEAT), random.Random(5), list(range(1, 60))
    came: list[int] = []
    cycles = 0

    async def bench(ctx: Any) -> None:
        nonlocal cycles
        left = list(beats)
        while len(came) < len(beats):
            if not ctx.get(dut.taken.valid):  # what is offered stays
                ctx.set(dut.taken.valid, bool(left) and chance.random() < offered)
            if left:
                ctx.set(dut.taken.payload, {"data": left[0], "last": left[0] % 7 == 0})
            ready, full = ctx.get(dut.taken.ready), ctx.get(dut.given.valid)
            ctx.set(dut.given.ready, chance.random() < wanted)
            assert (ctx.get(dut.taken.ready), ctx.get(dut.given.valid)) == (ready, full)
            if ctx.get(dut.given.valid) and ctx.get(dut.given.ready):
                came.append(ctx.get(dut.given.payload.data))
                assert ctx.get(dut.given.payload.last) == (came[-1] % 7 == 0)
            moved = ctx.get(dut.taken.valid) and ctx.get(dut.taken.ready)
            await ctx.tick()
            if moved:
                left.pop(0)
                ctx.set(dut.taken.valid, 0)
            cycles += 1

    simulator = watched_simulator(dut)
    simulator.add_testbench(bench)
    simulator.run()
    assert came == beats
    if (offered, wanted) == (1.0, 1.0):
        assert cycles == 2 * len(beats)
