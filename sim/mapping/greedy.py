"""Tables of a block, for one image in flight: what a greedy array does in one block, done in every block.

With one image, scores of a block wait for the keys of all its tiles, so that no two tiles are alike: the table has a
block's operations. The greedy array serves whichever stream can go first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import check
from ..flow.streams import Stream
from ..flow.table import SlotTable
from ..system.jit import kernel
from ..timing.array import decide_block, slot
from ..timing.codes import FC2, QKV, SCORES
from ..timing.needs import earliest
from ..timing.replay import settle
from ..timing.replay_state import ARRAY_END, IMAGE, NOW, OPERATIONS, UNKNOWN, Plan, State, new_state

#: A block in the middle of an image, from which the table is taken.
_BLOCK = 4
#: Operations of blocks for which there is room in the order; streams that are beyond will not come back.
_ROOM = 4 * _BLOCK


def block_table(plan: Plan, priority: Sequence[Stream]) -> SlotTable:
    """Return the order in which a greedy array serves the streams in one block, from its first scores on.

    Parameters
    ----------
    plan : Plan
        Of one image in flight; its table is not looked at, and all its images should have six blocks or more.
    priority : sequence of Stream
        All streams: of those that can go at the same time, the first one goes.

    Raises
    ------
    BivitError
        When nothing can go, or the block does not have every operation once.
    """
    whole = {stream: plan.tiles * int(plan.streams[OPERATIONS, stream]) for stream in Stream}
    order = np.zeros(_ROOM * sum(whole.values()), np.int64)
    begins = np.zeros((_BLOCK + 2, 1 + len(Stream)), np.int64)
    found = serve(new_state(plan), plan, np.array([int(stream) for stream in priority]), order, begins)
    check(found, f"no stream can go on; they came to {dict(zip(Stream, begins[-1, 1:].tolist(), strict=True))}")
    (begin, *at), end = begins[_BLOCK].tolist(), int(begins[_BLOCK + 1, 0])
    slots = tuple(Stream(stream) for stream in order[begin:end].tolist())
    check(
        Counter(slots) == Counter(whole),
        f"a greedy block has {dict(Counter(slots))} operations and not {whole}; take another priority",
    )
    turns = at[Stream.SCORES] // whole[Stream.SCORES]
    return SlotTable(slots, {stream: turns * whole[stream] - at[stream] for stream in Stream})


@kernel()
def serve(state: State, plan: Plan, priority: Any, order: Any, begins: Any) -> bool:
    """Serve whichever stream can go first; return whether as many blocks of scores began as there is room for.

    Parameters
    ----------
    state, plan
    priority : int64 [6]
        Of streams that can go at the same time, the first one goes.
    order : int64 [slots]
        Receives the streams.
    begins : int64 [blocks, 1 + 6]
        Receives slots, and operations of each stream, before a block of scores; where nothing can go, the last ones do.
    """
    position = np.zeros(plan.streams.shape[1], np.int64)
    block, begun = plan.tiles * plan.streams[OPERATIONS, SCORES], 0
    for at in range(order.shape[0]):
        settle(state, plan)
        stream = _first(state, plan, position, priority)
        if stream == UNKNOWN:
            break
        if stream == SCORES and position[stream] % block == 0:
            begins[begun, 0], begins[begun, 1:] = at, position
            begun += 1
            if begun == begins.shape[0]:
                return True
        operations = plan.streams[OPERATIONS, stream]
        slot(state, plan, stream, position[stream] // operations, position[stream] % operations)
        position[stream] += 1
        order[at] = stream
    begins[-1, 1:] = position
    return False


@kernel()
def _first(state: State, plan: Plan, position: Any, priority: Any) -> int:
    """Return the stream that can go first, or `UNKNOWN`; one whose turn is empty passes at once."""
    best, soonest = UNKNOWN, 0
    for stream in priority:
        operations = plan.streams[OPERATIONS, stream]
        number, operation = position[stream] // operations, position[stream] % operations
        turn = number // plan.tiles
        of, decides = (turn + plan.lanes, turn) if stream == QKV else (turn, turn - plan.lanes)
        if decides >= 0 and position[FC2] <= decides * plan.tiles * plan.streams[OPERATIONS, FC2]:
            continue  # fc2 has not begun the turn in which it is decided what this one works on
        if state.turns[of % state.turns.shape[0], IMAGE] == UNKNOWN:
            return stream
        if stream == FC2 and operation == 0 and number % plan.tiles == 0:
            decide_block(state, plan, turn)
        when = earliest(state, plan, stream, number, operation)
        if when == UNKNOWN:
            continue
        when = max(when, state.clock[NOW], state.clock[ARRAY_END])
        if best == UNKNOWN or when < soonest:
            best, soonest = stream, when
    return best
