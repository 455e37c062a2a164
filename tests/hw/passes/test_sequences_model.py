"""Sequences beside a short model: random groups, windows, rounds; lanes that take and leave when they like."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from amaranth.sim import Simulator
from proving import Fault
from windowed import tiny_swin, windowed_for

from bivit.hw.passes import sequences
from bivit.hw.slots.records import block_steps
from helpers import CLK_PERIOD

FLOW = windowed_for([tiny_swin()], columns=8, together=4)
BANKS = sequences.Sequences(FLOW).banks
#: Passes one after the other in a simulation, and cycles of each, at most.
_PASSES, _MOST_CYCLES = 3, 4_000


@dataclass
class Model:
    """One pass: what may be taken, and what it is."""

    group: int
    bank: int
    side: int
    rounds: int
    settings: dict[str, int]
    taken: int = 0
    left: int = 0

    @property
    def windows(self) -> int:
        return self.side**2

    @property
    def all(self) -> int:
        """Windows of the pass."""
        return self.windows * self.group * self.rounds

    @property
    def there(self) -> bool:
        """Whether all windows of the next one's image have been left in the round before."""
        before = self.taken // self.windows - self.group
        return self.taken < self.all and self.left >= self.windows * (before + 1)

    @property
    def record(self) -> dict[str, int]:
        """What the next window is."""
        unit, window = divmod(self.taken, self.windows)
        number, image = divmod(unit, self.group)
        row, column = divmod(window, self.side)
        s, odd = self.settings, number % 2
        found = {name: s[f"first_{name}"] + number * s[step] for name, step in block_steps(FLOW).items()}
        return found | {
            "valid": 1,
            "bank": (self.bank + image) % BANKS,
            "block": s["first_block"] + number,
            "last": int(self.windows > 1 or s["first_block"] + number == s["depth_last"]),
            "layer": s["first_layer"] + 2 * number * s["layer_step"],
            "place": s["first_shifted" if odd else "first_place"] + window * s["window_places"],
            "kind": odd * ((row == self.side - 1) + 2 * (column == self.side - 1)),
        }


def drawn(chance: Random) -> Model:
    """A pass; addresses are so small that none wraps."""
    side, rounds = chance.randint(1, 4), chance.randint(1, 3)
    names = [f"first_{name}" for name in ("block", "place", "shifted", *block_steps(FLOW))]
    settings = {name: chance.randint(0, 3) for name in [*names, *block_steps(FLOW).values()]}
    settings |= {"windows_last": side**2 - 1, "side_last": side - 1, "rounds_last": rounds - 1}
    settings |= {"window_places": chance.randint(1, 3), "depth_last": settings["first_block"] + chance.randint(0, 3)}
    return Model(chance.randint(1, 4), chance.randrange(BANKS), side, rounds, settings)


@dataclass
class Seen:
    """What is otherwise than in the model, first of all, and how often a window waited for its image."""

    wrong: list[object] = field(default_factory=list)
    waits: int = 0


def play(seed: int) -> Seen:
    """Some passes, with lanes that take and leave at random: in every cycle `there`, the record and `through`."""
    unit, chance, seen = sequences.Sequences(FLOW), Random(seed), Seen()

    async def one_pass(ctx: Any, model: Model) -> None:
        for name, value in model.settings.items():
            ctx.set(unit.settings[name], value)
        ctx.set(unit.group, model.group)
        ctx.set(unit.bank, model.bank)
        ctx.set(unit.begin, 1)
        await ctx.tick()
        ctx.set(unit.begin, 0)
        eager, quick = chance.choice((0.3, 1.0)), chance.choice((0.1, 0.5, 1.0))
        for cycle in range(_MOST_CYCLES):
            there = model.there
            got = ctx.get(unit.there)
            if got != there:
                seen.wrong.append((seed, cycle, "there", got, there))
            elif there:
                record = {name: ctx.get(unit.next[name]) for name in model.record}
                seen.wrong += [(seed, cycle, record, model.record)] * (record != model.record)
            if seen.wrong or model.left == model.all:
                break
            seen.waits += not there and model.taken < model.all
            takes, leaves = there and chance.random() < eager, model.left < model.taken and chance.random() < quick
            ctx.set(unit.take, takes)
            ctx.set(unit.finished, leaves)
            model.taken, model.left = model.taken + takes, model.left + leaves
            through = ctx.get(unit.through)
            seen.wrong += [(seed, cycle, "through", through)] * (through != (leaves and model.left == model.all))
            await ctx.tick()
        ctx.set(unit.take, 0)
        ctx.set(unit.finished, 0)
        seen.wrong += [(seed, "it never ends")] * (not seen.wrong and model.left < model.all)

    async def bench(ctx: Any) -> None:
        for _ in range(_PASSES):
            await one_pass(ctx, drawn(chance))

    simulator = Simulator(unit)
    simulator.add_clock(CLK_PERIOD)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


@pytest.mark.parametrize("seed", range(30))
def test_windows_are_there_when_the_model_says_so(seed: int) -> None:
    assert play(seed).wrong == []


def test_windows_wait_for_their_image_in_these() -> None:
    assert sum(play(seed).waits for seed in range(10)) > 100


# The check can fail


FAULTS = {
    "a round begins a window early": ("window == settings.windows_last)", "window + 1 == settings.windows_last)"),
    "an image that is left counts twice": ("ahead + left_unit - taken_unit", "ahead + 2 * left_unit - taken_unit"),
    "more windows than there are": ("with m.If(taken_all):", "with m.If(0):"),
    "through when all is taken": ("self.through.eq(left_all)", "self.through.eq(taken_all)"),
    "a round is not shifted": ("shifted.eq(~shifted)", "shifted.eq(shifted)"),
    "shifted places a round late": (
        "Mux(shifted, settings.first_place, settings.first_shifted)",
        "Mux(shifted, settings.first_shifted, settings.first_place)",
    ),
    "the layer stays": ("for name in block_steps(self.flow):", "for name in {*block_steps(self.flow)} - {'layer'}:"),
    "banks are not counted on": ("record.bank.eq(following(record.bank, self.banks))", "record.bank.eq(record.bank)"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Fault("", sequences, *FAULTS[name], "").plant(monkeypatch)
    assert any(play(seed).wrong for seed in range(8))
