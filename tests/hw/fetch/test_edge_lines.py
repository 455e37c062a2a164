"""What the edge reads of a memory: every word in its order, whatever the memory does, and none that is wrong."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from amaranth.sim import Simulator
from engines import ALL_STREAMED, streamed_flow, tiny_table
from shapes import TOKENS

from bivit.hw.fetch.edge_lines import EdgeLines
from bivit.sim.engine.registers import ErrorCode
from bivit.sim.flow.edge import EdgeUnit
from bivit.sim.flow.edge_lines import EdgeLinesUnit, Line
from bivit.sim.flow.edge_settings import edge_setting_bits
from bivit.sim.flow.weight_stream import RUN_BITS
from bivit.sim.mapping.edge_words import LINE_STEPS
from bivit.sim.mapping.program import compile_network
from bivit.sim.mapping.weight_image import weight_image
from bivit.sim.network.random import random_network
from helpers import CLK_PERIOD

NETWORK = random_network(TOKENS, seed=4)
#: Where the image lies, and the number of the reads.
BASE, RUN = 0x7_0001_3000, 5
#: Of the request of a part, which shares the port: its first burst.
PART = 3


class Made:
    """An engine whose port has so many bits, and what lies in its memory."""

    def __init__(self, bits: int):
        self.flow = streamed_flow(**ALL_STREAMED, memory_bits=bits)
        self.program = compile_network(NETWORK, self.flow, tiny_table(TOKENS))
        self.unit, self.beat = EdgeLinesUnit(self.flow), bits // 8
        self.steps = {line: LINE_STEPS[line](NETWORK, EdgeUnit(self.flow)) for line in self.unit.lines}
        self.image = weight_image(self.program)


#: With ports of a step of a pass a beat, and of four.
PLAIN, PACKED = Made(64), Made(256)


class Memory:
    """Answers requests of one number in their order, and those of others beat by beat in between."""

    def __init__(self, made: Made, seed: int, most: int, *, wrong: Callable[[int, int], tuple[int, int]] | None):
        self.image, self.beat = made.image, made.beat
        self.random, self.most, self.wrong = random.Random(seed), most, wrong
        self.open: dict[int, deque[list[int]]] = {}
        self.beats = self.now = 0

    def play(self, ctx: Any, dut: EdgeLines) -> None:
        """Take the request of this cycle, and set the beat of the next one."""
        self.now += 1
        if ctx.get(dut.arvalid) and ctx.get(dut.arready):
            due = self.now + self.random.randint(1, self.most)
            asked = [due, ctx.get(dut.araddr) - BASE, ctx.get(dut.arlen) + 1]
            assert asked[1] // 4096 == (asked[1] + asked[2] * self.beat - 1) // 4096, "a burst crosses 4,096 bytes"
            self.open.setdefault(ctx.get(dut.arid), deque()).append(asked)

    def answer(self, ctx: Any, dut: EdgeLines) -> None:
        ctx.set(dut.arready, self.random.random() < 0.7)
        ready = [number for number, asked in self.open.items() if asked and asked[0][0] <= self.now]
        ctx.set(dut.rvalid, bool(ready))
        if not ready:
            return
        number = self.random.choice(ready)
        asked = self.open[number][0]
        at, response = asked[1], 0
        if self.wrong is not None and number >> RUN_BITS:
            at, response = self.wrong(at, self.beats)
            self.beats += 1
        asked[1], asked[2] = asked[1] + self.beat, asked[2] - 1
        ctx.set(dut.rid, number)
        ctx.set(dut.rdata, int.from_bytes(self.image[at : at + self.beat], "little"))
        ctx.set(dut.rresp, response)
        ctx.set(dut.rlast, asked[2] == 0)
        if asked[2] == 0:
            self.open[number].popleft()


class Reader:
    """Takes the steps of a line at random, reads them, frees them; checks each."""

    def __init__(self, made: Made, line: Line, share: float):
        self.line, self.share, self.name = line, share, line.name.lower()
        self.random, self.steps = random.Random(line), made.steps[line]
        self.depth = made.unit.ring(line).depth * made.unit.word_steps(line)
        self.taken = self.read = 0
        self.coming: deque[int] = deque([-1] * made.unit.read_cycles(line))

    def play(self, ctx: Any, dut: EdgeLines) -> None:
        read, given = getattr(dut, f"{self.name}_read"), getattr(dut, f"{self.name}_given")
        takes = ctx.get(given.level) > 0 and self.random.random() < self.share
        ctx.set(given.take, takes)
        ctx.set(given.count, 1)
        ctx.set(read.addr, self.taken % self.depth)
        came = self.coming.popleft()
        if came >= 0:
            assert ctx.get(read.data) == self.steps[came % len(self.steps)], f"step {came} of {self.name}"
            self.read += 1
        ctx.set(read.freed, came >= 0)
        self.coming.append(self.taken if takes else -1)
        self.taken += takes


def run(
    cycles: int,
    *,
    made: Made = PLAIN,
    most: int = 40,
    share: float = 0.5,
    wrong: Callable[[int, int], tuple[int, int]] | None = None,
) -> tuple[dict[Line, int], int, int]:
    """Read for so many cycles; return the steps of each line that were right, the fault, and beats of parts."""
    dut = EdgeLines(made.flow)
    memory, readers = Memory(made, 7, most, wrong=wrong), [Reader(made, line, share) for line in Line]
    parts, faults = [0], [0]

    async def play(ctx: Any) -> None:
        for name in edge_setting_bits(made.flow):
            ctx.set(dut.settings[name], made.program.settings[name])
        ctx.set(dut.network, made.program.settings["network"])
        ctx.set(dut.base, BASE)
        ctx.set(dut.number, RUN)
        ctx.set(dut.parts.arid, RUN)
        ctx.set(dut.parts.araddr, BASE + PART * made.unit.burst_bytes)
        ctx.set(dut.parts.arlen, 9)
        for cycle in range(cycles):
            ctx.set(dut.start, cycle == 1)
            ctx.set(dut.active, cycle >= 1)
            ctx.set(dut.parts.arvalid, cycle > 2)
            for line in Line:
                ctx.set(getattr(dut, f"{line.name.lower()}_given").waits, cycle > 20)
            memory.answer(ctx, dut)
            for reader in readers:
                reader.play(ctx, dut)
            if ctx.get(dut.parts.rvalid):
                assert ctx.get(dut.parts.rid) == RUN
                parts[0] += 1
            memory.play(ctx, dut)
            faults.append(faults[-1] or ctx.get(dut.fault))
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(CLK_PERIOD)
    sim.add_testbench(play)
    sim.run()
    return {reader.line: reader.read for reader in readers}, faults[-1], parts[0]


@pytest.mark.parametrize("made", [PLAIN, PACKED], ids=["plain", "packed"])
@pytest.mark.parametrize(("most", "share"), [(1, 1.0), (40, 0.5), (300, 1.0), (5, 0.02)])
def test_words_come_in_their_order_however_late_the_memory_is(most: int, share: float, made: Made) -> None:
    """Image after image, beside parts that take all that is left of the port; a slow reader stops the reads."""
    read, fault, parts = run(2500, made=made, most=most, share=share)
    assert fault == ErrorCode.NONE
    assert parts > 100
    least = 20 if share < 0.1 else 2 * max(map(len, made.steps.values()))
    assert min(read.values()) > least


def test_bursts_that_are_exchanged_give_no_word() -> None:
    """Two whole bursts of the classifier, each where the other one must be."""
    first = PLAIN.unit.places(TOKENS)[Line.CLASSES]
    other, size = {first: first + 1, first + 1: first}, PLAIN.unit.burst_bytes

    def wrong(at: int, beat: int) -> tuple[int, int]:
        burst, place = divmod(at, size)
        return other.get(burst, burst) * size + place, 0

    read, fault, _ = run(1500, wrong=wrong)
    assert fault == ErrorCode.MEMORY_CRC
    assert read[Line.CLASSES] == 0
    assert read[Line.POSITIONS] > len(PLAIN.steps[Line.POSITIONS])


@pytest.mark.parametrize("kind", ["flip", "error"])
@pytest.mark.parametrize("beat", [0, 30, 63, 400])
def test_a_beat_that_is_wrong_is_found_before_its_words_are_used(kind: str, beat: int) -> None:
    """Of any line, in its first burst or later: all words that were given are right."""

    def wrong(at: int, number: int) -> tuple[int, int]:
        if number != beat:
            return at, 0
        return (at, 2) if kind == "error" else ((at + 5 * PLAIN.beat) % len(PLAIN.image), 0)

    read, fault, _ = run(1500, wrong=wrong)
    assert fault == (ErrorCode.MEMORY_READ if kind == "error" else ErrorCode.MEMORY_CRC)
    assert min(read.values()) < 3 * max(map(len, PLAIN.steps.values()))


def test_a_silent_memory_is_found_where_the_edge_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind so many cycles without a beat, of which there are fewer here."""
    monkeypatch.setattr("bivit.hw.fetch.patience.SILENCE_CYCLES", 100)
    _, fault, _ = run(90, most=5000)
    assert fault == ErrorCode.NONE
    _, fault, _ = run(300, most=5000)
    assert fault == ErrorCode.MEMORY_TIMEOUT
