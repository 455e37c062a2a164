"""Which parts of streamed weights are asked for, and when there is room for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from amaranth.sim import Simulator
from windowed import tiny_swin, windowed_for

from bivit.hw.fetch.requests import Requests
from bivit.sim.flow.config import BURST_BEATS
from bivit.sim.flow.operation import Operands
from bivit.sim.flow.weight_stream import WeightStreamUnit
from helpers import CLK_PERIOD, load_memory

#: Stages of two blocks, one and two: five blocks of four parts, and two patch mergings.
SWIN = tiny_swin(depths=(2, 1, 2))
FLOW = replace(windowed_for([SWIN], rows=2, columns=8, norm_lanes=4), weights="streamed", memory_bits=64)
#: A ring that holds half of them.
FLOW = replace(FLOW, windows=replace(FLOW.windows, ring_words=64))
UNIT = WeightStreamUnit(FLOW)
PARTS = UNIT.parts(SWIN)
#: Address of the memory image.
BASE = 0x3000
#: Beats of the ring: a burst is asked for where the largest one has room.
RING = 64 * UNIT.word_beats


def asked(read: list[int]) -> list[int]:
    """Return how many beats are asked for: at the start, and after so many words each time have been read."""
    unit, bursts, found = Requests(FLOW), list[tuple[int, int]](), list[int]()

    async def rest(ctx: Any, cycles: int = 200) -> None:
        """Let all be asked for that has room; every burst arrives at once."""
        for _ in range(cycles):
            some = ctx.get(unit.arvalid)
            if some:
                bursts.append((ctx.get(unit.araddr), ctx.get(unit.arlen) + 1))
            ctx.set(unit.arrived, some)
            await ctx.tick()
        ctx.set(unit.arrived, 0)
        check_parts(bursts)
        found.append(sum(beats for _, beats in bursts))

    async def bench(ctx: Any) -> None:
        await load_memory(ctx, unit.load, UNIT.load_memories["parts"], UNIT.list_words(SWIN))
        for name, value in {"base": BASE, "run": 1, "active": 1, "arready": 1, "start": 1}.items():
            ctx.set(getattr(unit, name), value)
        await ctx.tick()
        ctx.set(unit.start, 0)
        await rest(ctx)
        for words in read:
            ctx.set(unit.read, words)
            await ctx.tick()
            ctx.set(unit.read, 0)
            await rest(ctx)

    simulator = Simulator(unit)
    simulator.add_clock(CLK_PERIOD)
    simulator.add_testbench(bench)
    simulator.run()
    return found


def check_parts(bursts: list[tuple[int, int]]) -> None:
    """Check that bursts are those of the parts, one behind the other and round and round."""
    wanted = list[tuple[int, int]]()
    while len(wanted) < len(bursts):
        for part in PARTS:
            for first in range(0, part.beats, BURST_BEATS):
                address = BASE + part.byte + first * UNIT.beat_bytes
                wanted.append((address, min(BURST_BEATS, part.beats - first)))
    assert bursts == wanted[: len(bursts)]


def sizes() -> Iterator[tuple[int, int]]:
    """Beats of the bursts, round and round, and those of them that are of words."""
    while True:
        for part in PARTS:
            for first in range(0, part.beats, BURST_BEATS):
                beats = min(BURST_BEATS, part.beats - first)
                yield beats, beats - (first + beats == part.beats)


def test_bursts_are_asked_for_as_far_ahead_as_the_ring_has_room() -> None:
    """From part to part and round and round; words that have been read make room for as many."""
    most = (1 << Operands(FLOW).fields["steps"]) - 1
    read = [1, 2, 1, most, most, 1, 2, 2] * 18
    found, room, taken, bursts = list[int](), RING, 0, sizes()
    for words in [0, *read]:
        room += words * UNIT.word_beats
        while room >= BURST_BEATS:
            beats, of_words = next(bursts)
            room, taken = room - of_words, taken + beats
        found.append(taken)
    assert asked(read) == found
    assert found[0] < RING + len(PARTS) < sum(part.beats for part in PARTS)  # not all of it fits
    assert found[-1] > 2 * sum(part.beats for part in PARTS)


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
