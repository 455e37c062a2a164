"""The cycle model: a slot table replayed in order, each operation as soon as credits allow.

The table says what the array does next, rings and units say when: an operation waits for its operands, for room where
it writes, and for the drain. Units take their jobs in order, and what they give back is seen a cycle later. So every
time is a maximum of earlier ones plus a constant.
"""

from __future__ import annotations

from ..system.jit import kernel
from .codes import (
    ADD_NEXT,
    ADD_READ,
    ADD_SUMMED,
    ADD_WRITTEN,
    APPLY,
    APPLY_DONE,
    APPLY_NEXT,
    ATTENTION_FULL,
    COMPARE,
    COMPARE_NEXT,
    HEAD_NEXT,
    HEAD_ROOTED,
    JOB_LAST,
    JOB_LOAD,
    JOB_MERGE,
    JOB_PROJ,
    KEY,
    NORM1,
    NORM2,
    QUERY,
    QUERY_BITS,
    R_ATTENTION,
    R_HEAD,
    R_NORM1,
    R_NORM2,
    R_RESIDUAL,
    R_SCORE,
    R_STAGING1,
    R_STAGING2,
    R_TABLES,
    RESIDUAL,
    ROOT,
    ROOT_NEXT,
    ROOTED,
    SCORE_FREE,
    SIGN,
    SIGN_FULL,
    SIGN_NEXT,
    STATS,
    SUM,
    SUM_COUNTED,
    SUM_NEXT,
    TABLES,
    VALUE,
)
from .edge_times import edge_embeds, edge_until
from .replay_state import (
    ANSWERED,
    BLOCK,
    COUNTED,
    EMBEDDED,
    FINISHED,
    FREE,
    IMAGE,
    POPPED,
    PUSHED,
    START,
    TABLED,
    TAKEN,
    UNKNOWN,
    Plan,
    Ready,
    State,
)

#: Where a tile's attention bits stand, behind its operands.
HEADS = len(Ready)
#: A credit is seen in the cycle after it is given.
VISIBLE = 1
#: From the pulse that an image's last window of a block has been left to that the next block's can be taken.
RELEASE_CYCLES = 0
#: A time beyond all others.
_NEVER = 1 << 60
#: The last cycle before it.
FOREVER = _NEVER - 1


@kernel(counted=False)
def _room(state: State, plan: Plan, ring: int) -> int:
    """When a slot of a ring is free: 0 if it always was, `UNKNOWN` if nobody has given it back yet."""
    slot = state.credits[ring, 0] - plan.slots[ring]
    if slot < 0:
        return 0
    return state.given[ring, slot % state.given.shape[1]] if slot < state.credits[ring, 1] else UNKNOWN


@kernel(counted=False)
def _give(state: State, ring: int, when: int) -> None:
    state.given[ring, state.credits[ring, 1] % state.given.shape[1]] = when
    state.credits[ring, 1] += 1


@kernel(counted=False)
def _push(state: State, unit: int, kind: int, tile: int, group: int, when: int, last: int) -> None:
    place = state.units[unit, PUSHED] % state.jobs.shape[1]
    job = state.jobs[unit, place]
    job[0], job[1], job[2], job[3], job[4] = kind, tile, group, when, last
    state.units[unit, PUSHED] += 1


@kernel(counted=False)
def _began(state: State, unit: int, start: int) -> None:
    """Note when the job that was taken last begins, for who looks on."""
    state.jobs[unit, (state.units[unit, POPPED] - 1) % state.jobs.shape[1], START] = start


