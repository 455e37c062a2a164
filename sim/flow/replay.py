"""The cycle model: a slot table replayed in order, each operation as soon as credits allow.

The table says what the array does next, rings and units say when: an operation waits for its operands, for room where
it writes, and for the drain. Units take their jobs in order, and what they give back is seen a cycle later. So every
time is a maximum of earlier ones plus a constant.
"""

from __future__ import annotations

from ..system.jit import kernel
from .edge_times import edge_until
from .replay_state import (
    ANSWERED,
    COUNTED,
    EMBEDDED,
    FINISHED,
    FREE,
    IMAGE,
    OPERATIONS,
    POPPED,
    PUSHED,
    TABLED,
    UNKNOWN,
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
_KEY, _QUERY, _VALUE = (int(part) for part in Part)
_PROJ = int(Stream.PROJ)
_R_RESIDUAL, _R_HEAD, _R_SCORE, _R_ATTENTION, _R_NORM1, _R_NORM2, _R_QUERY = (int(ring) for ring in list(Ring)[:7])
_R_KEYS, _R_VALUES, _R_CONTEXT, _R_HIDDEN, _R_STAGING1, _R_STAGING2, _R_TABLES = (int(ring) for ring in list(Ring)[7:])
_NORM1, _NORM2, _CONTEXT_BITS, _HIDDEN_BITS, _QUERY_BITS = (int(ready) for ready in Ready)
_RESIDUAL, _SIGN, _STATS, _APPLY, _SUM, _COMPARE, _ROOT, _TABLES = (int(unit) for unit in Unit)
_ADD_NEXT, _ADD_READ, _ADD_WRITTEN, _ADD_SUMMED, _ROOT_NEXT, _ROOTED, _SIGN_NEXT, _SIGN_FULL = (
    int(one) for one in list(Of)[:8]
)
_HEAD_NEXT, _HEAD_ROOTED, _APPLY_NEXT, _APPLY_DONE, _SUM_NEXT, _SUM_COUNTED = (int(one) for one in list(Of)[8:14])
_COMPARE_NEXT, _SCORE_FREE, _ATTENTION_FULL = (int(one) for one in list(Of)[14:17])
_JOB_PROJ, _JOB_FC2, _JOB_LAST, _JOB_LOAD = (int(job) for job in Job)

#: Where a tile's attention bits stand, behind its operands.
HEADS = len(Ready)
#: A credit is seen in the cycle after it is given.
VISIBLE = 1
#: A time beyond all others.
_NEVER = 1 << 60
#: The last cycle before it.
FOREVER = _NEVER - 1


@kernel()
def _room(state: State, plan: Plan, ring: int) -> int:
    """When a slot of a ring is free: 0 if it always was, `UNKNOWN` if nobody has given it back yet."""
    slot = state.credits[ring, 0] - plan.slots[ring]
    if slot < 0:
        return 0
    return state.given[ring, slot % state.given.shape[1]] if slot < state.credits[ring, 1] else UNKNOWN


@kernel()
def _give(state: State, ring: int, when: int) -> None:
    state.given[ring, state.credits[ring, 1] % state.given.shape[1]] = when
    state.credits[ring, 1] += 1


@kernel()
def _push(state: State, unit: int, kind: int, tile: int, group: int, when: int, last: int) -> None:
    place = state.units[unit, PUSHED] % state.jobs.shape[1]
    job = state.jobs[unit, place]
    job[0], job[1], job[2], job[3], job[4] = kind, tile, group, when, last
    state.units[unit, PUSHED] += 1


@kernel()
def _residual(state: State, plan: Plan) -> bool:
    """Do the next job of ResidualAdd, if there is one, and behind a tile's last one its roots."""
    if state.units[_RESIDUAL, POPPED] == state.units[_RESIDUAL, PUSHED]:
        return False
    kind, tile, _, when, last = state.jobs[_RESIDUAL, state.units[_RESIDUAL, POPPED] % state.jobs.shape[1]]
    d, of = plan.durations, tile % plan.tiles
    state.units[_RESIDUAL, POPPED] += 1
    groups = plan.streams[OPERATIONS, _PROJ] if kind == _JOB_LOAD else 1
    start = max(state.units[_RESIDUAL, FREE], when) + (groups - 1) * d.tiles[_ADD_NEXT, of]
    state.units[_RESIDUAL, FREE] = start + d.tiles[_ADD_NEXT, of]
    if kind != _JOB_LOAD:
        _give(state, _R_RESIDUAL, start + d.tiles[_ADD_READ, of])
    if not last:
        return True
    if kind == _JOB_LAST:
        if of == plan.tiles - 1:
            image = state.turns[(tile // plan.tiles) % state.turns.shape[0], IMAGE]
            state.images[FINISHED, image] = start + d.tiles[_ADD_WRITTEN, of]
        return True
    root = max(start + d.tiles[_ADD_SUMMED, of] + d.sum_root, state.units[_ROOT, FREE])
    state.units[_ROOT, FREE] = root + d.tiles[_ROOT_NEXT, of]
    _push(state, _SIGN, kind, tile, 0, root + d.tiles[_ROOTED, of] + d.root_sign, 1)
    return True


@kernel()
def _sign(state: State, plan: Plan) -> bool:
    """Do the next job of SignNorm."""
    if state.units[_SIGN, POPPED] == state.units[_SIGN, PUSHED]:
        return False
    kind, tile, _, when, _ = state.jobs[_SIGN, state.units[_SIGN, POPPED] % state.jobs.shape[1]]
    ring = _R_NORM2 if kind == _JOB_PROJ else _R_NORM1
    room = _room(state, plan, ring)
    if room == UNKNOWN:
        return False
    state.units[_SIGN, POPPED] += 1
    state.credits[ring, 0] += 1
    d, of = plan.durations, tile % plan.tiles
    start = max(state.units[_SIGN, FREE], when, room + d.credit)
    state.units[_SIGN, FREE] = start + d.tiles[_SIGN_NEXT, of]
    _give(state, _R_STAGING2 if kind == _JOB_PROJ else _R_STAGING1, start + d.tiles[_SIGN_NEXT, of])
    operand = _NORM2 if kind == _JOB_PROJ else _NORM1
    state.tiles[tile % state.tiles.shape[0], operand] = start + d.tiles[_SIGN_FULL, of]
    return True


@kernel()
def _written(state: State, plan: Plan, part: int, tile: int, when: int) -> None:
    """Count a written part of q, k or v; the last one makes them an operand, of the lane's next turn."""
    turn, depth = tile // plan.tiles, state.turns.shape[0]
    place = (tile + plan.lanes * plan.tiles if part == _QUERY else turn + plan.lanes) % depth
    state.turns[place, COUNTED + 2 * part] += 1
    state.turns[place, COUNTED + 2 * part + 1] = max(state.turns[place, COUNTED + 2 * part + 1], when)
    if part == _QUERY and state.turns[place, COUNTED + 2 * part] == plan.heads:
        state.tiles[place, _QUERY_BITS] = state.turns[place, COUNTED + 2 * part + 1]
        state.turns[place, COUNTED + 2 * part], state.turns[place, COUNTED + 2 * part + 1] = 0, UNKNOWN


@kernel()
def _whole(state: State, plan: Plan, part: int, turn: int) -> int:
    """When all keys or values of a turn are there."""
    place = turn % state.turns.shape[0]
    whole = plan.heads * (plan.head_groups if part == _VALUE else 1) * plan.tiles
    return state.turns[place, COUNTED + 2 * part + 1] if state.turns[place, COUNTED + 2 * part] == whole else UNKNOWN


@kernel()
def _head(state: State, plan: Plan) -> bool:
    """Do the next job of HeadNorm, both of its pipelines."""
    if state.units[_STATS, POPPED] == state.units[_STATS, PUSHED]:
        return False
    part, tile, _, when, _ = state.jobs[_STATS, state.units[_STATS, POPPED] % state.jobs.shape[1]]
    state.units[_STATS, POPPED] += 1
    d, of = plan.durations, tile % plan.tiles
    start = max(state.units[_STATS, FREE], when)
    state.units[_STATS, FREE] = start + d.tiles[_HEAD_NEXT, of]
    apply = max(state.units[_APPLY, FREE], start + d.tiles[_HEAD_ROOTED, of] + d.root_apply)
    state.units[_APPLY, FREE] = apply + d.tiles[_APPLY_NEXT, of]
    _give(state, _R_HEAD, apply + d.tiles[_APPLY_NEXT, of])
    write = d.key_write if part == _KEY else d.query_write
    _written(state, plan, part, tile, apply + d.tiles[_APPLY_DONE, of] + write)
    return True


@kernel()
def _sum(state: State, plan: Plan) -> bool:
    """Do the next job of the sums of Exp."""
    if state.units[_SUM, POPPED] == state.units[_SUM, PUSHED]:
        return False
    head, tile, _, when, _ = state.jobs[_SUM, state.units[_SUM, POPPED] % state.jobs.shape[1]]
    state.units[_SUM, POPPED] += 1
    d, of = plan.durations, tile % plan.tiles
    start = max(state.units[_SUM, FREE], when)
    state.units[_SUM, FREE] = start + d.tiles[_SUM_NEXT, of]
    _push(state, _COMPARE, head, tile, 0, start + d.tiles[_SUM_COUNTED, of], 1)
    return True


@kernel()
def _compare(state: State, plan: Plan) -> bool:
    """Do the next job of the comparison, where there is room for its bits."""
    if state.units[_COMPARE, POPPED] == state.units[_COMPARE, PUSHED]:
        return False
    head, tile, _, when, _ = state.jobs[_COMPARE, state.units[_COMPARE, POPPED] % state.jobs.shape[1]]
    room = _room(state, plan, _R_ATTENTION)
    if room == UNKNOWN:
        return False
    state.units[_COMPARE, POPPED] += 1
    state.credits[_R_ATTENTION, 0] += 1
    d, of = plan.durations, tile % plan.tiles
    start = max(state.units[_COMPARE, FREE], when, room + d.credit)
    state.units[_COMPARE, FREE] = start + d.tiles[_COMPARE_NEXT, of]
    _give(state, _R_SCORE, start + d.tiles[_SCORE_FREE, of])
    full = start + d.tiles[_ATTENTION_FULL, of]
    state.tiles[tile % state.tiles.shape[0], HEADS + head] = full
    if of == plan.tiles - 1 and head == plan.heads - 1:
        _give(state, _R_TABLES, full)
    return True


@kernel()
def _tables(state: State, plan: Plan) -> bool:
    """Load the next turn's tables of Exp."""
    if state.units[_TABLES, POPPED] == state.units[_TABLES, PUSHED]:
        return False
    _, turn, _, when, _ = state.jobs[_TABLES, state.units[_TABLES, POPPED] % state.jobs.shape[1]]
    room = _room(state, plan, _R_TABLES)
    if room == UNKNOWN:
        return False
    state.units[_TABLES, POPPED] += 1
    state.credits[_R_TABLES, 0] += 1
    start = max(state.units[_TABLES, FREE], when, room + VISIBLE)
    state.units[_TABLES, FREE] = start + plan.table_words + 1
    state.turns[turn % state.turns.shape[0], TABLED] = start + plan.table_words + plan.durations.tables
    return True


@kernel()
def settle(state: State, plan: Plan) -> None:
    """Let all units go on as far as their rooms are known."""
    moved = True
    while moved:
        moved = _residual(state, plan) or _sign(state, plan) or _head(state, plan)
        moved = _sum(state, plan) or _compare(state, plan) or _tables(state, plan) or moved


@kernel()
def edge(state: State, plan: Plan, now: int) -> None:
    """Let the edge go on up to a cycle.

    Parameters
    ----------
    state, plan
    now : int
    """
    edge_until(state.edge, plan.edge, state.images[FINISHED], state.images[EMBEDDED], state.images[ANSWERED], now)
