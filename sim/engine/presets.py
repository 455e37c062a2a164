"""The smallest array of a shape that holds some networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..network.config import ViTConfig
from .config import EngineConfig


def engine_for(
    *configs: ViTConfig, rows: int, columns: int, lanes: int, dense_lanes: int, program_words: int, **more: Any
) -> EngineConfig:
    """Return the smallest engine of this shape that holds networks of all these configurations.

    Parameters
    ----------
    *configs : ViTConfig
        The networks to run.
    rows, columns, lanes, dense_lanes, program_words : int
        As in `EngineConfig`.
    **more
        Other fields of `EngineConfig`.
    """
    largest = {field: max(of(config) for config in configs) for field, of in _LARGEST.items()}
    return EngineConfig(
        rows=rows,
        columns=columns,
        lanes=lanes,
        dense_lanes=dense_lanes,
        program_words=program_words,
        **{**largest, "queue_logits": _queue_logits(largest["max_classes"]), **more},
    )


#: Limits of an engine, and what a network needs of each.
_LARGEST: dict[str, Callable[[ViTConfig], int]] = {
    "max_tokens": lambda config: config.num_tokens,
    "max_embed_dim": lambda config: config.embed_dim,
    "max_hidden_dim": lambda config: config.hidden_dim,
    "max_heads": lambda config: config.num_heads,
    "max_depth": lambda config: config.depth,
    "max_classes": lambda config: config.num_classes,
    "max_patch_dim": lambda config: config.patch_dim,
    "max_strip_bytes": lambda config: config.img_size * config.patch_size * config.in_chans,
}


def _queue_logits(classes: int) -> int:
    """Room for four images or more: a power of two, and no less than half a block memory of UltraScale+ holds."""
    return max(512, 1 << (4 * classes - 1).bit_length())
