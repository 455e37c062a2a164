"""The sets of parts that `model.vit.vit` builds its one structure of: real-valued, with binary weights, and binary.

A real-valued part takes the same arguments as its binary counterpart and ignores what it does not need, so that
attention, MLP, patch merging and block exist once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...sim.network.blocks import BlockShape
from ...sim.network.config import ModelConfig
from ...sim.network.formats import Formats
from .binarize import Binarization, sign_ste
from .heads import MASKED_SCORE, AttentionBinarizer, HeadNorm, ValueSign
from .layers import BinaryLinear, ResidualGrid, ResidualLinear, Sign, SignNorm, ThresholdSign
from .patch import IntegerPatchEmbed, PatchEmbed, PatchNorm, PixelNorm


class RealLinear(nn.Linear):
    """Linear layer with bias, whose product needs no scale."""

    def row_scale(self) -> Tensor:
        """Ones, float32[out_features]."""
        return torch.ones_like(self.weight[:, 0])


class WeightLinear(RealLinear):
    """Linear layer on real activations with binary weights: signs times the row's mean magnitude.

    Parameters
    ----------
    in_features, out_features : int
    slope : str
        Gradient of the sign, a key of `binarize.SIGN_GRADIENTS`.
    bias : bool
    """

    def __init__(self, in_features: int, out_features: int, slope: str, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """Return float32[..., out_features]."""
        scale = self.weight.abs().mean(1, keepdim=True)
        return F.linear(x, sign_ste(self.weight, self.slope) * scale, self.bias)


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
    """Scaled softmax over the keys, with a relative position bias and a mask where there are windows.

    Parameters
    ----------
    block : BlockShape
    """

    def __init__(self, block: BlockShape) -> None:
        super().__init__()
        self.sharpness = 1 / math.sqrt(block.head_dim)

    def forward(
        self,
        dots: Tensor,
        q_scale: float,
        k_scale: float,
        table: Tensor | None = None,
        index: Tensor | None = None,
        allowed: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return probabilities and scores, float32[B, H, N, N] each; arguments as `heads.AttentionBinarizer`."""
        scores = dots * (self.sharpness * q_scale * k_scale)
        if table is not None:
            scores = scores + table[index].movedim(-1, 0)
        if allowed is not None:
            scores = scores.masked_fill(~allowed, MASKED_SCORE)
        return scores.softmax(-1), scores

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
    added to the residual, and `reduction` one that replaces it. `norm` takes channels, the mode and eps. `head_norm`,
    `value_sign` and `activation` are called with products and row scales, `attention` with dot products and the scales
    of q and k.
    """

    pixels: PixelNorm
    patch_embed: Callable[[], Any]
    patch_norm: Callable[[], Any]
    linear: Callable[[int, int], Any]
    residual_linear: Callable[[int, int], Any]
    reduction: Callable[[int, int], Any]
    norm: Callable[[int, str, float], Any]
    head_norm: Callable[[BlockShape], Any]
    value_sign: Callable[[BlockShape], Any]
    attention: Callable[[BlockShape], Any]
    context_sign: Callable[[], Any]
    activation: Callable[[BlockShape], Any]
    grid: Callable[[], Any]


def real_parts(config: ModelConfig, pixels: PixelNorm) -> Parts:
    """Parts of a plain DeiT or Swin."""
    return Parts(
        pixels=pixels,
        patch_embed=lambda: PatchEmbed(config, pixels),
        patch_norm=lambda: nn.LayerNorm(config.embed_dim, eps=config.eps),
        linear=RealLinear,
        residual_linear=RealLinear,
        reduction=partial(RealLinear, bias=False),
        norm=lambda channels, mode, eps: nn.LayerNorm(channels, eps=eps),
        head_norm=lambda block: Unchanged(),
        value_sign=lambda block: Unchanged(),
        attention=SoftmaxAttention,
        context_sign=Unchanged,
        activation=lambda block: Gelu(),
        grid=RealGrid,
    )


def binary_weight_parts(config: ModelConfig, pixels: PixelNorm, binarization: Binarization) -> Parts:
    """Parts of a network with binary weights and real activations, the first stage of a two-stage training."""
    linear = partial(WeightLinear, slope=binarization.weight_slope)
    return replace(
        real_parts(config, pixels), linear=linear, residual_linear=linear, reduction=partial(linear, bias=False)
    )


def binary_parts(config: ModelConfig, pixels: PixelNorm, formats: Formats, binarization: Binarization) -> Parts:
    """Parts of a Bi-ViT."""
    slope, weight_slope = binarization.slope, binarization.weight_slope
    residual_linear = partial(ResidualLinear, slope=weight_slope, formats=formats)
    return Parts(
        pixels=pixels,
        patch_embed=lambda: IntegerPatchEmbed(config, pixels, formats),
        patch_norm=lambda: PatchNorm(config.embed_dim, config.eps, formats),
        linear=partial(BinaryLinear, slope=weight_slope),
        residual_linear=residual_linear,
        reduction=residual_linear,
        norm=partial(SignNorm, formats=formats, slope=slope),
        head_norm=lambda block: HeadNorm(block, formats, binarization),
        value_sign=lambda block: ValueSign(block, slope),
        attention=lambda block: AttentionBinarizer(block, binarization),
        context_sign=lambda: Sign(slope),
        activation=lambda block: ThresholdSign(block.hidden_dim, block.embed_dim, slope),
        grid=lambda: ResidualGrid(formats),
    )
