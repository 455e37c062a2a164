"""The memory of logits and the queue behind it: order, tag, TLAST, room that holds time, and offsets."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from amaranth.hdl import Elaboratable, Module
from amaranth.lib import wiring
from bus import watched_simulator

from bivit.hw.units.logits import Logits
from bivit.hw.units.logits_queue import LOGIT_BITS, LogitsQueue
from bivit.sim.engine.commands import Output
from bivit.sim.engine.config import EngineConfig
from bivit.sim.units.front import LogitsUnit
from helpers import join, signed

LANES = 8


def engine_of(max_classes: int, queue: int) -> EngineConfig:
    limits = {"max_tokens": 8, "max_embed_dim": 8, "max_hidden_dim": 8, "max_heads": 1, "max_depth": 1}
    limits |= {"max_classes": max_classes, "max_patch_dim": 4, "max_strip_bytes": 8, "program_words": 16}
    return EngineConfig(rows=1, columns=8, lanes=LANES, dense_lanes=32, queue_logits=queue, **limits)


def logits_of(classes: int, seed: int) -> list[int]:
    rng = Random(seed)
    return [-(1 << 31), (1 << 31) - 1, 0, -1][:classes] + [
        rng.randrange(1 << 32) - (1 << 31) for _ in range(classes - 4)
    ]


class Pair(Elaboratable):
    """Both units, connected as in the engine."""

    def __init__(self, engine: EngineConfig):
        self.logits, self.queue = Logits(engine), LogitsQueue(engine)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.logits, m.submodules.queue = logits, queue = self.logits, self.queue
        wiring.connect(m, logits.queue, queue.entry)
        return m


class Bench:
    """Write logits, send them, take them when `ready` says so for a cycle; count time as the sequencer does."""

    def __init__(self, max_classes: int, queue: int, ready: Callable[[int], bool]):
        self.engine = engine_of(max_classes, queue)
        self.pair, self.ready = Pair(self.engine), ready
        self.dut, self.queue = self.pair.logits, self.pair.queue
        self.beats: list[tuple[int, int, int]] = []  # logit, tag, last
        self.offsets: list[int] = []  # of logits that go to the queue, cycles that hold not counted
        self.done: list[int] = []  # logits that went when `done` was high
        self.cycle = self.offset = self.held = 0
        self.waiting: tuple[int, ...] | None = None

    async def tick(self, ctx: Any) -> None:
        """Watch one cycle, and check that a beat stays until it is taken."""
        dut, queue, logits = self.dut, self.queue, self.queue.logits
        ctx.set(logits.ready, self.ready(self.cycle))
        valid, ready, hold = ctx.get(logits.valid), ctx.get(logits.ready), ctx.get(dut.hold)
        payload = ctx.get(logits.payload)
        beat = (signed(payload.data, LOGIT_BITS), payload.tag, payload.last)
        assert ctx.get(queue.entry.level) == len(self.offsets) - len(self.beats) <= self.engine.queue_logits
        assert self.waiting is None or (valid and beat == self.waiting)
        self.waiting = beat if valid and not ready else None
        if valid and ready:
            self.beats.append(beat)
        if ctx.get(dut.queue.en):
            assert not hold
            self.offsets.append(self.offset)
        if ctx.get(dut.done):
            self.done.append(len(self.offsets))
        await ctx.tick()
        self.cycle += 1
        self.offset += not hold
        self.held += hold

    async def write(self, ctx: Any, logits: list[int], chunks: int) -> None:
        """Write as the classifier does: whole groups, also beyond the last class."""
        padded = logits + [0x5A5A5A5A] * (chunks * LANES - len(logits))
        for chunk in range(chunks):
            ctx.set(self.dut.write.en, 1)
            ctx.set(self.dut.write.addr, chunk)
            ctx.set(self.dut.write.data, join(padded[chunk * LANES : (chunk + 1) * LANES], [LOGIT_BITS] * LANES))
            await self.tick(ctx)
        ctx.set(self.dut.write.en, 0)

    async def start(self, ctx: Any, classes: int, tag: int) -> None:
        self.offset = 0
        ctx.set(self.dut.command.output.issue, 1)
        ctx.set(self.dut.command.output.fields, {"classes": classes})
        ctx.set(self.dut.tag, tag)
        await self.tick(ctx)
        ctx.set(self.dut.command.output.issue, 0)
        ctx.set(self.dut.command.output.fields, {"classes": 0})
        ctx.set(self.dut.tag, tag ^ 0xFFFF)

    async def send(self, ctx: Any, classes: int, tag: int) -> None:
        """Start, and come back when the unit can be started again."""
        await self.start(ctx, classes, tag)
        while self.offset < LogitsUnit(self.engine).timing(Output(classes=classes)).busy:
            await self.tick(ctx)

    async def wait(self, ctx: Any, cycles: int) -> None:
        for _ in range(cycles):
            await self.tick(ctx)

    def run(self, body: Any) -> None:
        simulator = watched_simulator(self.pair, self.queue)
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
@pytest.mark.parametrize(("classes", "queue"), [(1, 2), (7, 7), (8, 30), (9, 10), (16, 47), (37, 40)])
def test_every_logit_in_order(classes: int, queue: int, stall: str) -> None:
    bench = Bench(classes, queue, stalls(stall))
    first, second = logits_of(classes, 1), logits_of(classes, 2)[::-1]

    async def body(ctx: Any) -> None:
        await bench.write(ctx, first, 8)  # more chunks than the memory has
        await bench.send(ctx, classes, 0x1234)
        await bench.send(ctx, classes, 0xFFFF)  # at once, and the same logits again
        await bench.write(ctx, second, 8)
        await bench.send(ctx, classes, 0)
        await bench.wait(ctx, 20 * queue + 4)

    bench.run(body)
    last = [0] * (classes - 1) + [1]
    sent = [(logits, tag) for logits, tag in ((first, 0x1234), (first, 0xFFFF), (second, 0))]
    assert bench.beats == [(v, tag, end) for logits, tag in sent for v, end in zip(logits, last, strict=True)]
    assert bench.done == [classes, 2 * classes, 3 * classes]
    window = LogitsUnit(bench.engine).timing(Output(classes=classes)).windows["logits.write"]
    assert bench.offsets == 3 * list(range(*window))


@pytest.mark.parametrize(("classes", "queue", "images"), [(1, 3, 3), (4, 11, 2), (5, 20, 4), (9, 9, 1)])
def test_whole_images_wait_for_room_and_no_others(classes: int, queue: int, images: int) -> None:
    """Without a reader as many images go as fit whole; the next one goes when the last logit that it needs is out."""
    absent = True
    bench = Bench(classes, queue, lambda _: not absent)

    async def body(ctx: Any) -> None:
        nonlocal absent
        for image in range(images):
            await bench.send(ctx, classes, image)
        assert bench.held == 0
        await bench.start(ctx, classes, images)
        await bench.wait(ctx, 30)
        assert (bench.held, len(bench.offsets)) == (29, images * classes)
        absent = False
        await bench.wait(ctx, (images + 1) * classes + 9)
        assert bench.held == 29 + (images + 1) * classes - queue + 1
        assert len(bench.beats) == (images + 1) * classes

    bench.run(body)


def test_a_start_that_waits_is_cancelled_and_nothing_else_is() -> None:
    absent = True
    bench = Bench(4, 5, lambda _: not absent)

    async def body(ctx: Any) -> None:
        nonlocal absent
        await bench.start(ctx, 4, 1)
        for _ in range(6):  # in every cycle from the second one on in which it goes
            await bench.tick(ctx)
            ctx.set(bench.dut.cancel, bench.offset > 2)
        ctx.set(bench.dut.cancel, 0)
        assert bench.done == [4]
        await bench.start(ctx, 4, 2)
        await bench.wait(ctx, 9)
        assert ctx.get(bench.dut.hold)
        ctx.set(bench.dut.cancel, 1)
        await bench.tick(ctx)
        ctx.set(bench.dut.cancel, 0)
        assert not ctx.get(bench.dut.hold)
        absent = False
        await bench.wait(ctx, 20)
        assert [tag for _, tag, _ in bench.beats] == [1] * 4
        await bench.send(ctx, 4, 3)
        await bench.wait(ctx, 9)
        assert [tag for _, tag, _ in bench.beats] == [1] * 4 + [3] * 4

    bench.run(body)


def test_nothing_leaves_before_the_start() -> None:
    bench = Bench(10, 10, stalls("never"))

    async def body(ctx: Any) -> None:
        await bench.write(ctx, logits_of(10, 3), 2)
        await bench.wait(ctx, 10)

    bench.run(body)
    assert bench.beats == []
