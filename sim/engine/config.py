"""An engine's array, formats and limits: what the rest of its configuration (`sim.flow.config`) stands on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..errors import check
from ..network.formats import Formats
from .pipeline import BLOCK_BITS, Product
from .words import WORD, ceil_div

#: Logic that an engine is written in: look-up tables of six inputs or four.
Fabric = Literal["lut6", "lut4"]


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Shape of one engine (docs/accelerator.md).

    Parameters
    ----------
    rows : int
        Tokens a tile, R, 1 to 64.
    columns : int
        Channels a tile, C: 8, 16, 32 or 64.
    lanes : int
        Elements a cycle of the element-wise units: a power of two from 8 to `columns`.
    dense_lanes : int
        int8 multipliers of the patch embedding and the classifier, a multiple of `lanes`.
    pixel_bytes : int
        Bytes a beat of the pixel stream: 1, 2, 4, 8 or 16.
    fabric : {"lut6", "lut4"}
        Which compressors the dot unit is written in, and how wide operands are cut for multiplier blocks.
    max_tokens, max_embed_dim, max_hidden_dim, max_heads, max_depth, max_classes, max_patch_dim, max_strip_bytes : int
        The largest model that fits.
    program_words : int
        Words of the slot table, two slots each.
    queue_logits : int
        Logits that the queue at the output holds, 3 or more and at least `max_classes`: as many images can be answered
        before anybody reads a logit as fit into it whole.
    formats : Formats
        Number formats; a network must have the same.

    Raises
    ------
    BivitError
        When a value is out of range: what, allowed, got.
    """

    rows: int
    columns: int
    lanes: int
    dense_lanes: int
    max_tokens: int
    max_embed_dim: int
    max_hidden_dim: int
    max_heads: int
    max_depth: int
    max_classes: int
    max_patch_dim: int
    max_strip_bytes: int
    program_words: int
    pixel_bytes: int = 8
    fabric: Fabric = "lut6"
    queue_logits: int = 4096
    formats: Formats = field(default_factory=Formats)

    def __post_init__(self) -> None:
        check(1 <= self.rows <= WORD, f"rows must be 1 to {WORD}, got {self.rows}")
        check(self.columns in (8, 16, 32, 64), f"columns must be 8, 16, 32 or 64, got {self.columns}")
        check(
            self.lanes in (2, 4, 8, 16, 32, 64) and self.lanes <= self.columns,
            f"lanes must be 2, 4, 8, 16, 32 or 64 and at most columns ({self.columns}), got {self.lanes}",
        )
        check(
            self.dense_lanes > 0 and self.dense_lanes % self.lanes == 0,
            f"dense_lanes must be a multiple of lanes ({self.lanes}), got {self.dense_lanes}",
        )
        # A loadable word has at most 64 beats of 64 bits; rows of chunks are counted in 7 bits.
        check(self.dense_lanes <= 512, f"dense_lanes must be at most 512, got {self.dense_lanes}")
        check(self.pixel_bytes in (1, 2, 4, 8, 16), f"pixel_bytes must be 1, 2, 4, 8 or 16, got {self.pixel_bytes}")
        check(self.fabric in ("lut6", "lut4"), f"fabric must be lut6 or lut4, got {self.fabric!r}")
        for name, most in _LIMITS.items():
            value = getattr(self, name)
            check(isinstance(value, int) and 1 <= value <= most, f"{name} must be 1 to {most}, got {value!r}")
        for name in ("max_embed_dim", "max_hidden_dim"):
            value = getattr(self, name)
            check(value % self.lanes == 0, f"{name} must be a multiple of lanes ({self.lanes}), got {value}")
        for name in ("max_embed_dim", "max_tokens"):
            most = 127 * self.lanes
            value = getattr(self, name)
            check(value <= most, f"{name} must be at most 127 * lanes ({most}), got {value}; choose more lanes")
        # One of two logits takes none in the cycle in which the one before goes to its output.
        least = max(3, self.max_classes)
        check(
            self.queue_logits >= least,
            f"queue_logits must be at least {least}, so that the queue holds an image of max_classes, "
            f"got {self.queue_logits}",
        )
        check(
            self.max_strip_bytes % self.pixel_bytes == 0,
            f"max_strip_bytes must be a multiple of pixel_bytes ({self.pixel_bytes}), got {self.max_strip_bytes}",
        )

    @property
    def block_bits(self) -> Product:
        """Largest signed operands of one multiplier block, the wider one first."""
        return BLOCK_BITS[self.fabric]

    @property
    def tile_chunks(self) -> int:
        """Chunks in one row of a tile."""
        return self.columns // self.lanes

    @property
    def max_tiles(self) -> int:
        """Tiles of `rows` tokens that hold `max_tokens`."""
        return ceil_div(self.max_tokens, self.rows)

    @property
    def acc_bits(self) -> int:
        """Signed width of the array's accumulator: half a dot product, a threshold and padding."""
        return (max(self.max_hidden_dim, self.max_embed_dim, self.max_tokens) + 2 * WORD).bit_length() + 1

    @property
    def score_bits(self) -> int:
        """Unsigned width of a popcount of one head, 0 to 64."""
        return WORD.bit_length()


_LIMITS = {
    "max_tokens": 4095,
    "max_embed_dim": 1024,
    "max_hidden_dim": 4096,
    "max_heads": 32,
    "max_depth": 32,
    "max_classes": 4095,
    "max_patch_dim": 1023,
    "max_strip_bytes": 65536,
    "program_words": 65536,
    "queue_logits": 65536,
}