@kernel(counted=False)
def _residual(state: State, plan: Plan) -> bool:
    """Do the next job of ResidualAdd, if there is one, and behind a tile's last one its roots."""
    if state.units[RESIDUAL, POPPED] == state.units[RESIDUAL, PUSHED]:
        return False
    kind, tile, _, when, last, _ = state.jobs[RESIDUAL, state.units[RESIDUAL, POPPED] % state.jobs.shape[1]]
    d, of = plan.durations, tile % plan.tiles
    state.units[RESIDUAL, POPPED] += 1
    groups = plan.norm_groups if kind == JOB_LOAD else 1
    start = max(state.units[RESIDUAL, FREE], when)
    _began(state, RESIDUAL, start)
    start += (groups - 1) * d.tiles[ADD_NEXT, of]
    state.units[RESIDUAL, FREE] = start + d.tiles[ADD_NEXT, of]
    if kind != JOB_LOAD:
        _give(state, R_RESIDUAL, start + d.tiles[ADD_READ, of])
    if not last:
        return True
    if kind in (JOB_LAST, JOB_MERGE):
        if of == plan.tiles - 1:
            image = state.turns[(tile // plan.tiles) % state.turns.shape[0], IMAGE]
            state.images[FINISHED, image] = start + d.tiles[ADD_WRITTEN, of]
        return True
    root = max(start + d.tiles[ADD_SUMMED, of] + d.sum_root, state.units[ROOT, FREE])
    state.units[ROOT, FREE] = root + d.tiles[ROOT_NEXT, of]
    _push(state, SIGN, kind, tile, 0, root + d.tiles[ROOTED, of] + d.root_sign, 1)
    return True


@kernel(counted=False)
def _sign(state: State, plan: Plan) -> bool:
    """Do the next job of SignNorm."""
    if state.units[SIGN, POPPED] == state.units[SIGN, PUSHED]:
        return False
    kind, tile, _, when, _, _ = state.jobs[SIGN, state.units[SIGN, POPPED] % state.jobs.shape[1]]
    ring = R_NORM2 if kind == JOB_PROJ else R_NORM1
    room = _room(state, plan, ring)
    if room == UNKNOWN:
        return False
    state.units[SIGN, POPPED] += 1
    state.credits[ring, 0] += 1
    d, of = plan.durations, tile % plan.tiles
    start = max(state.units[SIGN, FREE], when, room + d.credit)
    _began(state, SIGN, start)
    state.units[SIGN, FREE] = start + d.tiles[SIGN_NEXT, of]
    _give(state, R_STAGING2 if kind == JOB_PROJ else R_STAGING1, start + d.tiles[SIGN_NEXT, of])
    operand = NORM2 if kind == JOB_PROJ else NORM1
    state.tiles[tile % state.tiles.shape[0], operand] = start + d.tiles[SIGN_FULL, of]
    return True


@kernel(counted=False)
def _written(state: State, plan: Plan, part: int, tile: int, when: int) -> None:
    """Count a written part of q, k or v; the last one makes them an operand, of the lane's next turn."""
    turn, depth = tile // plan.tiles, state.turns.shape[0]
    place = (tile + plan.lanes * plan.tiles if part == QUERY else turn + plan.lanes) % depth
    state.turns[place, COUNTED + 2 * part] += 1
    state.turns[place, COUNTED + 2 * part + 1] = max(state.turns[place, COUNTED + 2 * part + 1], when)
    if part == QUERY and state.turns[place, COUNTED + 2 * part] == plan.heads:
        state.tiles[place, QUERY_BITS] = state.turns[place, COUNTED + 2 * part + 1]
        state.turns[place, COUNTED + 2 * part], state.turns[place, COUNTED + 2 * part + 1] = 0, UNKNOWN


@kernel(counted=False)
def _whole(state: State, plan: Plan, part: int, turn: int) -> int:
    """When all keys or values of a turn are there."""
    place = turn % state.turns.shape[0]
    whole = plan.heads * (plan.head_groups if part == VALUE else 1) * plan.tiles
    return state.turns[place, COUNTED + 2 * part + 1] if state.turns[place, COUNTED + 2 * part] == whole else UNKNOWN


@kernel(counted=False)
def _head(state: State, plan: Plan) -> bool:
    """Do the next job of HeadNorm, both of its pipelines."""
    if state.units[STATS, POPPED] == state.units[STATS, PUSHED]:
        return False
    part, tile, group, when, _, _ = state.jobs[STATS, state.units[STATS, POPPED] % state.jobs.shape[1]]
    state.units[STATS, POPPED] += 1
    d, of = plan.durations, tile % plan.tiles
    start = max(state.units[STATS, FREE], when)
    _began(state, STATS, start)
    state.units[STATS, FREE] = start + d.tiles[HEAD_NEXT, of]
    apply = max(state.units[APPLY, FREE], start + d.tiles[HEAD_ROOTED, of] + d.root_apply)
    _push(state, APPLY, part, tile, group, apply, 1)
    state.units[APPLY, POPPED] += 1
    _began(state, APPLY, apply)
    state.units[APPLY, FREE] = apply + d.tiles[APPLY_NEXT, of]
    _give(state, R_HEAD, apply + d.tiles[APPLY_NEXT, of])
    write = d.key_write if part == KEY else d.query_write
    _written(state, plan, part, tile, apply + d.tiles[APPLY_DONE, of] + write)
    return True


@kernel(counted=False)
def _sum(state: State, plan: Plan) -> bool:
    """Do the next job of the sums of Exp."""
    if state.units[SUM, POPPED] == state.units[SUM, PUSHED]:
        return False
    head, tile, _, when, _, _ = state.jobs[SUM, state.units[SUM, POPPED] % state.jobs.shape[1]]
    state.units[SUM, POPPED] += 1
    d, of = plan.durations, tile % plan.tiles
    start = max(state.units[SUM, FREE], when)
    _began(state, SUM, start)
    state.units[SUM, FREE] = start + d.tiles[SUM_NEXT, of]
    _push(state, COMPARE, head, tile, 0, start + d.tiles[SUM_COUNTED, of], 1)
    return True


@kernel(counted=False)
def _compare(state: State, plan: Plan) -> bool:
    """Do the next job of the comparison, where there is room for its bits."""
    if state.units[COMPARE, POPPED] == state.units[COMPARE, PUSHED]:
        return False
    head, tile, _, when, _, _ = state.jobs[COMPARE, state.units[COMPARE, POPPED] % state.jobs.shape[1]]
    room = _room(state, plan, R_ATTENTION)
    if room == UNKNOWN:
        return False
    state.units[COMPARE, POPPED] += 1
    state.credits[R_ATTENTION, 0] += 1
    d, of = plan.durations, tile % plan.tiles
    start = max(state.units[COMPARE, FREE], when, room + d.credit)
    _began(state, COMPARE, start)
    state.units[COMPARE, FREE] = start + d.tiles[COMPARE_NEXT, of]
    _give(state, R_SCORE, start + d.tiles[SCORE_FREE, of])
    full = start + d.tiles[ATTENTION_FULL, of]
    state.tiles[tile % state.tiles.shape[0], HEADS + head] = full
    if of == plan.tiles - 1 and head == plan.heads - 1:
        _give(state, R_TABLES, full)
    return True


@kernel(counted=False)
def _tables(state: State, plan: Plan) -> bool:
    """Load the next turn's tables of Exp."""
    if state.units[TABLES, POPPED] == state.units[TABLES, PUSHED]:
        return False
    _, turn, _, when, _, _ = state.jobs[TABLES, state.units[TABLES, POPPED] % state.jobs.shape[1]]
    room = _room(state, plan, R_TABLES)
    if room == UNKNOWN:
        return False
    state.units[TABLES, POPPED] += 1
    state.credits[R_TABLES, 0] += 1
    start = max(state.units[TABLES, FREE], when, room + VISIBLE)
    _began(state, TABLES, start)
    words = _table_words(state, plan, turn % state.turns.shape[0])
    state.units[TABLES, FREE] = start + words + 1
    state.turns[turn % state.turns.shape[0], TABLED] = start + words + plan.durations.tables
    return True


@kernel(counted=False)
def _table_words(state: State, plan: Plan, at: int) -> int:
    """Cycles in which the tables of a turn are loaded: one where the set that it takes has them."""
    if not plan.keeps:
        return plan.table_words
    rounds = state.turns[at, IMAGE] // (plan.windows * plan.group) if plan.windows > 0 else 0
    block, taken = state.turns[at, BLOCK] + rounds, (state.units[TABLES, POPPED] - 1) % 2
    same = state.sets[taken] == block
    state.sets[taken] = block
    return 1 if same else plan.table_words


@kernel(counted=False)
def settle(state: State, plan: Plan) -> None:
    """Let all units go on as far as their rooms are known."""
    moved = True
    while moved:
        moved = _residual(state, plan) or _sign(state, plan) or _head(state, plan)
        moved = _sum(state, plan) or _compare(state, plan) or _tables(state, plan) or moved


@kernel(counted=False)
def _release(state: State, plan: Plan) -> None:
    """Note when the next window can be taken: once all windows of its image in the block before have been left."""
    image = state.clock[TAKEN]
    if image == plan.images:
        return
    before = (image // plan.windows - plan.group + 1) * plan.windows - 1
    left = 0 if before < 0 else state.images[FINISHED, before]
    state.images[EMBEDDED, image] = left if left == UNKNOWN or before < 0 else left + RELEASE_CYCLES


@kernel(counted=False)
def edge(state: State, plan: Plan, now: int) -> None:
    """Let the edge go on up to a cycle; in a pass over windows, see which of them can be taken.

    Parameters
    ----------
    state, plan
    now : int
    """
    if plan.windows > 0:
        _release(state, plan)
        return
    edge_until(state.edge, plan.edge, state.images[FINISHED], state.images[EMBEDDED], state.images[ANSWERED], now)


@kernel(counted=False)
def wait_for(state: State, plan: Plan, image: int) -> None:
    """Let the edge go on until an image is embedded, while no other one is worked on.

    Parameters
    ----------
    state, plan
    image : int
    """
    if plan.windows > 0:
        return
    images = state.images
    edge_embeds(state.edge, plan.edge, images[FINISHED], images[EMBEDDED], images[ANSWERED], image)
