"""The array in the cycle model: turns and lanes, and what follows from a slot."""

from __future__ import annotations

from ..system.jit import kernel
from .codes import (
    C_GHOST,
    C_IDLE,
    C_TURN,
    CAUSES,
    CONTEXT,
    CONTEXT_BITS,
    FC1,
    FC2,
    HIDDEN_BITS,
    JOB_FC2,
    JOB_LAST,
    JOB_LOAD,
    JOB_MERGE,
    JOB_PROJ,
    KEY,
    NORM1,
    NORM2,
    PROJ,
    QKV,
    QUERY_BITS,
    R_ATTENTION,
    R_CONTEXT,
    R_HEAD,
    R_HIDDEN,
    R_KEYS,
    R_NORM1,
    R_NORM2,
    R_QUERY,
    R_RESIDUAL,
    R_SCORE,
    R_STAGING1,
    R_STAGING2,
    R_VALUES,
    RESIDUAL,
    SCORES,
    STATS,
    SUM,
    TABLES,
    VALUE,
    WRITTEN,
)
from .needs import _norm_follows, _works, earliest, leaves
from .replay import HEADS, VISIBLE, _give, _push, _written, edge, settle, wait_for
from .replay_state import (
    ARRAY_END,
    BITS_END,
    BLOCK,
    COUNTED,
    DECIDED,
    EMBEDDED,
    IMAGE,
    NOW,
    OPERATIONS,
    STALLS,
    STEPS,
    SUMS_END,
    TABLED,
    TAKEN,
    UNKNOWN,
    Plan,
    State,
)

#: From a stream's last slot of a turn to its first slot of the next one: turn, what its lane works on, addresses.
TURN_CYCLES = 3
#: From a decision to the first cycle in which its tables of Exp can be taken: the job is put and queued.
TABLE_JOB_CYCLES = 3


@kernel(counted=False)
def _wait(state: State, cause: int, until: int) -> None:
    """Let the slot at hand wait; cycles in which the array works do not count."""
    begin = max(state.clock[NOW], state.clock[ARRAY_END])
    state.clock[STALLS + cause] += max(0, until - begin)
    state.clock[NOW] = max(state.clock[NOW], until)


@kernel(counted=False)
def ghost(state: State) -> None:
    """Let a slot pass that has nothing to do; it counts where the array does not work meanwhile.

    Parameters
    ----------
    state
    """
    state.clock[STALLS + C_GHOST] += state.clock[NOW] >= state.clock[ARRAY_END]
    state.clock[NOW] += 1


@kernel(counted=False)
def _continues(state: State, plan: Plan, turn: int) -> bool:
    """Whether the lane of a turn goes on with its image's next block."""
    at = turn % state.turns.shape[0]
    return state.turns[at, IMAGE] != UNKNOWN and state.turns[at, BLOCK] < plan.depth - 1


@kernel(counted=False)
def _follow(state: State, plan: Plan, turn: int, image: int, block: int, when: int) -> None:
    """Note what the lane of a turn works on in its next one, and have its tables of Exp loaded."""
    after = (turn + plan.lanes) % state.turns.shape[0]
    state.turns[after, IMAGE], state.turns[after, BLOCK] = image, block
    state.turns[after, DECIDED], state.turns[after, TABLED] = when, UNKNOWN
    state.turns[(after + 1) % state.turns.shape[0], DECIDED] = UNKNOWN
    if image != UNKNOWN and plan.softmax:
        _push(state, TABLES, 0, turn + plan.lanes, 0, when + TABLE_JOB_CYCLES, 1)


@kernel(counted=False)
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
        _follow(state, plan, turn, state.turns[at, IMAGE], state.turns[at, BLOCK] + 1, state.streams[FC2] - 1)


@kernel(counted=False)
def _may_begin(state: State, plan: Plan, turn: int) -> bool:
    """Whether the lane of a turn may take an image; of lanes that go together the first one begins, others with it."""
    lane = turn % plan.lanes
    if not plan.together or lane == 0:
        return True
    first = (turn - lane + plan.lanes) % state.turns.shape[0]
    return state.turns[first, IMAGE] != UNKNOWN and state.turns[first, BLOCK] == 0


