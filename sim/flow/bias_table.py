"""Relative position biases that are held as a table of each head: which entry each score of a word has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ..engine.words import ceil_div
from ..network.windows import relative_positions
from .config import FlowConfig


@dataclass(frozen=True)
class BiasTable:
    """What chooses the biases of a word of scores out of those of its head.

    The scores of a job come as words, some rows of some columns each; a *place* is one of these words in one of a
    window's tiles. All windows have the same side, so that a score of a place has the same entry of every head's table.

    Parameters
    ----------
    flow : FlowConfig
        With `WindowLimits.bias_window`.
    """

    flow: FlowConfig

    @property
    def side(self) -> int:
        """Side of a window."""
        assert self.flow.windows is not None
        return self.flow.windows.bias_window

    @property
    def entries(self) -> int:
        """Values of a head."""
        return (2 * self.side - 1) ** 2

    @property
    def places(self) -> int:
        """Words of the scores of a window and head."""
        return len(self.chosen)

    @property
    def place_bits(self) -> int:
        """Width of the number of a place, which a word of masks has behind them."""
        return max(1, (self.places - 1).bit_length())

    @cached_property
    def chosen(self) -> list[list[int | None]]:
        """Entry of each score, place by place in the order of masks; None where there is no query or key."""
        engine, side, tokens = self.flow.engine, self.flow.drain_rows, self.side**2
        entry, found = relative_positions(self.side), list[list[int | None]]()
        for first in range(0, tokens, engine.rows):
            for group in range(ceil_div(tokens, engine.columns)):
                for word in range(self.flow.drain_cycles):
                    here = range(word * side, (word + 1) * side)
                    rows = [first + row if row < engine.rows else tokens for row in here]
                    keys = range(group * engine.columns, (group + 1) * engine.columns)
                    found.append(
                        [int(entry[row, key]) if max(row, key) < tokens else None for row in rows for key in keys]
                    )
        return found
