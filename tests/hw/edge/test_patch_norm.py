"""The norm of patches alone: every word, every saturation and every cycle, against whole numbers."""

import random
from collections import deque
from dataclasses import dataclass, field, replace
from math import isqrt
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator
from windowed import windowed_flow

from bivit.hw.edge.patch_norm import PatchNorm
from bivit.sim.errors import BivitError
from bivit.sim.flow.edge_settings import EDGE_SETTINGS, edge_setting_bits
from bivit.sim.flow.patch_norm import PatchNormUnit
from bivit.sim.network.formats import Formats
from helpers import CLK_PERIOD, join, load_memory, signed

WIDE = Formats(residual_bits=24, residual_frac_bits=16, scale_bits=18, head_m=40)
#: y is narrower than G.
NARROW = Formats(residual_bits=12, residual_frac_bits=1, norm_shift=0, head_m=20, head_frac_bits=4)
#: Tokens, words and channels of an image, and of the engine: tokens, words, and more fields.
CASES: dict[str, tuple[tuple[int, int, int], tuple[int, int], dict[str, Any]]] = {
    "three words, five cycles apart": ((7, 3, 24), (7, 3), {}),
    "a token, a word, a channel less": ((1, 1, 7), (4, 2), {}),
    "a column group that is not full": ((5, 4, 24), (6, 4), {"columns": 16, "norm_lanes": 8}),
    "many words, one divider": ((4, 40, 320), (4, 40), {}),
    "wide words in other multipliers": ((6, 2, 32), (9, 3), {"columns": 16, "norm_lanes": 16, "fabric": "lut4"}),
    "a lane alone": ((3, 24, 21), (3, 24), {"norm_lanes": 1}),
    "two lanes of eight columns": ((5, 8, 16), (6, 10), {"norm_lanes": 2}),
    "wide numbers": ((3, 3, 24), (3, 3), {"formats": WIDE}),
    "narrow numbers, of one bit behind the point": ((9, 3, 24), (9, 3), {"formats": NARROW}),
    "as many tokens as wait": ((30, 3, 20), (30, 3), {}),
    "chunks of half a word": ((6, 2, 32), (6, 2), {"columns": 16, "norm_lanes": 16, "lanes": 8}),
}


