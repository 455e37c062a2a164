"""The engine around its datapath under hostile traffic: no image lost, none answered wrongly, no hang, in step again.

The sender queues images far ahead, never withdraws a beat, and breaks frames at random places; the reader may be slow
or absent; runs are stopped at random moments. What must come out follows from the frames alone, whatever the timing.
"""

from __future__ import annotations

from collections.abc import Generator
from random import Random

import pytest
from front import Front, Shape

from bivit.sim.engine.registers import BY_NAME, COUNTERS, ErrorCode

START, STOP, IRQ_ENABLE = (BY_NAME["CONTROL"].field(name).mask for name in ("start", "stop", "irq_enable"))
BUSY, ERROR, IRQ = (BY_NAME["STATUS"].field(name).mask for name in ("busy", "error", "irq"))

#: From one beat an image to several strips of several beats; queues of one image to several.
SHAPES = [
    Shape(pixel_bytes=1, strip_beats=1, strips=1, classes=1, queue=2),
    Shape(pixel_bytes=2, strip_beats=1, strips=2, classes=3, queue=7),
    Shape(pixel_bytes=1, strip_beats=3, strips=1, classes=9, queue=9),
    Shape(pixel_bytes=4, strip_beats=2, strips=2, classes=2, queue=8),
    Shape(pixel_bytes=1, strip_beats=2, strips=3, classes=4, queue=13),
]
SEEDS = 200
PATIENCE = 5000
#: More images than any run gets to before it is stopped.
FAR = 20


class Host:
    """A driver that knows which frames it queued, and what each run must answer."""

    def __init__(self, front: Front):
        self.front, self.shape, self.sender = front, front.shape, front.sender
        self.expected: list[tuple[int, int, int]] = []
        self.position = 0  # frame at which the next run begins

    def whole(self, count: int) -> tuple[int, bool]:
        """Return how many of the next `count` frames are whole before the first broken one, and if there is one."""
        for i in range(min(count, FAR)):
            if len(self.sender.at(self.position + i).beats) != self.shape.image_beats:
                return i, True
        return count, False

    def expect(self, images: int) -> None:
        """Add the answers of the next `images` frames."""
        for i in range(images):
            beats = self.sender.at(self.position + i).beats
            answer = self.shape.answer([byte for beat in beats for byte in beat])
            last = len(answer) - 1
            self.expected += [(logit, i, int(label == last)) for label, logit in enumerate(answer)]

    def idle(self, cycles: int) -> Generator[None, None, None]:
        """Between runs nothing is taken but what is dropped."""
        ctx, dut = self.front.ctx, self.front.dut
        for _ in range(cycles):
            yield
            assert ctx.get(dut.s_axis_pixels_tready) == ctx.get(dut._pixel_buffer.dropping)

    def start(self, images: int, overwrite: int | None) -> Generator[None, None, None]:
        yield from self.front.write("IMAGES", images)
        yield from self.front.write("CONTROL", START | IRQ_ENABLE)
        if overwrite is not None:
            yield from self.front.write("IMAGES", overwrite)

    def end(self) -> Generator[None, None, dict[str, int]]:
        """Wait for the interrupt; return what the registers say then."""
        front = self.front
        for _ in range(PATIENCE):
            if front.ctx.get(front.dut.irq):
                break
            yield
        else:
            raise AssertionError("the run hangs")
        found = {}
        for name in ("STATUS", "ERROR", "DONE"):
            found[name] = yield from front.read(name)
        for name in COUNTERS:
            found[name] = front.ctx.get(getattr(front.dut._registers, name.lower()))
        assert not found["STATUS"] & BUSY
        yield from front.write("STATUS", ERROR | IRQ)
        return found

    def run(self, images: int, overwrite: int | None = None) -> Generator[None, None, None]:
        """Run images; a broken frame ends it with the images before."""
        whole, fault = self.whole(images)
        yield from self.start(images, overwrite)
        found = yield from self.end()
        assert found["DONE"] == whole
        assert found["ERROR"] == (ErrorCode.PIXEL_FRAME if fault else ErrorCode.NONE)
        self.expect(whole)
        self.position += whole + fault
        if not fault:
            stalls = found["STALL_PIXELS"] + found["STALL_LOGITS"]
            assert found["CYCLES"] == self.shape.cycles(images) + stalls
            assert (self.sender.frame, self.sender.beat) == (self.position, 0)

    def stopped(self, images: int, after: int, *, starved: bool, dma_reset: bool) -> Generator[None, None, None]:
        """Stop a run after some cycles; in between the sender may fall silent, in mid-image, and be reset."""
        front, sender = self.front, self.sender
        whole, fault = self.whole(images)
        yield from self.start(images, None)
        for _ in range(after):
            yield
        sender.silent = starved
        front.stopped_at = (-1, 0)
        ended = front.ctx.get(front.dut.irq)
        yield from front.write("CONTROL", STOP | IRQ_ENABLE)
        found = yield from self.end()
        done = found["DONE"]
        frame, beat = (sender.frame, 0) if front.stopped_at[0] < 0 else front.stopped_at
        broken = found["ERROR"] == ErrorCode.PIXEL_FRAME
        taken = whole if broken else frame - self.position
        # An image that was taken is only given up where it had to wait for room.
        assert done == taken or (done < taken and found["STALL_LOGITS"])
        assert broken <= fault
        assert not ended or broken or done == images
        assert found["ERROR"] == ErrorCode.PIXEL_FRAME * broken
        self.expect(done)
        self.position += taken + (broken or beat > 0)
        if dma_reset:
            sender.reset()
            sender.silent = True
            yield from front.write("CONTROL", STOP | IRQ_ENABLE)
            assert not front.ctx.get(front.dut._pixel_buffer.dropping)
            self.position = sender.frame
        sender.silent = False

    def drain(self) -> Generator[None, None, None]:
        """Read everything; it is what was expected."""
        front = self.front
        front.reading = 1.0
        for _ in range(PATIENCE):
            if len(front.logits) >= len(self.expected):
                break
            yield
        for _ in range(4):
            yield
        assert (yield from front.read("QUEUE")) == 0
        assert front.logits == self.expected
        front.logits.clear()
        self.expected.clear()


