"""The frame of the pixel stream: whole images, broken ones, stops, and what is dropped."""

from collections.abc import Callable
from typing import Any

import pytest
from amaranth.sim import Simulator

from bivit.hw.edge.pixel_frame import PixelFrame
from bivit.sim.flow.presets import FLOW_ENGINES
from helpers import CLK_PERIOD

#: Beats of an image: two rows of patches.
STRIP, STRIPS = 3, 2
IMAGE = STRIP * STRIPS


class Bench:
    """Offers beats as `offered` allows; keeps the numbers of those that were taken, and of those that are whole."""

    def __init__(self, last_at: Callable[[int], bool] = lambda beat: beat % IMAGE == IMAGE - 1):
        self.dut, self.last_at = PixelFrame(FLOW_ENGINES["sim"].engine), last_at
        self.offered, self.cycle = 1 << 30, 0
        self.sent, self.whole = list[int](), list[int]()
        self.dropped = list[int]()  # cycles

    async def step(self, ctx: Any, cycles: int = 1, room: bool = True, **pulses: int) -> None:
        """Let cycles pass, the first one with some inputs high."""
        for cycle in range(cycles):
            for name, value in pulses.items():
                ctx.set(getattr(self.dut, name), value if cycle == 0 else 0)
            beat = len(self.sent)
            ctx.set(self.dut.room, room)
            ctx.set(self.dut.pixels.valid, beat < self.offered)
            ctx.set(self.dut.pixels.payload.last, self.last_at(beat))
            self.dropped += [self.cycle] * ctx.get(self.dut.dropping)
            if ctx.get(self.dut.taken):
                self.whole.append(beat)
            if ctx.get(self.dut.pixels.valid) and ctx.get(self.dut.pixels.ready):
                self.sent.append(self.cycle)
            await ctx.tick()
            self.cycle += 1
        for name in pulses:
            ctx.set(getattr(self.dut, name), 0)

    async def start(self, ctx: Any, images: int) -> None:
        ctx.set(self.dut.strip_beats, STRIP)
        ctx.set(self.dut.strips, STRIPS)
        await self.step(ctx, images=images, start=1)

    def run(self, play: Callable[[Any], Any]) -> None:
        sim = Simulator(self.dut)
        sim.add_clock(CLK_PERIOD)
        sim.add_testbench(play)
        sim.run()


@pytest.mark.parametrize(
    ("name", "last_at", "beats", "limit", "drops"),
    [
        ("right", {5, 11, 17}, 18, 3, False),
        ("early, in the first row of patches", {1}, 2, 0, False),
        ("early, at its end", {2}, 3, 0, False),
        ("early, in the second image", {5, 6}, 7, 1, False),
        ("late", {6}, 7, 0, True),
        ("late by an image, in the second", {5, 17}, 18, 1, True),
        ("late, in the last image", {5, 11, 20}, 21, 2, True),
        ("missing", set(), 60, 0, True),
    ],
)
def test_a_broken_frame_ends_the_taking(name: str, last_at: set[int], beats: int, limit: int, drops: bool) -> None:
    """Images before it stay, it is dropped up to TLAST, and what follows stays with the sender."""
    bench = Bench(lambda beat: beat in last_at)

    async def play(ctx: Any) -> None:
        await bench.start(ctx, 3)
        await bench.step(ctx, 60)
        assert ctx.get(bench.dut.limit) == limit
        assert ctx.get(bench.dut.error) == (name != "right")
        assert ctx.get(bench.dut.dropping) == (name == "missing")

    bench.run(play)
    assert len(bench.sent) == beats
    assert bench.whole[: IMAGE * limit] == list(range(IMAGE * limit))
    # What is taken of the broken image is never its last beat.
    assert len(bench.whole) <= IMAGE * limit + (IMAGE - 1 if limit < 3 else 0)
    assert bool(bench.dropped) == drops
    if drops:
        assert bench.dropped[0] == bench.sent[IMAGE * limit + IMAGE - 1] + 1


def test_nothing_is_taken_beyond_a_run_or_without_room() -> None:
    bench = Bench()

    async def play(ctx: Any) -> None:
        await bench.step(ctx, 3)
        for images in (1, 2, 3):
            before = len(bench.sent)
            await bench.start(ctx, images)
            await bench.step(ctx, 7, room=False)
            assert len(bench.sent) == before
            await bench.step(ctx, IMAGE * images + 5)
            assert len(bench.sent) == len(bench.whole) == before + IMAGE * images
            assert ctx.get(bench.dut.limit) == images

    bench.run(play)


@pytest.mark.parametrize(("beats", "limit", "partly"), [(0, 0, False), (3, 0, True), (6, 1, False), (8, 1, True)])
def test_stop_leaves_whole_images_and_drops_a_part(beats: int, limit: int, partly: bool) -> None:
    bench = Bench()
    bench.offered = beats

    async def play(ctx: Any) -> None:
        await bench.start(ctx, 3)
        await bench.step(ctx, 12)
        await bench.step(ctx, 3, stop=1)
        assert (ctx.get(bench.dut.limit), ctx.get(bench.dut.error)) == (limit, 0)
        assert ctx.get(bench.dut.dropping) == partly
        bench.offered = 100
        bench.whole.clear()
        await bench.start(ctx, 1)
        await bench.step(ctx, 2 * IMAGE)
        first = IMAGE * (limit + partly)
        assert bench.whole == list(range(first, first + IMAGE))

    bench.run(play)


def test_dropping_can_be_given_up() -> None:
    """For a sender that was reset: the next beat is an image's first."""
    bench = Bench(lambda beat: beat == 25)

    async def play(ctx: Any) -> None:
        await bench.start(ctx, 2)
        await bench.step(ctx, 19)
        assert ctx.get(bench.dut.dropping)
        await bench.step(ctx, give_up=1)
        assert not ctx.get(bench.dut.dropping)
        assert len(bench.sent) == 20
        await bench.start(ctx, 1)
        bench.whole.clear()
        await bench.step(ctx, 10)
        assert bench.whole == list(range(20, 26))
        assert ctx.get(bench.dut.limit) == 1

    bench.run(play)
