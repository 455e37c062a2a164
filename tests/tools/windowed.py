"""Engines with windows that tests share, and networks for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from small_flow import small_flow

from bivit.sim.engine.config import EngineConfig
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.windows import WindowLimits
from bivit.sim.mapping.pass_limits import with_windows
from bivit.sim.network.config import ModelConfig, SwinConfig

#: A Swin of a few patches in three stages.
TINY_SWIN = {
    "img_size": 16,
    "patch_size": 2,
    "in_chans": 1,
    "num_classes": 5,
    "embed_dim": 8,
    "depths": (1, 1, 1),
    "num_heads": (1, 2, 4),
    "window_size": 2,
}


def tiny_swin(**changes: Any) -> SwinConfig:
    return SwinConfig(**{**TINY_SWIN, **changes})


def window_limits(**limits: int) -> WindowLimits:
    """Limits of which only some are of interest; the others are 1, and biases are held as words."""
    return WindowLimits(**{**{field.name: 1 for field in fields(WindowLimits)}, "bias_window": 0, **limits})


def windowed_flow(
    image_tokens: int, words: int, *, columns: int = 8, lanes: int = 8, norm_lanes: int = 8, **engine: Any
) -> FlowConfig:
    """An engine for so many tokens of so many words of `norm_lanes` channels; all else is as small as can be."""
    channels = engine.setdefault("max_embed_dim", max(64, words * norm_lanes))
    array = {"rows": 2, "columns": columns, "lanes": lanes, "dense_lanes": lanes, "max_tokens": 4}
    flow = small_flow()
    largest = replace(flow.engine, **{**array, "max_hidden_dim": 4 * channels, **engine})
    widths = {"norm_lanes": norm_lanes, "head_norm_lanes": columns, "softmax_lanes": columns}
    limits = window_limits(image_tokens=image_tokens, x_words=image_tokens * words)
    return replace(flow, engine=largest, drain_rows=1, dense_channels=0, windows=limits, **widths)


def windowed_for(
    configs: Sequence[ModelConfig],
    *,
    rows: int = 3,
    columns: int = 16,
    norm_lanes: int = 8,
    together: int = 2,
    **more: Any,
) -> FlowConfig:
    """The smallest engine with windows that holds some networks, of which so many images go together."""
    engine = {name: more.pop(name) for name in [*more] if name in EngineConfig.__dataclass_fields__}
    array = {"rows": rows, "columns": columns, "lanes": 8, "program_words": 4096}
    array |= {"pixel_bytes": 4, "queue_logits": 64, **engine}
    array.setdefault("dense_lanes", array["lanes"])
    flow = small_flow()
    widths = {"norm_lanes": norm_lanes, "head_norm_lanes": columns, "softmax_lanes": columns}
    shape = {"drain_rows": max(1, norm_lanes // columns), "dense_channels": 0, "images": 2, **widths, **more}
    sized = replace(flow, engine=replace(flow.engine, **array), **shape)
    return with_windows(sized, *configs, images=together)
