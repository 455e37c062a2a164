"""Named shapes: the demo, shapes for small images, and the paper's models (arXiv 2305.12354, section 4)."""

from __future__ import annotations

from dataclasses import replace

from ..errors import check, near
from .config import ModelConfig, SwinConfig, ViTConfig


def _deit(embed_dim: int, num_heads: int) -> ViTConfig:
    """A DeiT of the paper, with its distillation token (198 tokens)."""
    return ViTConfig(
        img_size=224,
        patch_size=16,
        num_classes=1000,
        embed_dim=embed_dim,
        depth=12,
        num_heads=num_heads,
        dist_token=True,
    )


def _swin(depths: tuple[int, ...]) -> SwinConfig:
    return SwinConfig(
        img_size=224,
        patch_size=4,
        num_classes=1000,
        embed_dim=96,
        depths=depths,
        num_heads=(3, 6, 12, 24),
        window_size=7,
    )


def _small_vit(img_size: int, in_chans: int, embed_dim: int, depth: int, patch_size: int = 4) -> ViTConfig:
    """Mean pooling needs no prefix token, and learns faster in a short training."""
    return ViTConfig(
        img_size=img_size,
        patch_size=patch_size,
        in_chans=in_chans,
        num_classes=10,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=embed_dim // 64,
        class_token=False,
        pool="mean",
    )


def _small_swin(img_size: int, in_chans: int, window_size: int) -> SwinConfig:
    return SwinConfig(
        img_size=img_size,
        patch_size=2,
        in_chans=in_chans,
        num_classes=10,
        embed_dim=64,
        depths=(2, 2),
        num_heads=(2, 4),
        window_size=window_size,
    )


_DEIT = {"deit_tiny": _deit(192, 3), "deit_small": _deit(384, 6), "deit_base": _deit(768, 12)}

_DIGITS = _small_vit(8, 1, embed_dim=128, depth=2, patch_size=2)
_FASHION = _small_vit(28, 1, embed_dim=64, depth=4)

#: Named shapes. A name that ends in `_cls` is a DeiT with the class token alone; `_lean` are modes for which an engine
#: needs neither HeadNorm nor softmax.
PRESETS: dict[str, ModelConfig] = {
    "digits": _DIGITS,
    "digits_lean": replace(_DIGITS, qk_mode="threshold", attn_mode="score"),
    "fashion": _FASHION,
    "fashion_cls": replace(_FASHION, class_token=True, pool="token"),
    "cifar": _small_vit(32, 3, embed_dim=128, depth=6),
    "swin_fashion": _small_swin(28, 1, window_size=7),
    "swin_cifar": _small_swin(32, 3, window_size=8),
    **_DEIT,
    **{f"{name}_cls": replace(config, dist_token=False) for name, config in _DEIT.items()},
    "swin_tiny": _swin((2, 2, 6, 2)),
    "swin_small": _swin((2, 2, 18, 2)),
}


def preset(name: str) -> ModelConfig:
    """Return the preset called `name`; `BivitError` lists the names otherwise."""
    check(name in PRESETS, f"there is no preset {name!r}; allowed are {', '.join(PRESETS)}{near(name, PRESETS)}")
    return PRESETS[name]


def vit_preset(name: str) -> ViTConfig:
    """Return the preset called `name`, which must be a DeiT; `BivitError` otherwise."""
    config = preset(name)
    check(isinstance(config, ViTConfig), f"preset {name!r} is not a DeiT, got family {config.family!r}")
    assert isinstance(config, ViTConfig)
    return config
