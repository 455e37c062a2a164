"""The pixel buffer: bytes, halves, TLAST, stalls, and the cycles that sim.pixel_model predicts."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from bus import watched_simulator

from bivit.hw.pixel_buffer import PixelBuffer
from bivit.sim.engine import EngineConfig
from bivit.sim.pixel_model import strip_ready_times

READ_LATENCY = 2


def engine_of(pixel_bytes: int, max_strip_bytes: int) -> EngineConfig:
    limits = {"max_tokens": 8, "max_embed_dim": 8, "max_hidden_dim": 8, "max_heads": 1, "max_depth": 1}
    limits |= {"max_classes": 2, "max_patch_dim": 4, "max_strip_bytes": max_strip_bytes, "program_words": 16}
    return EngineConfig(rows=1, columns=8, lanes=8, dense_lanes=8, pixel_bytes=pixel_bytes, **limits)


class Bench:
    """A stream of images on one side, a reader of strips on the other; cycle 0 is the first with `enable`.

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

    def setup(self, ctx: Any) -> None:
        ctx.set(self.dut.enable, 1)
        ctx.set(self.dut.strip_beats, self.strip_beats)
        ctx.set(self.dut.strips, self.strips)

    def source(self, stall: float = 0.0, last_at: Callable[[int], bool] | None = None) -> Any:
        image = self.strip_beats * self.strips
        is_last = last_at or (lambda beat: beat % image == image - 1)
        rng = Random(4)

        async def feed(ctx: Any) -> None:
            for beat in range(self.beats):
                while rng.random() < stall:
                    await ctx.tick()
                at = beat * self.pixel_bytes
                ctx.set(self.dut.tdata, int.from_bytes(self.data[at : at + self.pixel_bytes], "little"))
                ctx.set(self.dut.tlast, is_last(beat))
                ctx.set(self.dut.tvalid, 1)
                while not ctx.get(self.dut.tready):
                    await ctx.tick()
                self.taken.append(self.cycle)
                await ctx.tick()
                ctx.set(self.dut.tvalid, 0)

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
                got.append(ctx.get(self.dut.read_data))
            if cycle < len(addresses):
                ctx.set(self.dut.read_addr, addresses[cycle])
            ctx.set(self.dut.release, release and cycle == len(addresses) - 1)
            await self.tick(ctx)
        return bytes(got)

    def run(self, source: Any, reader: Any) -> None:
        simulator = watched_simulator(self.dut)

        async def start(ctx: Any) -> None:
            self.setup(ctx)
            await reader(ctx)

        simulator.add_testbench(start)
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
        assert not ctx.get(bench.dut.tready)
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
        assert ctx.get(bench.dut.tready)
        await bench.tick(ctx)
        assert ctx.get(bench.dut.tready)

    bench.run(silent, reader)


@pytest.mark.parametrize(
    ("name", "last_at", "expected"),
    [
        ("right", lambda beat: beat % 6 == 5, None),
        ("early", lambda beat: beat in (2, 5), 2),
        ("missing", lambda beat: False, 5),
        ("late, in the second image", lambda beat: beat == 5, 11),
    ],
)
def test_tlast_only_at_the_end_of_an_image(name: str, last_at: Callable[[int], bool], expected: int | None) -> None:
    bench = Bench(1, 3, 2, images=2)
    errors: list[int] = []

    async def reader(ctx: Any) -> None:
        for _ in range(20):
            if ctx.get(bench.dut.error):
                errors.append(bench.cycle)
            if ctx.get(bench.dut.available):
                ctx.set(bench.dut.release, 1)
            await bench.tick(ctx)
            ctx.set(bench.dut.release, 0)

    bench.run(bench.source(last_at=last_at), reader)
    # It rises after the beat that is wrong, and stays.
    assert errors == ([] if expected is None else list(range(bench.taken[expected] + 1, 20)))


def test_disable_drops_everything_and_clears_the_error() -> None:
    bench = Bench(1, 4, 2, images=3)

    async def reader(ctx: Any) -> None:
        await bench.available(ctx)
        for _ in range(2):
            await bench.tick(ctx)
        assert ctx.get(bench.dut.error)
        ctx.set(bench.dut.enable, 0)
        assert not ctx.get(bench.dut.tready)
        for _ in range(2):
            await bench.tick(ctx)
        assert not ctx.get(bench.dut.available)
        assert not ctx.get(bench.dut.error)
        seen = len(bench.taken)
        ctx.set(bench.dut.enable, 1)
        assert await bench.available(ctx) == bench.taken[seen] + 4
        assert not ctx.get(bench.dut.error)
        assert await bench.read(ctx, [0, 1, 2, 3]) == bench.data[seen : seen + 4]

    # The first beat claims to be an image's last one.
    bench.run(bench.source(last_at=lambda beat: beat == 0), reader)
