"""The array in the cycle model: turns and lanes, what an operation waits for, and what follows from it."""

from __future__ import annotations

from ..system.jit import kernel
from .replay import FOREVER, HEADS, VISIBLE, _give, _push, _room, _whole, _written, edge, settle
from .replay_state import (
    ANSWERED,
    BITS_END,
    BLOCK,
    COUNTED,
    DECIDED,
    EMBEDDED,
    FINISHED,
    IMAGE,
    LAG,
    NOW,
    OPERATIONS,
    STALLS,
    STEPS,
    SUMS_END,
    TABLED,
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
_R_KEYS, _R_VALUES, _R_CONTEXT, _R_HIDDEN, _R_STAGING1, _R_STAGING2 = (int(ring) for ring in list(Ring)[7:13])
_NORM1, _NORM2, _CONTEXT_BITS, _HIDDEN_BITS, _QUERY_BITS = (int(ready) for ready in Ready)
_RESIDUAL, _SIGN, _STATS, _APPLY, _SUM, _COMPARE, _ROOT, _TABLES = (int(unit) for unit in Unit)
_WRITTEN = int(Of.WRITTEN)
_C_TURN, _C_IDLE, _C_OPERAND, _C_TABLES, _C_KEYS, _C_VALUES, _C_ATTENTION = (int(cause) for cause in list(Cause)[:7])
_C_ROOM, _C_DRAIN, _C_WRITER, _C_GHOST = (int(cause) for cause in list(Cause)[7:])
_CAUSES = len(Cause)
_JOB_PROJ, _JOB_FC2, _JOB_LAST, _JOB_LOAD = (int(job) for job in Job)

#: From a stream's last slot of a turn to its first slot of the next one: turn, what its lane works on, addresses.
TURN_CYCLES = 3
#: From the decision what a lane works on next to slots of fc2 that depend on it, and to those of QKV, which work on it.
DECIDED_CYCLES, NEXT_TURN_CYCLES = 1, 3
#: From a decision to the first cycle in which its tables of Exp can be taken: the job is put and queued.
TABLE_JOB_CYCLES = 3


@kernel()
def _continues(state: State, plan: Plan, turn: int) -> bool:
    """Whether the lane of a turn goes on with its image's next block."""
    at = turn % state.turns.shape[0]
    return state.turns[at, IMAGE] != UNKNOWN and state.turns[at, BLOCK] < plan.depth - 1


@kernel()
def _follow(state: State, plan: Plan, turn: int, image: int, block: int, when: int) -> None:
    """Note what the lane of a turn works on in its next one, and have its tables of Exp loaded."""
    after = (turn + plan.lanes) % state.turns.shape[0]
    state.turns[after, IMAGE], state.turns[after, BLOCK] = image, block
    state.turns[after, DECIDED], state.turns[after, TABLED] = when, UNKNOWN
    state.turns[(after + 1) % state.turns.shape[0], DECIDED] = UNKNOWN
    if image != UNKNOWN and plan.softmax:
        _push(state, _TABLES, 0, turn + plan.lanes, 0, when + TABLE_JOB_CYCLES, 1)


@kernel()
def decide_block(state: State, plan: Plan, turn: int) -> None:
    """Let the lane of a turn go on with its image's next block, if there is one and it is not decided.

    That is so as soon as fc2 is ready for the turn.

    Parameters
    ----------
    state, plan
    turn : int
    """
    at, after = turn % state.turns.shape[0], (turn + plan.lanes) % state.turns.shape[0]
    if state.turns[after, DECIDED] == UNKNOWN and _continues(state, plan, turn):
        _follow(state, plan, turn, state.turns[at, IMAGE], state.turns[at, BLOCK] + 1, state.streams[_FC2] - 1)


@kernel()
def _next_image(state: State, plan: Plan, turn: int) -> None:
    """Decide whether a lane that does not go on takes a new image, now that fc2 has come to its turn."""
    depth = state.turns.shape[0]
    image = state.turns[turn % depth, IMAGE]
    now = state.clock[NOW]
    if state.streams[_FC2] > now:
        state.clock[STALLS + _C_TURN] += state.streams[_FC2] - now
        now = state.streams[_FC2]
    new = state.clock[TAKEN]
    taken = UNKNOWN
    if new < plan.images:
        edge(state, plan, now)
        idle = image == UNKNOWN
        for other in range(1, plan.lanes):
            idle = idle and state.turns[(turn + other) % depth, IMAGE] == UNKNOWN
        if idle and state.images[EMBEDDED, new] == UNKNOWN:
            edge(state, plan, FOREVER)
        if idle and state.images[EMBEDDED, new] + VISIBLE > now:
            state.clock[STALLS + _C_IDLE] += state.images[EMBEDDED, new] + VISIBLE - now
            now = state.images[EMBEDDED, new] + VISIBLE
        if state.images[EMBEDDED, new] != UNKNOWN and state.images[EMBEDDED, new] + VISIBLE <= now:
            taken = new
            state.clock[TAKEN] += 1
    state.clock[NOW] = now
    _follow(state, plan, turn, taken, 0 if taken != UNKNOWN else UNKNOWN, now)


@kernel()
def _need(state: State, cause: int, when: int) -> None:
    """Add what an operation waits for; one that is not known makes its cause unknown."""
    before = state.needs[cause]
    state.needs[cause] = UNKNOWN if when == UNKNOWN or before == UNKNOWN else max(before, when)


@kernel()
def _space(state: State, plan: Plan, ring: int) -> None:
    """Add the need of a slot."""
    room = _room(state, plan, ring)
    _need(state, _C_ROOM, room if room == UNKNOWN else room + VISIBLE)


@kernel()
def _operand(state: State, cause: int, at: int) -> None:
    """Add the need of an operand."""
    _need(state, cause, at if at == UNKNOWN else at + VISIBLE)


@kernel()
def _turn_needs(state: State, plan: Plan, stream: int, tile: int, number: int) -> None:
    """Add what even a slot needs that has nothing to do: the stream's turn, and what is decided for it."""
    _need(state, _C_TURN, state.streams[stream])
    if number == 0 and tile % plan.tiles == 0:
        turn = tile // plan.tiles + plan.lanes
        decided = state.turns[turn % state.turns.shape[0], DECIDED]
        if stream == _QKV:
            _need(state, _C_TURN, decided if decided == UNKNOWN else decided + NEXT_TURN_CYCLES)
        elif stream == _FC2:
            _need(state, _C_TURN, 0 if decided == UNKNOWN else decided + DECIDED_CYCLES)
    if stream == _FC2 and number == 0 and _norm_follows(state, plan, tile):
        _space(state, plan, _R_STAGING1)


@kernel()
def _norm_follows(state: State, plan: Plan, tile: int) -> bool:
    """Whether the lane works on something in its next turn, so that behind fc2 of this tile there is a norm."""
    return state.turns[(tile // plan.tiles + plan.lanes) % state.turns.shape[0], IMAGE] != UNKNOWN


@kernel()
def _needs(state: State, plan: Plan, stream: int, tile: int, number: int) -> None:
    """Add what an operation waits for as far as operands and slots are concerned."""
    turn, at = tile // plan.tiles, tile % state.tiles.shape[0]
    first = number == 0
    if stream == _QKV:
        part, group = plan.qkv[0, number], plan.qkv[1, number]
        if first:
            _operand(state, _C_OPERAND, state.tiles[at, _NORM1])
            _space(state, plan, _R_QUERY)
            if tile % plan.tiles == 0:
                _space(state, plan, _R_KEYS)
                _space(state, plan, _R_VALUES)
        if part != _VALUE and plan.head_norm and group % plan.head_groups == 0:
            _space(state, plan, _R_HEAD)
    elif stream == _SCORES:
        if first:
            _operand(state, _C_OPERAND, state.tiles[at, _QUERY_BITS])
            if tile % plan.tiles == 0:
                _operand(state, _C_KEYS, _whole(state, plan, _KEY, turn))
                if plan.softmax:
                    _operand(state, _C_TABLES, state.turns[turn % state.turns.shape[0], TABLED])
        if number % plan.key_groups == 0:
            _space(state, plan, _R_SCORE if plan.softmax else _R_ATTENTION)
    elif stream == _CONTEXT:
        if number % plan.head_groups == 0:
            _operand(state, _C_ATTENTION, state.tiles[at, HEADS + number // plan.head_groups])
        if first:
            if tile % plan.tiles == 0:
                _operand(state, _C_VALUES, _whole(state, plan, _VALUE, turn))
            _space(state, plan, _R_CONTEXT)
    elif stream == _PROJ:
        _space(state, plan, _R_RESIDUAL)
        if first:
            _operand(state, _C_OPERAND, state.tiles[at, _CONTEXT_BITS])
            _space(state, plan, _R_STAGING2)
    elif stream == _FC1:
        if first:
            _operand(state, _C_OPERAND, state.tiles[at, _NORM2])
            _space(state, plan, _R_HIDDEN)
    else:
        _space(state, plan, _R_RESIDUAL)
        if first:
            _operand(state, _C_OPERAND, state.tiles[at, _HIDDEN_BITS])


@kernel()
def _leaves(plan: Plan, stream: int, number: int) -> tuple[bool, bool]:
    """Whether an operation's sums leave by the drain, and whether its bits go through the row writer."""
    if stream == _QKV:
        part = plan.qkv[0, number]
        return part != _VALUE and plan.head_norm, part == _VALUE or (part == _KEY and not plan.head_norm)
    return stream in (_PROJ, _FC2) or (stream == _SCORES and plan.softmax), False


@kernel()
def _works(state: State, plan: Plan, stream: int, tile: int) -> bool:
    """Whether a slot of a tile has something to do."""
    turn = tile // plan.tiles + (plan.lanes if stream == _QKV else 0)
    return state.turns[turn % state.turns.shape[0], IMAGE] != UNKNOWN


@kernel()
def earliest(state: State, plan: Plan, stream: int, tile: int, number: int) -> int:
    """When a slot can pass, but for the array itself, or `UNKNOWN`; by cause that is in `needs`.

    Parameters
    ----------
    state, plan
    stream, tile, number : int
        As of `slot`.
    """
    state.needs[:] = 0
    _turn_needs(state, plan, stream, tile, number)
    if _works(state, plan, stream, tile):
        _needs(state, plan, stream, tile, number)
        steps = plan.streams[STEPS, stream]
        sums, bits = _leaves(plan, stream, number)
        if sums:
            _need(state, _C_DRAIN, max(0, state.clock[SUMS_END] + plan.drain - steps))
        if bits:
            _need(state, _C_WRITER, max(0, state.clock[BITS_END] + plan.writer_gap - steps))
    return state.needs.max() if state.needs.min() != UNKNOWN else UNKNOWN


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
            state.tiles[at, _HIDDEN_BITS] = captured + plan.durations.bits
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
    written = captured + d.rows + d.tiles[_WRITTEN, tile % plan.tiles]
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
    final = stream == _FC2 and not _continues(state, plan, turn)
    if number == 0 and stream == _PROJ:
        state.credits[_R_STAGING2, 0] += 1
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


@kernel()
def _passes(state: State, plan: Plan, stream: int, tile: int, number: int) -> None:
    """What follows from any slot, whether it has something to do or not."""
    last = number == plan.streams[OPERATIONS, stream] - 1
    if stream == _FC2 and _norm_follows(state, plan, tile):
        if number == 0:
            state.credits[_R_STAGING1, 0] += 1
        if last and not _continues(state, plan, tile // plan.tiles):
            # A tile of a new image is read: behind the sums of the image before, or at once.
            when = state.clock[NOW] + plan.durations.job + plan.durations.arrive
            _push(state, _RESIDUAL, _JOB_LOAD, tile, 0, 0 if _works(state, plan, stream, tile) else when, 1)
    if last and tile % plan.tiles == plan.tiles - 1:
        state.streams[stream] = state.clock[NOW] + TURN_CYCLES


@kernel()
def slot(state: State, plan: Plan, stream: int, tile: int, number: int) -> bool:
    """Take one slot; return whether its operation can ever be issued.

    Parameters
    ----------
    state, plan
    stream, tile, number : int
        Its stream, the tile of all turns, the operation of the tile.
    """
    turn = tile // plan.tiles
    if stream == _FC2 and number == 0 and tile % plan.tiles == 0:
        decide_block(state, plan, turn)
        if state.turns[(turn + plan.lanes) % state.turns.shape[0], DECIDED] == UNKNOWN:
            _next_image(state, plan, turn)
    settle(state, plan)
    if earliest(state, plan, stream, tile, number) == UNKNOWN:
        return False
    for cause in range(_CAUSES):
        wait = state.needs[cause] - state.clock[NOW]
        if wait > 0:
            state.clock[STALLS + cause] += wait
            state.clock[NOW] += wait
    if not _works(state, plan, stream, tile):
        _passes(state, plan, stream, tile, number)
        state.clock[NOW] += 1
        state.clock[STALLS + _C_GHOST] += 1
        return True
    state.stalls[:] = state.clock[STALLS:]
    end = state.clock[NOW] + plan.streams[STEPS, stream]
    sums, bits = _leaves(plan, stream, number)
    if sums:
        state.clock[SUMS_END] = end
    if bits:
        state.clock[BITS_END] = end
    _follows(state, plan, stream, tile, number, end)
    _passes(state, plan, stream, tile, number)
    state.clock[NOW] = end
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
                state.clock[STALLS + _C_GHOST] += 1
            elif not slot(
                state, plan, stream, place // plan.streams[OPERATIONS, stream], place % plan.streams[OPERATIONS, stream]
            ):
                return -1 - slots
            slots += 1
        settle(state, plan)
        edge(state, plan, state.clock[NOW])
        if state.images[FINISHED, plan.images - 1] != UNKNOWN:
            edge(state, plan, FOREVER)
            if state.images[ANSWERED].min() != UNKNOWN:
                return slots
