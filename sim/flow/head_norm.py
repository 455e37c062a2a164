"""HeadNorm of q and k (docs/semantics.md 6) in two pipelines, statistics and comparison: stages, memories, times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from ..engine.norm_widths import HeadNormWidths
from ..engine.pipeline import Product, tree_cycles
from ..engine.words import LoadMemory, Memory, ceil_div
from .config import FlowConfig
from .lane_unit import ARRIVAL_CYCLES, LaneUnit
from .operation import Operands


@dataclass(frozen=True)
class HeadTimes:
    """Cycles of one job of HeadNorm.

    Parameters
    ----------
    start, free : int
        Statistics: first address; first cycle in which the next job may start.
    rooted : int
        S1 and R of all rows of the first row group are written.
    apply_start, apply_free : int
        Comparison: the same, and in the cycle of `apply_free` the pulse that the sums have been read.
    done : int
        Pulse: the last bits are written, in this cycle.
    """

    start: int
    free: int
    rooted: int
    apply_start: int
    apply_free: int
    done: int


@dataclass(frozen=True)
class HeadNormUnit(LaneUnit):
    """Sums of one tile and head are read twice: for S1, S2 and R of their rows, and to be compared.

    In an engine without it, shapes that others ask for are those of one lane.

    Parameters
    ----------
    flow : FlowConfig
    tag_bits : int
        Width of what a job says of where its bits go, which the unit hands on.
    """

    tag_bits: int = 16

    name = "head_norm"

    @property
    def lanes(self) -> int:
        """Elements that either pipeline takes a cycle."""
        return self.flow.head_norm_lanes or 1

    @cached_property
    def widths(self) -> HeadNormWidths:
        """Widths of the norm."""
        return HeadNormWidths(self.flow.engine)

    # Shapes.

    @property
    def most_words(self) -> int:
        """Words of a row group of the widest head."""
        return self.words(self.widths.max_channels)

    @property
    def column_groups(self) -> int:
        """Column groups of the array that the widest head takes."""
        return ceil_div(self.widths.max_channels, self.flow.engine.columns)

    @property
    def slot_words(self) -> int:
        """Words of a slot of the queue: those of its column groups, one after the other."""
        return self.column_groups * self.flow.drain_cycles

    @property
    def job(self) -> dict[str, int]:
        """Fields of a job and their widths.

        rows: of the tile; channels: of the head; param_addr: first word of its parameters; eps, mean: of the norm;
        tag: handed on with the bits.
        """
        widths = self.widths
        return {
            "rows": self.rows_bits,
            "channels": widths.channels_bits,
            "param_addr": self.address_bits(self.load_memories["head_norm"].depth),
            "eps": widths.eps_bits,
            "mean": 1,
            "tag": self.tag_bits,
        }

    @property
    def roots(self) -> int:
        """Roots: one, or with windows one for each row side by side, since their heads are narrow."""
        return self.side if self.flow.windows else 1

    @property
    def pace(self) -> int:
        """Cycles of a row group, at least, in both pipelines: rows that a root takes one after the other."""
        return self.side // self.roots

    # Stages.

    @property
    def x_stage(self) -> int:
        """Stage of x: the part of the sums is registered in 2, then multiplied by Scale."""
        return 2 + self.widths.multiply_cycles

    @property
    def sums_stage(self) -> int:
        """Stage of a row group's S1 and S2, after its last word; the root takes the first row's in the next."""
        return self.x_stage + self.widths.multiply_cycles + tree_cycles(self.columns) + 1

    @property
    def root_stage(self) -> int:
        """Stage of the write of the first row's S1 and R, after the row group's last word."""
        return self.sums_stage + 1 + self.widths.root_cycles

    @property
    def stats_read_stage(self) -> int:
        """Stage of the address of S1 and R."""
        return self.x_stage

    @property
    def compare_stage(self) -> int:
        """Stage of both sides of the comparison: a product of N or R, and S1 subtracted."""
        return self.x_stage + self.widths.multiply_cycles + 1

    @property
    def bits_stage(self) -> int:
        """Stage of the bits, at the port."""
        return self.compare_stage + 1

    # Times.

    def times(self, rows: int, channels: int, arrived: int, free: int, apply_free: int) -> HeadTimes:
        """Return the cycles of a job.

        Parameters
        ----------
        rows, channels : int
            Of the tile, and of the head.
        arrived : int
            Cycle of the last word of its sums.
        free, apply_free : int
            Of the job before.
        """
        words, groups = self.words(channels), self.groups(rows)
        pace = max(words, self.pace)
        start = max(arrived + ARRIVAL_CYCLES, free)
        rooted = start + words - 1 + self.root_stage + self.pace - 1
        apply = max(rooted + 1 - self.stats_read_stage, apply_free)
        return HeadTimes(
            start=start,
            free=start + groups * pace,
            rooted=rooted,
            apply_start=apply,
            apply_free=apply + groups * pace,
            done=apply + (groups - 1) * pace + words - 1 + self.bits_stage,
        )

    # Views.

    @property
    def memories(self) -> Mapping[str, Memory]:
        """Sums of the array, read by both pipelines, jobs, and S1 and R of each row of the jobs between the two."""
        flow, widths = self.flow, self.widths
        width, slots = flow.drain_rows * flow.engine.columns * flow.engine.acc_bits, flow.head_slots
        row = widths.s1_bits + widths.r_bits
        return {
            "head_queue": Memory(width, slots * self.slot_words, readers=2),
            "head_jobs": Memory(sum(self.job.values()), slots),
            "head_applies": Memory(sum(self.job.values()), slots),
            "head_rows": Memory(self.side * row, slots * self.most_groups, write_bits=self.roots * row),
        }

    @property
    def load_memories(self) -> Mapping[str, LoadMemory]:
        """Scale of each column, then Theta of each; and of the same words the bits that have Scale."""
        formats, engine = self.flow.engine.formats, self.flow.engine
        depth = (
            self.flow.windows.head_norm_words
            if self.flow.windows
            else 2 * engine.max_depth * engine.max_heads * self.most_words
        )
        scales = self.columns * formats.qk_scale_bits
        full = self._loadable("head_norm", scales + self.columns * formats.theta_bits, depth)
        return {
            "head_norm": full,
            "head_norm_scales": replace(full, width=scales),
        }

    def products(self) -> list[Product]:
        """Scale twice, square, N*x and Theta*R of each lane, and those of a row."""
        widths = self.widths
        scale = (widths.value_bits, widths.scale_bits + 1)
        square, scaled = (widths.x_bits, widths.x_bits), (widths.x_bits, widths.channels_bits + 1)
        lane = [scale, scale, square, scaled, (widths.r_bits + 1, widths.theta_bits)]
        return self._cut(lane * self.lanes) + self.roots * widths.row_products


def head_unit(flow: FlowConfig) -> HeadNormUnit:
    """Return HeadNorm with tags that say where its bits go.

    Parameters
    ----------
    flow : FlowConfig
    """
    return HeadNormUnit(flow, tag_bits=sum(Operands(flow).tag.values()))
