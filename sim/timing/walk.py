"""A slot table, walked slot by slot: those that pass at once, tiles that are left out, and the end of a run."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..system.jit import kernel
from .array import ghost, slot
from .codes import FC2, QKV
from .needs import _norm_follows, _works
from .replay import FOREVER, edge, settle
from .replay_state import (
    ANSWERED,
    BLOCK,
    FINISHED,
    IMAGE,
    NOW,
    OPERATIONS,
    UNKNOWN,
    Plan,
    State,
)

#: Columns of `replay`'s trace. Image and block are `UNKNOWN` where the slot has nothing to do.
TRACED = ("cycle", "stream", "turn", "tile", "operation", "image", "block")
#: A trace of nothing.
UNTRACED = np.zeros((0, len(TRACED)), np.int64)


@kernel(counted=False)
def spare(state: State, plan: Plan, position: Any) -> bool:
    """Return whether no stream has anything to do in its turn, nor will have in the next two tiles.

    Parameters
    ----------
    state, plan
    position : int64 [6]
        Slots that each stream has taken, less those that it begins late.
    """
    if not plan.skips:
        return False
    for stream in range(position.shape[0]):
        operations = plan.streams[OPERATIONS, stream]
        tile = position[stream] // operations
        if position[stream] < 0 or _works(state, plan, stream, tile):
            return False
        if position[stream] % (plan.tiles * operations) == 0 or tile % plan.tiles >= plan.tiles - 2:
            return False
        if stream == FC2 and _norm_follows(state, plan, tile):
            return False
    return True


@kernel(counted=False)
def skip(state: State, plan: Plan, position: Any, skips: bool) -> bool:
    """Let all streams leave out tiles in which none has anything to do, one a cycle.

    Parameters
    ----------
    state, plan, position
        As of `spare`.
    skips : bool
        Whether `spare` was true when the last slot was at hand.

    Returns
    -------
    bool
        Whether it is true for the slot at hand now.
    """
    while skips:
        skips = spare(state, plan, position)
        for stream in range(position.shape[0]):
            position[stream] += plan.streams[OPERATIONS, stream]
        ghost(state)
    return spare(state, plan, position)


@kernel(counted=False)
def _note(state: State, plan: Plan, row: Any, stream: int, tile: int, operation: int) -> None:
    """Note a slot as `TRACED`, its tile being that of all turns."""
    turn = tile // plan.tiles
    of = (turn + plan.lanes * (stream == QKV)) % state.turns.shape[0]
    row[0], row[1], row[2], row[3] = state.clock[NOW] - 1, stream, turn, tile % plan.tiles
    row[4], row[5], row[6] = operation, state.turns[of, IMAGE], state.turns[of, BLOCK]


@kernel(counted=False)
def _answered(state: State) -> bool:
    """Whether all images are answered."""
    answered = True
    for image in range(state.images.shape[1]):
        answered = answered and state.images[ANSWERED, image] != UNKNOWN
    return answered


@kernel(counted=False)
def replay(state: State, plan: Plan, traced: Any) -> int:
    """Replay the table until all images are answered; return the slots taken, or less one the slot that none can take.

    Parameters
    ----------
    state, plan
    traced : int64 [slots or more, 7]
        Set: each slot as `TRACED`, but where a stream is not yet there. Without rows nothing is noted.
    """
    position, slots, skips = state.position, 0, False
    while True:
        for stream in plan.table:
            skips = skip(state, plan, position, skips)
            place = position[stream]
            position[stream] += 1
            if place < 0:
                ghost(state)
            else:
                tile, operation = place // plan.streams[OPERATIONS, stream], place % plan.streams[OPERATIONS, stream]
                taken = slot(state, plan, stream, tile, operation)
                if slots < traced.shape[0]:
                    _note(state, plan, traced[slots], stream, tile, operation)
                if not taken:
                    return -1 - slots
            slots += 1
        settle(state, plan)
        edge(state, plan, state.clock[NOW])
        if state.images[FINISHED, plan.images - 1] != UNKNOWN:
            if plan.windows > 0:
                return slots
            edge(state, plan, FOREVER)
            if _answered(state):
                return slots
