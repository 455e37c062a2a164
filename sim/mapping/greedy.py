"""Tables of a block, for one image in flight: what a greedy array does in one block, done in every block.

With one image, scores of a block wait for the keys of all its tiles, so that no two tiles are alike: the table has a
block's operations. The greedy array serves whichever stream can go first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..errors import check
from ..flow.streams import Stream
from ..flow.table import SlotTable
from .array import decide_block, slot
from .needs import earliest
from .replay import settle
from .replay_state import ARRAY_END, IMAGE, NOW, OPERATIONS, UNKNOWN, Plan, State, new_state

#: A block in the middle of an image, from which the table is taken.
_BLOCK = 4


def block_table(plan: Plan, priority: Sequence[Stream]) -> SlotTable:
    """Return the order in which a greedy array serves the streams in one block, from its first scores on.

    Parameters
    ----------
    plan : Plan
        Of one image in flight; its table is not looked at, and its network should have six blocks or more.
    priority : sequence of Stream
        All streams: of those that can go at the same time, the first one goes.

    Raises
    ------
    BivitError
        When nothing can go, or the block does not have every operation once.
    """
    state = new_state(plan)
    position = dict.fromkeys(Stream, 0)
    order: list[Stream] = []
    begins: dict[int, int] = {}
    at: dict[int, dict[Stream, int]] = {}
    block = plan.tiles * int(plan.streams[OPERATIONS, Stream.SCORES])
    while len(begins) <= _BLOCK + 1:
        settle(state, plan)
        stream = _first(state, plan, position, priority)
        number, operation = divmod(position[stream], int(plan.streams[OPERATIONS, stream]))
        if stream is Stream.SCORES and position[stream] % block == 0:
            begins[len(begins)] = len(order)
            at[len(at)] = dict(position)
        slot(state, plan, int(stream), number, operation)
        position[stream] += 1
        order.append(stream)
    slots = tuple(order[begins[_BLOCK] : begins[_BLOCK + 1]])
    whole = {stream: plan.tiles * int(plan.streams[OPERATIONS, stream]) for stream in Stream}
    check(
        Counter(slots) == Counter(whole),
        f"a greedy block has {dict(Counter(slots))} operations and not {whole}; take another priority",
    )
    turns = at[_BLOCK][Stream.SCORES] // block
    return SlotTable(slots, {stream: turns * whole[stream] - at[_BLOCK][stream] for stream in Stream})


def _first(state: State, plan: Plan, position: dict[Stream, int], priority: Sequence[Stream]) -> Stream:
    """Return the stream that can go first; one whose turn is empty passes at once."""
    best, soonest = None, np.inf
    for stream in priority:
        number, operation = divmod(position[stream], int(plan.streams[OPERATIONS, stream]))
        turn = number // plan.tiles
        of, decides = (turn + plan.lanes, turn) if stream is Stream.QKV else (turn, turn - plan.lanes)
        if decides >= 0 and position[Stream.FC2] <= decides * plan.tiles * int(plan.streams[OPERATIONS, Stream.FC2]):
            continue  # fc2 has not begun the turn in which it is decided what this one works on
        if state.turns[of % state.turns.shape[0], IMAGE] == UNKNOWN:
            return stream
        if stream is Stream.FC2 and operation == 0 and number % plan.tiles == 0:
            decide_block(state, plan, turn)
        when = earliest(state, plan, int(stream), number, operation)
        if when == UNKNOWN:
            continue
        when = max(when, state.clock[NOW], state.clock[ARRAY_END])
        if when < soonest:
            best, soonest = stream, when
    check(best is not None, f"no stream can go on, at {position}")
    assert best is not None
    return best
