"""When the edge embeds and answers images: exact cycles, for pixels that always come and a queue that always has room.

Cycle 0 is the one in which the run starts. Pixels go into the ring of patches a piece a cycle, and wait where a pass
begins and there is no slot for it. A pass may be summed when all of its pixels are there. The last norm takes finished
images one after the other, and keeps its y until the classifier has read it. The multipliers do one thing at a time:
a normalised image's classes first, else the next pass, each at the pace of its words where these are streamed; what is
read of a memory is there in time. Where patches are normalised an image is embedded when that is
done, and the next one comes in meanwhile.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..flow.config import FlowConfig
from ..flow.edge import EdgeUnit
from ..flow.edge_settings import edge_settings, group_spans
from ..flow.lane_unit import CREDIT_CYCLES
from ..network.config import ModelConfig
from ..system.jit import kernel

#: Not known yet.
UNKNOWN = -1
#: From the start of a run to the cycle in which its first piece goes into the ring.
FIRST_PIECE = 2
#: From an image's last word to the first address of the norm of its patches.
NORM_CYCLES = CREDIT_CYCLES
#: A time beyond all others.
_NEVER = 1 << 60
#: Places of the clocks in `EdgeState.clock`.
_FREE, _QUIET, _OPEN, _CHAINED, _IMAGE, _PASS, _ANSWER, _NORMED, _Y_FREE, _EVENT, _SHIFT, _NORM_FREE = range(12)


class EdgePlan(NamedTuple):
    """What follows from a network and an engine.

    Parameters
    ----------
    events : int64 [2 * passes, 3]
        Pieces of an image at which a pass begins (1) or ends (0): number of the piece, which of the two, pass.
    pieces, passes, slots, banks : int
        Pieces and passes of an image, slots of the ring, banks of x.
    prefix : int
        Cycles from an image's beginning until its prefix tokens have left, 0 without any.
    pass_cycles, pass_read : int
        From the decision on a pass to the next decision, and to its last step.
    leave, leave_last : int
        Cycles in which the sums of a pass's group leave, and of one of an image's last pass.
    class_cycles, class_read, class_leave, class_done : int
        The same of the classifier, and from the decision to the last logit.
    pool, norm : int
        From the start of the last norm to its last read of x, and to the cycle in which y can be read.
    captured, x_stage, quiet : int
        Stages of `EdgeUnit`.
    patch_norm, patch_norm_next : int
        From the first address of the norm of an image's patches to its last write, and to the first address of the next
        image, at least; 0 where patches are not normalised.
    """

    events: Any
    pieces: int
    passes: int
    slots: int
    banks: int
    prefix: int
    pass_cycles: int
    pass_read: int
    leave: int
    leave_last: int
    class_cycles: int
    class_read: int
    class_leave: int
    class_done: int
    pool: int
    norm: int
    captured: int
    x_stage: int
    quiet: int
    patch_norm: int = 0
    patch_norm_next: int = 0


class EdgeState(NamedTuple):
    """What has been decided.

    Parameters
    ----------
    clock : int64 [12]
        Clocks and counters.
    whole, released : int64 [images * passes]
        When all pixels of a pass are there, and when it has been read.
    opened, patched, normed, bank_free : int64 [images]
        When an image got a bank of x, when the norm of its patches begins, when its y can be read, and when its bank
        was given back.
    """

    clock: Any
    whole: Any
    released: Any
    opened: Any
    patched: Any
    normed: Any
    bank_free: Any


class EdgeWork(NamedTuple):
    """What the edge began, and when.

    Parameters
    ----------
    opened, patched, norms, classes : list of int
        Of each image: its bank of x was taken, the norm of its patches begins (`UNKNOWN` without one), its last norm
        begins, its classes begin.
    whole, passes : list of list of int
        Of each image and pass: its last pixels are written, it begins.
    """

    opened: list[int]
    patched: list[int]
    norms: list[int]
    classes: list[int]
    whole: list[list[int]]
    passes: list[list[int]]


def edge_plan(config: ModelConfig, flow: FlowConfig) -> EdgePlan:
    """Return what the times follow from.

    Parameters
    ----------
    config : ModelConfig
    flow : FlowConfig
    """
    unit, values = EdgeUnit(flow), edge_settings(config, flow, 1)
    prefix = values["prefix"] * values["channel_chunks"]
    last_patches = values["patches"] - (values["passes"] - 1) * unit.patches
    patch_steps, patch_cycles = group_spans(values, "patch")
    pass_read = (values["patch_groups"] - 1) * patch_cycles + patch_steps
    class_steps, class_cycles = group_spans(values, "class")
    class_read = (values["class_groups"] - 1) * class_cycles + class_steps
    last_classes = values["classes"] - (values["class_groups"] - 1) * unit.channels
    pool = values["row_stride"] * values["pool_tokens"]
    row = pool + unit.norm_cycles(values["channels"])
    return EdgePlan(
        events=_events(config, flow, values),
        pieces=values["strips"] ** 2 * values["patch_rows"] * values["row_pieces"],
        passes=values["passes"],
        slots=values["pass_slots"],
        banks=unit.banks,
        prefix=prefix and unit.told_cycles + prefix,
        pass_cycles=values["patch_groups"] * patch_cycles + 1,
        pass_read=pass_read,
        leave=min(unit.patches, values["patches"]) * unit.group_chunks,
        leave_last=last_patches * unit.group_chunks,
        class_cycles=values["class_groups"] * class_cycles + 1,
        class_read=class_read,
        class_leave=unit.channels,
        class_done=class_read + unit.captured_stage + last_classes + unit.logit_stage,
        pool=(values["head_rows"] - 1) * row + pool,
        norm=values["head_rows"] * row + 1,
        captured=unit.captured_stage,
        x_stage=unit.x_stage,
        quiet=unit.quiet_cycles,
        **_patch_norm(unit, values),
    )


def _patch_norm(unit: EdgeUnit, values: dict[str, int]) -> dict[str, int]:
    """Cycles of the norm of patches, where the network has one."""
    if unit.patch_norm is None or not values["patch_norm"]:
        return {}
    size = values["patch_norm_tokens"], values["patch_norm_words"]
    return {"patch_norm": unit.patch_norm.norm_cycles(*size), "patch_norm_next": unit.patch_norm.image_cycles(*size)}


def _events(config: ModelConfig, flow: FlowConfig, values: dict[str, int]) -> np.ndarray[Any, Any]:
    """First piece of every pass, and its last one, in the order of pieces."""
    grid, row = config.grid_size, values["row_pieces"]
    strip = grid * row * config.patch_size
    last_row = grid * row * (config.patch_size - 1)
    found = []
    for number in range(values["passes"]):
        first = number * flow.dense_patches
        last = min(first + flow.dense_patches, grid**2) - 1
        begins = first // grid * strip + first % grid * row
        ends = last // grid * strip + last_row + (last % grid + 1) * row - 1
        found += [(begins, 1, number), (ends, 0, number)]
    return np.array(sorted(found, key=lambda event: (event[0], -event[1])), np.int64)


def edge_state(plan: EdgePlan, images: int) -> EdgeState:
    """Return the state at the start of a run.

    Parameters
    ----------
    plan : EdgePlan
    images : int
        Images of the run.
    """
    clock = np.zeros(_NORM_FREE + 1, np.int64)
    clock[_SHIFT] = FIRST_PIECE
    passes, each = (np.full(count, UNKNOWN, np.int64) for count in (images * plan.passes, images))
    return EdgeState(clock, passes, passes.copy(), *(each.copy() for _ in range(4)))


def edge_work(plan: EdgePlan, state: EdgeState, answered: Any) -> EdgeWork:
    """Return what the edge began, once all images are answered.

    Parameters
    ----------
    plan : EdgePlan
    state : EdgeState
    answered : int64 [images]
        When the last logit of each leaves.
    """
    passes = (state.released - plan.pass_read).reshape(-1, plan.passes)
    return EdgeWork(
        opened=state.opened.tolist(),
        patched=state.patched.tolist(),
        norms=(state.normed - plan.norm).tolist(),
        classes=(answered - plan.class_done).tolist(),
        whole=state.whole.reshape(-1, plan.passes).tolist(),
        passes=passes.tolist(),
    )


def no_edge(state: EdgeState) -> None:
    """Let nothing be embedded: whoever has a state says when images are.

    Parameters
    ----------
    state : EdgeState
    """
    state.clock[_IMAGE] = len(state.normed)
    state.clock[_EVENT] = _NEVER


@kernel(counted=False)
def pixels_come(state: EdgeState, plan: EdgePlan) -> None:
    """Let pixels come as far as slots of the ring are known to be free.

    Parameters
    ----------
    state : EdgeState
    plan : EdgePlan
    """
    clock, count = state.clock, plan.events.shape[0]
    while clock[_EVENT] < state.normed.shape[0] * count:
        image, at = clock[_EVENT] // count, clock[_EVENT] % count
        piece = image * plan.pieces + plan.events[at, 0]
        number = image * plan.passes + plan.events[at, 2]
        if plan.events[at, 1] == 0:
            state.whole[number] = piece + clock[_SHIFT]
        elif number >= plan.slots:
            if state.released[number - plan.slots] == UNKNOWN:
                return
            clock[_SHIFT] = max(clock[_SHIFT], state.released[number - plan.slots] + 1 - piece)
        clock[_EVENT] += 1


@kernel(counted=False)
def _norms(state: EdgeState, plan: EdgePlan, finished: Any) -> None:
    """Let the last norm take the next image, if it is finished and the y of the one before has been read."""
    clock, image = state.clock, state.clock[_NORMED]
    if image < finished.shape[0] and image == clock[_ANSWER] and finished[image] != UNKNOWN:
        start = max(finished[image], clock[_Y_FREE]) + 1
        state.bank_free[image] = start + plan.pool
        state.normed[image] = start + plan.norm
        clock[_NORMED] += 1


@kernel(counted=False)
def _busy(state: EdgeState, plan: EdgePlan, decided: int, cycles: int, left: int) -> None:
    """The multipliers are free again, and everything is quiet behind the last step and the last chunk."""
    state.clock[_FREE] = decided + cycles
    state.clock[_QUIET] = max(decided + cycles - 1, left) + 1 + plan.quiet


@kernel(counted=False)
def _next_pass(state: EdgeState, plan: EdgePlan) -> int:
    """When the next image is opened, or its next pass begins, if nothing is classified before."""
    clock, image = state.clock, state.clock[_IMAGE]
    number = image * plan.passes + clock[_PASS]
    if image == state.normed.shape[0] or state.whole[number] == UNKNOWN:
        return _NEVER
    when = max(clock[_FREE], state.whole[number] + 1)
    if clock[_CHAINED] == 0:
        when = max(when, clock[_QUIET])
    if clock[_OPEN] == 0 and image >= plan.banks:
        freed = state.bank_free[image - plan.banks]
        when = _NEVER if freed == UNKNOWN else max(when, freed + 1)
    return when


@kernel(counted=False)
def _embedded(state: EdgeState, plan: EdgePlan, image: int, written: int) -> int:
    """When an image is embedded whose last word is written: at once, or when its patches are normalised."""
    if plan.patch_norm == 0:
        return written
    start = max(written + NORM_CYCLES, state.clock[_NORM_FREE])
    state.patched[image] = start
    state.clock[_NORM_FREE] = start + plan.patch_norm_next
    return start + plan.patch_norm


@kernel(counted=False)
def _embed(state: EdgeState, plan: EdgePlan, embedded: Any, when: int) -> None:
    """Open the next image, whose prefix tokens leave, or begin its next pass."""
    clock, image = state.clock, state.clock[_IMAGE]
    if clock[_OPEN] == 0:
        state.opened[image] = when
        clock[_OPEN], clock[_CHAINED], clock[_PASS] = 1, 0, 0
        clock[_FREE] = when + 1
        if plan.prefix:
            clock[_QUIET] = when + plan.prefix + 1 + plan.quiet
        return
    last = clock[_PASS] == plan.passes - 1
    left = when + plan.pass_read + plan.captured + (plan.leave_last if last else plan.leave)
    state.released[image * plan.passes + clock[_PASS]] = when + plan.pass_read
    _busy(state, plan, when, plan.pass_cycles, left)
    clock[_CHAINED], clock[_PASS] = 1, clock[_PASS] + 1
    if last:
        embedded[image] = _embedded(state, plan, image, left + plan.x_stage)
        clock[_IMAGE], clock[_OPEN], clock[_CHAINED], clock[_PASS] = image + 1, 0, 0, 0


@kernel(counted=False)
def _decide(state: EdgeState, plan: EdgePlan, finished: Any, embedded: Any, done: Any, now: int) -> bool:
    """Decide what the edge begins next, if that is up to a cycle; return whether it is."""
    clock = state.clock
    _norms(state, plan, finished)
    pixels_come(state, plan)
    classify = _NEVER
    if clock[_ANSWER] < clock[_NORMED]:
        classify = state.normed[clock[_ANSWER]]
    embed = _next_pass(state, plan)
    first = classify <= embed
    when = max(clock[_FREE], clock[_QUIET], classify) if first else embed
    if when > now or when == _NEVER:
        return False
    if not first:
        _embed(state, plan, embedded, when)
        return True
    done[clock[_ANSWER]] = when + plan.class_done
    clock[_Y_FREE] = when + plan.class_read
    _busy(state, plan, when, plan.class_cycles, when + plan.class_read + plan.captured + plan.class_leave)
    clock[_ANSWER], clock[_CHAINED] = clock[_ANSWER] + 1, 0
    return True


@kernel(counted=False)
def edge_until(state: EdgeState, plan: EdgePlan, finished: Any, embedded: Any, done: Any, now: int) -> None:
    """Decide all that the edge begins up to a cycle; what is unknown is `UNKNOWN`.

    Parameters
    ----------
    state : EdgeState
    plan : EdgePlan
    finished : int64 [images]
        When the x of an image was complete; what is not known is no earlier than `now`.
    embedded, done : int64 [images]
        Set: when the x of an image is complete at first, and when its last logit leaves.
    now : int
        Cycle.
    """
    while _decide(state, plan, finished, embedded, done, now):
        pass


@kernel(counted=False)
def edge_embeds(state: EdgeState, plan: EdgePlan, finished: Any, embedded: Any, done: Any, image: int) -> None:
    """Decide what the edge begins until an image is embedded, and nothing beyond: others may be finished meanwhile.

    Parameters
    ----------
    state, plan, finished, embedded, done
        As of `edge_until`; what is not known of `finished` is later than the image.
    image : int
    """
    while embedded[image] == UNKNOWN and _decide(state, plan, finished, embedded, done, _NEVER - 1):
        pass
