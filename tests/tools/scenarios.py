"""Random scenarios on a whole engine, and what each of their steps must answer.

A story is written first, step by step, and knows which frames it queued; after the simulation it is told again beside
the outcomes. What a run must answer follows from the frames alone, whatever the timing: a run takes its images in the
order in which they were queued, a frame that is no image ends it with the images before, and a stop ends it with those
that were taken whole.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np
from engines import stream_of

from bivit.cosim.scenario import Cycles, Load, Outcome, Queue, Reader, Reset, Start, Step, Wait, Write
from bivit.sim.engine.registers import BY_NAME, ErrorCode
from bivit.sim.network.file import network_hash
from bivit.sim.network.network import IntNetwork
from bivit.sim.reference.run import run_reference

START, IRQ_ENABLE, STOP = (BY_NAME["CONTROL"].field(name).mask for name in ("start", "irq_enable", "stop"))
BUSY, LOADED, DROPPING = (BY_NAME["STATUS"].field(name).mask for name in ("busy", "loaded", "dropping"))
#: Cycles after which a run of a few images hangs.
PATIENCE = 60_000


@dataclass(frozen=True)
class Frame:
    """What was sent up to one TLAST: an image, or something shorter or longer."""

    data: bytes
    image: int | None


@dataclass
class Expected:
    """What a step's outcome must say beyond its registers."""

    network: int | None = None  # the one that runs from here on
    run: int | None = None  # images of a run that ends here
    stopped: bool = False
    held: bool = False  # the run waited for room in the queue of logits
    loading: bool = False  # a load stream is on its way
    error: ErrorCode | None = None  # of a load, or of a start without a network