@dataclass
class Bench:
    """Images in banks of x, each of which is there and put at its time, and taken when it is done."""

    unit: PatchNormUnit
    tokens: int
    words: int
    channels: int
    puts: list[int]
    x: np.ndarray
    scale: np.ndarray
    bias: np.ndarray
    eps: int
    done: list[int] = field(default_factory=list)
    taken: list[np.ndarray] = field(default_factory=list)
    saturations: int = 0
    writes: int = 0

    def __post_init__(self) -> None:
        self.bits = self.unit.flow.engine.formats.residual_bits
        self.memory: dict[int, int] = {}

    def embed(self, image: int) -> None:
        for token, word in np.ndindex(self.tokens, self.words):
            at = word * self.unit.lanes
            values = self.x[image, token, at : at + self.unit.lanes]
            self.memory[self.place(image, token, word)] = join(values.tolist(), [self.bits] * len(values))

    def place(self, image: int, token: int, word: int) -> int:
        source = self.unit.source
        return image % source.banks * source.bank_words + token * self.words + word

    def image(self, number: int) -> np.ndarray:
        found = np.zeros((self.tokens, self.words * self.unit.lanes), np.int64)
        for token, word, lane in np.ndindex(self.tokens, self.words, self.unit.lanes):
            value = signed(self.memory[self.place(number, token, word)] >> lane * self.bits, self.bits)
            found[token, word * self.unit.lanes + lane] = value
        return found[:, : self.channels]

    def parameters(self) -> list[int]:
        formats, lanes = self.unit.flow.engine.formats, self.unit.lanes
        widths = [formats.scale_bits, formats.residual_bits] * lanes
        padding = self.words * lanes - self.channels
        both = np.stack([np.pad(values, (0, padding)) for values in (self.scale, self.bias)], axis=1)
        return [join(both[at : at + lanes].reshape(-1).tolist(), widths) for at in range(0, len(both), lanes)]

    def run(self) -> None:
        dut = PatchNorm(self.unit)
        sim = Simulator(dut)
        sim.add_clock(CLK_PERIOD)

        async def play(ctx: Any) -> None:
            memories = self.unit.load_memories
            await load_memory(ctx, dut.load, memories["patch_norm"], self.parameters())
            await load_memory(ctx, dut.load, memories["patch_eps"], [self.eps])
            ctx.set(dut.bank, 1)
            values = {"tokens": self.tokens, "words": self.words, "channels": self.channels}
            values["pace"] = self.unit.pace(self.words)
            for name, value in values.items():
                ctx.set(dut.settings[f"patch_norm_{name}"], value)
            await self._run(ctx, dut)

        sim.add_testbench(play)
        sim.run()

    async def _run(self, ctx: Any, dut: PatchNorm) -> None:
        words = deque([0] * (self.unit.source.x_cycles - 1))
        cycle, address, behind = 0, 0, 4
        while behind:
            ctx.set(dut.put, cycle in self.puts)
            if cycle in self.puts:
                self.embed(self.puts.index(cycle))
            words.append(self.memory.get(address, 0))
            ctx.set(dut.x_read.data, words.popleft())
            address = ctx.get(dut.x_read.addr)
            if ctx.get(dut.x_write.en):
                self.memory[ctx.get(dut.x_write.addr)] = ctx.get(dut.x_write.data)
                self.writes += 1
            if ctx.get(dut.done):
                self.done.append(cycle)
                self.taken.append(self.image(len(self.taken)))
            self.saturations += ctx.get(dut.saturations)
            await ctx.tick()
            cycle += 1
            behind -= len(self.done) == len(self.puts)
            assert cycle < 20_000, "the norm stands still"

    def expected(self) -> tuple[np.ndarray, int]:
        """New x as docs/semantics.md 1 says it, in whole numbers of any size, and how many saturate."""
        formats = self.unit.flow.engine.formats
        f, most = formats.residual_frac_bits, (1 << formats.residual_bits - 1) - 1
        found, saturations = np.zeros((*self.x.shape[:2], self.channels), np.int64), 0
        for image, token in np.ndindex(*self.x.shape[:2]):
            x = [int(value) >> formats.norm_shift for value in self.x[image, token, : self.channels]]
            s1, s2 = sum(x), sum(value * value for value in x)
            q = (1 << formats.head_m) // isqrt(self.channels * s2 - s1 * s1 + self.eps)
            for c, value in enumerate(x):
                y = (self.channels * value - s1) * q >> formats.head_m - f
                exact = (y * int(self.scale[c]) + (1 << f - 1) >> f) + int(self.bias[c])
                found[image, token, c] = min(max(exact, ~most), most)
                saturations += exact != found[image, token, c]
        return found, saturations

    def check(self) -> None:
        wanted, saturations = self.expected()
        assert all((found == image).all() for found, image in zip(self.taken, wanted, strict=True))
        assert self.saturations == saturations
        assert self.writes == len(self.puts) * self.tokens * self.words
        free, done = 0, []
        for put in self.puts:
            start = max(put + 2, free)
            free = start + self.unit.image_cycles(self.tokens, self.words)
            done.append(start + self.unit.norm_cycles(self.tokens, self.words))
        assert self.done == done


def bench(case: str, puts: list[int], *, seed: int = 0, kind: str = "random", eps: int | None = None) -> Bench:
    (tokens, words, channels), (most_tokens, most_words), engine = CASES[case]
    unit = PatchNormUnit(windowed_flow(most_tokens, most_words, **engine))
    rng, formats = np.random.default_rng(seed), unit.flow.engine.formats
    low, high = -(1 << formats.residual_bits - 1), (1 << formats.residual_bits - 1) - 1
    shape = (len(puts), tokens, words * unit.lanes)
    x = {
        "random": lambda: rng.normal(0, 1 << formats.residual_frac_bits, shape).round().clip(low, high),
        "ends": lambda: rng.choice([low, high], shape),
        "equal": lambda: np.broadcast_to(rng.choice([low, 0, 5, high], shape[:2])[..., np.newaxis], shape),
        "one": lambda: np.where(np.arange(shape[-1]) == 3, high, low) + 0 * rng.integers(0, 2, shape),
    }[kind]()
    scale_end = 1 << formats.scale_bits - 1
    wild = kind != "random"
    # Up to 1.5, which no y leads out of range.
    unit_end = 3 << formats.residual_frac_bits - 1
    scale = rng.choice([-scale_end, scale_end - 1], channels) if wild else rng.integers(-unit_end, unit_end, channels)
    bias = rng.choice([low, high, 0], channels) if wild else rng.integers(-unit_end, unit_end, channels)
    return Bench(unit, tokens, words, channels, puts, x.astype(np.int64), scale, bias, eps or 1 << 20)


