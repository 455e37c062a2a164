"""The search of a slot table: a time line by the units' latencies, made better in small random steps."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from typing import overload

import numpy as np

from ..flow.streams import Stream, TileShape
from ..flow.table import GRAIN, Places, SlotTable, slot_table
from ..timing.needs import leaves
from ..timing.replay_state import OPERATIONS, STEPS, Durations, Of, Plan

#: Rates a table: cycles an image, or None where it locks up.
Rating = Callable[[SlotTable], float | None]

#: Spreads that the search begins with, as eighths of a tile, in the order of `Stream`.
_SPREADS = ((8, 8, 8, 8, 8, 8), (8, 8, 4, 6, 6, 8), (8, 8, 4, 4, 4, 6), (8, 8, 6, 8, 6, 8))
#: Slack between streams that it begins with, as fortieths of a tile.
_SLACKS = (0, 4, 10)
#: Parts of the tiles in flight over which a tile goes through all streams, in eighths.
_CLOSE = (8, 7, 6, 5, 4, 3, 2, 1)
#: Time lines, the best at first, which share the first half of all tries; the best then gets the rest.
_STARTS = 4
#: Slots among which one is sought that need not wait.
_REACH = 12
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
    bits, norm, attention = _latencies(durations)
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


def close_lines(shape: TileShape, durations: Durations, lanes: int) -> Iterator[Places]:
    """Yield time lines on which a tile goes through all streams while the other tiles in flight have one turn.

    Where an image has few tiles, or the array is large, a block's latencies are longer than that; the array waits.

    Parameters
    ----------
    shape : TileShape
    durations : Durations
    lanes : int
        Images in flight.
    """
    period = GRAIN * shape.tile_steps
    bits, norm, attention = _latencies(durations)
    steps = {stream: GRAIN * shape.operations[stream] * shape.steps[stream] for stream in Stream}
    first_head = steps[Stream.SCORES] // shape.config.num_heads
    width = steps | {Stream.CONTEXT: max(steps[Stream.CONTEXT], steps[Stream.SCORES] - first_head)}
    phase = {Stream.SCORES: 0, Stream.CONTEXT: first_head + attention}
    for before, after, latency in (
        (Stream.CONTEXT, Stream.PROJ, bits),
        (Stream.PROJ, Stream.FC1, norm),
        (Stream.FC1, Stream.FC2, bits),
        (Stream.FC2, Stream.QKV, norm),
    ):
        phase[after] = phase[before] + width[before] + latency
    end = phase[Stream.QKV] + width[Stream.QKV]
    for eighths in _CLOSE:
        span = max(period, lanes * shape.tiles * period * eighths // 8)
        at = {stream: place * span // end for stream, place in phase.items()}
        yield Places(at, {stream: min(period, one * span // end) for stream, one in width.items()}, {})


def _latencies(durations: Durations) -> tuple[int, int, int]:
    """From steps to bits that the array makes, to those of the next norm, and to those of the attention."""
    d, one = durations, {name: int(durations.tiles[name, 0]) for name in Of}
    norm = one[Of.ADD_SUMMED] + one[Of.ROOTED] + one[Of.SIGN_FULL] + d.arrive + d.capture + 6
    attention = one[Of.SUM_COUNTED] + one[Of.ATTENTION_FULL] + d.top + d.capture + 6
    return GRAIN * (d.capture + d.bits + 3), GRAIN * norm, GRAIN * attention


def search(shape: TileShape, plan: Plan, rate: Rating, *, tries: int, seed: int = 1) -> tuple[SlotTable, float] | None:
    """Return the best table found and its cycles an image; None where every table locks up.

    The same seed gives the same table on any machine.

    Parameters
    ----------
    shape : TileShape
    plan : Plan
        For its latencies, and what leaves the array how.
    rate : callable
    tries : int
        Random steps from the best of the first time lines: half from several, the others from what is best then.
    seed : int
    """
    chance = random.Random(seed)
    lines = chain(first_lines(shape, plan.durations), close_lines(shape, plan.durations, plan.lanes))
    rated = [found for line in lines if (found := _better(None, line, shape, plan, rate))]
    if not rated:
        return None
    best = sorted(rated, key=lambda found: found[0])[:_STARTS]
    each = tries // (2 * _STARTS)
    for number in range(len(best)):
        for _ in range(each):
            best[number] = _better(best[number], _changed(best[number][1], shape, chance), shape, plan, rate)
    found = min(best, key=lambda found: found[0])
    for _ in range(tries - each * len(best)):
        found = _better(found, _changed(found[1], shape, chance), shape, plan, rate)
    return found[2], found[0]


def spaced(table: SlotTable, plan: Plan) -> SlotTable:
    """Return a table in which operations whose way out would still be taken let a few others go first.

    The operations of each stream stay in order, so that nothing begins later or earlier than by a few slots.

    Parameters
    ----------
    table : SlotTable
    plan : Plan
        Its own table is not looked at.
    """
    operations, steps = (plan.streams[row] for row in (OPERATIONS, STEPS))
    gaps = np.array([plan.drain, plan.writer_gap])
    ends, slots = np.full(2, -int(gaps.max())), list[Stream]()
    for _ in range(2):  # the second time with what the end of the table leaves to its beginning
        number = {stream: -table.lag[stream] % int(operations[stream]) for stream in Stream}
        rest, slots, now = list(table.slots), [], 0
        while rest:
            waits = dict[Stream, int]()
            for stream in rest[:_REACH]:
                if stream not in waits:
                    gone = [
                        end + gap for end, gap, out in zip(ends, gaps, _leave(plan, stream, number), strict=True) if out
                    ]
                    waits[stream] = max([0, *(int(end) - int(steps[stream]) - now for end in gone)])
            stream = min(waits, key=lambda one: waits[one])  # of several, the first one
            now += waits[stream] + int(steps[stream])
            ends[list(_leave(plan, stream, number))] = now
            number[stream] = (number[stream] + 1) % int(operations[stream])
            rest.remove(stream)
            slots.append(stream)
        ends -= now
    return SlotTable(tuple(slots), table.lag)


def _leave(plan: Plan, stream: Stream, number: dict[Stream, int]) -> tuple[bool, bool]:
    sums, rows = leaves(plan, int(stream), number[stream])
    return bool(sums), bool(rows)


_Rated = tuple[float, Places, SlotTable]


@overload
def _better(best: _Rated, line: Places, shape: TileShape, plan: Plan, rate: Rating) -> _Rated: ...


@overload
def _better(best: None, line: Places, shape: TileShape, plan: Plan, rate: Rating) -> _Rated | None: ...


def _better(best: _Rated | None, line: Places, shape: TileShape, plan: Plan, rate: Rating) -> _Rated | None:
    table = spaced(slot_table(shape, line), plan)
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
