"""Passes beside a short model: random images, groups, rounds and windows, and an edge that keeps to its banks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from amaranth.sim import Simulator
from proving import Fault
from windowed import tiny_swin, windowed_for

from bivit.hw.passes import passes
from bivit.sim.flow.settings import passes_memory, setting_bits
from helpers import CLK_PERIOD, load_memory

#: Images that go together.
TOGETHER = 3
FLOW = windowed_for([tiny_swin()], columns=8, together=TOGETHER)
NAMES = list(setting_bits(FLOW))
BANKS = passes.Passes(FLOW).banks
#: Passes of the network, and cycles of a run, at most.
_COUNT, _MOST_CYCLES = 3, 12_000

#: Bank and place of a window, by the pass in which it is taken.
Taken = list[tuple[int, list[tuple[int, int]]]]


@dataclass
class Run:
    """A network of so many windows and rounds in each pass, so many images, and what they did."""

    images: int
    sides: tuple[int, ...]
    rounds: tuple[int, ...]
    taken: Taken = field(default_factory=list)
    embedded: int = 0
    given: int = 0

    @property
    def groups(self) -> list[int]:
        """Images of each group: all that go together, or those that are left."""
        return [min(TOGETHER, self.images - first) for first in range(0, self.images, TOGETHER)]

    def words(self) -> list[int]:
        """Settings of all passes; `tiles_last` says which pass it is."""
        found = []
        for number, (side, rounds) in enumerate(zip(self.sides, self.rounds, strict=True)):
            values = dict.fromkeys(NAMES, 0) | {"last_pass": int(number == _COUNT - 1), "tiles_last": number}
            values |= {"windows_last": side**2 - 1, "side_last": side - 1, "rounds_last": rounds - 1}
            values |= {"window_places": 1, "first_place": number, "first_shifted": number + 1}
            found += [values[name] for name in NAMES]
        return found

    def expected(self) -> Taken:
        """Windows of each pass of each group."""
        return list(self._expected())

    def _expected(self) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        first = 0
        for group in self.groups:
            for number, (side, rounds) in enumerate(zip(self.sides, self.rounds, strict=True)):
                windows = [
                    ((first + image) % BANKS, number + round_ % 2 + window)
                    for round_ in range(rounds)
                    for image in range(group)
                    for window in range(side**2)
                ]
                yield number, windows
            first += group


def play(seed: int) -> list[str]:
    """One run with a bench that embeds, takes and leaves at random; return what was wrong."""
    chance, wrong = Random(seed), list[str]()
    sides = tuple(chance.randint(1, 3) for _ in range(_COUNT))
    run = Run(chance.randint(1, 8), sides, tuple(chance.randint(1, 3) for _ in range(_COUNT)))
    unit = passes.Passes(FLOW)
    settings, inside, fast = dict.fromkeys(NAMES, 0), 0, chance.choice((0.02, 0.2, 1.0))

    def embeds() -> bool:
        """Whether one more image is embedded, into a bank that is free."""
        free = run.embedded - run.given < BANKS and run.embedded < run.images
        return free and chance.random() < fast

    async def bench(ctx: Any) -> None:
        nonlocal inside
        await load_memory(ctx, unit.load, passes_memory(FLOW), run.words())
        ctx.set(unit.limit, run.images)
        for _ in range(_MOST_CYCLES):
            if ctx.get(unit.settle.en):
                settings[NAMES[ctx.get(unit.settle.addr)]] = ctx.get(unit.settle.data)
                wrong.extend(["settings change in a pass"] * (not ctx.get(unit.between) or not ctx.get(unit.settling)))
            if ctx.get(unit.restart):
                run.taken.append((settings["tiles_last"], []))
                for name, value in settings.items():
                    ctx.set(unit.settings[name], value)
            takes = ctx.get(unit.there) and not ctx.get(unit.between) and chance.random() < 0.7
            if takes:
                run.taken[-1][1].append((ctx.get(unit.window.bank), ctx.get(unit.window.place)))
            leaves, comes = inside > 0 and chance.random() < 0.5, embeds()
            inside += takes - leaves
            run.embedded += comes
            for port, value in ((unit.take, takes), (unit.left, leaves), (unit.embedded, comes)):
                ctx.set(port, value)
            if ctx.get(unit.finished):
                run.given += 1
                wrong.extend(["given back before the last pass is through"] * (bool(inside) or not _whole(run)))
            if run.given == run.images and run.embedded == run.images and not ctx.get(unit.settling):
                break
            await ctx.tick()

    simulator = Simulator(unit)
    simulator.add_clock(CLK_PERIOD)
    simulator.add_testbench(bench)
    simulator.run()
    wrong += ["not all images are given back"] * (run.given != run.images)
    wrong += ["windows"] * (run.taken != run.expected())
    return wrong


def _whole(run: Run) -> bool:
    """Whether all windows of all passes of the group have been taken."""
    number, windows = run.taken[-1]
    group = run.groups[(len(run.taken) - 1) // _COUNT]
    return number == _COUNT - 1 and len(windows) == group * run.sides[-1] ** 2 * run.rounds[-1]


@pytest.mark.parametrize("seed", range(12))
def test_groups_go_through_all_passes(seed: int) -> None:
    assert play(seed) == []


# The check can fail


FAULTS = {
    "a group that does not wait": ("(waiting >= self.images) |", "waiting.any() |"),
    "a bank that is not counted on": ("next_bank.eq(following(next_bank, self.banks))", "next_bank.eq(next_bank)"),
    "settings of the first pass for all": ("with m.If(first):", "with m.If(first | again):"),
    "given back after any pass": ("sequences.through & self.settings.last_pass", "sequences.through"),
    "an image too few given back": ("with m.If(left == 1):", "with m.If(left <= 2):"),
    "the core begins before its settings": ("left.eq(self.words - 1)]", "left.eq(self.words - 2)]"),
    "what was taken is not counted": ("taken.eq(taken + count)", "taken.eq(taken)"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Fault("", passes, *FAULTS[name], "").plant(monkeypatch)
    assert any(play(seed) for seed in range(6))
