"""The column sums of v over all tokens."""

from __future__ import annotations

from ..engine.memories import value_groups
from ..engine.words import Memory
from .unit import Unit


class ValueSumsUnit(Unit):
    """Ones of every column of v, for each group of C columns: starts of the array's sums."""

    name = "value_sums"
    #: From the last drained chunk of a tile to the write of its column sums.
    write_stage = 2

    @property
    def memories(self) -> dict[str, Memory]:
        """Sums of a group a word."""
        width = self.engine.columns * self.engine.acc_bits
        return {"value_sums": Memory(width, value_groups(self.engine), readers=2)}

    def features(self) -> dict[str, float]:
        """Grow with the columns' sums."""
        return {"unit": 1, "column_bit": self.engine.columns * self.engine.acc_bits}