def scenario(host: Host, seed: int) -> Generator[None, None, None]:
    """A few runs of a few images, whole or broken, stopped or not; at the end a right one."""
    rng, front, sender, shape = Random(seed), host.front, host.sender, host.shape
    front.rng = sender.rng = rng
    sender.faults, sender.pause = rng.choice([0.0, 0.2, 0.5]), rng.choice([0.0, 0.3, 0.7])
    for _ in range(rng.randint(1, 2)):
        front.reading = rng.choice([1.0, 0.5, 0.2])
        if rng.random() < 0.3:
            if rng.random() < 0.3:
                front.reading = 0.0  # the queue may be full, and stay so
            after, starved = rng.randint(0, 2 * shape.cycles(1)), rng.random() < 0.5
            yield from host.stopped(
                rng.choice([1, 3, 1 << 16, (1 << 16) + 1, (1 << 32) - 1]),
                after,
                starved=starved,
                dma_reset=rng.random() < 0.3,
            )
        elif rng.random() < 0.3:
            yield from host.drain()
            front.reading = 0.0  # who reads later gets what fits
            yield from host.run(rng.randint(1, min(shape.queue // shape.classes, 4)))
        else:
            yield from host.run(rng.randint(1, 3), rng.choice([None, 0, 1, 9]))
        yield from host.idle(rng.choice([0, 0, 3]))
    front.reading, sender.faults = 1.0, 0.0
    if rng.random() < 0.5:
        yield from host.drain()
    # What was queued ahead may still be broken: one error each, and then every image is answered.
    while host.whole(1)[1]:
        yield from host.run(1)
    yield from host.run(1)
    yield from host.drain()
    del sender.frames[: sender.frame]
    host.position, sender.frame = 0, 0


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_random_traffic(shape: Shape) -> None:
    front = Front(shape)
    host = Host(front)

    def every() -> Generator[None, None, None]:
        yield from front.load()
        for seed in range(SEEDS):
            try:
                yield from scenario(host, seed)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}") from error

    front.run(every())
