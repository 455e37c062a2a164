"""What units beside the array share: lanes that take whole rows side by side, or an even part of a row, a cycle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ..engine.pipeline import Product, partial_products
from ..engine.words import LoadMemory, Memory, ceil_div
from .config import FlowConfig
from .memories import loaded

#: Cycles from the word that makes a job ready to the first cycle of the job: it is queued, counted, taken.
ARRIVAL_CYCLES = 3
#: Cycles from a credit to the first cycle of a job that waited for it: it is counted, and the job taken.
CREDIT_CYCLES = 2
#: Cycle before everything, of what nothing waits for.
LONG_AGO = -(1 << 40)


@dataclass(frozen=True)
class LaneUnit:
    """One unit of so many lanes.

    A *word* is what the unit takes in a cycle: of a *row group* (rows side by side) some columns. A *job* is a walk
    over row groups, the words of each one after the other; its *start* is the cycle in which it gives its first
    address, and a *stage* counts cycles from that of a word's address on, which is stage 0.

    Parameters
    ----------
    flow : FlowConfig
    """

    flow: FlowConfig

    #: Of the submodule, and of the row in estimates.
    name: ClassVar[str]

    @property
    def lanes(self) -> int:
        """Elements that it takes a cycle."""
        raise NotImplementedError

    @property
    def side(self) -> int:
        """Rows of a row group."""
        return self.flow.rows_of(self.lanes)

    @property
    def columns(self) -> int:
        """Columns of a word."""
        return self.flow.columns_of(self.lanes)

    @property
    def parts(self) -> int:
        """Words of a row of one column group."""
        return self.flow.engine.columns // self.columns

    @property
    def most_groups(self) -> int:
        """Row groups of a full tile."""
        return self.groups(self.flow.engine.rows)

    def groups(self, rows: int) -> int:
        """Return how many row groups so many rows are.

        Parameters
        ----------
        rows : int
        """
        return ceil_div(rows, self.side)

    def words(self, channels: int) -> int:
        """Return how many words hold the channels of a row group.

        Parameters
        ----------
        channels : int
        """
        return ceil_div(channels, self.columns)

    @property
    def rows_bits(self) -> int:
        """Width of a number of rows."""
        return self.flow.engine.rows.bit_length()

    @property
    def drain_parts(self) -> int:
        """Words of this unit in what the drain delivers in a cycle."""
        return self.flow.drain_rows // self.side * self.parts

    def address_bits(self, depth: int) -> int:
        """Return the width of an address of so many words.

        Parameters
        ----------
        depth : int
        """
        return max(1, (depth - 1).bit_length())

    @property
    def memories(self) -> Mapping[str, Memory]:
        """Its own memories, by name."""
        return {}

    @property
    def load_memories(self) -> Mapping[str, LoadMemory]:
        """Its memories that the load stream fills, by name."""
        return {}

    def products(self) -> list[Product]:
        """Return its multiplications, one an entry."""
        return []

    def _loadable(self, name: str, width: int, depth: int) -> LoadMemory:
        """Return a loadable memory whose words are as wide as this unit is."""
        return loaded(self.flow, name, width, depth)

    def _cut(self, operands: list[Product]) -> list[Product]:
        """Return the blocks that these multiplications are made of."""
        block = self.flow.engine.block_bits
        return [part for product in operands for part in partial_products(product, block)]
