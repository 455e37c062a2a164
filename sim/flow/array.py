"""The array in the cycle model: turns and lanes, what an operation waits for, and what follows from it."""

from __future__ import annotations

from ..system.jit import kernel
from .replay import FOREVER, HEADS, VISIBLE, _give, _push, _room, _whole, _written, edge, settle
from .replay_state import (
    ANSWERED,
    BITS_END,
    BLOCK,
    COUNTED,
    EMBEDDED,
    FINISHED,
    IMAGE,
    LAG,
    NOW,
    OPERATIONS,
    STALLS,
    STEPS,
    SUMS_END,
    TAKEN,
    UNKNOWN,
    Cause,
    Job,
    Of,
    Plan,
    Ready,
    Ring,
    State,
    Unit,
)
from .streams import Part, Stream

#: The numbers of what is named in `streams` and `replay_state`, for numba.
_SCORES, _CONTEXT, _PROJ, _FC1, _FC2, _QKV = (int(stream) for stream in Stream)
_KEY, _QUERY, _VALUE = (int(part) for part in Part)
_R_RESIDUAL, _R_HEAD, _R_SCORE, _R_ATTENTION, _R_NORM1, _R_NORM2, _R_QUERY = (int(ring) for ring in list(Ring)[:7])
_R_KEYS, _R_VALUES, _R_CONTEXT, _R_HIDDEN, _R_STAGING1, _R_STAGING2 = (int(ring) for ring in list(Ring)[7:])
_NORM1, _NORM2, _CONTEXT_BITS, _HIDDEN_BITS, _QUERY_BITS = (int(ready) for ready in Ready)
_RESIDUAL, _SIGN, _STATS, _APPLY, _SUM, _COMPARE, _ROOT = (int(unit) for unit in Unit)
_WRITTEN = int(Of.WRITTEN)
_DRAIN, _WRITER, _OPERAND, _ATTENTION, _KEYS, _VALUES, _ROOM, _GHOST, _IDLE = (int(cause) for cause in Cause)
_JOB_PROJ, _JOB_FC2, _JOB_LAST, _JOB_LOAD = (int(job) for job in Job)


@kernel()
def _next_image(state: State, plan: Plan, turn: int) -> None:
    """Decide what the lane of a turn works on in its next one: the next block, a new image, or nothing."""
    depth, now = state.turns.shape[0], state.clock[NOW]
    image, block = state.turns[turn % depth, IMAGE], state.turns[turn % depth, BLOCK]
    after = (turn + plan.lanes) % depth
    if image != UNKNOWN and block < plan.depth - 1:
        state.turns[after, IMAGE], state.turns[after, BLOCK] = image, block + 1
        return
    state.turns[after, IMAGE], state.turns[after, BLOCK] = UNKNOWN, UNKNOWN
    new = state.clock[TAKEN]
    if new == plan.images:
        return
    edge(state, plan, now)
    idle = image == UNKNOWN
    for other in range(1, plan.lanes):
        idle = idle and state.turns[(turn + other) % depth, IMAGE] == UNKNOWN
    if idle and state.images[new, EMBEDDED] == UNKNOWN:
        edge(state, plan, FOREVER)
    if idle and state.images[new, EMBEDDED] + VISIBLE > now:
        state.clock[STALLS + _IDLE] += state.images[new, EMBEDDED] + VISIBLE - now
        state.clock[NOW] = now = state.images[new, EMBEDDED] + VISIBLE
    if state.images[new, EMBEDDED] != UNKNOWN and state.images[new, EMBEDDED] + VISIBLE <= now:
        state.turns[after, IMAGE], state.turns[after, BLOCK] = new, 0
        state.clock[TAKEN] += 1


@kernel()
def _later(when: int, cause: int, other: int, other_cause: int) -> tuple[int, int]:
    """Return the later of two needs; one that is not known makes both unknown."""
    if when == UNKNOWN or other == UNKNOWN:
        return UNKNOWN, cause if when == UNKNOWN else other_cause
    return (other, other_cause) if other > when else (when, cause)


