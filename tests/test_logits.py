"""The logits output: order, tag, TLAST, stalls that hold time, and the offsets of sim.timing."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from bus import watched_simulator

from bivit.hw.logits import LOGIT_BITS, Logits
from bivit.sim import timing
from bivit.sim.engine import EngineConfig
from helpers import join

LANES = 8


def engine_of(max_classes: int) -> EngineConfig:
    limits = {"max_tokens": 8, "max_embed_dim": 8, "max_hidden_dim": 8, "max_heads": 1, "max_depth": 1}
    limits |= {"max_classes": max_classes, "max_patch_dim": 4, "max_strip_bytes": 8, "program_words": 16}
    return EngineConfig(rows=1, columns=8, lanes=LANES, dense_lanes=32, **limits)


def logits_of(classes: int, seed: int) -> list[int]:
    rng = Random(seed)
    return [-(1 << 31), (1 << 31) - 1, 0, -1][:classes] + [
        rng.randrange(1 << 32) - (1 << 31) for _ in range(classes - 4)
    ]


class Bench:
    """Write logits, send them, take them when `ready` says so for a cycle; count time as the sequencer does."""

    def __init__(self, max_classes: int, ready: Callable[[int], bool]):
        self.engine = engine_of(max_classes)
        self.dut, self.ready = Logits(self.engine), ready
        self.beats: list[tuple[int, int, int]] = []  # logit, tag, last
        self.offsets: list[int] = []  # of `tvalid`, since the last start, cycles that hold not counted
        self.done: list[int] = []  # beats taken when `done` was high
        self.cycle = self.offset = 0
        self.waiting: tuple[int, ...] | None = None

    async def tick(self, ctx: Any) -> None:
        """Watch one cycle, and check that a beat stays until it is taken."""
        dut = self.dut
        ctx.set(dut.tready, self.ready(self.cycle))
        valid, ready, hold = ctx.get(dut.tvalid), ctx.get(dut.tready), ctx.get(dut.hold)
        beat = (ctx.get(dut.tdata), ctx.get(dut.tuser), ctx.get(dut.tlast))
        assert hold == (valid and not ready)
        assert self.waiting is None or (valid and beat == self.waiting)
        self.waiting = beat if hold else None
        if valid and ready:
            logit = beat[0] - ((beat[0] >> LOGIT_BITS - 1) << LOGIT_BITS)
            self.beats.append((logit, *beat[1:]))
            self.offsets.append(self.offset)
        if ctx.get(dut.done):
            self.done.append(len(self.beats))
        await ctx.tick()
        self.cycle += 1
        self.offset += not hold

    async def write(self, ctx: Any, logits: list[int], chunks: int) -> None:
        """Write as the classifier does: whole groups, also beyond the last class."""
        padded = logits + [0x5A5A5A5A] * (chunks * LANES - len(logits))
        for chunk in range(chunks):
            ctx.set(self.dut.w_en, 1)
            ctx.set(self.dut.w_addr, chunk)
            ctx.set(self.dut.w_data, join(padded[chunk * LANES : (chunk + 1) * LANES], [LOGIT_BITS] * LANES))
            await self.tick(ctx)
        ctx.set(self.dut.w_en, 0)

    async def send(self, ctx: Any, classes: int, tag: int) -> None:
        """Start, and come back when the unit can be started again."""
        self.offset = 0
        ctx.set(self.dut.start, 1)
        ctx.set(self.dut.command, {"classes": classes})
        ctx.set(self.dut.tag, tag)
        await self.tick(ctx)
        ctx.set(self.dut.start, 0)
        ctx.set(self.dut.command, {"classes": 0})
        ctx.set(self.dut.tag, tag ^ 0xFFFF)
        while self.offset < timing.output(self.engine, classes).busy:
            await self.tick(ctx)

    def run(self, body: Any) -> None:
        simulator = watched_simulator(self.dut)
        simulator.add_testbench(body)
        simulator.run()


def stalls(kind: str) -> Callable[[int], bool]:
    rng = Random(7)
    if kind == "random":
        return lambda _: rng.random() < 0.4
    return {
        "never": lambda _: True,
        "every other": lambda cycle: cycle % 2 == 1,
        "long": lambda cycle: cycle % 20 == 0,
    }[kind]


@pytest.mark.parametrize("stall", ["never", "every other", "long", "random"])
@pytest.mark.parametrize("classes", [1, 7, 8, 9, 16, 37])
def test_every_logit_in_order(classes: int, stall: str) -> None:
    bench = Bench(classes, stalls(stall))
    first, second = logits_of(classes, 1), logits_of(classes, 2)[::-1]

    async def body(ctx: Any) -> None:
        await bench.write(ctx, first, 8)  # more chunks than the memory has
        await bench.send(ctx, classes, 0x1234)
        await bench.send(ctx, classes, 0xFFFF)  # at once, and the same logits again
        await bench.write(ctx, second, 8)
        await bench.send(ctx, classes, 0)
        for _ in range(3):
            await bench.tick(ctx)

    bench.run(body)
    last = [0] * (classes - 1) + [1]
    sent = [(logits, tag) for logits, tag in ((first, 0x1234), (first, 0xFFFF), (second, 0))]
    assert bench.beats == [(v, tag, end) for logits, tag in sent for v, end in zip(logits, last, strict=True)]
    assert bench.done == [classes, 2 * classes, 3 * classes]
    window = timing.output(bench.engine, classes).windows["logits.write"]
    assert bench.offsets == 3 * list(range(*window))


def test_nothing_leaves_before_the_start() -> None:
    bench = Bench(10, stalls("never"))

    async def body(ctx: Any) -> None:
        await bench.write(ctx, logits_of(10, 3), 2)
        for _ in range(10):
            await bench.tick(ctx)

    bench.run(body)
    assert bench.beats == []
