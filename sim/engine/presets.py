"""The smallest array of a shape that holds some networks."""

from __future__ import annotations

from typing import Any

from ..network.config import ModelConfig
from .config import EngineConfig


def engine_for(
    *configs: ModelConfig, rows: int, columns: int, lanes: int, dense_lanes: int, program_words: int, **more: Any
) -> EngineConfig:
    """Return the smallest engine of this shape that holds networks of all these configurations.

    Parameters
    ----------
    *configs : ModelConfig
        The networks to run; of Swins `sim.mapping.pass_limits.with_windows` has the other limits.
    rows, columns, lanes, dense_lanes, program_words : int
        As in `EngineConfig`.
    **more
        Other fields of `EngineConfig`.
    """
    needs = [engine_needs(config) for config in configs]
    largest = {field: max(need[field] for need in needs) for field in needs[0]}
    return EngineConfig(
        rows=rows,
        columns=columns,
        lanes=lanes,
        dense_lanes=dense_lanes,
        program_words=program_words,
        **{**largest, "queue_logits": _queue_logits(largest["max_classes"]), **more},
    )


def engine_needs(config: ModelConfig) -> dict[str, int]:
    """Return what a network needs of each limit of `EngineConfig`, by name.

    Parameters
    ----------
    config : ModelConfig
    """
    blocks = config.blocks
    merged = [stage.merge.in_dim for stage in config.stages if stage.merge is not None]
    return {
        "max_tokens": max(block.window_tokens for block in blocks),
        "max_embed_dim": max(block.embed_dim for block in blocks),
        # A patch merging may normalise more channels than any layer has hidden ones.
        "max_hidden_dim": max([*(block.hidden_dim for block in blocks), *merged]),
        "max_heads": max(block.num_heads for block in blocks),
        "max_depth": len(blocks),
        "max_classes": config.num_classes,
        "max_patch_dim": config.patch_dim,
        "max_strip_bytes": config.img_size * config.patch_size * config.in_chans,
    }


def _queue_logits(classes: int) -> int:
    """Room for four images or more: a power of two, and no less than half a block memory of UltraScale+ holds."""
    return max(512, 1 << (4 * classes - 1).bit_length())