@dataclass
class Story:
    """Steps of one scenario after a reset, and what they must lead to.

    `networks` are all of one image size; `pixel_bytes` is the beat of the pixel stream; `stream` gives a network's load
    stream.
    """

    networks: Sequence[IntNetwork]
    pixel_bytes: int
    rng: Random
    stream: Callable[[IntNetwork], bytes] = stream_of
    steps: list[Step] = field(default_factory=list)
    expected: dict[int, Expected] = field(default_factory=dict)
    frames: list[Frame] = field(default_factory=list)
    images: list[np.ndarray] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)  # of the events, keys of `EVENTS`
    free: int = 0  # frames that are queued and surely left for the next run

    # Writing.

    def step(self, step: Step, expected: Expected | None = None) -> None:
        if expected is not None:
            self.expected[len(self.steps)] = expected
        self.steps.append(step)

    def load(self, network: int, *, wait: bool = True) -> None:
        self.step(Load(self.stream(self.networks[network]), wait=wait), Expected(network=network) if wait else None)

    def refused_load(self, network: int) -> None:
        """A stream with a wrong bit somewhere behind its header, or cut short: it leaves no network behind."""
        data = bytearray(self.stream(self.networks[network]))
        if self.rng.random() < 0.5:
            data[self.rng.randrange(len(data) - 8, len(data) - 4)] ^= 1 << self.rng.randrange(8)
            self.step(Load(bytes(data)), Expected(error=ErrorCode.LOAD_CRC))
        else:
            cut = self.rng.randrange(4, len(data) // 8 - 1) * 8
            self.step(Load(bytes(data[:cut])), Expected(error=ErrorCode.LOAD_LENGTH))
        self.step(Start(1))
        self.step(Wait(1), Expected(error=ErrorCode.START_WITHOUT_PROGRAM))

    def queue(self, kinds: Sequence[str]) -> None:
        """Queue frames: ``good``, ``short``, ``long``, or ``endless``, which takes longer to drop than to read it."""
        frames = [self._frame(kind) for kind in kinds]
        self.frames += frames
        self.free += len(frames)
        self.step(Queue([frame.data for frame in frames]))

    def _frame(self, kind: str) -> Frame:
        config, rng = self.networks[0].config, self.rng
        shape = (config.img_size, config.img_size, config.in_chans)
        image = np.frombuffer(rng.randbytes(int(np.prod(shape))), np.uint8).reshape(shape)
        beats = image.size // self.pixel_bytes
        if kind == "good":
            self.images.append(image)
            return Frame(image.tobytes(), len(self.images) - 1)
        more = {"short": rng.randrange(1, beats) - beats, "long": rng.randint(1, 2 * beats), "endless": 2000}[kind]
        return Frame(
            (image.tobytes() + rng.randbytes(4 * self.pixel_bytes * beats + 16000))[
                : (beats + more) * self.pixel_bytes
            ],
            None,
        )

    def random_frames(self, count: int) -> None:
        self.queue(self.rng.choices(["good", "short", "long"], [6, 1, 1], k=count))

    def run(self, images: int) -> None:
        """A run that nobody disturbs."""
        self.step(Start(images))
        self.end(images)

    def end(self, images: int, patience: int = PATIENCE, **expected: bool) -> None:
        self.step(Wait(patience), Expected(run=images, **expected))
        self.free -= images

    # Telling.

    def check(self, outcomes: Sequence[Outcome], *, tag_mask: int = 0xFFFF) -> list[str]:
        """Check every outcome; return what happened, for tests that ask whether enough did."""
        teller = _Teller(self, tag_mask)
        for number, (step, outcome) in enumerate(zip(self.steps, outcomes, strict=True)):
            teller.tell(step, outcome, self.expected.get(number))
        teller.end()
        return teller.happened


class _Teller:
    """Goes through the outcomes with the frame at which the next run begins."""

    def __init__(self, story: Story, tag_mask: int):
        self.story, self.tag_mask = story, tag_mask
        self.position, self.network, self.offered = 0, 0, 0
        self.loads = {"LOADS_OK": 0, "LOADS_BAD": 0}
        self.logits: list[tuple[int, int, int]] = []  # that must come out, up to here
        self.got: list[tuple[int, int, int]] = []  # that came out
        self.beats = 0  # that were taken, by the last outcome
        self.happened: list[str] = []
        self.ends = [0]  # beats up to the end of each frame
        for frame in story.frames:
            self.ends.append(self.ends[-1] + len(frame.data) // story.pixel_bytes)
        images = np.stack(story.images) if story.images else None
        self.reference = [] if images is None else [run_reference(network, images).logits for network in story.networks]

    def tell(self, step: Step, outcome: Outcome, expected: Expected | None) -> None:
        self.beats = outcome.pixel_beats
        self.got += outcome.logits
        if expected is None:
            return
        registers = outcome.registers
        assert outcome.finished, f"step {step} hangs"
        if expected.run is not None:
            self._run(expected, outcome)
        elif expected.error is not None:
            assert (registers["ERROR"], registers["NETWORK"]) == (expected.error, 0)
            assert not registers["STATUS"] & LOADED
            if expected.error != ErrorCode.START_WITHOUT_PROGRAM:
                self.loads["LOADS_BAD"] += 1
                self.happened.append("refused load")
        elif expected.network is not None:
            self.network = expected.network
            self.loads["LOADS_OK"] += 1
            assert registers["STATUS"] & LOADED
            assert registers["NETWORK"] == int(network_hash(self.story.networks[self.network])[:8], 16)
        if not expected.loading:
            assert {name: registers[name] for name in self.loads} == self.loads
        assert not registers["STATUS"] & BUSY
        assert self.got == self.logits[: len(self.got)]

    def _run(self, expected: Expected, outcome: Outcome) -> None:
        registers, frames = outcome.registers, self.story.frames[self.position :][: expected.run]
        good = [frame.image is not None for frame in frames]
        whole = good.index(False) if False in good else len(good)
        fault = whole < len(good)
        if expected.stopped:
            # Where the stop met the stream only the stream tells: the images before it are answered.
            assert registers["DONE"] <= whole
            fault = registers["ERROR"] == ErrorCode.PIXEL_FRAME
            whole = registers["DONE"]
            # The frame within which it stands is dropped up to its end.
            taken = bisect_left(self.ends, outcome.pixel_beats) - self.position
            assert taken - whole in ((1,) if fault else (0, 1))
            self.happened.append("stop" if taken == whole else "stop within an image")
        else:
            assert registers["ERROR"] == (ErrorCode.PIXEL_FRAME if fault else ErrorCode.NONE)
            assert registers["DONE"] == whole
            taken = whole + fault
            if not fault:
                assert outcome.pixel_beats == self.ends[self.position + taken]
            if registers["STATUS"] & DROPPING:
                self.happened.append("dropping")
            self.happened.append("broken frame" if fault else "run")
        assert (registers["STALL_LOGITS"] > 0) == expected.held
        for number, frame in enumerate(frames[:whole]):
            assert frame.image is not None
            row = self.reference[self.network][frame.image]
            tag = number & self.tag_mask
            self.logits += [(int(logit), tag, int(label == len(row) - 1)) for label, logit in enumerate(row)]
        self.position += taken

    def end(self) -> None:
        """Nothing is missing, and the stream stands at the next run's first beat."""
        assert self.got == self.logits
        assert self.beats == self.ends[self.position]


def full_queue_story(
    networks: Sequence[IntNetwork],
    room: int,
    pixel_bytes: int,
    stream: Callable[[IntNetwork], bytes] = stream_of,
    image_cycles: int = 0,
) -> Story:
    """More images than the queue of logits holds, while nobody reads; then a run that a reader keeps up with.

    `room` is the number of logits in the queue, `image_cycles` what an image takes at most, where that is long.
    """
    story = Story(networks, pixel_bytes, Random(1), stream)
    story.step(Reset())
    story.load(0)
    images = room // networks[0].config.num_classes + 1
    patience = max(PATIENCE, 2 * images * image_cycles)
    story.queue(["good"] * (images + 2))
    story.step(Reader(reads=False))
    story.step(Start(images))
    story.step(Cycles(patience // 2))
    story.step(Reader(reads=True))
    story.end(images, patience, held=True)
    story.run(2)
    story.step(Cycles(300))
    story.step(Wait(1), Expected())
    return story


def random_story(
    networks: Sequence[IntNetwork], pixel_bytes: int, seed: int, stream: Callable[[IntNetwork], bytes] = stream_of
) -> Story:
    """A story of a dozen events, each of a random kind."""
    rng = Random(seed)
    story = Story(networks, pixel_bytes, rng, stream)
    story.step(Reset())
    story.load(rng.randrange(len(networks)))
    for _ in range(6):
        story.random_frames(rng.randint(1, 5))
        images = rng.randint(1, story.free)
        kind = rng.choice(["run", "run", "stop", "late reader", "late pixels", "write", "load", "refused", "endless"])
        EVENTS[kind](story, images)
        story.kinds.append(kind)
    story.step(Cycles(300))
    story.step(Wait(1), Expected())
    return story


def _stop(story: Story, images: int) -> None:
    story.step(Start(images))
    story.step(Cycles(story.rng.choice([1, 20, 500, 3000])))
    story.step(Write("CONTROL", STOP | IRQ_ENABLE))
    story.end(images, stopped=True)


def _late_reader(story: Story, images: int) -> None:
    """All pixels first, logits when the run has ended."""
    story.step(Reader(reads=False))
    story.run(images)
    story.step(Reader(reads=True))
    story.step(Cycles(300))


def _late_pixels(story: Story, images: int) -> None:
    """The run waits for pixels that come after the start."""
    story.step(Start(images + 1))
    story.step(Cycles(story.rng.choice([1, 50, 800])))
    story.queue(["good"])
    story.end(images + 1)


def _write(story: Story, images: int) -> None:
    """A register that the run copied changes under it."""
    story.step(Start(images))
    story.step(Cycles(story.rng.choice([1, 50, 800])))
    story.step(Write("IMAGES", story.rng.choice([0, 1, images + 5, 1 << 31])))
    story.end(images)


def _load(story: Story, images: int) -> None:
    """Another network comes while the run goes on, which does not change; the next run uses it."""
    network = story.rng.randrange(len(story.networks))
    story.step(Start(images))
    story.load(network, wait=False)
    story.end(images, loading=True)
    story.step(Cycles(len(story.stream(story.networks[network]))))
    story.step(Wait(1), Expected(network=network))


def _refused(story: Story, images: int) -> None:
    """A stream is refused, a good one comes behind it."""
    story.refused_load(story.rng.randrange(len(story.networks)))
    story.load(story.rng.randrange(len(story.networks)))
    story.run(images)


def _endless(story: Story, images: int) -> None:
    """A frame that goes on and on behind what is queued: the next start comes while it is dropped."""
    left = story.free
    story.queue(["endless", "good"])
    story.run(left + 1)
    story.run(1)


EVENTS = {
    "run": Story.run,
    "stop": _stop,
    "late reader": _late_reader,
    "late pixels": _late_pixels,
    "write": _write,
    "load": _load,
    "refused": _refused,
    "endless": _endless,
}


def answered(outcome: Outcome, logits: np.ndarray) -> int:
    """Check that a run's logits are the first ones of ``logits``; return how many images they are of."""
    values = [value for value, _, _ in outcome.logits]
    assert values == logits.flat[: len(values)].tolist()
    return len(values) // logits.shape[1]
