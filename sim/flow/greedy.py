"""Tables of a block, for one image in flight: what a greedy array does in one block, done in every block.

With one image, scores of a block wait for the keys of all its tiles, so that no two tiles are alike: the table has a
block's operations. The greedy array serves whichever stream can go first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..errors import check
from .array import _leaves, _needs, slot
from .replay import settle
from .replay_state import BITS_END, IMAGE, NOW, OPERATIONS, STEPS, SUMS_END, UNKNOWN, Plan, State, new_state
from .streams import Stream
from .table import SlotTable

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
        of = turn + plan.lanes if stream is Stream.QKV else turn
        undecided = stream is Stream.QKV and position[Stream.FC2] <= turn * plan.tiles * int(
            plan.streams[OPERATIONS, Stream.FC2]
        )
        if undecided or _ahead(position, plan, stream, number):
            continue
        if state.turns[of % state.turns.shape[0], IMAGE] == UNKNOWN:
            return stream
        when, _ = _needs(state, plan, int(stream), number, operation)
        if when == UNKNOWN:
            continue
        sums, bits = _leaves(plan, int(stream), operation)
        steps = int(plan.streams[STEPS, stream])
        when = max(when, state.clock[NOW])
        if sums:
            when = max(when, state.clock[SUMS_END] + plan.drain - steps)
        if bits:
            when = max(when, state.clock[BITS_END] + plan.writer_gap - steps)
        if when < soonest:
            best, soonest = stream, when
    check(best is not None, f"no stream can go on, at {position}")
    assert best is not None
    return best


def _ahead(position: dict[Stream, int], plan: Plan, stream: Stream, number: int) -> bool:
    """Whether a stream's turn is not decided yet: fc2 of the lane's turn before has not begun."""
    if stream is Stream.QKV:
        return False
    before = number // plan.tiles - plan.lanes
    return before >= 0 and position[Stream.FC2] <= before * plan.tiles * int(plan.streams[OPERATIONS, Stream.FC2])