@kernel()
def _space(state: State, plan: Plan, ring: int, when: int, cause: int) -> tuple[int, int]:
    """Add the need of a slot."""
    room = _room(state, plan, ring)
    return _later(when, cause, room if room == UNKNOWN else room + VISIBLE, _ROOM)


@kernel()
def _operand(at: int, when: int, cause: int, own: int) -> tuple[int, int]:
    """Add the need of an operand."""
    return _later(when, cause, at if at == UNKNOWN else at + VISIBLE, own)


@kernel()
def _needs(state: State, plan: Plan, stream: int, tile: int, number: int) -> tuple[int, int]:
    """When an operation can be issued as far as credits are concerned, and what it waits for longest."""
    when, cause = 0, _OPERAND
    turn, at = tile // plan.tiles, tile % state.tiles.shape[0]
    first = number == 0
    if stream == _QKV:
        part, group = plan.qkv[0, number], plan.qkv[1, number]
        if first:
            when, cause = _operand(state.tiles[at, _NORM1], when, cause, _OPERAND)
            when, cause = _space(state, plan, _R_QUERY, when, cause)
            if tile % plan.tiles == 0:
                when, cause = _space(state, plan, _R_KEYS, when, cause)
                when, cause = _space(state, plan, _R_VALUES, when, cause)
        if part != _VALUE and plan.head_norm and group % plan.head_groups == 0:
            when, cause = _space(state, plan, _R_HEAD, when, cause)
    elif stream == _SCORES:
        if first:
            when, cause = _operand(state.tiles[at, _QUERY_BITS], when, cause, _OPERAND)
            when, cause = _operand(_whole(state, plan, _KEY, turn), when, cause, _KEYS)
        if number % plan.key_groups == 0:
            when, cause = _space(state, plan, _R_SCORE if plan.softmax else _R_ATTENTION, when, cause)
    elif stream == _CONTEXT:
        if number % plan.head_groups == 0:
            when, cause = _operand(state.tiles[at, HEADS + number // plan.head_groups], when, cause, _ATTENTION)
        if first:
            when, cause = _operand(_whole(state, plan, _VALUE, turn), when, cause, _VALUES)
            when, cause = _space(state, plan, _R_CONTEXT, when, cause)
    elif stream == _PROJ:
        when, cause = _space(state, plan, _R_RESIDUAL, when, cause)
        if first:
            when, cause = _operand(state.tiles[at, _CONTEXT_BITS], when, cause, _OPERAND)
            when, cause = _space(state, plan, _R_STAGING2, when, cause)
    elif stream == _FC1:
        if first:
            when, cause = _operand(state.tiles[at, _NORM2], when, cause, _OPERAND)
            when, cause = _space(state, plan, _R_HIDDEN, when, cause)
    else:
        when, cause = _space(state, plan, _R_RESIDUAL, when, cause)
        if first:
            when, cause = _operand(state.tiles[at, _HIDDEN_BITS], when, cause, _OPERAND)
            if state.turns[turn % state.turns.shape[0], BLOCK] < plan.depth - 1:
                when, cause = _space(state, plan, _R_STAGING1, when, cause)
    return when, cause


@kernel()
def _leaves(plan: Plan, stream: int, number: int) -> tuple[bool, bool]:
    """Whether an operation's sums leave by the drain, and whether its bits go through the row writer."""
    if stream == _QKV:
        part = plan.qkv[0, number]
        return part != _VALUE and plan.head_norm, part == _VALUE or (part == _KEY and not plan.head_norm)
    return stream in (_PROJ, _FC2) or (stream == _SCORES and plan.softmax), False


@kernel()
def earliest(state: State, plan: Plan, stream: int, tile: int, number: int) -> tuple[int, int]:
    """When an operation can be issued, but for the array itself, and what it waits for longest.

    Parameters
    ----------
    state, plan
    stream, tile, number : int
        As of `slot`.
    """
    when, cause = _needs(state, plan, stream, tile, number)
    steps = plan.streams[STEPS, stream]
    sums, bits = _leaves(plan, stream, number)
    if sums:
        when, cause = _later(when, cause, max(0, state.clock[SUMS_END] + plan.drain - steps), _DRAIN)
    if bits:
        when, cause = _later(when, cause, max(0, state.clock[BITS_END] + plan.writer_gap - steps), _WRITER)
    return when, cause


@kernel()
def _follows(state: State, plan: Plan, stream: int, tile: int, number: int, end: int) -> None:
    """Take and give slots, and hand over what an operation makes, whose steps end at `end`."""
    captured = end + plan.durations.capture
    at, last = tile % state.tiles.shape[0], number == plan.streams[OPERATIONS, stream] - 1
    if stream == _QKV:
        _qkv_follows(state, plan, tile, number, end)
    elif stream == _SCORES:
        _scores_follow(state, plan, tile, number, end)
    elif stream == _CONTEXT:
        if number == 0:
            state.credits[_R_CONTEXT, 0] += 1
        if number % plan.head_groups == plan.head_groups - 1:
            _give(state, _R_ATTENTION, end)
            state.tiles[at, HEADS + number // plan.head_groups] = UNKNOWN
        if last:
            state.tiles[at, _CONTEXT_BITS] = captured + plan.durations.bits
            if tile % plan.tiles == plan.tiles - 1:
                _give(state, _R_VALUES, end)
                _forget(state, plan, _VALUE, tile)
    elif stream == _FC1:
        if number == 0:
            state.credits[_R_HIDDEN, 0] += 1
        if last:
            # The last word is read in the last step of fc2.
            state.tiles[at, _HIDDEN_BITS] = captured + plan.durations.bits - (plan.streams[STEPS, _FC2] - 1)
            _give(state, _R_NORM2, end)
            state.tiles[at, _NORM2] = UNKNOWN
    else:
        _residual_follows(state, plan, stream, tile, number, end)


@kernel()
def _forget(state: State, plan: Plan, part: int, tile: int) -> None:
    """Begin to count a later turn's keys or values."""
    place = (tile // plan.tiles) % state.turns.shape[0]
    state.turns[place, COUNTED + 2 * part], state.turns[place, COUNTED + 2 * part + 1] = 0, UNKNOWN


@kernel()
def _qkv_follows(state: State, plan: Plan, tile: int, number: int, end: int) -> None:
    captured, d = end + plan.durations.capture, plan.durations
    part, group = plan.qkv[0, number], plan.qkv[1, number]
    written = captured + d.bits + d.tiles[_WRITTEN, tile % plan.tiles]
    if number == 0:
        state.credits[_R_QUERY, 0] += 1
        if tile % plan.tiles == 0:
            state.credits[_R_KEYS, 0] += 1
            state.credits[_R_VALUES, 0] += 1
    of_head = group % plan.head_groups
    if part == _VALUE:
        _written(state, plan, part, tile, written)
    elif plan.head_norm:
        if of_head == 0:
            state.credits[_R_HEAD, 0] += 1
        if of_head == plan.head_groups - 1:
            _push(state, _STATS, part, tile, group, captured + plan.drain - 1 + d.arrive, 1)
    elif of_head == plan.head_groups - 1:
        _written(state, plan, part, tile, written if part == _KEY else captured + d.bits)
    if number == plan.streams[OPERATIONS, _QKV] - 1:
        _give(state, _R_NORM1, end)
        state.tiles[tile % state.tiles.shape[0], _NORM1] = UNKNOWN


@kernel()
def _scores_follow(state: State, plan: Plan, tile: int, number: int, end: int) -> None:
    head, of_head = number // plan.key_groups, number % plan.key_groups
    captured, last = end + plan.durations.capture, of_head == plan.key_groups - 1
    if of_head == 0:
        state.credits[_R_SCORE if plan.softmax else _R_ATTENTION, 0] += 1
    if last and plan.softmax:
        _push(state, _SUM, head, tile, 0, captured + plan.drain - 1 + plan.durations.top, 1)
    elif last:
        state.tiles[tile % state.tiles.shape[0], HEADS + head] = captured + plan.durations.bits
    if number == plan.streams[OPERATIONS, _SCORES] - 1:
        _give(state, _R_QUERY, end)
        state.tiles[tile % state.tiles.shape[0], _QUERY_BITS] = UNKNOWN
        if tile % plan.tiles == plan.tiles - 1:
            _give(state, _R_KEYS, end)
            _forget(state, plan, _KEY, tile)


@kernel()
def _residual_follows(state: State, plan: Plan, stream: int, tile: int, number: int, end: int) -> None:
    turn, at = tile // plan.tiles, tile % state.tiles.shape[0]
    final = stream == _FC2 and state.turns[turn % state.turns.shape[0], BLOCK] == plan.depth - 1
    if number == 0 and not final:
        state.credits[_R_STAGING2 if stream == _PROJ else _R_STAGING1, 0] += 1
    state.credits[_R_RESIDUAL, 0] += 1
    last = number == plan.streams[OPERATIONS, stream] - 1
    kind = _JOB_PROJ if stream == _PROJ else _JOB_LAST if final else _JOB_FC2
    arrived = end + plan.durations.capture + plan.drain - 1
    _push(state, _RESIDUAL, kind, tile, number, arrived + plan.durations.arrive, last)
    if last and stream == _PROJ:
        _give(state, _R_CONTEXT, end)
        state.tiles[at, _CONTEXT_BITS] = UNKNOWN
    elif last:
        _give(state, _R_HIDDEN, end)
        state.tiles[at, _HIDDEN_BITS] = UNKNOWN
        if final:
            _load(state, plan, turn, tile)


@kernel()
def _load(state: State, plan: Plan, turn: int, tile: int) -> None:
    """Let ResidualAdd read a tile of the image that the lane takes next, if it takes one."""
    after = (turn + plan.lanes) % state.turns.shape[0]
    if state.turns[after, IMAGE] != UNKNOWN and state.turns[after, BLOCK] == 0:
        groups = plan.streams[OPERATIONS, _FC2]
        for group in range(groups):
            _push(
                state, _RESIDUAL, _JOB_LOAD, tile, group, state.clock[NOW] + plan.durations.arrive, group == groups - 1
            )


@kernel()
def slot(state: State, plan: Plan, stream: int, tile: int, number: int) -> bool:
    """Take one slot; return whether its operation can ever be issued.

    Parameters
    ----------
    state, plan
    stream, tile, number : int
        Its stream, the tile of all turns, the operation of the tile.
    """
    depth = state.turns.shape[0]
    turn = tile // plan.tiles
    if stream == _FC2 and number == 0 and tile % plan.tiles == 0:
        _next_image(state, plan, turn)
    of = turn + plan.lanes if stream == _QKV else turn
    if state.turns[of % depth, IMAGE] == UNKNOWN:
        if stream == _FC2 and number == plan.streams[OPERATIONS, _FC2] - 1:
            _load(state, plan, turn, tile)
        state.clock[NOW] += 1
        state.clock[STALLS + _GHOST] += 1
        return True
    settle(state, plan)
    when, cause = earliest(state, plan, stream, tile, number)
    if when == UNKNOWN:
        return False
    steps, now = plan.streams[STEPS, stream], state.clock[NOW]
    sums, bits = _leaves(plan, stream, number)
    if when > now:
        state.clock[STALLS + cause] += when - now
        now = when
    end = now + steps
    state.clock[NOW] = end
    if sums:
        state.clock[SUMS_END] = end
    if bits:
        state.clock[BITS_END] = end
    _follows(state, plan, stream, tile, number, end)
    return True


@kernel()
def replay(state: State, plan: Plan) -> int:
    """Replay the table until all images are answered; return the slots taken, or less one the slot that none can take.

    Parameters
    ----------
    state, plan
    """
    position = -plan.streams[LAG]
    slots = 0
    while True:
        for stream in plan.table:
            place = position[stream]
            position[stream] += 1
            if place < 0:
                state.clock[NOW] += 1
                state.clock[STALLS + _GHOST] += 1
            elif not slot(
                state, plan, stream, place // plan.streams[OPERATIONS, stream], place % plan.streams[OPERATIONS, stream]
            ):
                return -1 - slots
            slots += 1
        settle(state, plan)
        edge(state, plan, state.clock[NOW])
        if state.images[plan.images - 1, FINISHED] != UNKNOWN:
            edge(state, plan, FOREVER)
            if state.images[:, ANSWERED].min() != UNKNOWN:
                return slots
