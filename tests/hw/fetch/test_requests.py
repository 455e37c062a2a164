"""Which parts of streamed weights are asked for, and when there is room for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from amaranth.sim import Simulator
from windowed import tiny_swin, windowed_for

from bivit.hw.fetch.requests import Requests
from bivit.sim.flow.weight_stream import BURST_BEATS, WeightStreamUnit
from helpers import CLK_PERIOD, load_memory

#: Stages of two blocks, one and two: five blocks of four parts, and two patch mergings.
SWIN = tiny_swin(depths=(2, 1, 2))
FLOW = replace(windowed_for([SWIN], rows=2, columns=8, norm_lanes=4), weights="streamed", memory_bits=64)
UNIT = WeightStreamUnit(FLOW)
PARTS = UNIT.parts(SWIN)
#: Address of the memory image.
BASE = 0x3000
#: A block's parts in the order in which streams begin with them.
WHOLE = (0, 1, 2, 3)


def asked(words: list[int], opened: list[tuple[int, ...]]) -> list[int]:
    """Return how many parts are asked for: at the start, and by each time that streams have begun with some."""
    unit, bursts, found = Requests(FLOW), list[tuple[int, int]](), list[int]()

    async def rest(ctx: Any, cycles: int = 300) -> None:
        """Let all be asked for that has room; every burst arrives at once."""
        for _ in range(cycles):
            some = ctx.get(unit.arvalid)
            if some:
                bursts.append((ctx.get(unit.araddr), ctx.get(unit.arlen) + 1))
            ctx.set(unit.arrived, some)
            await ctx.tick()
        ctx.set(unit.arrived, 0)

    async def bench(ctx: Any) -> None:
        await load_memory(ctx, unit.load, UNIT.load_memories["parts"], words)
        for name, value in {"base": BASE, "run": 1, "active": 1, "arready": 1, "start": 1}.items():
            ctx.set(getattr(unit, name), value)
        await ctx.tick()
        ctx.set(unit.start, 0)
        await rest(ctx)
        found.append(parts_of(bursts))
        for kinds in opened:
            for kind in kinds:
                ctx.set(unit.opened, 1 << kind)
                await ctx.tick()
                ctx.set(unit.opened, 0)
                await rest(ctx)
            found.append(parts_of(bursts))

    simulator = Simulator(unit)
    simulator.add_clock(CLK_PERIOD)
    simulator.add_testbench(bench)
    simulator.run()
    return found


def parts_of(bursts: list[tuple[int, int]]) -> int:
    """Check that bursts are those of the parts, one behind the other and round and round; return how many parts."""
    at, left = 0, list(bursts)
    while left:
        part = PARTS[at % len(PARTS)]
        for first in range(0, part.beats, BURST_BEATS):
            address = BASE + part.byte + first * UNIT.beat_bytes
            assert left.pop(0) == (address, min(BURST_BEATS, part.beats - first))
        at += 1
    return at


def test_there_is_room_for_two_blocks_and_the_merging_behind_them() -> None:
    assert asked(UNIT.list_words(SWIN), []) == [9]


def test_the_first_part_of_a_pass_waits_for_all_of_the_block_before() -> None:
    """The first block of a stage lies over two of the stage before; the others part by part."""
    opened = [WHOLE, (0, 1, 2), (3,), WHOLE, (0,), (1,), (2, 3), WHOLE, (0,), (1, 2, 3)]
    found = asked(UNIT.list_words(SWIN), opened)
    # Block 2 and the merging behind it, then block 3, then block 4 part by part, then blocks 0 and 1 of the next group.
    assert found == [9, 9, 9, 14, 18, 19, 20, 22, 26, 27, 31]


def test_without_the_flag_it_would_lie_over_what_is_in_use() -> None:
    words, at = UNIT.list_words(SWIN), 0
    for name, bits in UNIT.fields.items():
        if name == "begins":
            words = [word & ~(1 << at) for word in words]
        at += bits
    assert asked(words, [WHOLE, (0,)]) == [9, 9, 10]


@pytest.mark.parametrize("number", [0, 3])
def test_reading_begins_again_with_the_first_part(number: int) -> None:
    """In the first place, whatever has been asked for."""
    unit, found = Requests(FLOW), list[int]()

    async def bench(ctx: Any) -> None:
        await load_memory(ctx, unit.load, UNIT.load_memories["parts"], UNIT.list_words(SWIN))
        for name, value in {"base": BASE, "run": 1, "active": 1, "arready": 1}.items():
            ctx.set(getattr(unit, name), value)
        for cycles in (8 + 5 * number, 60):
            ctx.set(unit.start, 1)
            await ctx.tick()
            ctx.set(unit.start, 0)
            found.clear()
            for _ in range(cycles):
                if ctx.get(unit.arvalid):
                    found.append(ctx.get(unit.araddr))
                await ctx.tick()

    simulator = Simulator(unit)
    simulator.add_clock(CLK_PERIOD)
    simulator.add_testbench(bench)
    simulator.run()
    wanted = [BASE + PARTS[at].byte for at in range(8)]
    assert found[-8:] == wanted
    assert len(found) <= 9  # a request that was made stays
