"""The slots that an array takes, and when: a replay of a table, slot by slot."""

from __future__ import annotations

from copy import deepcopy
from typing import NamedTuple

import numpy as np

from ..errors import check
from ..flow.streams import Stream
from .replay_state import UNKNOWN, Plan, State, new_state
from .walk import TRACED, UNTRACED, replay


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
    """Replay a table, and return the slots that are taken.

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
    state = new_state(plan) if state is None else state
    slots = int(replay(deepcopy(state), plan, UNTRACED))
    rows = np.full((abs(slots), len(TRACED)), UNKNOWN, np.int64)
    replay(state, plan, rows)
    found = [_taken(*row) for row in rows.tolist() if row[0] != UNKNOWN]
    if slots < 0:
        last = found[-1]
        check(
            False,
            f"the table locks up: after {len(found) - 1} slots, {last.stream.name} cannot go on at operation "
            f"{last.number} of tile {last.tile} of turn {last.turn}; give the rings more slots, or search for another "
            "table",
        )
    return found


def _taken(cycle: int, stream: int, turn: int, tile: int, operation: int, image: int, block: int) -> Taken:
    of = None if image == UNKNOWN else Tile(image, block, tile)
    return Taken(cycle, Stream(stream), turn, tile, operation, of)
