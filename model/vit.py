"""The Bi-ViT and its real-valued twin: one structure in timm's names, built of binary or real-valued parts.

Images enter as uint8 [B, H, W, C]; the pixel normalisation belongs to the model, because export folds it into the patch
embedding. Module names equal the tap names of docs/network.md, so `forward_taps` reads any of them by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..sim.config import Formats, ViTConfig
from ..sim.errors import check
from . import fold, operators
from .binarize import straight_through
from .parts import Parts, binary_parts, real_parts
from .patch import PixelNorm

#: Spread of the first position embeddings: that of the patch embeddings. DeiT's 0.02 suits its hundreds of epochs; a
#: short training must tell positions apart from its first step.
POSITION_STD = 0.3


class Attention(nn.Module):
    """Multi-head self-attention.

    Parameters
    ----------
    config : ViTConfig
    parts : Parts
    """

    def __init__(self, config: ViTConfig, parts: Parts) -> None:
        super().__init__()
        self.num_heads, self.head_dim = config.num_heads, config.head_dim
        self.qkv = parts.linear(config.embed_dim, 3 * config.embed_dim)
        self.q_norm = parts.head_norm()
        self.k_norm = parts.head_norm()
        self.v_sign = parts.value_sign()
        self.attn_sign = parts.attention()
        self.context = parts.context_sign()
        self.proj = parts.residual_linear(config.embed_dim, config.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the contribution to the residual, float32[B, N, D]."""
        batch, tokens, channels = x.shape
        heads = (3, self.num_heads, self.head_dim)
        q, k, v = self.qkv(x).view(batch, tokens, *heads).permute(2, 0, 3, 1, 4)
        q_scale, k_scale, v_scale = self.qkv.row_scale().view(heads)
        q, k = self.q_norm(q, q_scale), self.k_norm(k, k_scale)
        v = self.v_sign(v, v_scale[:, None])
        attention = self.attn_sign(q @ k.transpose(-1, -2), self.q_norm.scale, self.k_norm.scale)
        context = (attention @ v) * self.attn_sign.output_scale()
        return self.proj(self.context(context.transpose(1, 2).reshape(batch, tokens, channels)))


