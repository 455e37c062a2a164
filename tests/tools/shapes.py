"""Small networks in every mode, for tests of the reference, the compiler and the engine."""

from dataclasses import replace

import numpy as np

from bivit.sim.network.config import ModelConfig, SwinConfig, ViTConfig

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

#: Two stages: shifted windows in the first, one window as large as the grid in the second.
SWIN = SwinConfig(
    img_size=8,
    patch_size=2,
    in_chans=1,
    num_classes=3,
    embed_dim=16,
    depths=(2, 1),
    num_heads=(1, 2),
    window_size=2,
    mlp_ratio=2.0,
)
#: Every part of a Swin, and every way in which its windows can lie.
SWINS = {
    "two_stages": SWIN,
    "colour": replace(SWIN, in_chans=3, num_classes=5),
    "no_shift": replace(SWIN, depths=(1, 1)),
    "three_stages": replace(SWIN, img_size=16, embed_dim=8, depths=(2, 2, 1), num_heads=(1, 1, 2)),
    "window_is_grid": replace(SWIN, window_size=4, depths=(2,), num_heads=(2,)),
    "window_above_grid": replace(SWIN, window_size=7, depths=(2, 2)),
    "window_3": replace(SWIN, img_size=12, window_size=3, embed_dim=8, depths=(2, 2), num_heads=(1, 1)),
    "window_4": replace(SWIN, img_size=8, patch_size=1, window_size=4, embed_dim=8, depths=(2,), num_heads=(1,)),
    "window_7": replace(SWIN, img_size=14, patch_size=1, window_size=7, embed_dim=8, depths=(2,), num_heads=(1,)),
    "words_with_padding": replace(SWIN, embed_dim=24, num_heads=(3, 1)),
}
SWIN_MODES = {
    f"{norm}_{qk}_{attn}": replace(SWIN, norm_mode=norm, qk_mode=qk, attn_mode=attn)
    for norm in ("layernorm", "mean")
    for qk in ("layernorm", "threshold")
    for attn in ("softmax", "score")
}


def random_images(config: ModelConfig, count: int, seed: int = 0) -> np.ndarray:
    """Uniform noise, uint8[count, img_size, img_size, in_chans]."""
    shape = (count, config.img_size, config.img_size, config.in_chans)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def bright_images(config: ModelConfig, count: int, seed: int = 0) -> np.ndarray:
    """Noise of nearly white and nearly black images by turns, as `random_images`."""
    noise = random_images(config, count, seed) >> 4
    return np.where(np.arange(count)[:, None, None, None] % 2, noise, 255 - noise)
