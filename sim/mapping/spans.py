"""What array, units and edge of an engine work on in which cycles of a run: the cycle model, looked at."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from ..errors import check
from ..flow.config import FlowConfig
from ..flow.streams import Part, Stream, TileShape
from ..flow.table import SlotTable
from ..network.config import ViTConfig
from ..timing.edge_times import EdgePlan, edge_work
from ..timing.plan import plan_of
from ..timing.replay_state import (
    ANSWERED,
    BLOCK,
    IMAGE,
    OPERATIONS,
    POPPED,
    START,
    STEPS,
    Job,
    Of,
    Plan,
    State,
    Unit,
    new_state,
)
from ..timing.trace import Taken, trace

#: Jobs and turns that are kept: more than a run of a few images has.
_DEPTH = 1 << 16
#: What is beside the array, by the name of its row: pipeline, and how long one of its jobs keeps it.
_UNITS = {
    "ResidualAdd": (Unit.RESIDUAL, Of.ADD_NEXT),
    "SignNorm": (Unit.SIGN, Of.SIGN_NEXT),
    "HeadNorm, sums": (Unit.HEAD_STATS, Of.HEAD_NEXT),
    "HeadNorm, bits": (Unit.HEAD_APPLY, Of.APPLY_NEXT),
    "softmax, sums": (Unit.SUM, Of.SUM_NEXT),
    "softmax, bits": (Unit.COMPARE, Of.COMPARE_NEXT),
}


class Span(NamedTuple):
    """Work of one row: cycles, half open; the image, and the block and tile where there are any, else -1; and what."""

    row: str
    start: int
    end: int
    image: int
    block: int
    tile: int
    what: str


def rows() -> tuple[str, ...]:
    """Return the names of all rows: the array's streams, the units, the edge."""
    return (*(_array_row(stream) for stream in Stream), *_UNITS, "embedding", "classifier", "last norm")


def spans_of(config: ViTConfig, flow: FlowConfig, table: SlotTable, images: int) -> list[Span]:
    """Return all that a run with streams that never stall does, row by row in the order of time.

    Parameters
    ----------
    config : ViTConfig
    flow : FlowConfig
    table : SlotTable
    images : int
        Of the run: a few, since everything is kept.

    Raises
    ------
    BivitError
        When the table locks up, or the run is too long to be kept.
    """
    plan = plan_of(config, flow, table, images)
    state = new_state(plan, _DEPTH)
    taken = trace(plan, state)
    most = max(int(state.units[:, POPPED].max()), max(one.turn for one in taken) + 2 * plan.lanes)
    check(most < _DEPTH, f"a run of {images} images is too long for a timeline; take fewer")
    return [*_array(plan, taken), *_units(plan, state), *_edge(plan.edge, state)]


def tile_spans(config: ViTConfig, flow: FlowConfig, table: SlotTable, images: int) -> list[Span]:
    """Return what is done for one tile in one block, with images before and behind: the one in the middle of all.

    Parameters
    ----------
    config, flow, table
        As of `spans_of`.
    images : int
        Of the run, 2 or more: the tile is of the last but one.

    Raises
    ------
    BivitError
        As `spans_of`; when there is only one image.
    """
    check(images > 1, f"a tile among others needs a run of 2 images or more, got {images}")
    tiles = TileShape(config, flow.engine.rows, flow.engine.columns).tiles
    chosen = (images - 2, config.depth // 2, tiles // 2)
    return [one for one in spans_of(config, flow, table, images) if (one.image, one.block, one.tile) == chosen]


def _array_row(stream: Stream) -> str:
    return f"array, {stream.name.lower()}"


def _array(plan: Plan, taken: list[Taken]) -> Iterator[Span]:
    """Operations of a stream one behind the other are one span."""
    for stream in Stream:
        found = [one for one in taken if one.stream is stream and one.of is not None]
        steps = int(plan.streams[STEPS, stream])
        lines = [(one.of, one.cycle - number * steps) for number, one in enumerate(found)]
        for (of, _), chain in groupby(zip(lines, found, strict=True), lambda item: item[0]):
            cycles = [one.cycle for _, one in chain]
            assert of is not None
            what = f"{len(cycles)} operation{'s' * (len(cycles) > 1)}"
            yield Span(_array_row(stream), cycles[0], cycles[-1] + steps, of.image, of.block, of.tile, what)


def _units(plan: Plan, state: State) -> Iterator[Span]:
    for row, (unit, lasts) in _UNITS.items():
        for job in state.jobs[unit, : state.units[unit, POPPED]].tolist():
            kind, tile, group, start = job[0], job[1], job[2], job[START]
            turn, of = divmod(tile, plan.tiles)
            jobs = int(plan.streams[OPERATIONS, Stream.PROJ]) if (unit, kind) == (Unit.RESIDUAL, Job.LOAD) else 1
            image, block = (int(value) for value in state.turns[_turn_of(plan, unit, kind, turn)][[IMAGE, BLOCK]])
            end = start + jobs * int(plan.durations.tiles[lasts, of])
            yield Span(row, start, end, image, block, of, _what(unit, kind, group))


def _turn_of(plan: Plan, unit: Unit, kind: int, turn: int) -> int:
    """Return the turn that a job belongs to: q, k and the first norm are made in the turn before."""
    early = unit in (Unit.HEAD_STATS, Unit.HEAD_APPLY)
    early = early or (unit is Unit.RESIDUAL and kind == Job.LOAD) or (unit is Unit.SIGN and kind != Job.PROJ)
    return turn + plan.lanes * early


def _what(unit: Unit, kind: int, group: int) -> str:
    """Return what a job is."""
    if unit is Unit.RESIDUAL:
        return "a new image" if kind == Job.LOAD else f"{'proj' if kind == Job.PROJ else 'fc2'}, group {group}"
    if unit is Unit.SIGN:
        return "norm2" if kind == Job.PROJ else "norm1"
    if unit in (Unit.HEAD_STATS, Unit.HEAD_APPLY):
        return f"{Part(kind).name.lower()}, head group {group}"
    return f"head {kind}"


def _edge(plan: EdgePlan, state: State) -> Iterator[Span]:
    """Passes of the embedding, the classifier, the last norm of each image."""
    work = edge_work(plan, state.edge, state.images[ANSWERED])
    for image, passes in enumerate(work.passes):
        for number, start in enumerate(passes):
            what = f"pass {number} of {plan.passes}"
            yield Span("embedding", start, start + plan.pass_cycles, image, -1, -1, what)
    for image, start in enumerate(work.classes):
        yield Span("classifier", start, start + plan.class_cycles, image, -1, -1, "all classes")
    for image, start in enumerate(work.norms):
        yield Span("last norm", start, start + plan.norm, image, -1, -1, "pool and norm")
