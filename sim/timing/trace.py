"""The slots that an array takes, and when: a replay of a table, slot by slot."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import check
from ..flow.streams import Stream
from .array import ghost, skip, slot
from .replay import FOREVER, edge, settle
from .replay_state import (
    ANSWERED,
    BLOCK,
    FINISHED,
    IMAGE,
    LAG,
    NOW,
    OPERATIONS,
    UNKNOWN,
    Plan,
    State,
    new_state,
)


class Tile(NamedTuple):
    """A tile of an image in one of its blocks."""

    image: int
    block: int
    tile: int


class Taken(NamedTuple):
    """A slot of the table that the array has taken.

    Parameters
    ----------
    cycle : int
        In which it passed: the first of its steps, where it has something to do.
    stream : Stream
    turn, tile, number : int
        Turn of its lane; tile of the turn; operation of the tile.
    of : Tile or None
        What it works on; None where it has nothing to do.
    """

    cycle: int
    stream: Stream
    turn: int
    tile: int
    number: int
    of: Tile | None


def trace(plan: Plan, state: State | None = None) -> list[Taken]:
    """Replay a table as `array.replay` does, and return the slots that are taken.

    Parameters
    ----------
    plan : Plan
    state : State, optional
        What it begins with, in place of a new one, and what is left.

    Raises
    ------
    BivitError
        When no slot can be taken any more: which one.
    """
    state, found = new_state(plan) if state is None else state, list[Taken]()
    position, skips = -plan.streams[LAG], False
    while UNKNOWN in state.images[ANSWERED]:
        for name in plan.table:
            stream = Stream(int(name))
            skips = bool(skip(state, plan, position, skips))
            place = int(position[stream])
            position[stream] += 1
            if place < 0:
                ghost(state)
                continue
            number, operation = divmod(place, int(plan.streams[OPERATIONS, stream]))
            turn, tile = divmod(number, plan.tiles)
            check(
                slot(state, plan, int(stream), number, operation),
                f"the table locks up: after {len(found)} slots, {stream.name} cannot go on at operation {operation} of "
                f"tile {tile} of turn {turn}; give the rings more slots, or search for another table",
            )
            of = (turn + plan.lanes * (stream is Stream.QKV)) % state.turns.shape[0]
            image, block = (int(state.turns[of, column]) for column in (IMAGE, BLOCK))
            work = None if image == UNKNOWN else Tile(image, block, tile)
            found.append(Taken(int(state.clock[NOW]) - 1, stream, turn, tile, operation, work))
        settle(state, plan)
        edge(state, plan, state.clock[NOW])
        if state.images[FINISHED, plan.images - 1] != UNKNOWN:
            edge(state, plan, FOREVER)
    return found
