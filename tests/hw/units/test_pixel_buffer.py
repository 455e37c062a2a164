"""The pixel buffer: bytes, halves, frames, stalls, and the cycles that sim.engine.pixel_model predicts."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from bus import watched_simulator

from bivit.hw.units.pixel_buffer import PixelBuffer
from bivit.sim.engine.config import EngineConfig
from bivit.sim.engine.pixel_model import strip_ready_times

READ_LATENCY = 2


def engine_of(pixel_bytes: int, max_strip_bytes: int) -> EngineConfig:
    limits = {"max_tokens": 8, "max_embed_dim": 8, "max_hidden_dim": 8, "max_heads": 1, "max_depth": 1}
    limits |= {"max_classes": 2, "max_patch_dim": 4, "max_strip_bytes": max_strip_bytes, "program_words": 16}
    return EngineConfig(rows=1, columns=8, lanes=8, dense_lanes=8, pixel_bytes=pixel_bytes, **limits)


class Bench:
    """A stream of images on one side, a reader of strips on the other; cycle 0 is the one after `start`.

    `stall` is the chance of a cycle without valid data, `last_at` says for the number of a beat whether it has TLAST.
    """

    def __init__(self, pixel_bytes: int, strip_beats: int, strips: int, images: int, *, max_strip_bytes: int = 0):
        self.pixel_bytes, self.strip_beats, self.strips, self.images = pixel_bytes, strip_beats, strips, images
        strip_bytes = strip_beats * pixel_bytes
        self.dut = PixelBuffer(engine_of(pixel_bytes, max_strip_bytes or strip_bytes))
        self.beats = strip_beats * strips * images
        self.data = Random(3).randbytes(self.beats * pixel_bytes)
        self.strip_data = [self.data[at : at + strip_bytes] for at in range(0, len(self.data), strip_bytes)]
        self.taken: list[int] = []  # cycle of every beat
        self.cycle = 0

    async def start(self, ctx: Any, images: int) -> None:
        """Start a run; be in the first cycle that can take a beat."""
        ctx.set(self.dut.strip_beats, self.strip_beats)
        ctx.set(self.dut.strips, self.strips)
        ctx.set(self.dut.images, images)
        await self.pulse(ctx, self.dut.start)
        ctx.set(self.dut.images, 0)  # it is a copy

    async def pulse(self, ctx: Any, signal: Any) -> None:
        ctx.set(signal, 1)
        await self.tick(ctx)
        ctx.set(signal, 0)

    def source(self, stall: float = 0.0, last_at: Callable[[int], bool] | None = None) -> Any:
        image = self.strip_beats * self.strips
        is_last = last_at or (lambda beat: beat % image == image - 1)
        rng = Random(4)

        async def feed(ctx: Any) -> None:
            for beat in range(self.beats):
                while rng.random() < stall:
                    await ctx.tick()
                at = beat * self.pixel_bytes
                ctx.set(self.dut.pixels.payload.data, int.from_bytes(self.data[at : at + self.pixel_bytes], "little"))
                ctx.set(self.dut.pixels.payload.last, is_last(beat))
                ctx.set(self.dut.pixels.valid, 1)
                while not ctx.get(self.dut.pixels.ready):
                    await ctx.tick()
                self.taken.append(self.cycle)
                await ctx.tick()
                ctx.set(self.dut.pixels.valid, 0)

        return feed

    async def tick(self, ctx: Any) -> None:
        await ctx.tick()
        self.cycle += 1

    async def available(self, ctx: Any) -> int:
        """Wait for a strip; return the cycle."""
        for _ in range(2000):
            if ctx.get(self.dut.available):
                return self.cycle
            await self.tick(ctx)
        raise AssertionError("no strip came")

    async def release(self, ctx: Any) -> int:
        """Release the strip; return the cycle, and be in the next one."""
        ctx.set(self.dut.release, 1)
        released = self.cycle
        await self.tick(ctx)
        ctx.set(self.dut.release, 0)
        return released

    async def read(self, ctx: Any, addresses: list[int], *, release: bool = False) -> bytes:
        """Read a byte a cycle; release the strip with the last address if so told."""
        got = []
        for cycle in range(len(addresses) + READ_LATENCY):
            if cycle >= READ_LATENCY:
                got.append(ctx.get(self.dut.read.data))
            if cycle < len(addresses):
                ctx.set(self.dut.read.addr, addresses[cycle])
            ctx.set(self.dut.release, release and cycle == len(addresses) - 1)
            await self.tick(ctx)
        return bytes(got)

    def run(self, source: Any, reader: Any) -> None:
        simulator = watched_simulator(self.dut)

        async def run(ctx: Any) -> None:
            await self.start(ctx, self.images)
            self.cycle = 0
            await reader(ctx)

        simulator.add_testbench(run)
        simulator.add_testbench(source, background=True)
        simulator.run()


@pytest.mark.parametrize(
    ("pixel_bytes", "strip_beats", "strips", "stall"),
    [(8, 5, 3, 0.0), (8, 5, 3, 0.6), (4, 3, 1, 0.3), (2, 4, 2, 0.0), (1, 7, 2, 0.3), (8, 1, 2, 0.0), (1, 1, 1, 0.5)],
)
def test_every_byte_of_every_strip(pixel_bytes: int, strip_beats: int, strips: int, stall: float) -> None:
    bench = Bench(pixel_bytes, strip_beats, strips, images=3)
    rng = Random(5)

    async def reader(ctx: Any) -> None:
        for strip in bench.strip_data:
            await bench.available(ctx)
            addresses = rng.sample(range(len(strip)), len(strip))
            assert await bench.read(ctx, addresses, release=True) == bytes(strip[a] for a in addresses)
        for _ in range(5):
            assert not ctx.get(bench.dut.available)
            await bench.tick(ctx)
        assert not ctx.get(bench.dut.error)

    bench.run(bench.source(stall), reader)
    assert len(bench.taken) == bench.beats


def test_halves_that_are_smaller_than_their_addresses() -> None:
    bench = Bench(2, 3, 4, images=1, max_strip_bytes=10)

    async def reader(ctx: Any) -> None:
        for strip in bench.strip_data:
            await bench.available(ctx)
            assert await bench.read(ctx, list(range(len(strip))), release=True) == strip

    bench.run(bench.source(), reader)


@pytest.mark.parametrize("strip_beats", [1, 4, 9])
@pytest.mark.parametrize("longest_use", [0, 6, 25])
def test_ready_times_are_predicted(strip_beats: int, longest_use: int) -> None:
    bench = Bench(1, strip_beats, 3, images=4)
    rng, ready, releases = Random(6), [], []

    async def reader(ctx: Any) -> None:
        for _ in bench.strip_data:
            ready.append(await bench.available(ctx))
            for _ in range(rng.randint(0, longest_use)):
                await bench.tick(ctx)
            releases.append(await bench.release(ctx))

    bench.run(bench.source(), reader)
    assert ready == strip_ready_times(strip_beats, releases[:-1])


def test_a_third_strip_waits_for_a_release() -> None:
    bench = Bench(8, 4, 2, images=2)

    async def reader(ctx: Any) -> None:
        for _ in range(20):
            await bench.tick(ctx)
        assert bench.taken == list(range(8))
        assert not ctx.get(bench.dut.pixels.ready)
        released = await bench.release(ctx)
        await bench.tick(ctx)
        assert bench.taken[8:] == [released + 1]
        assert await bench.read(ctx, [0, 31]) == bytes([bench.strip_data[1][0], bench.strip_data[1][31]])

    bench.run(bench.source(), reader)


def test_ready_does_not_wait_for_valid() -> None:
    bench = Bench(8, 4, 2, images=1)

    async def silent(ctx: Any) -> None:
        await ctx.tick()

    async def reader(ctx: Any) -> None:
        assert ctx.get(bench.dut.pixels.ready)
        await bench.tick(ctx)
        assert ctx.get(bench.dut.pixels.ready)

    bench.run(silent, reader)


@pytest.mark.parametrize(
    ("name", "last_at", "beats", "limit", "drops"),
    [
        ("right", {5, 11, 17}, 18, 3, False),
        ("early, in the first strip", {1}, 2, 0, False),
        ("early, at a strip's end", {2}, 3, 0, False),
        ("early, in the second image", {5, 6}, 7, 1, False),
        ("late", {6}, 7, 0, True),
        ("late by an image, in the second", {5, 17}, 18, 1, True),
        ("late, in the last image", {5, 11, 20}, 21, 2, True),
        ("missing", set(), 24, 0, True),
    ],
)
def test_a_broken_frame_ends_the_taking(name: str, last_at: set[int], beats: int, limit: int, drops: bool) -> None:
    """Images before it stay, it is dropped up to TLAST, and what follows stays with the sender."""
    bench = Bench(1, 3, 2, images=4)
    dropped: list[int] = []
    strips = 0

    async def reader(ctx: Any) -> None:
        nonlocal strips
        for _ in range(60):
            dropping = ctx.get(bench.dut.dropping)
            dropped.extend([bench.cycle] * dropping)
            # An image's strips are available as long as it may be whole.
            if ctx.get(bench.dut.available) and strips < 2 * ctx.get(bench.dut.limit):
                ctx.set(bench.dut.release, 1)
                strips += 1
            await bench.tick(ctx)
            ctx.set(bench.dut.release, 0)
        assert ctx.get(bench.dut.limit) == limit
        assert ctx.get(bench.dut.error) == (name != "right")
        assert ctx.get(bench.dut.pixels.ready) == (name == "missing")

    bench.images = 3
    bench.run(bench.source(last_at=lambda beat: beat in last_at), reader)
    assert len(bench.taken) == beats
    if drops:
        first = bench.taken[6 * limit + 5] + 1  # after the beat where TLAST was due
        assert dropped[0] == first
        assert dropped[-1] == (59 if name == "missing" else bench.taken[-1])
    else:
        assert dropped == []


def test_nothing_is_taken_beyond_a_run() -> None:
    """The sender has all images ready; each run takes its own, and the next one begins at its first beat."""
    bench = Bench(1, 2, 1, images=6)

    async def reader(ctx: Any) -> None:
        done = 0
        for images in (1, 2, 3):
            if done:
                await bench.start(ctx, images)
            for strip in bench.strip_data[done : done + images]:
                await bench.available(ctx)
                assert await bench.read(ctx, [0, 1], release=True) == strip
            for _ in range(5):
                assert not ctx.get(bench.dut.pixels.ready)
                await bench.tick(ctx)
            done += images
            assert len(bench.taken) == 2 * done
            await bench.pulse(ctx, bench.dut.finish)

    first = bench.images
    bench.images = 1
    bench.run(bench.source(), reader)
    assert len(bench.taken) == 2 * first


@pytest.mark.parametrize(("beats", "limit", "partly"), [(0, 0, False), (3, 0, True), (6, 1, False), (8, 1, True)])
def test_stop_leaves_whole_images_and_drops_a_part(beats: int, limit: int, partly: bool) -> None:
    bench = Bench(1, 3, 2, images=3)
    offered = [True] * beats

    async def source(ctx: Any) -> None:
        """Offer some beats, and the others when the run has ended."""
        for beat in range(bench.beats):
            while not offered:
                await ctx.tick()
            offered.pop()
            ctx.set(bench.dut.pixels.payload.data, bench.data[beat])
            ctx.set(bench.dut.pixels.payload.last, beat % 6 == 5)
            ctx.set(bench.dut.pixels.valid, 1)
            while not ctx.get(bench.dut.pixels.ready):
                await ctx.tick()
            bench.taken.append(bench.cycle)
            await ctx.tick()
            ctx.set(bench.dut.pixels.valid, 0)

    async def reader(ctx: Any) -> None:
        for _ in range(limit):
            for _ in range(2):
                await bench.available(ctx)
                await bench.release(ctx)
        for _ in range(12):
            await bench.tick(ctx)
        await bench.pulse(ctx, bench.dut.stop)
        await bench.tick(ctx)
        assert (ctx.get(bench.dut.limit), ctx.get(bench.dut.error)) == (limit, 0)
        assert ctx.get(bench.dut.dropping) == ctx.get(bench.dut.pixels.ready) == partly
        await bench.pulse(ctx, bench.dut.finish)
        await bench.start(ctx, 1)  # waits for the end of the drop
        offered.extend([True] * bench.beats)
        await bench.available(ctx)
        image = limit + partly
        assert await bench.read(ctx, [0, 1, 2], release=True) == bench.strip_data[2 * image]

    bench.run(source, reader)


def test_dropping_can_be_given_up() -> None:
    """For a sender that was reset: the next beat is an image's first."""
    bench = Bench(1, 2, 2, images=2)

    async def reader(ctx: Any) -> None:
        for _ in range(8):
            await bench.tick(ctx)
            ctx.set(bench.dut.release, ctx.get(bench.dut.available))
        assert ctx.get(bench.dut.dropping)
        await bench.pulse(ctx, bench.dut.finish)
        ctx.set(bench.dut.give_up, 1)
        await bench.tick(ctx)
        ctx.set(bench.dut.give_up, 0)
        assert not ctx.get(bench.dut.pixels.ready)
        seen = len(bench.taken)
        await bench.start(ctx, 1)
        await bench.available(ctx)
        assert await bench.read(ctx, [0, 1]) == bench.data[seen : seen + 2]

    bench.data += bytes(100)
    bench.beats += 100
    bench.run(bench.source(last_at=lambda beat: False), reader)
