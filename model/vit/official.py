"""The float definitions of the Bi-ViT's published code, as one more set of parts: what an imported checkpoint computes.

There are two: the published DeiT normalises q and k before it signs them (`qk_mode` "layernorm"), the published Swin
signs them as they are ("threshold"). Both differ from the integer-aware `BiViT` (docs/official.md): torch.sign with
sign(0) = 0, scales inside the products, zero points that are learned and rounded, a float softmax, GELU and a clip
before fc2, biases that are never added.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...sim.network.blocks import BlockShape
from ...sim.network.config import ModelConfig
from ...sim.network.formats import Formats
from .attention import Attention
from .binarize import Binarization
from .heads import MASKED_SCORE
from .parts import Parts, RealGrid, Unchanged, real_parts
from .patch import PixelNorm
from .vit import BiViT, RealViT, VisionTransformer

#: Eps of the LayerNorms of q and k, torch's default.
_HEAD_EPS = 1e-5
#: Largest magnitude that the hidden layer keeps.
_CLIP = 10.0


class ActBi(nn.Module):
    """Binarizer with a scale and a zero point: ``alpha * (sign(clip(x / alpha + z, -1, 1)) - z)``, z rounded.

    Parameters
    ----------
    features : int
        Heads, for [B, H, N, E] and [B, H, N, N]; channels, for [B, N, C].
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(features))
        self.zero_point = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor, row_scale: Tensor | None = None) -> Tensor:
        """Return values of two levels, alpha * (+-1 - z), or -alpha * z where the argument of the sign is 0."""
        shape = (-1, 1, 1) if x.dim() == 4 else (-1,)
        alpha, zero_point = self.alpha.view(shape), self.zero_point.round().view(shape)
        return alpha * (torch.sign((x / alpha + zero_point).clamp(-1, 1)) - zero_point)


class OfficialLinear(nn.Linear):
    """Product of torch.sign(x) and signs of the weights times the row's mean magnitude; the bias is never added."""

    def forward(self, x: Tensor) -> Tensor:
        """Return float32[..., out_features]."""
        return F.linear(torch.sign(x), torch.sign(self.weight) * self.weight.abs().mean(1, keepdim=True))

    def row_scale(self) -> Tensor:
        """Ones, float32[out_features]: the scale is in the product."""
        return torch.ones_like(self.weight[:, 0])


class OfficialReduction(nn.Linear):
    """Product of a patch merging: a learned scale a row of weights and a binarizer a channel of the input."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)
        self.alpha = nn.Parameter(torch.ones(out_features))
        self.act = ActBi(in_features)

    def forward(self, x: Tensor) -> Tensor:
        """Return float32[..., out_features]."""
        alpha = self.alpha[:, None]
        return F.linear(self.act(x), torch.sign((self.weight / alpha).clamp(-1, 1)) * alpha)


class OfficialHeadNorm(nn.Module):
    """The binarizer of q or k; in mode `layernorm` after a LayerNorm over a head's channels, the same for all heads.

    Parameters
    ----------
    block : BlockShape
    """

    scale = 1.0

    def __init__(self, block: BlockShape) -> None:
        super().__init__()
        normalised = block.qk_mode == "layernorm"
        self.norm = nn.LayerNorm(block.head_dim, eps=_HEAD_EPS) if normalised else nn.Identity()
        self.act = ActBi(block.num_heads)

    def forward(self, x: Tensor, row_scale: Tensor) -> Tensor:
        """Return float32[B, H, N, E]."""
        return self.act(self.norm(x))


class OfficialAttention(nn.Module):
    """Float softmax and its binarizer.

    Parameters
    ----------
    block : BlockShape
    """

    def __init__(self, block: BlockShape) -> None:
        super().__init__()
        self.sharpness = 1 / math.sqrt(block.head_dim)
        self.act = ActBi(block.num_heads)

    def forward(
        self,
        dots: Tensor,
        q_scale: float,
        k_scale: float,
        table: Tensor | None = None,
        index: Tensor | None = None,
        allowed: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return binarized probabilities and scores, float32[B, H, N, N]; arguments as `heads.AttentionBinarizer`."""
        scores = dots * self.sharpness
        if table is not None:
            scores = scores + table[index].movedim(-1, 0)
        if allowed is not None:
            scores = scores.masked_fill(~allowed, MASKED_SCORE)
        return self.act(scores.softmax(-1)), scores

    def output_scale(self) -> float:
        """Return 1: the scale is in the values."""
        return 1.0


class ClippedGelu(nn.GELU):
    """GELU, kept in -10 .. 10."""

    def forward(self, x: Tensor, row_scale: Tensor) -> Tensor:  # type: ignore[override]
        """Return clip(GELU(x), -10, 10)."""
        return super().forward(x).clamp(-_CLIP, _CLIP)


