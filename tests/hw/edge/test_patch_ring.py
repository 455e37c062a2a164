"""The ring of patches: every pixel of every pass, and when each pass is there, as the model says."""

from collections import deque
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator
from flow_edge import flow_of, tiny

from bivit.hw.edge.patch_ring import PatchRing
from bivit.sim.flow.edge import EdgeUnit
from bivit.sim.flow.edge_settings import edge_settings
from bivit.sim.network.config import ViTConfig
from bivit.sim.reference.patches import image_patches
from bivit.sim.timing.edge_times import edge_plan, edge_state, pixels_come
from helpers import CLK_PERIOD

IMAGES = 5
#: Image, patch, channels; patches of a pass, bytes of a beat; cycles for which a pass is kept now and then.
SHAPES = [
    (8, 2, 1, 1, 1, 300),
    (8, 2, 1, 3, 8, 200),
    (8, 4, 1, 1, 4, 0),
    (6, 3, 3, 2, 2, 500),
    (12, 4, 2, 2, 8, 500),
    (8, 2, 3, 4, 1, 400),
    (4, 2, 1, 8, 2, 100),
    (6, 2, 3, 2, 1, 200),
    (4, 1, 1, 3, 4, 100),
    (6, 3, 1, 1, 1, 300),
    (8, 4, 4, 3, 16, 300),
    (8, 4, 3, 1, 16, 0),
]


class Bench:
    """Beats come whenever there is room; each pass is read, used for a while, and released."""

    def __init__(self, config: ViTConfig, patches: int, pixel_bytes: int, longest: int):
        self.config, self.longest = config, longest
        self.flow = flow_of(config, dense_patches=patches, pixel_bytes=pixel_bytes)
        self.unit = EdgeUnit(self.flow)
        shape = (IMAGES, config.img_size, config.img_size, config.in_chans)
        self.images = np.random.default_rng(longest).integers(0, 256, shape).astype(np.uint8)
        self.available, self.released = list[int](), list[int]()
        self.cycle = 0

    def run(self) -> None:
        dut = PatchRing(self.unit)
        sim = Simulator(dut)
        sim.add_clock(CLK_PERIOD)

        async def play(ctx: Any) -> None:
            values = edge_settings(self.config, self.flow, 1)
            ctx.set(dut.settings, {name: values[name] for name in dut.settings.shape().members})
            data, size = self.images.tobytes(), self.flow.engine.pixel_bytes
            self.beats = deque(int.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size))
            ctx.set(dut.start, 1)
            await self.tick(ctx, dut, beats=False)
            ctx.set(dut.start, 0)
            for image in image_patches(self.images, self.config):
                for first in range(0, len(image), self.unit.patches):
                    await self.use(ctx, dut, image[first : first + self.unit.patches])
            assert not ctx.get(dut.available)

        sim.add_testbench(play)
        sim.run()

    async def tick(self, ctx: Any, dut: PatchRing, beats: bool = True) -> None:
        goes = beats and bool(self.beats) and bool(ctx.get(dut.room))
        ctx.set(dut.beat_en, goes)
        if goes:
            ctx.set(dut.beat, self.beats.popleft())
        await ctx.tick()
        self.cycle += 1

    async def use(self, ctx: Any, dut: PatchRing, patches: np.ndarray) -> None:
        """Read the pixels of a pass in order, the last one when it is released."""
        while not ctx.get(dut.available):
            await self.tick(ctx, dut)
        self.available.append(self.cycle)
        # Mostly at once, sometimes so late that the ring is full: then pixels are short for a while.
        for _ in range(self.longest if len(self.available) % 12 == 3 else 0):
            await self.tick(ctx, dut)
        length, latency = patches.shape[1], self.unit.input_stage
        for cycle in range(length + latency):
            if cycle >= latency:
                found = [ctx.get(dut.pixels[patch]) for patch in range(len(patches))]
                assert found == patches[:, cycle - latency].tolist()
            ctx.set(dut.addr, min(cycle, length - 1))
            ctx.set(dut.release, cycle == length - 1)
            if cycle == length - 1:
                self.released.append(self.cycle)
            await self.tick(ctx, dut)

    def predicted(self) -> list[int]:
        plan = edge_plan(self.config, self.flow)
        state = edge_state(plan, IMAGES)
        state.released[:] = self.released
        pixels_come(state, plan)
        # A pass is looked for when the one before has been read to the end.
        looked = [0, *(when + 1 + self.unit.input_stage for when in self.released[:-1])]
        return [max(int(whole) + 1, first) for whole, first in zip(state.whole, looked, strict=True)]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_pixel_and_when_it_is_there(shape: tuple[int, int, int, int, int, int]) -> None:
    side, patch, channels, patches, pixel_bytes, longest = shape
    bench = Bench(tiny(img_size=side, patch_size=patch, in_chans=channels), patches, pixel_bytes, longest)
    bench.run()
    assert bench.available == bench.predicted()