@kernel(counted=False)
def _next_image(state: State, plan: Plan, turn: int) -> None:
    """Decide whether a lane that does not go on takes a new image, now that fc2 has come to its turn."""
    depth = state.turns.shape[0]
    image = state.turns[turn % depth, IMAGE]
    _wait(state, C_TURN, state.streams[FC2])
    now = state.clock[NOW]
    new = state.clock[TAKEN]
    taken = UNKNOWN
    if new < plan.images and _may_begin(state, plan, turn):
        edge(state, plan, now)
        idle = image == UNKNOWN
        for other in range(1, plan.lanes):
            idle = idle and state.turns[(turn + other) % depth, IMAGE] == UNKNOWN
        if idle:
            wait_for(state, plan, new)
            _wait(state, C_IDLE, state.images[EMBEDDED, new] + VISIBLE)
            now = state.clock[NOW]
        if state.images[EMBEDDED, new] != UNKNOWN and state.images[EMBEDDED, new] + VISIBLE <= now:
            taken = new
            state.clock[TAKEN] += 1
    _follow(state, plan, turn, taken, 0 if taken != UNKNOWN else UNKNOWN, now)


@kernel(counted=False)
def _follows(state: State, plan: Plan, stream: int, tile: int, number: int, end: int) -> None:
    """Take and give slots, and hand over what an operation makes, whose steps end at `end`."""
    captured = end + plan.durations.capture
    at, last = tile % state.tiles.shape[0], number == plan.streams[OPERATIONS, stream] - 1
    if plan.merges:
        _merge_follows(state, plan, tile, number, end)
    elif stream == QKV:
        _qkv_follows(state, plan, tile, number, end)
    elif stream == SCORES:
        _scores_follow(state, plan, tile, number, end)
    elif stream == CONTEXT:
        if number == 0:
            state.credits[R_CONTEXT, 0] += 1
        if number % plan.head_groups == plan.head_groups - 1:
            _give(state, R_ATTENTION, end)
            state.tiles[at, HEADS + number // plan.head_groups] = UNKNOWN
        if last:
            state.tiles[at, CONTEXT_BITS] = captured + plan.durations.bits
            if tile % plan.tiles == plan.tiles - 1:
                _give(state, R_VALUES, end)
                _forget(state, plan, VALUE, tile)
    elif stream == FC1:
        if number == 0:
            state.credits[R_HIDDEN, 0] += 1
        if last:
            state.tiles[at, HIDDEN_BITS] = captured + plan.durations.bits
            _give(state, R_NORM2, end)
            state.tiles[at, NORM2] = UNKNOWN
    else:
        _residual_follows(state, plan, stream, tile, number, end)


@kernel(counted=False)
def _forget(state: State, plan: Plan, part: int, tile: int) -> None:
    """Begin to count a later turn's keys or values."""
    place = (tile // plan.tiles) % state.turns.shape[0]
    state.turns[place, COUNTED + 2 * part], state.turns[place, COUNTED + 2 * part + 1] = 0, UNKNOWN


@kernel(counted=False)
def _qkv_follows(state: State, plan: Plan, tile: int, number: int, end: int) -> None:
    captured, d = end + plan.durations.capture, plan.durations
    part, group = plan.qkv[0, number], plan.qkv[1, number]
    written = captured + d.rows + d.tiles[WRITTEN, tile % plan.tiles]
    if number == 0:
        state.credits[R_QUERY, 0] += 1
        if tile % plan.tiles == 0:
            state.credits[R_KEYS, 0] += 1
            state.credits[R_VALUES, 0] += 1
    of_head = group % plan.head_groups
    if part == VALUE:
        _written(state, plan, part, tile, written)
    elif plan.head_norm:
        if of_head == 0:
            state.credits[R_HEAD, 0] += 1
        if of_head == plan.head_groups - 1:
            _push(state, STATS, part, tile, group, captured + plan.drain - 1 + d.arrive, 1)
    elif of_head == plan.head_groups - 1:
        _written(state, plan, part, tile, written if part == KEY else captured + d.bits)
    if number == plan.streams[OPERATIONS, QKV] - 1:
        _give(state, R_NORM1, end)
        state.tiles[tile % state.tiles.shape[0], NORM1] = UNKNOWN


@kernel(counted=False)
def _merge_follows(state: State, plan: Plan, tile: int, number: int, end: int) -> None:
    last = number == plan.streams[OPERATIONS, QKV] - 1
    state.credits[R_RESIDUAL, 0] += 1
    arrived = end + plan.durations.capture + plan.drain - 1 + plan.durations.arrive
    _push(state, RESIDUAL, JOB_MERGE, tile + plan.lanes * plan.tiles, number, arrived, last)
    if last:
        _give(state, R_NORM1, end)
        state.tiles[tile % state.tiles.shape[0], NORM1] = UNKNOWN


@kernel(counted=False)
def _scores_follow(state: State, plan: Plan, tile: int, number: int, end: int) -> None:
    head, of_head = number // plan.key_groups, number % plan.key_groups
    captured, last = end + plan.durations.capture, of_head == plan.key_groups - 1
    if of_head == 0:
        state.credits[R_SCORE if plan.softmax else R_ATTENTION, 0] += 1
    if last and plan.softmax:
        _push(state, SUM, head, tile, 0, captured + plan.drain - 1 + plan.durations.top, 1)
    elif last:
        state.tiles[tile % state.tiles.shape[0], HEADS + head] = captured + plan.durations.bits
    if number == plan.streams[OPERATIONS, SCORES] - 1:
        _give(state, R_QUERY, end)
        state.tiles[tile % state.tiles.shape[0], QUERY_BITS] = UNKNOWN
        if tile % plan.tiles == plan.tiles - 1:
            _give(state, R_KEYS, end)
            _forget(state, plan, KEY, tile)


@kernel(counted=False)
def _residual_follows(state: State, plan: Plan, stream: int, tile: int, number: int, end: int) -> None:
    turn, at = tile // plan.tiles, tile % state.tiles.shape[0]
    final = stream == FC2 and not _continues(state, plan, turn)
    if number == 0 and stream == PROJ:
        state.credits[R_STAGING2, 0] += 1
    state.credits[R_RESIDUAL, 0] += 1
    last = number == plan.streams[OPERATIONS, stream] - 1
    kind = JOB_PROJ if stream == PROJ else JOB_LAST if final else JOB_FC2
    arrived = end + plan.durations.capture + plan.drain - 1
    _push(state, RESIDUAL, kind, tile, number, arrived + plan.durations.arrive, last)
    if last and stream == PROJ:
        _give(state, R_CONTEXT, end)
        state.tiles[at, CONTEXT_BITS] = UNKNOWN
    elif last:
        _give(state, R_HIDDEN, end)
        state.tiles[at, HIDDEN_BITS] = UNKNOWN


@kernel(counted=False)
def _passes(state: State, plan: Plan, stream: int, tile: int, number: int) -> None:
    """What follows from any slot, whether it has something to do or not."""
    last = number == plan.streams[OPERATIONS, stream] - 1
    if stream == FC2 and _norm_follows(state, plan, tile):
        if number == 0:
            state.credits[R_STAGING1, 0] += 1
        if last and not _continues(state, plan, tile // plan.tiles):
            # A tile of a new image is read: behind the sums of the image before, or at once.
            when = state.clock[NOW] + plan.durations.job + plan.durations.arrive
            _push(state, RESIDUAL, JOB_LOAD, tile, 0, 0 if _works(state, plan, stream, tile) else when, 1)
    if last and tile % plan.tiles == plan.tiles - 1:
        state.streams[stream] = state.clock[NOW] + TURN_CYCLES


@kernel(counted=False)
def slot(state: State, plan: Plan, stream: int, tile: int, number: int) -> bool:
    """Take one slot; return whether its operation can ever be issued.

    Parameters
    ----------
    state, plan
    stream, tile, number : int
        Its stream, the tile of all turns, the operation of the tile.
    """
    turn = tile // plan.tiles
    if stream == FC2 and number == 0 and tile % plan.tiles == 0:
        settle(state, plan)  # what is finished has its classes before others are embedded
        decide_block(state, plan, turn)
        if state.turns[(turn + plan.lanes) % state.turns.shape[0], DECIDED] == UNKNOWN:
            _next_image(state, plan, turn)
    settle(state, plan)
    if earliest(state, plan, stream, tile, number) == UNKNOWN:
        return False
    works = _works(state, plan, stream, tile)
    if works:
        state.clock[NOW] = max(state.clock[NOW], state.clock[ARRAY_END])
    for cause in range(CAUSES):
        _wait(state, cause, state.needs[cause])
    if not works:
        _passes(state, plan, stream, tile, number)
        ghost(state)
        return True
    for cause in range(CAUSES):
        state.stalls[cause] = state.clock[STALLS + cause]
    end = state.clock[NOW] + plan.streams[STEPS, stream]
    sums, bits = leaves(plan, stream, number)
    if sums:
        state.clock[SUMS_END] = end
    if bits:
        state.clock[BITS_END] = end
    _follows(state, plan, stream, tile, number, end)
    _passes(state, plan, stream, tile, number)
    state.clock[NOW] += 1
    state.clock[ARRAY_END] = end
    return True
