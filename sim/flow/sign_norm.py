"""SignNorm of the staged x (docs/semantics.md 2): the comparison, its stages, memories and times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..engine.norm_widths import SignNormWidths
from ..engine.pipeline import Product
from ..engine.words import LoadMemory, Memory
from .lane_unit import CREDIT_CYCLES, LONG_AGO, LaneUnit
from .residual_add import ResidualAddUnit


@dataclass(frozen=True)
class ApplyTimes:
    """Cycles of one tile of SignNorm.

    Parameters
    ----------
    start : int
        First address.
    free : int
        First cycle in which the next tile may start, and the pulse that the staged x has been read.
    full : int
        Pulse: the last bits are written, in this cycle.
    """

    start: int
    free: int
    full: int


class SignNormUnit(LaneUnit):
    """A tile of staged x is compared with what its rows' S1 and R make of Theta."""

    name = "sign_norm"

    @property
    def lanes(self) -> int:
        """Elements that it takes a cycle."""
        return self.flow.norm_lanes

    @cached_property
    def widths(self) -> SignNormWidths:
        """Widths of the norm."""
        return SignNormWidths(self.flow.engine, self.flow.norm_dim)

    @property
    def source(self) -> ResidualAddUnit:
        """Where tiles come from."""
        return ResidualAddUnit(self.flow)

    @property
    def tile(self) -> dict[str, int]:
        """Fields of a tile and their widths: those of the job that made it which are needed here."""
        job = self.source.job
        return {name: job[name] for name in ("rows", "channels", "slot", "ring", "theta_addr")}

    # Stages.

    @property
    def x_stage(self) -> int:
        """Stage of x: the staged word is registered."""
        return 2

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

    @property
    def least_pace(self) -> int:
        """Cycles of a row group, at least: roots come no faster, and must not be overtaken."""
        return self.source.root_pace

    # Times.

    def times(self, rows: int, channels: int, rooted: int, free: int, *, credit: int = LONG_AGO) -> ApplyTimes:
        """Return the cycles of a tile.

        Parameters
        ----------
        rows, channels : int
            Of the tile.
        rooted : int
            Of the tile's roots.
        free : int
            `free` of the tile before.
        credit : int
            Cycle of the pulse that gave the slot of the ring back which this tile takes.
        """
        start = max(rooted + 1 - self.stats_read_stage, free, credit + CREDIT_CYCLES)
        pace = max(self.words(channels), self.least_pace)
        last = start + (self.groups(rows) - 1) * pace + self.words(channels) - 1
        return ApplyTimes(start, start + self.groups(rows) * pace, last + self.bits_stage)

    # Views.

    @property
    def memories(self) -> Mapping[str, Memory]:
        """Staged x, and S1 and R of each of its rows."""
        widths, slots = self.widths, self.flow.staged_tiles
        row = widths.s1_bits + widths.r_bits
        return {
            "staging": Memory(self.lanes * widths.value_bits, slots * self.source.staged_words),
            "norm_rows": Memory(self.side * row, slots * self.most_groups, write_bits=row),
            "norm_tiles": Memory(sum(self.tile.values()), slots),
        }

    @property
    def load_memories(self) -> Mapping[str, LoadMemory]:
        """Theta a column."""
        return {"sign_norm": self._loadable("sign_norm", self.columns * self.widths.theta_bits, self.source.norm_words)}

    def products(self) -> list[Product]:
        """N*x and Theta*R of each lane."""
        widths = self.widths
        lane = [(widths.x_bits, widths.channels_bits + 1), (widths.r_bits + 1, widths.theta_bits)]
        return self._cut(lane * self.lanes)
