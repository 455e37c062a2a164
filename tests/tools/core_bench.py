"""A bench of the blocks: images in banks of x go through, and what the slots do is noted with its cycle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from amaranth.hdl import Fragment
from amaranth.sim import Simulator

from bivit.hw.parts.contents import Contents
from bivit.hw.slots.core import Core
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.memories import LOADED
from bivit.sim.flow.residual_add import ResidualAddUnit
from bivit.sim.flow.settings import settings_of
from bivit.sim.flow.streams import Stream
from bivit.sim.flow.table import SlotTable
from bivit.sim.mapping.expected import Expected
from bivit.sim.mapping.layout import FlowLayout
from bivit.sim.mapping.words import flow_words
from bivit.sim.network.network import IntNetwork
from bivit.sim.reference.run import run_reference
from bivit.sim.timing.edge_times import no_edge
from bivit.sim.timing.plan import Edge, plan_of
from bivit.sim.timing.replay_state import (
    EMBEDDED,
    FINISHED,
    STEPS,
    Cause,
    new_state,
)
from bivit.sim.timing.trace import trace
from helpers import CLK_PERIOD


class Prediction:
    """What the cycle model says of images that are embedded at given cycles."""

    def __init__(
        self, network: IntNetwork, flow: FlowConfig, table: SlotTable, embedded: list[int], *, skips: bool = True
    ):
        edge = Edge(embed=1, tail=1, classify=1, banks=flow.images + 2)
        plan = plan_of(network.config, flow, table, len(embedded), edge=edge)
        self.plan = plan = plan._replace(skips=plan.skips and skips)
        self.state = state = new_state(plan)
        state.images[EMBEDDED] = embedded
        no_edge(state.edge)
        #: Slots that have something to do.
        self.issues = [taken for taken in trace(plan, state) if taken.of is not None]
        #: Cycles without a step up to the last operation, by `Cause`.
        self.stalls = state.stalls
        self.finished = state.images[FINISHED].tolist()


class CoreBench:
    """Runs images through a core; each is embedded at a given cycle after the first slot.

    Parameters
    ----------
    network : IntNetwork
    flow : FlowConfig
    table : SlotTable
    images : uint8 array
    embedded : list of int
        Cycle of each image's pulse, after the first slot is at hand; not before the bank is free.
    """

    def __init__(
        self, network: IntNetwork, flow: FlowConfig, table: SlotTable, images: np.ndarray, embedded: list[int]
    ):
        self.network, self.flow, self.table, self.embedded = network, flow, table, embedded
        self.unit = ResidualAddUnit(flow)
        self.layout = FlowLayout(network.config, network.formats, flow)
        self.expected = Expected.of(network, flow, run_reference(network, images, "all", threads=1).taps)
        self.core = Core(flow, self.unit.columns)
        self.words = flow_words(network, flow, table)
        self.issues: list[tuple[int, Stream]] = []
        self.finished: list[int] = []
        self.stalls = self._counted = np.zeros(len(Cause), np.int64)
        self._late: list[np.ndarray] = []
        self.active = 0

    def _issue(self, cycle: int, stream: Stream) -> None:
        """An operation is given to the array."""
        number = len(self.issues)
        self.issues.append((cycle, stream))
        expected = self.predicted.issues[number] if number < len(self.predicted.issues) else None
        assert expected is not None, f"cycle {cycle}: {stream.name}, and nothing more is expected"
        assert (cycle, stream) == (expected.cycle, expected.stream), f"{stream.name} in cycle {cycle}, not {expected}"

    def check(self) -> None:
        """Every operation came, every stall has its cause, every image is finished when it should be."""
        assert len(self.issues) == len(self.predicted.issues)
        assert self.finished == self.predicted.finished
        assert self.stalls.tolist() == self.predicted.stalls.tolist()
        assert self.active == sum(self.predicted.plan.streams[STEPS, one.stream] for one in self.predicted.issues)

    def run(self, predicted: Prediction) -> None:
        """Simulate until all images are finished, and check every slot in its cycle."""
        self.predicted = predicted
        contents = Contents({LOADED.index(name): runs for name, runs in self.words.items()})
        sim = Simulator(Fragment.get(self.core, contents))
        sim.add_clock(CLK_PERIOD)
        sim.add_testbench(self._bench)
        sim.run()

    async def _bench(self, ctx: Any) -> None:
        core, slots, images = self.core, self.core.units["slots"], len(self.embedded)
        for name, value in settings_of(self.network.config, self.flow, self.table).items():
            ctx.set(core.settings[name], value)
        while not ctx.get(slots.table.hand):
            await ctx.tick()
        for cycle in range(self.predicted.finished[-1] + 100):
            embeds = cycle in self.embedded
            if embeds:
                self._embed(ctx, self.embedded.index(cycle))
            ctx.set(core.embedded, embeds)
            if ctx.get(slots.issue.begin):
                self._issue(cycle, Stream(ctx.get(slots.issue.hand).bit_length() - 1))
            self.active += ctx.get(core.active)
            self._stall(ctx)
            if ctx.get(core.finished):
                self.finished.append(cycle)
                await ctx.tick()
                self._check(ctx, len(self.finished) - 1)
                if len(self.finished) == images:
                    return
                continue
            await ctx.tick()
        raise AssertionError(f"{len(self.finished)} of {images} images are finished, and should be")

    def _stall(self, ctx: Any) -> None:
        """Count what is told two cycles later; keep the count of the last operation's cycle."""
        told = ctx.get(self.core.stalls)
        self._counted = self._counted + [told >> cause & 1 for cause in Cause]
        self._late.append(self._counted)
        if len(self._late) > 2 and len(self.issues) and self.issues[-1][0] == len(self._late) - 3:
            self.stalls = self._counted

    def _places(self, image: int) -> Iterator[tuple[int, int, int, int]]:
        """Tile, first row, first channel and word of each word of an image's x."""
        unit, shape = self.unit, self.layout.shape
        for tile, rows in enumerate(shape.tile_rows):
            for group in range(unit.groups(rows)):
                for word in range(unit.words(self.network.config.embed_dim)):
                    addr = self.layout.x_addr(0, tile, group, word)
                    yield tile, group * unit.side, word * unit.columns, addr

    def _embed(self, ctx: Any, image: int) -> None:
        unit, bits = self.unit, self.flow.engine.formats.residual_bits
        store = self.core.units["x"].stores[image % unit.banks]
        for tile, row, channel, addr in self._places(image):
            x = self.expected.embedded(image, tile)[row : row + unit.side, channel : channel + unit.columns]
            word = 0
            for (r, c), value in np.ndenumerate(x):
                word |= (int(value) & (1 << bits) - 1) << (r * unit.columns + c) * bits
            ctx.set(store.data[addr], word)

    def _check(self, ctx: Any, image: int) -> None:
        """X of a finished image, every element."""
        unit, bits = self.unit, self.flow.engine.formats.residual_bits
        store = self.core.units["x"].stores[image % unit.banks]
        last = self.network.config.depth - 1
        for tile, row, channel, addr in self._places(image):
            number = channel // self.flow.engine.columns
            x = self.expected.added(image, last, Stream.FC2, tile, number)
            first = channel % self.flow.engine.columns
            part = x[row : row + unit.side, first : first + unit.columns]
            word = ctx.get(store.data[addr])
            for (r, c), value in np.ndenumerate(part):
                got = word >> (r * unit.columns + c) * bits & (1 << bits) - 1
                assert got == int(value) & (1 << bits) - 1, (image, tile, row + r, channel + c)
