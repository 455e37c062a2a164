"""The smallest array of a shape that holds a network."""

from __future__ import annotations

from typing import Any

from ..network.config import ViTConfig
from .config import EngineConfig


def engine_for(
    config: ViTConfig, *, rows: int, columns: int, lanes: int, dense_lanes: int, program_words: int, **more: Any
) -> EngineConfig:
    """Return the smallest engine of this shape that holds a network of `config`.

    Parameters
    ----------
    config : ViTConfig
        The largest network to run.
    rows, columns, lanes, dense_lanes, program_words : int
        As in `EngineConfig`.
    **more
        Other fields of `EngineConfig`.
    """
    return EngineConfig(
        rows=rows,
        columns=columns,
        lanes=lanes,
        dense_lanes=dense_lanes,
        program_words=program_words,
        max_tokens=config.num_tokens,
        max_embed_dim=config.embed_dim,
        max_hidden_dim=config.hidden_dim,
        max_heads=config.num_heads,
        max_depth=config.depth,
        max_classes=config.num_classes,
        max_patch_dim=config.patch_dim,
        max_strip_bytes=config.img_size * config.patch_size * config.in_chans,
        **{"queue_logits": _queue_logits(config.num_classes), **more},
    )


def _queue_logits(classes: int) -> int:
    """Room for four images or more: a power of two, and no less than half a block memory of UltraScale+ holds."""
    return max(512, 1 << (4 * classes - 1).bit_length())