def run(*args: Any, **more: Any) -> Bench:
    found = bench(*args, **more)
    found.run()
    found.check()
    return found


@pytest.mark.parametrize("case", CASES)
def test_every_word_and_every_cycle(case: str) -> None:
    found = run(case, [0, 1, 300], seed=len(case))
    assert found.saturations == 0


@pytest.mark.parametrize("kind", ["ends", "equal", "one"])
@pytest.mark.parametrize("eps", [1, (1 << 48) - 1])
def test_extremes(kind: str, eps: int) -> None:
    """The largest y comes of one channel apart from all others, the largest Q of channels that are equal."""
    for case in ("many words, one divider", "wide words in other multipliers"):
        run(case, [0], kind=kind, eps=eps)


def test_what_saturates_is_counted() -> None:
    assert run("three words, five cycles apart", [0, 9], kind="ends").saturations > 50


@pytest.mark.parametrize("seed", range(4))
def test_images_come_at_any_time(seed: int) -> None:
    rng = random.Random(seed)
    case = "three words, five cycles apart"
    banks = bench(case, [0]).unit.source.banks
    puts = [rng.randrange(20)]
    while len(puts) < 2 * banks:
        # A bank is given back before it is taken again.
        puts.append(puts[-1] + rng.choice([1, 20, 36, 60]) + 400 * (len(puts) == banks))
    run(case, puts, seed=seed)


@pytest.mark.parametrize("planted", ["scale", "bias", "eps"])
def test_one_bit_of_a_parameter_is_noticed(planted: str) -> None:
    found = bench("three words, five cycles apart", [0])
    found.run()
    if planted == "eps":
        found.eps ^= 1 << 46
    else:
        getattr(found, planted)[17] ^= 1 << 9
    with pytest.raises(AssertionError):
        found.check()


def test_dividers_are_as_many_as_a_token_s_chunks_ask_for() -> None:
    units = [PatchNormUnit(windowed_flow(4, words)) for words in (1, 5, 12, 38, 100)]
    assert [unit.dividers for unit in units] == [8, 8, 4, 1, 1]
    assert [unit.pace(words) for unit, words in zip(units, (1, 5, 12, 38, 100), strict=True)] == [5, 5, 12, 38, 100]
    # Half as many channels are embedded a cycle: half as many dividers follow them.
    narrow = PatchNormUnit(windowed_flow(4, 12, columns=16, norm_lanes=16, lanes=8))
    assert narrow.dividers == 2


def test_words_that_wait_fit_their_ring() -> None:
    """With one word fewer some are written over before they are read."""
    run("as many tokens as wait", [0])
    found = bench("as many tokens as wait", [0])
    found.unit.__dict__["ring_words"] = found.unit.ring_words - 1
    found.run()
    with pytest.raises(AssertionError):
        found.check()


def test_settings_are_those_of_engines_with_windows_alone() -> None:
    flow = windowed_flow(10, 3)
    more = [name for name in edge_setting_bits(flow) if name not in dict(EDGE_SETTINGS)]
    assert more == ["patch_norm", *(f"patch_norm_{name}" for name in ("tokens", "words", "pace", "channels"))]
    assert edge_setting_bits(replace(flow, windows=None)) == dict(EDGE_SETTINGS)


def test_numbers_without_a_fraction_are_refused() -> None:
    flow = windowed_flow(4, 1)
    formats = replace(flow.engine.formats, residual_frac_bits=0)
    with pytest.raises(BivitError, match="needs residual_frac_bits of 1 or more, got 0"):
        PatchNormUnit(replace(flow, engine=replace(flow.engine, formats=formats)))
