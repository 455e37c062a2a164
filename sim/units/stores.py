"""Memories of the datapath that are a unit of their own: X, the buffered sums of a head, weights and preloads."""

from __future__ import annotations

from ..engine.words import WORD, Memory
from .unit import Probe, Unit


class ResidualStore(Unit):
    """X: all tokens, and a row for their mean behind them."""

    name = "x"

    @property
    def memories(self) -> dict[str, Memory]:
        """X itself."""
        depth = (self.engine.max_tokens + 1) * (self.engine.max_embed_dim // self.lanes)
        return {"x": Memory(self.lanes * self.engine.formats.residual_bits, depth)}

    def features(self) -> dict[str, float]:
        """No logic."""
        return {}

    def probes(self) -> list[Probe]:
        """Every word of X."""
        bits = self.engine.formats.residual_bits
        return [self._probe("x", "w_en", ("w_addr",), "w_data", bits, elements=self.lanes, signed=True)]


class HeadBuffer(Unit):
    """Drained sums that HeadNorm reads: a row of one head after the other."""

    name = "head_buffer"

    @property
    def row_chunks(self) -> int:
        """Chunks of one row of one head."""
        return WORD // self.lanes

    @property
    def memories(self) -> dict[str, Memory]:
        """Sums of a tile and head."""
        return {"head_buffer": Memory(self.lanes * self.engine.acc_bits, self.engine.rows * self.row_chunks)}

    def features(self) -> dict[str, float]:
        """No logic."""
        return {}


class _LoadedStore(Unit):
    """A loadable memory by itself, of the unit's own name."""

    def features(self) -> dict[str, float]:
        """Grow with the beats of a word."""
        return {"unit": 1, "beat": self.load_memories[self.name].beats}


class WeightStore(_LoadedStore):
    """Weights of the array."""

    name = "weights"
    loadable = ("weights",)


class PreloadStore(_LoadedStore):
    """Starts of the array's sums."""

    name = "preload"
    loadable = ("preload",)
