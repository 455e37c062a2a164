"""The sums of proj and fc2, scaled and added to the residual (docs/semantics.md 4)."""

from __future__ import annotations

from ..engine.pipeline import Product
from .unit import Unit


class ResidualAddUnit(Unit):
    """A drained chunk of sums is read with its parameters, multiplied, added."""

    name = "residual_add"
    loadable = ("residual",)
    #: From a drained chunk to the write of the new residual: read, operands, product, sum.
    write_stage = 4

    def features(self) -> dict[str, float]:
        """Grow with lanes and their sums."""
        return {"unit": 1, "lane": self.lanes, "lane_bit": self.lanes * self.engine.acc_bits}

    def products(self) -> list[Product]:
        """Scale of each lane."""
        return [(self.engine.acc_bits, self.engine.formats.scale_bits)] * self.lanes
