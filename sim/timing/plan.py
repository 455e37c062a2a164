"""From a network, an engine and a slot table to what the cycle model replays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..engine.memories import TABLE_WORDS
from ..engine.words import ceil_div
from ..flow.config import FlowConfig
from ..flow.head_norm import HeadNormUnit
from ..flow.lane_unit import ARRIVAL_CYCLES, CREDIT_CYCLES, LONG_AGO
from ..flow.matmul import MatmulUnit
from ..flow.operation import Operands
from ..flow.residual_add import ResidualAddUnit
from ..flow.sign_norm import SignNormUnit
from ..flow.softmax import SoftmaxUnit
from ..flow.streams import Stream, TileShape
from ..flow.table import SlotTable
from ..network.config import ViTConfig
from ..network.stage_view import StageView
from .edge_times import EdgePlan, edge_plan
from .replay_state import Durations, Of, Plan

#: From a slot to the job that it gives a unit: its fields, and Eps.
JOB_CYCLES = 2
#: From the cycle in which tables of Exp are taken to the last word's write, beside the words: address, word, port.
TABLE_WRITE_CYCLES = 2
#: From the end of `hold` to the first slot at hand: the first word, the second one, the decoded slot.
TABLE_FILL_CYCLES = 4
#: Sets of tables of Exp: of the turn whose scores are made, and of the next one.
TABLE_SETS = 2


#: From a slot to its operation at the array's port.
ISSUE_CYCLES = 1


@dataclass(frozen=True)
class Latencies:
    """Cycles between the array and what is beside it.

    Parameters
    ----------
    capture : int
        From the end of an operation's steps to the first word of its sums.
    bits : int
        From there to bits of a whole tile that can be read.
    rows : int
        From there to bits, and sums of values, that are written row by row, beside the rows themselves.
    """

    capture: int
    bits: int
    rows: int

    @classmethod
    def of(cls, flow: FlowConfig) -> Latencies:
        """Return those of an engine.

        Parameters
        ----------
        flow : FlowConfig
        """
        unit = MatmulUnit(flow)
        row = unit.times(0, 0, unit.flow.value_rows).rows_end - 1
        return cls(unit.capture + ISSUE_CYCLES, unit.bits, row - unit.capture)


@dataclass(frozen=True)
class Edge:
    """An edge in round numbers, whose pixels are always there: in place of an engine's own.

    Parameters
    ----------
    embed : int
        Cycles of the patch embedding of an image.
    tail : int
        Cycles in which the last norm works on a finished image.
    classify : int
        Cycles of the classifier.
    banks : int
        Banks of x.
    """

    embed: int
    tail: int
    classify: int
    banks: int

    def plan(self) -> EdgePlan:
        """Return the plan of such an edge: one pass an image."""
        return EdgePlan(
            events=np.array([[0, 1, 0], [0, 0, 0]], np.int64),
            pieces=0,
            passes=1,
            slots=1 << 20,
            banks=self.banks,
            prefix=0,
            pass_cycles=self.embed,
            pass_read=self.embed,
            leave=0,
            leave_last=0,
            class_cycles=self.classify,
            class_read=self.classify,
            class_leave=0,
            class_done=self.classify,
            pool=self.tail,
            norm=self.tail,
            captured=0,
            x_stage=0,
            quiet=0,
        )


def first_slot(flow: FlowConfig) -> int:
    """Return the cycle in which a run's first slot is at hand, from that of its start on.

    The core is reset in the next cycle, clears its memories of bits, and reads the first words of the table.

    Parameters
    ----------
    flow : FlowConfig
    """
    return Operands(flow).clear_cycles + 2 + TABLE_FILL_CYCLES


def plan_of(
    config: ViTConfig,
    flow: FlowConfig,
    table: SlotTable,
    images: int,
    *,
    edge: Edge | None = None,
    latencies: Latencies | None = None,
) -> Plan:
    """Return what is replayed.

    Parameters
    ----------
    config : ViTConfig
    flow : FlowConfig
    table : SlotTable
    images : int
        Images of the run.
    edge : Edge, optional
        In place of the engine's own; the first slot is in cycle 0 then.
    latencies : Latencies, optional
        In place of those of the engine.
    """
    shape = TileShape(config, flow.engine.rows, flow.engine.columns)
    order = shape.qkv_order
    return Plan(
        table=_array(table.slots),
        streams=np.array([[by[stream] for stream in Stream] for by in (shape.operations, shape.steps, table.lag)]),
        qkv=np.array([[int(part) for part, _ in order], [group for _, group in order]]),
        slots=_array(ring_slots(flow)),
        durations=_durations(shape, flow, latencies or Latencies.of(flow)),
        lanes=flow.images,
        images=images,
        tiles=shape.tiles,
        heads=config.num_heads,
        depth=blocks_in_turn(config),
        head_groups=shape.head_groups,
        key_groups=shape.key_groups,
        norm_groups=shape.norm_groups,
        drain=flow.drain_cycles,
        writer_gap=MatmulUnit(flow).writer_gap,
        table_words=config.num_heads * TABLE_WORDS,
        softmax=shape.softmax,
        head_norm=shape.head_norm,
        keeps=flow.windows is not None,
        together=flow.streamed and flow.windows is None,
        skips=table.of_a_tile(shape),
        merges=shape.merges,
        windows=0,
        group=0,
        begin=0 if edge else first_slot(flow),
        edge=edge.plan() if edge else edge_plan(config, flow),
    )


def blocks_in_turn(config: ViTConfig) -> int:
    """Return the blocks that a lane goes through with an image, or a window, one after the other.

    Parameters
    ----------
    config : ViTConfig
    """
    return 1 if isinstance(config, StageView) and not config.chained else config.depth


def ring_slots(flow: FlowConfig) -> list[int]:
    """Return the slots of every `replay_state.Ring`.

    Parameters
    ----------
    flow : FlowConfig
    """
    sums = [flow.residual_slots, flow.head_slots, flow.score_slots]
    bits = [flow.attention_slots, flow.norm_slots, flow.norm_slots]
    operands = Operands(flow)
    whole = [operands.query_slots, operands.image_slots, operands.image_slots]
    staging = [flow.staging_slots, flow.staging_slots]
    return [*sums, *bits, *whole, flow.context_slots, flow.hidden_slots, *staging, TABLE_SETS]


def _durations(shape: TileShape, flow: FlowConfig, latencies: Latencies) -> Durations:
    """Ask every unit for its cycles, from a start at 0."""
    config = shape.config
    add, sign, head, softmax = ResidualAddUnit(flow), SignNormUnit(flow), HeadNormUnit(flow), SoftmaxUnit(flow)
    tiles = np.zeros((len(Of), shape.tiles), np.int64)
    for tile, rows in enumerate(shape.tile_rows):
        job = add.times(rows, -ARRIVAL_CYCLES, 0)
        roots = add.roots(rows, LONG_AGO, 0)
        bits = sign.times(rows, config.embed_dim, LONG_AGO, 0)
        norm = head.times(rows, config.head_dim, -ARRIVAL_CYCLES, 0, LONG_AGO)
        apply = norm.apply_start
        scores = softmax.times(rows, config.num_tokens, arrived=LONG_AGO, attention_freed=LONG_AGO)
        compare = scores.compare_start
        found = {
            Of.ADD_NEXT: job.free,
            Of.ADD_READ: job.read,
            Of.ADD_WRITTEN: job.written,
            Of.ADD_SUMMED: job.summed,
            Of.ROOT_NEXT: roots.free,
            Of.ROOTED: roots.rooted,
            Of.SIGN_NEXT: bits.free,
            Of.SIGN_FULL: bits.full,
            Of.HEAD_NEXT: norm.free,
            Of.HEAD_ROOTED: norm.rooted,
            Of.APPLY_NEXT: norm.apply_free - apply,
            Of.APPLY_DONE: norm.done - apply,
            Of.SUM_NEXT: scores.sum_end,
            Of.SUM_COUNTED: compare,
            Of.COMPARE_NEXT: scores.compare_end - compare,
            Of.SCORE_FREE: scores.score_free - compare,
            Of.ATTENTION_FULL: scores.attention_full - compare,
            Of.WRITTEN: ceil_div(rows, flow.value_rows),
        }
        tiles[:, tile] = [found[one] for one in Of]
    return Durations(
        tiles=tiles,
        capture=latencies.capture,
        bits=latencies.bits,
        arrive=ARRIVAL_CYCLES,
        top=softmax.top_stage + 1,
        sum_root=1,
        root_sign=1 - sign.stats_read_stage,
        root_apply=1 - head.stats_read_stage,
        credit=CREDIT_CYCLES,
        job=JOB_CYCLES,
        query_write=MatmulUnit.write_cycles,
        key_write=MatmulUnit.key_write_cycles,
        rows=latencies.rows,
        tables=TABLE_WRITE_CYCLES,
    )


def _array(values: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([int(value) for value in values], np.int64)