class Mlp(nn.Module):
    """Two linear layers with the activation between.

    Parameters
    ----------
    config : ViTConfig
    parts : Parts
    """

    def __init__(self, config: ViTConfig, parts: Parts) -> None:
        super().__init__()
        self.fc1 = parts.linear(config.embed_dim, config.hidden_dim)
        self.act = parts.activation()
        self.fc2 = parts.residual_linear(config.hidden_dim, config.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the contribution to the residual, float32[B, N, D]."""
        return self.fc2(self.act(self.fc1(x), self.fc1.row_scale()))


class Block(nn.Module):
    """One transformer block.

    Parameters
    ----------
    config : ViTConfig
    parts : Parts
    """

    def __init__(self, config: ViTConfig, parts: Parts) -> None:
        super().__init__()
        self.norm1 = parts.norm()
        self.attn = Attention(config, parts)
        self.norm2 = parts.norm()
        self.mlp = Mlp(config, parts)
        self.grid = parts.grid()

    def forward(self, x: Tensor) -> Tensor:
        """Return the residual after attention and MLP, float32[B, N, D]."""
        x = self.grid(x + self.attn(self.norm1(x)))
        return self.grid(x + self.mlp(self.norm2(x)))


class VisionTransformer(nn.Module):
    """What the Bi-ViT and the real-valued twin share; use `BiViT` or `RealViT`.

    Parameters
    ----------
    config : ViTConfig
    parts : Parts
    """

    kind: str

    def __init__(self, config: ViTConfig, parts: Parts) -> None:
        super().__init__()
        self.config, self.pixels = config, parts.pixels
        self.patch_embed = parts.patch_embed()
        for name in ("cls_token", "dist_token")[: config.num_prefix_tokens]:
            setattr(self, name, nn.Parameter(torch.zeros(1, 1, config.embed_dim)))
        self.pos_embed = nn.Parameter(torch.empty(1, config.num_tokens, config.embed_dim))
        nn.init.trunc_normal_(self.pos_embed, std=POSITION_STD)
        self.grid = parts.grid()
        self.blocks = nn.ModuleList(Block(config, parts) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.embed_dim, eps=config.eps)
        self.head = nn.Linear(config.embed_dim, config.num_classes)
        if config.dist_token:
            self.head_dist = nn.Linear(config.embed_dim, config.num_classes)

    def named_blocks(self) -> Iterator[tuple[str, Block]]:
        """Each block with its name in the state dict, `blocks.0` first."""
        for index, block in enumerate(self.blocks):
            yield f"blocks.{index}", cast(Block, block)

    def position(self) -> Tensor:
        """Position embedding with the prefix tokens added in, float32[1, N, D] on the residual's grid."""
        config = self.config
        tokens = [getattr(self, name) for name in ("cls_token", "dist_token")[: config.num_prefix_tokens]]
        padding = self.pos_embed.new_zeros(1, config.grid_size**2, config.embed_dim)
        return self.grid.round(self.pos_embed + torch.cat([*tokens, padding], 1))

    def embed(self, images: Tensor) -> Tensor:
        """Return the residual that enters the first block, float32[B, N, D], for uint8[B, H, W, C]."""
        patches = self.patch_embed(images)
        padding = patches.new_zeros(patches.shape[0], self.config.num_prefix_tokens, patches.shape[2])
        return self.grid(self.position() + torch.cat([padding, patches], 1))

    def pool(self, x: Tensor) -> Tensor:
        """Return the head's rows, float32[B, T, D]."""
        if self.config.pool == "mean":
            return self.grid.mean(x, self.config.pool_shift)
        return x[:, : self.config.num_prefix_tokens]

    def classify(self, rows: Tensor) -> Tensor:
        """Return logits, float32[B, classes]: the mean of the class and the distillation head where both exist."""
        rows = self.norm(rows)
        if not self.config.dist_token:
            logits: Tensor = self.head(rows[:, 0])
            return logits
        return (self.head(rows[:, 0]) + self.head_dist(rows[:, 1])) / 2

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, float32[B, classes], for images uint8[B, H, W, C]."""
        x = self.embed(images)
        for block in self.blocks:
            x = block(x)
        return self.classify(self.pool(x))


class RealViT(VisionTransformer):
    """The real-valued twin, a plain DeiT: teacher of the Bi-ViT and source of its first weights.

    Parameters
    ----------
    config : ViTConfig
    pixels : PixelNorm
    """

    kind = "float"

    def __init__(self, config: ViTConfig, pixels: PixelNorm | None = None) -> None:
        super().__init__(config, real_parts(config, pixels or PixelNorm.default(config)))


class BiViT(VisionTransformer):
    """The fully binarized vision transformer, integer-aware in every forward pass.

    Parameters
    ----------
    config : ViTConfig
    pixels : PixelNorm
    formats : Formats
    slope : str
        Gradient of the activations' signs, a key of `binarize.SIGN_GRADIENTS`.
    """

    kind = "binary"

    def __init__(
        self,
        config: ViTConfig,
        pixels: PixelNorm | None = None,
        formats: Formats | None = None,
        slope: str = "bireal",
    ) -> None:
        formats = formats or Formats()
        super().__init__(config, binary_parts(config, pixels or PixelNorm.default(config), formats, slope))
        self.formats, self.slope = formats, slope

    def head_parameters(self) -> tuple[Tensor, Tensor]:
        """Classifier with the last norm's gamma and beta folded in: float64[classes, T*D] and float64[classes]."""
        heads = [self.head, self.head_dist] if self.config.dist_token else [self.head]
        weights = [head.weight.double() / len(heads) for head in heads]
        gamma, beta = self.norm.weight.double(), self.norm.bias.double()
        bias = torch.stack(
            [head.bias.double() / len(heads) + weight @ beta for head, weight in zip(heads, weights, strict=True)]
        )
        return torch.cat([weight * gamma for weight in weights], 1), bias.sum(0)

    @torch.no_grad()
    def exact_logits(self, rows: Tensor) -> Tensor:
        """Logits of the folded network in real units, float64[B, classes], for rows on the residual's grid."""
        x = fold.residual_integers(rows, self.formats) >> self.formats.norm_shift
        eps = fold.block_norm_eps(self.config.embed_dim, self.config.eps, self.formats)
        y, _, _, _ = operators.normalise(x, eps, self.formats)
        head = fold.head_integers(*self.head_parameters(), self.formats)
        return (operators.signed_matmul(y.flatten(1), head.weight) + head.bias) * head.unit

    def classify(self, rows: Tensor) -> Tensor:
        """Return logits as `VisionTransformer.classify`, rounded as the folded network's."""
        return straight_through(super().classify(rows), self.exact_logits(rows))

    def project(self) -> None:
        """Keep every scale and gamma that must be positive so; call after each optimizer step."""
        for _, block in self.named_blocks():
            for part in (block.attn.q_norm, block.attn.k_norm, block.attn.attn_sign):
                part.project()


@torch.no_grad()
def forward_taps(model: VisionTransformer, images: Tensor, names: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """Run a model and keep the outputs of modules.

    Parameters
    ----------
    model : VisionTransformer
    images : uint8[B, H, W, C]
    names : sequence of str
        Module names: `blocks.0.attn.attn_sign` is the softmax of a RealViT, float32[B, H, N, N], and the binarized
        attention of a BiViT.

    Returns
    -------
    logits : float32[B, classes]
    taps : dict of str to tensor
        One entry a name.

    Raises
    ------
    BivitError
        When the model has no module of a name.
    """
    taps: dict[str, Tensor] = {}
    modules = dict(model.named_modules())
    unknown = sorted(set(names) - set(modules))
    check(not unknown, f"the model has no modules {', '.join(unknown)}; `named_modules` lists their names")
    handles = [modules[name].register_forward_hook(partial(_keep, taps, name)) for name in names]
    try:
        logits = model(images)
    finally:
        for handle in handles:
            handle.remove()
    return logits, taps


def _keep(taps: dict[str, Tensor], name: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
    taps[name] = output
