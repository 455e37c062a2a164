"""What a replay of a slot table keeps: rings and their credits, units and their queues, and what is there when."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from ..flow.streams import Stream
from .edge_times import EdgePlan, EdgeState, edge_state


class Ring(IntEnum):
    """Buffers whose slots are taken and given back in order."""

    RESIDUAL = 0
    HEAD = 1
    SCORE = 2
    ATTENTION = 3
    NORM1 = 4
    NORM2 = 5
    QUERY = 6
    KEYS = 7
    VALUES = 8
    CONTEXT = 9
    HIDDEN = 10
    STAGING1 = 11
    STAGING2 = 12
    TABLES = 13


class Ready(IntEnum):
    """Operands of a tile that the array waits for."""

    NORM1 = 0
    NORM2 = 1
    CONTEXT = 2
    HIDDEN = 3
    QUERY = 4


class Job(IntEnum):
    """What a job of ResidualAdd is: proj, fc2 with a norm behind it, fc2 of the last block, a tile of a new image.

    MERGE: the sums of a patch merging, which are a new x.
    """

    PROJ = 0
    FC2 = 1
    LAST = 2
    LOAD = 3
    MERGE = 4


class Unit(IntEnum):
    """Pipelines beside the array, each working on one job after the other."""

    RESIDUAL = 0
    SIGN = 1
    HEAD_STATS = 2
    HEAD_APPLY = 3
    SUM = 4
    COMPARE = 5
    ROOT = 6
    TABLES = 7


class Cause(IntEnum):
    """Why the array takes no step: of what an operation waits for, the first one in this order counts.

    TURN: what its lane works on is being looked up; IDLE: no image is there; OPERAND: its row operand; TABLES: Exp;
    KEYS, VALUES, ATTENTION: operands; ROOM: a slot for what it makes; DRAIN, VALUE_WRITER: the way out is taken;
    GHOST: the slot has nothing to do; MEMORY: weights that are streamed have not come, which no model predicts.
    """

    TURN = 0
    IDLE = 1
    OPERAND = 2
    TABLES = 3
    KEYS = 4
    VALUES = 5
    ATTENTION = 6
    ROOM = 7
    DRAIN = 8
    VALUE_WRITER = 9
    GHOST = 10
    MEMORY = 11


def causes_of(streamed: bool) -> tuple[Cause, ...]:
    """Return what the array of an engine can wait for: for weights only where these are streamed.

    Parameters
    ----------
    streamed : bool
    """
    return tuple(cause for cause in Cause if streamed or cause is not Cause.MEMORY)


#: Not known yet.
UNKNOWN = -1
#: Jobs, slots and tiles that can be open at once, and more than ever are.
_DEPTH = 1 << 10


class Of(IntEnum):
    """Cycles that follow from a tile's rows: from a job's start to when the next one may start, and to what it gives.

    A job of ResidualAdd is a column group, of SignNorm a tile, of HeadNorm and softmax a head of a tile.
    """

    ADD_NEXT = 0
    ADD_READ = 1
    ADD_WRITTEN = 2
    ADD_SUMMED = 3
    ROOT_NEXT = 4
    ROOTED = 5
    SIGN_NEXT = 6
    SIGN_FULL = 7
    HEAD_NEXT = 8
    HEAD_ROOTED = 9
    APPLY_NEXT = 10
    APPLY_DONE = 11
    SUM_NEXT = 12
    SUM_COUNTED = 13
    COMPARE_NEXT = 14
    SCORE_FREE = 15
    ATTENTION_FULL = 16
    WRITTEN = 17


class Durations(NamedTuple):
    """Cycles of jobs, and latencies between units.

    Parameters
    ----------
    tiles : int64 [18, tiles]
        By `Of` and tile of an image.
    capture : int
        From the end of an operation's steps to the first word of its sums.
    bits : int
        From the first word of sums to bits that can be read.
    arrive, top : int
        From the last word of sums to the start of a job of ResidualAdd or HeadNorm, and of softmax.
    sum_root, root_sign, root_apply : int
        From S1 and S2 to the root, from the root to SignNorm and to HeadNorm's comparison, at least.
    credit : int
        From a pulse that gives a slot of a ring of bits back to a job that waited for it.
    job : int
        From a slot to the job without sums that it gives ResidualAdd.
    query_write, key_write : int
        From the last bits of HeadNorm to their write.
    rows : int
        From the first row of bits at the row writer to bits, and sums, that can be read, beside the rows themselves.
    tables : int
        From the first word of a turn's tables of Exp to the end of the last one's write, beside the words themselves.
    """

    tiles: Any
    capture: int
    bits: int
    arrive: int
    top: int
    sum_root: int
    root_sign: int
    root_apply: int
    credit: int
    job: int
    query_write: int
    key_write: int
    rows: int
    tables: int


class Plan(NamedTuple):
    """What is replayed, as arrays of int64.

    Parameters
    ----------
    table : [slots]
        Streams.
    streams : [3, 6]
        Operations of a tile, steps of an operation, and lag, by stream.
    qkv : [2, operations of QKV]
        Part and group that each makes.
    slots : [14]
        Of each ring.
    durations : Durations
    lanes, images, tiles, heads, depth : int
        Images in flight, images of the run, tiles, heads and blocks.
    head_groups, key_groups, norm_groups : int
        Column groups of a head, of all tokens, and of a tile of a new image that is read.
    drain, writer_gap : int
        Least distance of two captures of sums, and of bits for the row writer.
    table_words : int
        Words of the tables of Exp of a turn.
    softmax, head_norm : bool
        Whether scores and queries leave as sums.
    keeps : bool
        Whether tables of Exp are kept where the next turn with the same set has them as well.
    together : bool
        Whether lanes go through the blocks side by side, and begin images only together.
    skips : bool
        Whether a tile may be left out in which no stream has anything to do: where the table is that of a tile.
    merges : bool
        Whether it is a patch merging: only QKV has work, and its sums are a new x.
    windows, group : int
        Of a pass: images in flight, and windows of each. An image is a window then; those of a block wait until
        all windows of the block before have been left. 0 where images come from the edge.
    begin : int
        Cycle of the first slot, from the start of a run.
    edge : EdgePlan
    """

    table: Any
    streams: Any
    qkv: Any
    slots: Any
    durations: Durations
    lanes: int
    images: int
    tiles: int
    heads: int
    depth: int
    head_groups: int
    key_groups: int
    norm_groups: int
    drain: int
    writer_gap: int
    table_words: int
    softmax: bool
    head_norm: bool
    keeps: bool
    together: bool
    skips: bool
    merges: bool
    windows: int
    group: int
    begin: int
    edge: EdgePlan


class State(NamedTuple):
    """Everything that changes, as arrays of int64; times are cycles, or `UNKNOWN`. Few arrays: numba passes each apart.

    Parameters
    ----------
    given : [14, depth]
        When slots were given back, by ring.
    credits : [14, 2]
        Slots of each ring taken and given back so far.
    tiles : [depth, 5 + heads]
        When a tile's operands are there: those of `Ready`, then attention bits by head.
    turns : [depth, 4 + 6]
        Image and block of a turn's lane, or `UNKNOWN`; when that was decided; when its tables of Exp are there; then
        for each `Part` how many were written, and when the last. Queries are counted by tile and not by turn.
    streams : [6]
        When a stream's registers have what its turn works on.
    needs : [12]
        When what an operation waits for is there, by `Cause`.
    jobs : [8, depth, 6]
        Queues of the units: kind or head, tile, group, time, whether it is the last; when it began.
    units : [8, 3]
        When each unit can begin its next job; jobs that came, jobs that were done.
    images : [3, images]
        When an image's x is complete, its patches are embedded, its logits are there.
    sets : int64 [2]
        Number of the block whose tables of Exp each set has, or `UNKNOWN`.
    edge : EdgeState
    clock : [5 + 12]
        When the next slot can pass; end of the array's steps, of the last sums, and of the last written bits; images
        taken; then cycles without a step by `Cause`.
    stalls : [12]
        Those cycles by `Cause`, as they were when the last operation passed.
    position : [6]
        Slots of the table that each stream has taken, less those that it begins late.
    """

    given: Any
    credits: Any
    tiles: Any
    turns: Any
    streams: Any
    needs: Any
    jobs: Any
    units: Any
    images: Any
    sets: Any
    edge: EdgeState
    clock: Any
    stalls: Any
    position: Any


#: Where a job says when it began.
START = 5
#: Rows of `Plan.streams`; columns of `State.turns`, `State.units` and `State.images`, and places of `State.clock`.
OPERATIONS, STEPS, LAG = range(3)
IMAGE, BLOCK, DECIDED, TABLED, COUNTED = range(5)
FREE, PUSHED, POPPED = range(3)
FINISHED, EMBEDDED, ANSWERED = range(3)
NOW, ARRAY_END, SUMS_END, BITS_END, TAKEN, STALLS = range(6)


def new_state(plan: Plan, depth: int = _DEPTH) -> State:
    """Return the state before the first slot.

    Parameters
    ----------
    plan : Plan
    depth : int
        Jobs, slots and tiles that are kept.
    """

    def filled(value: int, *shape: int) -> Any:
        return np.full(shape, value, np.int64)

    clock = filled(0, STALLS + len(Cause))
    clock[NOW] = plan.begin
    clock[SUMS_END] = clock[BITS_END] = -_DEPTH
    turns = filled(UNKNOWN, depth, COUNTED + 6)
    turns[:, COUNTED::2] = 0
    return State(
        given=filled(UNKNOWN, len(Ring), depth),
        credits=filled(0, len(Ring), 2),
        tiles=filled(UNKNOWN, depth, len(Ready) + plan.heads),
        turns=turns,
        streams=filled(0, len(Stream)),
        needs=filled(0, len(Cause)),
        jobs=filled(0, len(Unit), depth, 6),
        units=filled(0, len(Unit), 3),
        images=filled(UNKNOWN, 3, plan.images),
        sets=filled(UNKNOWN, 2),
        edge=edge_state(plan.edge, plan.images),
        clock=clock,
        stalls=filled(0, len(Cause)),
        position=-plan.streams[LAG],
    )
