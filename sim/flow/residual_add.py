"""ResidualAdd with the statistics of the norm that follows (docs/semantics.md 4 and 2): stages, memories, times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..engine.norm_widths import SignNormWidths
from ..engine.pipeline import Product, fits, multiply_cycles, tree_cycles
from ..engine.words import LoadMemory, Memory, ceil_div
from .lane_unit import ARRIVAL_CYCLES, LaneUnit


@dataclass(frozen=True)
class ResidualTimes:
    """Cycles of one job of ResidualAdd.

    Parameters
    ----------
    start : int
        First address.
    free : int
        First cycle in which the next job may start.
    read : int
        Pulse: the sums have been read, and their slot may be written.
    written : int
        Last write of x and of the staged x, and of a tile's last group the pulse that its x is complete.
    summed : int
        S1 and S2 of the first row group are written.
    """

    start: int
    free: int
    read: int
    written: int
    summed: int


@dataclass(frozen=True)
class RootTimes:
    """Cycles of the roots of a tile.

    Parameters
    ----------
    start : int
        S1 and S2 of the first row group are read.
    free : int
        First cycle in which the next tile may start.
    rooted : int
        S1 and R of all rows of the first row group are written.
    """

    start: int
    free: int
    rooted: int


class ResidualAddUnit(LaneUnit):
    """Sums and x of a word are read with their parameters, multiplied, added, saturated, staged and summed."""

    name = "residual_add"
    #: Cycles from one job to the next, at least: a row's S1 and S2 are read, registered, added and written.
    least_cycles = 3
    #: From an address of x to the word: each bank's is registered, then one is chosen.
    x_cycles = 2

    @property
    def lanes(self) -> int:
        """Elements that it takes a cycle."""
        return self.flow.norm_lanes

    @cached_property
    def widths(self) -> SignNormWidths:
        """Widths of the norm."""
        return SignNormWidths(self.flow.engine, self.flow.norm_dim)

    # Shapes.

    @property
    def row_words(self) -> int:
        """Words of a row group of the largest model: all parts of every column group."""
        return ceil_div(self.widths.max_channels, self.flow.engine.columns) * self.parts

    @property
    def tile_words(self) -> int:
        """Words of a tile of x."""
        return self.most_groups * self.row_words

    @property
    def staged_words(self) -> int:
        """Words of a slot of the staged x; a patch merging, whose tokens may be twice as wide, has two for a tile."""
        if self.flow.windows is None:
            return self.tile_words
        return self.most_groups * ceil_div(self.flow.engine.max_embed_dim, self.flow.engine.columns) * self.parts

    @property
    def banks(self) -> int:
        """Images of x: those in flight, and maybe one that is embedded, and another one that leaves."""
        windows = self.flow.windows
        return (windows.images if windows else self.flow.images) + self.flow.edge_banks

    @property
    def parts_of_bank(self) -> int:
        """Memories of a bank of x: with windows twice as many as rows side by side, which may lie in any of them."""
        return 2 * self.side if self.flow.windows and self.side > 1 else 1

    @property
    def row_lanes(self) -> int:
        """Elements of a word of x: those of all rows side by side, or with windows of one."""
        return self.columns if self.flow.windows else self.lanes

    @property
    def x_memory(self) -> Memory:
        """Memory of a bank of x, or of each of its parts, which others use as well."""
        windows = self.flow.windows
        depth = self.flow.engine.max_tiles * self.tile_words
        if windows:
            depth = ceil_div(windows.x_words, self.parts_of_bank)
        return Memory(self.row_lanes * self.flow.engine.formats.residual_bits, depth, style=self.flow.style_of("x"))

    @property
    def bank_words(self) -> int:
        """Addresses of a bank of x: a power of two."""
        return self.parts_of_bank * self.part_words

    @property
    def part_words(self) -> int:
        """Addresses of a part of a bank: a power of two."""
        return 1 << self.address_bits(self.x_memory.depth)

    @property
    def x_addr_bits(self) -> int:
        """Width of an address of x: of the word, then of the bank."""
        return self.address_bits(self.banks * self.bank_words)

    @property
    def place_bits(self) -> int:
        """Width of where a tile of x begins: its first word in the bank, or with windows that of its rows' places."""
        windows = self.flow.windows
        return self.address_bits(windows.places) if windows else self.address_bits(self.bank_words)

    @property
    def row_place_bits(self) -> int:
        """Width of the first word of a row in its bank."""
        return self.address_bits(self.bank_words)

    @property
    def bank_bits(self) -> int:
        """Width of the number of a bank of x."""
        return max(1, (self.banks - 1).bit_length())

    @property
    def tile_addr_bits(self) -> int:
        """Width of where a tile of an image is: its place, then the bank."""
        return self.place_bits + self.bank_bits if self.flow.windows else self.x_addr_bits

    @property
    def job(self) -> dict[str, int]:
        """Fields of a job and their widths.

        sums: there are sums; load: behind them, if there are any, a whole tile is read for the norm, and nothing is
        added to it; norm: a norm follows the sums; first, last: column group of the tile; rows: of the tile;
        group, groups: column group, and the tile's last one; x_addr, load_addr: first word of the tile that is added
        to, and of the one that is read; param_addr: first word of the group's parameters; channels: of a row;
        final: of the last group of an image's last tile: its x is finished;
        slot: of the staged x; eps, mean: of the norm; ring, theta_addr: which of norm1 and norm2 it writes, and the
        first word of its parameters.
        With windows x_addr and load_addr say where the places of the tile's rows begin, and the bank; fresh: x is not
        what is added to, but 0; token_groups: of a tile that is read, the last column group of a token: those of the
        next token beside it, which have places of their own, follow.
        """
        widths = self.widths
        group_bits = self.address_bits(self.row_words // self.parts)
        return {
            "sums": 1,
            "load": 1,
            "norm": 1,
            "first": 1,
            "last": 1,
            "final": 1,
            "rows": self.rows_bits,
            "group": group_bits,
            "groups": group_bits,
            "x_addr": self.tile_addr_bits,
            "load_addr": self.tile_addr_bits,
            "param_addr": self.address_bits(self.load_memories["residual"].depth),
            "channels": widths.channels_bits,
            "slot": self.slot_bits,
            "eps": widths.eps_bits,
            "mean": 1,
            "ring": 1,
            "theta_addr": self.theta_addr_bits,
            **({"fresh": 1, "token_groups": group_bits} if self.flow.windows else {}),
        }

    @property
    def slot_bits(self) -> int:
        """Width of the number of a slot of the staged x."""
        return self.address_bits(self.flow.staged_tiles)

    @property
    def theta_addr_bits(self) -> int:
        """Width of an address of the norms' parameters."""
        return self.address_bits(self.norm_words)

    @property
    def norm_words(self) -> int:
        """Words of parameters: of two layers, or norms, a block."""
        if self.flow.windows:
            return self.flow.windows.norm_words
        return 2 * self.flow.engine.max_depth * self.row_words

    # Stages.

    @property
    def scaled(self) -> Product:
        """Operands of the product of Scale and acc, which is twice a sum."""
        return self.flow.engine.formats.scale_bits, self.flow.engine.acc_bits + 1

    @property
    def fused(self) -> bool:
        """Whether that product fits a multiplier block, whose adder then adds x with Bias to it."""
        return fits(self.scaled, self.flow.engine.block_bits)

    @property
    def place_cycles(self) -> int:
        """Cycles in which a row's place is looked up, where rows lie anywhere."""
        return 2 if self.flow.windows else 0

    @property
    def read_cycles(self) -> int:
        """From the address of x to the word: of parts of a bank another choice."""
        return self.x_cycles + (self.parts_of_bank > 1)

    @property
    def late_cycles(self) -> int:
        """By how much sums and parameters are later for that."""
        return self.place_cycles + self.read_cycles - self.x_cycles

    @property
    def operand_stage(self) -> int:
        """Stage in which the part of the sums, and the parameters, are registered."""
        return 2 + self.late_cycles

    @property
    def add_stage(self) -> int:
        """Stage of the product of Scale and acc."""
        return self.operand_stage + multiply_cycles(self.scaled, self.flow.engine.block_bits)

    @property
    def x_read_stage(self) -> int:
        """Stage of the address of x: its word comes, and has Bias added where it goes to the product."""
        return self.add_stage - 1 - self.read_cycles - self.fused

    @property
    def write_stage(self) -> int:
        """Stage of the new x, at the ports of x and of the staged x."""
        return self.add_stage + 1

    @property
    def sums_stage(self) -> int:
        """Stage in which a row group's S1 and S2 are written, after its last word."""
        return self.write_stage + 1 + self.widths.multiply_cycles + tree_cycles(self.columns) + 1

    @property
    def root_stage(self) -> int:
        """From the read of a row's S1 and S2 to the write of S1 and R: the word, the row's part of it, the root."""
        return 2 + self.widths.root_cycles

    @property
    def root_pace(self) -> int:
        """Cycles from one row group's roots to the next's: as its last sums come, or a row a cycle."""
        return max(self.parts, self.side)

    # Times.

    def length(self, rows: int) -> int:
        """Return the cycles of a job.

        Parameters
        ----------
        rows : int
        """
        return max(self.least_cycles, self.groups(rows) * self.parts)

    def times(self, rows: int, arrived: int, free: int) -> ResidualTimes:
        """Return the cycles of a job, or of one column group of a tile that is read.

        Parameters
        ----------
        rows : int
            Rows of the tile.
        arrived : int
            Cycle of the last word of its sums; without sums, in which the job was given.
        free : int
            `free` of the job, or group, before.
        """
        start = max(arrived + ARRIVAL_CYCLES, free)
        end = start + self.groups(rows) * self.parts
        return ResidualTimes(
            start=start,
            free=start + self.length(rows),
            read=end,
            written=end - 1 + self.write_stage,
            summed=start + self.parts - 1 + self.sums_stage,
        )

    def roots(self, rows: int, summed: int, free: int) -> RootTimes:
        """Return the cycles of the roots of a tile.

        Parameters
        ----------
        rows : int
            Rows of the tile.
        summed : int
            Of the tile's last job.
        free : int
            `free` of the tile before.
        """
        start = max(summed + 1, free)
        return RootTimes(
            start=start,
            free=start + self.groups(rows) * self.root_pace,
            rooted=start + self.side - 1 + self.root_stage,
        )

    # Views.

    @property
    def memories(self) -> Mapping[str, Memory]:
        """Sums of the array, jobs, and S1 and S2 of each row of the tiles that are staged."""
        flow, widths = self.flow, self.widths
        queue = Memory(
            flow.drain_rows * flow.engine.columns * flow.engine.acc_bits, flow.residual_slots * flow.drain_cycles
        )
        rows = Memory(self.side * (widths.s1_bits + widths.s2_bits), flow.staged_tiles * self.most_groups, readers=2)
        return {
            "residual_queue": queue,
            "residual_jobs": Memory(sum(self.job.values()), self.job_slots),
            "residual_rows": rows,
        }

    @property
    def job_slots(self) -> int:
        """Jobs that wait, at most: those with sums, and those that have a slot of staged x."""
        return self.flow.residual_slots + self.flow.staging_slots

    @property
    def load_memories(self) -> Mapping[str, LoadMemory]:
        """Scale and Bias a column."""
        formats = self.flow.engine.formats
        width = self.columns * (formats.scale_bits + formats.residual_bits)
        found = {"residual": self._loadable("residual", width, self.norm_words)}
        if self.flow.windows:
            width = self.side * self.row_place_bits
            found["places"] = self._loadable("places", width, self.flow.windows.places)
        return found

    def products(self) -> list[Product]:
        """Scale and square of each lane, and those of a row."""
        widths = self.widths
        lane = [self.scaled, (widths.x_bits, widths.x_bits)]
        return self._cut(lane * self.lanes) + widths.row_products
