"""Small networks and engines in every mode, for tests of the compiler, the trace and the whole engine."""

from dataclasses import replace

from bivit.sim.config import ViTConfig
from bivit.sim.engine import EngineConfig, engine_for

TINY = ViTConfig(
    img_size=4,
    patch_size=2,
    in_chans=1,
    num_classes=3,
    embed_dim=16,
    depth=2,
    num_heads=2,
    mlp_ratio=2.0,
    class_token=False,
    pool="mean",
)
#: Sizes that are no power of two: an address that moves on by mistake does not come back to where it was.
ODD = replace(TINY, embed_dim=24, num_heads=3, depth=3)
#: Prefix tokens, channels that fill no word, a last tile with fewer rows.
TOKENS = replace(TINY, img_size=6, in_chans=2, num_classes=11, class_token=True, dist_token=True, pool="token")
MODES = {
    "softmax": TINY,
    "odd": ODD,
    "mean_norm": replace(TINY, norm_mode="mean"),
    "threshold_qk": replace(TINY, qk_mode="threshold"),
    "score": replace(TINY, attn_mode="score"),
    "all_cheap": replace(TOKENS, norm_mode="mean", qk_mode="threshold", attn_mode="score"),
    "tokens": TOKENS,
    "class_token": replace(TOKENS, dist_token=False),
}


def tiny_engine(**changes: object) -> EngineConfig:
    """An engine that runs all of `MODES`."""
    fields = {"rows": 3, "columns": 8, "lanes": 8, "dense_lanes": 16, "program_words": 512, "pixel_bytes": 4}
    return replace(
        engine_for(TOKENS, **fields),
        **{"max_embed_dim": 24, "max_hidden_dim": 48, "max_heads": 3, "max_depth": 3, **changes},
    )
