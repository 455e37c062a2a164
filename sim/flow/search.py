"""The search of a slot table: a time line by the units' latencies, made better in small random steps."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from .replay_state import Durations, Of, Plan
from .streams import Stream, TileShape
from .table import GRAIN, Places, SlotTable, slot_table

#: Rates a table: cycles an image, or None where it locks up.
Rating = Callable[[SlotTable], float | None]

#: Spreads that the search begins with, as eighths of a tile, in the order of `Stream`.
_SPREADS = ((8, 8, 8, 8, 8, 8), (8, 8, 4, 6, 6, 8), (8, 8, 4, 4, 4, 6), (8, 8, 6, 8, 6, 8))
#: Slack between streams that it begins with, as fortieths of a tile.
_SLACKS = (0, 4, 10)
#: Largest random steps, as fractions of a tile: of a phase, of a spread, of one operation.
_PHASE_STEP, _WIDTH_STEP, _SHIFT_STEP = 5, 5, 20


def first_lines(shape: TileShape, durations: Durations) -> Iterator[Places]:
    """Yield time lines on which each stream begins when the one before it can be through.

    Parameters
    ----------
    shape : TileShape
    durations : Durations
    """
    period = GRAIN * shape.tile_steps
    d = durations
    bits = GRAIN * (d.capture + d.bits + 3)
    one = {name: int(d.tiles[name, 0]) for name in Of}
    norm = one[Of.ADD_SUMMED] + one[Of.ROOTED] + one[Of.SIGN_FULL] + d.arrive + d.capture + 6
    attention = one[Of.SUM_COUNTED] + one[Of.ATTENTION_FULL] + d.top + d.capture + 6
    norm, attention = GRAIN * norm, GRAIN * attention
    for spread in _SPREADS:
        for slack in _SLACKS:
            width = {stream: period * eighths // 8 for stream, eighths in zip(Stream, spread, strict=True)}
            free = period * slack // 40
            phase = {Stream.SCORES: 0}
            phase[Stream.CONTEXT] = attention + width[Stream.SCORES] // shape.config.num_heads + free
            phase[Stream.PROJ] = phase[Stream.CONTEXT] + width[Stream.CONTEXT] + bits + free
            phase[Stream.FC1] = phase[Stream.PROJ] + width[Stream.PROJ] + norm + free
            phase[Stream.FC2] = phase[Stream.FC1] + width[Stream.FC1] + bits + free
            phase[Stream.QKV] = phase[Stream.FC2] + width[Stream.FC2] + norm + free
            yield Places(phase, width, {})


def search(shape: TileShape, plan: Plan, rate: Rating, *, tries: int, seed: int = 1) -> tuple[SlotTable, float] | None:
    """Return the best table found and its cycles an image; None where every table locks up.

    The same seed gives the same table on any machine.

    Parameters
    ----------
    shape : TileShape
    plan : Plan
        For its latencies.
    rate : callable
    tries : int
        Random steps, behind the first time lines.
    seed : int
    """
    chance = random.Random(seed)
    best: tuple[float, Places, SlotTable] | None = None
    for line in first_lines(shape, plan.durations):
        best = _better(best, line, shape, rate)
    for _ in range(tries if best else 0):
        assert best is not None
        best = _better(best, _changed(best[1], shape, chance), shape, rate)
    return None if best is None else (best[2], best[0])


def _better(
    best: tuple[float, Places, SlotTable] | None, line: Places, shape: TileShape, rate: Rating
) -> tuple[float, Places, SlotTable] | None:
    table = slot_table(shape, line)
    cycles = rate(table)
    if cycles is None or (best is not None and cycles > best[0]):
        return best
    return cycles, line, table


def _changed(line: Places, shape: TileShape, chance: random.Random) -> Places:
    """Move some streams, spread one otherwise, or move some operations."""
    period = GRAIN * shape.tile_steps
    kind = chance.randrange(10)

    def step(part: int) -> int:
        return (chance.randrange(2 * period) - period + chance.randrange(2 * period) - period) // (2 * part)

    if kind < 4:
        moved = {one: line.phase[one] + step(_PHASE_STEP) * chance.randrange(2) for one in list(Stream)[1:]}
        return replace(line, phase={Stream.SCORES: 0} | {one: max(0, place) for one, place in moved.items()})
    if kind < 6:
        one = chance.choice(list(Stream))
        width = min(period, max(period // 4, line.width[one] + step(_WIDTH_STEP)))
        return replace(line, width={**line.width, one: width})
    shift = dict(line.shift)
    for _ in range(chance.randrange(1, 5)):
        one = chance.choice(list(Stream))
        place = one, chance.randrange(shape.operations[one])
        shift[place] = shift.get(place, 0) + step(_SHIFT_STEP)
    return replace(line, shift=shift)