def official_parts(config: ModelConfig, pixels: PixelNorm) -> Parts:
    """Parts of the published definition."""
    real = real_parts(config, pixels)
    return Parts(
        pixels=pixels,
        patch_embed=real.patch_embed,
        patch_norm=real.patch_norm,
        linear=OfficialLinear,
        residual_linear=OfficialLinear,
        reduction=OfficialReduction,
        norm=real.norm,
        head_norm=OfficialHeadNorm,
        value_sign=lambda block: ActBi(block.num_heads),
        attention=OfficialAttention,
        context_sign=Unchanged,
        activation=lambda block: ClippedGelu(),
        grid=RealGrid,
    )


class OfficialBiViT(RealViT):
    """A Bi-ViT as its published code computes it, in float; for evaluation and as the start of a `BiViT`.

    Parameters
    ----------
    config : ModelConfig
    pixels : PixelNorm
    """

    kind = "official"

    def __init__(self, config: ModelConfig, pixels: PixelNorm | None = None) -> None:
        parts = official_parts(config, pixels or PixelNorm.default(config))
        VisionTransformer.__init__(self, config, parts)


def published_config(config: ModelConfig, names: Iterable[str]) -> ModelConfig:
    """Return the config of the definition that a checkpoint follows, by the names of its tensors.

    Parameters
    ----------
    config : ModelConfig
        What the tensors' shapes tell.
    names : iterable of str
        Names of bivit. A Swin without any norm of q and k signs them directly, as published; in every other model a
        norm that is not there is missing.
    """
    normalised = any(".attn.q_norm.norm." in name or ".attn.k_norm.norm." in name for name in names)
    return config if normalised or config.family != "swin" else replace(config, qk_mode="threshold")


@torch.no_grad()
def to_bivit(
    official: OfficialBiViT, formats: Formats | None = None, binarization: Binarization | None = None
) -> tuple[BiViT, list[str]]:
    """Carry the weights of the published definition over to an integer-aware Bi-ViT.

    Zero points are carried over too, as rounded numbers: export refuses those that integers cannot express, by name.

    Parameters
    ----------
    official : OfficialBiViT
    formats : Formats, optional
    binarization : Binarization, optional

    Returns
    -------
    model : BiViT
    differences : list of str
        What does not carry over exactly, each with the tensor's name; roundings and sign(0) are not listed.
    """
    model = BiViT(official.config, official.pixels, formats, binarization)
    weights, differences = official.state_dict(), list[str]()
    own = {name: weights[name] for name in model.state_dict() if name in weights and not _unused(name, official)}
    for name, block in official.named_blocks():
        own |= _head_tensors(f"{name}.attn", block.attn, differences)
    for stage in official.config.stages:
        if stage.merge is not None:
            name = f"{stage.merge.name}.reduction"
            own |= _reduction_tensors(name, cast(OfficialReduction, official.get_submodule(name)), differences)
    model.load_state_dict(model.state_dict() | own)
    return model, differences


def _unused(name: str, official: OfficialBiViT) -> bool:
    """Whether a tensor is a bias that the published code never adds; the Bi-ViT starts with 0 there."""
    module, _, kind = name.rpartition(".")
    return kind == "bias" and isinstance(official.get_submodule(module), OfficialLinear)


def _head_tensors(name: str, attn: Attention, differences: list[str]) -> dict[str, Tensor]:
    tensors = {}
    for part in ("q_norm", "k_norm"):
        head_norm: OfficialHeadNorm = getattr(attn, part)
        if isinstance(head_norm.norm, nn.LayerNorm):
            # Without one the Bi-ViT keeps its first thresholds, which are 0.
            shape = (len(head_norm.act.alpha), len(head_norm.norm.weight))
            tensors[f"{name}.{part}.weight"] = head_norm.norm.weight.expand(shape)
            tensors[f"{name}.{part}.bias"] = head_norm.norm.bias.expand(shape)
        tensors[f"{name}.{part}.scale"] = head_norm.act.alpha.abs()
        tensors[f"{name}.{part}.zero_point"] = head_norm.act.zero_point.round()
    tensors[f"{name}.v_sign.zero_point"] = attn.v_sign.zero_point.round()
    binarizer: ActBi = attn.attn_sign.act
    # Levels {0, 2 alpha} with the threshold alpha are those of the scaling factor s = 2 alpha.
    tensors[f"{name}.attn_sign.scale"] = 2 * binarizer.alpha.abs()
    tensors[f"{name}.attn_sign.zero_point"] = binarizer.zero_point.round()
    for head in torch.nonzero(binarizer.alpha <= 0).flatten().tolist():
        differences.append(f"{name}.attn_sign.act.alpha[{head}] is not above 0: the published head gives 0 everywhere")
    return tensors


def _reduction_tensors(name: str, reduction: OfficialReduction, differences: list[str]) -> dict[str, Tensor]:
    scale = reduction.act.alpha.abs()
    if not torch.allclose(scale, scale.mean()):
        differences.append(f"{name}.act.alpha differs from channel to channel: a product of bits has their mean")
    if bool((reduction.act.zero_point.round() != 0).any()):
        differences.append(f"{name}.act.zero_point is not 0 in every channel: left out")
    # The mean magnitude of a row is its scale.
    return {f"{name}.weight": torch.sign(reduction.weight) * (reduction.alpha.abs() * scale.mean())[:, None]}
