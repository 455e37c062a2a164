"""What a slot waits for: operands, room for what it makes, and the ways out."""

from __future__ import annotations

from ..system.jit import kernel
from .codes import (
    C_ATTENTION,
    C_DRAIN,
    C_KEYS,
    C_OPERAND,
    C_ROOM,
    C_TABLES,
    C_TURN,
    C_VALUES,
    C_WRITER,
    CONTEXT,
    CONTEXT_BITS,
    FC1,
    FC2,
    HIDDEN_BITS,
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
    R_QUERY,
    R_RESIDUAL,
    R_SCORE,
    R_STAGING1,
    R_STAGING2,
    R_VALUES,
    SCORES,
    VALUE,
)
from .replay import HEADS, VISIBLE, _room, _whole
from .replay_state import BITS_END, DECIDED, IMAGE, STEPS, SUMS_END, TABLED, UNKNOWN, Plan, State

#: From the decision what a lane works on next to slots of fc2 that depend on it, and to those of QKV, which work on it.
DECIDED_CYCLES, NEXT_TURN_CYCLES = 1, 3


@kernel(counted=False)
def _need(state: State, cause: int, when: int) -> None:
    """Add what an operation waits for; one that is not known makes its cause unknown."""
    before = state.needs[cause]
    state.needs[cause] = UNKNOWN if when == UNKNOWN or before == UNKNOWN else max(before, when)


@kernel(counted=False)
def _space(state: State, plan: Plan, ring: int) -> None:
    """Add the need of a slot."""
    room = _room(state, plan, ring)
    _need(state, C_ROOM, room if room == UNKNOWN else room + VISIBLE)


@kernel(counted=False)
def _operand(state: State, cause: int, at: int) -> None:
    """Add the need of an operand."""
    _need(state, cause, at if at == UNKNOWN else at + VISIBLE)


@kernel(counted=False)
def _turn_needs(state: State, plan: Plan, stream: int, tile: int, number: int) -> None:
    """Add what even a slot needs that has nothing to do: the stream's turn, and what is decided for it."""
    _need(state, C_TURN, state.streams[stream])
    if number == 0 and tile % plan.tiles == 0:
        turn = tile // plan.tiles + plan.lanes
        decided = state.turns[turn % state.turns.shape[0], DECIDED]
        if stream == QKV:
            _need(state, C_TURN, decided if decided == UNKNOWN else decided + NEXT_TURN_CYCLES)
        elif stream == FC2:
            _need(state, C_TURN, 0 if decided == UNKNOWN else decided + DECIDED_CYCLES)
    if stream == FC2 and number == 0 and _norm_follows(state, plan, tile):
        _space(state, plan, R_STAGING1)


@kernel(counted=False)
def _norm_follows(state: State, plan: Plan, tile: int) -> bool:
    """Whether the lane works on something in its next turn, so that behind fc2 of this tile there is a norm."""
    return state.turns[(tile // plan.tiles + plan.lanes) % state.turns.shape[0], IMAGE] != UNKNOWN


@kernel(counted=False)
def _needs(state: State, plan: Plan, stream: int, tile: int, number: int) -> None:
    """Add what an operation waits for as far as operands and slots are concerned."""
    turn, at = tile // plan.tiles, tile % state.tiles.shape[0]
    first = number == 0
    if plan.merges:
        if first:
            _operand(state, C_OPERAND, state.tiles[at, NORM1])
        _space(state, plan, R_RESIDUAL)
    elif stream == QKV:
        part, group = plan.qkv[0, number], plan.qkv[1, number]
        if first:
            _operand(state, C_OPERAND, state.tiles[at, NORM1])
            _space(state, plan, R_QUERY)
            if tile % plan.tiles == 0:
                _space(state, plan, R_KEYS)
                _space(state, plan, R_VALUES)
        if part != VALUE and plan.head_norm and group % plan.head_groups == 0:
            _space(state, plan, R_HEAD)
    elif stream == SCORES:
        if first:
            _operand(state, C_OPERAND, state.tiles[at, QUERY_BITS])
            if tile % plan.tiles == 0:
                _operand(state, C_KEYS, _whole(state, plan, KEY, turn))
                if plan.softmax:
                    _operand(state, C_TABLES, state.turns[turn % state.turns.shape[0], TABLED])
        if number % plan.key_groups == 0:
            _space(state, plan, R_SCORE if plan.softmax else R_ATTENTION)
    elif stream == CONTEXT:
        if number % plan.head_groups == 0:
            _operand(state, C_ATTENTION, state.tiles[at, HEADS + number // plan.head_groups])
        if first:
            if tile % plan.tiles == 0:
                _operand(state, C_VALUES, _whole(state, plan, VALUE, turn))
            _space(state, plan, R_CONTEXT)
    elif stream == PROJ:
        _space(state, plan, R_RESIDUAL)
        if first:
            _operand(state, C_OPERAND, state.tiles[at, CONTEXT_BITS])
            _space(state, plan, R_STAGING2)
    elif stream == FC1:
        if first:
            _operand(state, C_OPERAND, state.tiles[at, NORM2])
            _space(state, plan, R_HIDDEN)
    else:
        _space(state, plan, R_RESIDUAL)
        if first:
            _operand(state, C_OPERAND, state.tiles[at, HIDDEN_BITS])


@kernel(counted=False)
def leaves(plan: Plan, stream: int, number: int) -> tuple[bool, bool]:
    """Return whether an operation's sums leave by the drain, and whether its bits go through the row writer.

    Parameters
    ----------
    plan : Plan
    stream, number : int
        Its stream, and which of a tile's it is.
    """
    if plan.merges:
        return stream == QKV, False
    if stream == QKV:
        part = plan.qkv[0, number]
        return part != VALUE and plan.head_norm, part == VALUE or (part == KEY and not plan.head_norm)
    return stream in (PROJ, FC2) or (stream == SCORES and plan.softmax), False


@kernel(counted=False)
def _works(state: State, plan: Plan, stream: int, tile: int) -> bool:
    """Whether a slot of a tile has something to do."""
    if plan.merges and stream != QKV:
        return False
    turn = tile // plan.tiles + (plan.lanes if stream == QKV else 0)
    return state.turns[turn % state.turns.shape[0], IMAGE] != UNKNOWN


@kernel(counted=False)
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
        sums, bits = leaves(plan, stream, number)
        if sums:
            _need(state, C_DRAIN, max(0, state.clock[SUMS_END] + plan.drain - steps))
        if bits:
            _need(state, C_WRITER, max(0, state.clock[BITS_END] + plan.writer_gap - steps))
    latest = 0
    for need in state.needs:
        if need == UNKNOWN:
            return UNKNOWN
        latest = max(latest, need)
    return latest
