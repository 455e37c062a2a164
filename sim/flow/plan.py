"""From a network, an engine and a slot table to what the cycle model replays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..engine.words import ceil_div
from ..network.config import ViTConfig
from .config import FlowConfig
from .replay_state import ADD_CYCLES, HEAD_CYCLES, ROWS, SIGN_CYCLES, SOFTMAX_CYCLES, WRITER_CYCLES, Durations, Plan
from .streams import Stream, TileShape
from .table import SlotTable


@dataclass(frozen=True, kw_only=True)
class Latencies:
    """Cycles between units; those of `Durations` with the same names.

    Parameters
    ----------
    capture, bits, add, root, apply, head_root, head_apply, top, limit, compare : int
        As in `Durations`.
    """

    capture: int = 11
    bits: int = 2
    add: int = 7
    root: int = 36
    apply: int = 10
    head_root: int = 43
    head_apply: int = 13
    top: int = 7
    limit: int = 31
    compare: int = 7


@dataclass(frozen=True)
class Edge:
    """What happens beside the array, once an image.

    Parameters
    ----------
    embed : int
        Cycles of the patch embedding.
    tail : int
        Cycles in which the last norm reads a finished image.
    classify : int
        Cycles of the classifier.
    banks : int
        Banks of x.
    """

    embed: int
    tail: int
    classify: int
    banks: int


def plan_of(
    config: ViTConfig, flow: FlowConfig, table: SlotTable, images: int, *, latencies: Latencies, edge: Edge
) -> Plan:
    """Return what is replayed.

    Parameters
    ----------
    config : ViTConfig
    flow : FlowConfig
    table : SlotTable
    images : int
        Images of the run.
    latencies : Latencies
    edge : Edge
    """
    shape = TileShape(config, flow.engine.rows, flow.engine.columns)
    order = shape.qkv_order
    return Plan(
        table=_array(table.slots),
        streams=np.array([[by[stream] for stream in Stream] for by in (shape.operations, shape.steps, table.lag)]),
        qkv=np.array([[int(part) for part, _ in order], [group for _, group in order]]),
        slots=_array(ring_slots(shape, flow)),
        durations=_durations(shape, flow, latencies),
        lanes=flow.images,
        images=images,
        tiles=shape.tiles,
        heads=config.num_heads,
        depth=config.depth,
        head_groups=shape.head_groups,
        key_groups=shape.key_groups,
        drain=flow.drain_cycles,
        writer_gap=ceil_div(flow.engine.rows, flow.value_rows),
        softmax=config.attn_mode == "softmax",
        head_norm=config.qk_mode == "layernorm",
        embed=edge.embed,
        tail=edge.tail,
        classify=edge.classify,
        banks=edge.banks,
    )


def ring_slots(shape: TileShape, flow: FlowConfig) -> list[int]:
    """Return the slots of every `replay_state.Ring`: queries of two images, keys and values of one more than in flight.

    Parameters
    ----------
    shape : TileShape
    flow : FlowConfig
    """
    sums = [flow.residual_slots, flow.head_slots, flow.score_slots]
    bits = [flow.attention_slots, flow.norm_slots, flow.norm_slots]
    whole = [2 * shape.tiles, flow.images + 1, flow.images + 1]
    return [*sums, *bits, *whole, flow.context_slots, flow.hidden_slots, flow.staging_slots, flow.staging_slots]


#: Cycles of a job of ResidualAdd at least: a row's sums are read, added to and written.
_SHORTEST = 3


def _durations(shape: TileShape, flow: FlowConfig, latencies: Latencies) -> Durations:
    config, rows = shape.config, shape.tile_rows

    def cycles(channels: int, lanes: int) -> list[int]:
        side, columns = flow.rows_of(lanes), flow.columns_of(lanes)
        return [ceil_div(count, side) * ceil_div(channels, columns) for count in rows]

    group = min(flow.engine.columns, config.embed_dim)
    jobs = {
        ROWS: rows,
        ADD_CYCLES: [max(_SHORTEST, count) for count in cycles(group, flow.norm_lanes)],
        SIGN_CYCLES: cycles(config.embed_dim, flow.norm_lanes),
        HEAD_CYCLES: cycles(config.head_dim, flow.head_norm_lanes),
        SOFTMAX_CYCLES: cycles(config.num_tokens, flow.softmax_lanes),
        WRITER_CYCLES: [ceil_div(count, flow.value_rows) for count in rows],
    }
    return Durations(np.array([jobs[row] for row in sorted(jobs)]), **vars(latencies))


def _array(values: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([int(value) for value in values], np.int64)
