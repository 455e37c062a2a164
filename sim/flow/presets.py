"""Named engines."""

from __future__ import annotations

from dataclasses import replace

from ..engine.presets import engine_for
from ..network.presets import vit_preset
from .config import FlowConfig

_TINY, _SMALL = vit_preset("deit_tiny"), vit_preset("deit_small")

#: `sim` is what co-simulation takes, `zcu102` the largest for that board, `latency` the one for an image at a time.
FLOW_ENGINES: dict[str, FlowConfig] = {
    "sim": FlowConfig(
        engine=engine_for(_TINY, rows=4, columns=16, lanes=16, dense_lanes=16, program_words=512),
        drain_rows=2,
        norm_lanes=16,
        head_norm_lanes=16,
        softmax_lanes=32,
        dense_patches=8,
    ),
    "zcu102": FlowConfig(
        engine=replace(
            engine_for(_SMALL, rows=33, columns=32, lanes=32, dense_lanes=192, program_words=512, pixel_bytes=16),
            queue_logits=4096,
        ),
        drain_rows=12,
        norm_lanes=96,
        head_norm_lanes=64,
        softmax_lanes=128,
        value_rows=2,
        dense_patches=10,
        residual_slots=5,
        head_slots=8,
        score_slots=5,
    ),
    "latency": FlowConfig(
        engine=engine_for(_TINY, rows=6, columns=32, lanes=32, dense_lanes=192, program_words=4096),
        drain_rows=4,
        norm_lanes=64,
        head_norm_lanes=64,
        softmax_lanes=64,
        images=1,
        dense_patches=4,
        residual_slots=8,
        head_slots=8,
        score_slots=8,
        attention_slots=8,
        norm_slots=8,
        context_slots=4,
        staging_slots=8,
    ),
}
