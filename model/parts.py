"""The two sets of parts that `model.vit` builds its one structure of: binary and real-valued.

A real-valued part takes the same arguments as its binary counterpart and ignores what it does not need, so that
attention, MLP and block exist once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..sim.config import Formats, ViTConfig
from .binarize import check_slope
from .heads import AttentionBinarizer, HeadNorm, ValueSign
from .layers import BinaryLinear, ResidualGrid, ResidualLinear, Sign, SignNorm, ThresholdSign
from .patch import IntegerPatchEmbed, PatchEmbed, PixelNorm


class RealLinear(nn.Linear):
    """Linear layer with bias, whose product needs no scale."""

    def row_scale(self) -> Tensor:
        """Ones, float32[out_features]."""
        return torch.ones_like(self.weight[:, 0])


class Unchanged(nn.Module):
    """Stands where the Bi-ViT normalises or signs and the real-valued twin does nothing."""

    scale = 1.0

    def forward(self, x: Tensor, row_scale: Tensor | None = None) -> Tensor:
        """Return `x`."""
        return x


class Gelu(nn.GELU):
    """GELU that ignores the row scale of fc1."""

    def forward(self, x: Tensor, row_scale: Tensor) -> Tensor:  # type: ignore[override]
        """Return GELU(x)."""
        return super().forward(x)


class SoftmaxAttention(nn.Module):
    """Scaled softmax over the keys.

    Parameters
    ----------
    config : ViTConfig
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.sharpness = 1 / math.sqrt(config.head_dim)

    def forward(self, dots: Tensor, q_scale: float, k_scale: float) -> Tensor:
        """Return probabilities, float32[B, H, N, N]."""
        return (dots * (self.sharpness * q_scale * k_scale)).softmax(-1)

    def output_scale(self) -> float:
        """Return 1: the probabilities are what they are."""
        return 1.0


class RealGrid(nn.Module):
    """No number format: values pass unchanged."""

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`."""
        return x

    def round(self, x: Tensor) -> Tensor:
        """Return `x`."""
        return x

    def mean(self, x: Tensor, shift: int) -> Tensor:
        """Mean over the tokens (axis 1, kept)."""
        return x.mean(1, keepdim=True)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Makers of the modules of a vision transformer; linear layers take their input and output features.

    `linear` makes a product that a normalisation or a sign reads, with a `row_scale()`; `residual_linear` one that is
    added to the residual. `head_norm`, `value_sign` and `activation` are called with products and row scales,
    `attention` with dot products and the scales of q and k.
    """

    pixels: PixelNorm
    patch_embed: Callable[[], Any]
    linear: Callable[[int, int], Any]
    residual_linear: Callable[[int, int], Any]
    norm: Callable[[], Any]
    head_norm: Callable[[], Any]
    value_sign: Callable[[], Any]
    attention: Callable[[], Any]
    context_sign: Callable[[], Any]
    activation: Callable[[], Any]
    grid: Callable[[], Any]


def real_parts(config: ViTConfig, pixels: PixelNorm) -> Parts:
    """Parts of a plain DeiT."""
    return Parts(
        pixels=pixels,
        patch_embed=lambda: PatchEmbed(config, pixels),
        linear=RealLinear,
        residual_linear=RealLinear,
        norm=lambda: nn.LayerNorm(config.embed_dim, eps=config.eps),
        head_norm=Unchanged,
        value_sign=Unchanged,
        attention=lambda: SoftmaxAttention(config),
        context_sign=Unchanged,
        activation=Gelu,
        grid=RealGrid,
    )


def binary_parts(config: ViTConfig, pixels: PixelNorm, formats: Formats, slope: str) -> Parts:
    """Parts of a Bi-ViT whose activation signs have the gradient called `slope`.

    Raises
    ------
    BivitError
        When no gradient has that name.
    """
    check_slope(slope)
    return Parts(
        pixels=pixels,
        patch_embed=lambda: IntegerPatchEmbed(config, pixels, formats),
        linear=BinaryLinear,
        residual_linear=lambda in_features, out_features: ResidualLinear(in_features, out_features, formats),
        norm=lambda: SignNorm(config, formats, slope),
        head_norm=lambda: HeadNorm(config, formats, slope),
        value_sign=lambda: ValueSign(config, slope),
        attention=lambda: AttentionBinarizer(config, slope),
        context_sign=lambda: Sign(slope),
        activation=lambda: ThresholdSign(config.hidden_dim, config.embed_dim, slope),
        grid=lambda: ResidualGrid(formats),
    )
