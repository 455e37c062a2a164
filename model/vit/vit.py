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

from ...sim.errors import BivitError, check
from ...sim.network.blocks import BlockShape, MergeShape, Stage
from ...sim.network.config import ModelConfig, ViTConfig
from ...sim.network.formats import Formats
from . import fold, operators
from .attention import Attention
from .binarize import Binarization, straight_through
from .parts import Parts, binary_parts, binary_weight_parts, real_parts
from .patch import PixelNorm

#: Spread of the first position embeddings: that of the patch embeddings. DeiT's 0.02 suits its hundreds of epochs; a
#: short training must tell positions apart from its first step.
POSITION_STD = 0.3


class Mlp(nn.Module):
    """Two linear layers with the activation between.

    Parameters
    ----------
    block : BlockShape
    parts : Parts
    """

    def __init__(self, block: BlockShape, parts: Parts) -> None:
        super().__init__()
        self.fc1 = parts.linear(block.embed_dim, block.hidden_dim)
        self.act = parts.activation(block)
        self.fc2 = parts.residual_linear(block.hidden_dim, block.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the contribution to the residual, float32[B, N, D]."""
        return self.fc2(self.act(self.fc1(x), self.fc1.row_scale()))


class Block(nn.Module):
    """One transformer block.

    Parameters
    ----------
    block : BlockShape
    parts : Parts
    """

    def __init__(self, block: BlockShape, parts: Parts) -> None:
        super().__init__()
        self.norm1 = parts.norm(block.embed_dim, block.norm_mode, block.eps)
        self.attn = Attention(block, parts)
        self.norm2 = parts.norm(block.embed_dim, block.norm_mode, block.eps)
        self.mlp = Mlp(block, parts)
        self.grid = parts.grid()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the residual after attention and MLP, float32[B, N, D], and the attention's scores."""
        update, scores = self.attn(self.norm1(x))
        x = self.grid(x + update)
        return self.grid(x + self.mlp(self.norm2(x))), scores


class PatchMerging(nn.Module):
    """Make one token of four neighbours, with twice the channels (Swin, section 3.1; paragraph 10).

    Parameters
    ----------
    merge : MergeShape
    parts : Parts
    """

    def __init__(self, merge: MergeShape, parts: Parts) -> None:
        super().__init__()
        self.merge = merge
        self.norm = parts.norm(merge.in_dim, merge.norm_mode, merge.eps)
        self.reduction = parts.reduction(merge.in_dim, merge.out_dim)
        self.grid = parts.grid()

    def forward(self, x: Tensor) -> Tensor:
        """Return float32[B, N / 4, 2 * D] for float32[B, N, D]."""
        return self.grid(self.reduction(self.norm(operators.merge_neighbours(x, self.merge.grid))))


class SwinStage(nn.Module):
    """One stage of a Swin: patch merging, in all but the first, and blocks.

    Parameters
    ----------
    stage : Stage
    parts : Parts
    """

    def __init__(self, stage: Stage, parts: Parts) -> None:
        super().__init__()
        self.downsample = nn.Identity() if stage.merge is None else PatchMerging(stage.merge, parts)
        self.blocks = nn.ModuleList(Block(block, parts) for block in stage.blocks)


class VisionTransformer(nn.Module):
    """What the Bi-ViT and the real-valued twin share; use `BiViT` or `RealViT`.

    Parameters
    ----------
    config : ModelConfig
    parts : Parts
    """

    kind: str

    def __init__(self, config: ModelConfig, parts: Parts) -> None:
        super().__init__()
        self.config, self.pixels = config, parts.pixels
        self.patch_embed = parts.patch_embed()
        self.grid = parts.grid()
        if isinstance(config, ViTConfig):
            self._add_tokens(config)
            self.blocks = nn.ModuleList(Block(block, parts) for block in config.blocks)
        else:
            self.patch_embed.norm = parts.patch_norm()
            self.layers = nn.ModuleList(SwinStage(stage, parts) for stage in config.stages)
        self.norm = nn.LayerNorm(config.num_features, eps=config.eps)
        self.head = nn.Linear(config.num_features, config.num_classes)
        if config.head_rows == 2:
            self.head_dist = nn.Linear(config.num_features, config.num_classes)

    def _add_tokens(self, config: ViTConfig) -> None:
        for name in _prefix_names(config):
            setattr(self, name, nn.Parameter(torch.zeros(1, 1, config.embed_dim)))
        self.pos_embed = nn.Parameter(torch.empty(1, config.num_tokens, config.embed_dim))
        nn.init.trunc_normal_(self.pos_embed, std=POSITION_STD)

    def named_blocks(self) -> Iterator[tuple[str, Block]]:
        """Each block with its name in the state dict, in order."""
        for block in self.config.blocks:
            yield block.name, cast(Block, self.get_submodule(block.name))

    def position(self) -> Tensor:
        """Position embedding of a DeiT with the prefix tokens added in, float32[1, N, D] on the residual's grid."""
        config = self.config
        tokens = [getattr(self, name) for name in _prefix_names(config)]
        padding = self.pos_embed.new_zeros(1, config.grid_size**2, config.embed_dim)
        return self.grid.round(self.pos_embed + torch.cat([*tokens, padding], 1))

    def embed(self, images: Tensor) -> Tensor:
        """Return the residual that enters the first block, float32[B, N, D], for uint8[B, H, W, C]."""
        size = (self.config.img_size, self.config.img_size, self.config.in_chans)
        if images.ndim != 4 or images.shape[1:] != size:
            wanted = f"[B, {', '.join(map(str, size))}]"
            raise BivitError(
                f"images must have shape {wanted}, got {list(images.shape)}; resize them, or take a model of this size"
            )
        patches = self.patch_embed(images)
        if self.config.patch_norm:
            return self.grid(self.patch_embed.norm(self.grid(patches)))
        padding = patches.new_zeros(patches.shape[0], self.config.num_prefix_tokens, patches.shape[2])
        return self.grid(self.position() + torch.cat([padding, patches], 1))

    def encode(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the residual after the last block, float32[B, N, D], and the attention's scores of each block."""
        x, scores = self.embed(images), []
        for stage in self.config.stages:
            if stage.merge is not None:
                x = self.get_submodule(stage.merge.name)(x)
            for block in stage.blocks:
                x, of_block = self.get_submodule(block.name)(x)
                scores.append(of_block)
        return x, scores

    def pool(self, x: Tensor) -> Tensor:
        """Return the head's rows, float32[B, T, D]."""
        if self.config.mean_pool:
            return self.grid.mean(x, self.config.pool_shift)
        return x[:, : self.config.num_prefix_tokens]

    def head_logits(self, rows: Tensor) -> list[Tensor]:
        """Logits of each head, float32[B, classes], for normalised rows: of the class, then the distillation token."""
        if self.config.head_rows == 1:
            return [self.head(rows[:, 0])]
        return [self.head(rows[:, 0]), self.head_dist(rows[:, 1])]

    def classify(self, x: Tensor) -> list[Tensor]:
        """Logits of each head for the residual after the last block."""
        return self.head_logits(self.norm(self.pool(x)))

    def forward_scores(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return what a distillation compares.

        Parameters
        ----------
        images : uint8[B, H, W, C]

        Returns
        -------
        logits : list of float32[B, classes]
            Of the head, and of the distillation head where there is one.
        scores : list of float32[B * W, H, n, n]
            For each block, what the softmax is taken of; pairs that may not attend hold `heads.MASKED_SCORE`.
        """
        x, scores = self.encode(images)
        return self.classify(x), scores

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, float32[B, classes], for images uint8[B, H, W, C]: the mean of the heads."""
        logits, _ = self.forward_scores(images)
        return torch.stack(logits).mean(0)


def _prefix_names(config: ModelConfig) -> tuple[str, ...]:
    return ("cls_token", "dist_token")[: config.num_prefix_tokens]


class RealViT(VisionTransformer):
    """The real-valued twin, a plain DeiT or Swin: teacher of the Bi-ViT and source of its first weights.

    Parameters
    ----------
    config : ModelConfig
    pixels : PixelNorm
    """

    kind = "float"

    def __init__(self, config: ModelConfig, pixels: PixelNorm | None = None) -> None:
        super().__init__(config, real_parts(config, pixels or PixelNorm.default(config)))

    def classify(self, x: Tensor) -> list[Tensor]:
        """Logits of each head; a Swin normalises its tokens before they are pooled, as published."""
        if self.config.family == "swin":
            return self.head_logits(self.pool(self.norm(x)))
        return super().classify(x)


class BinaryWeightViT(RealViT):
    """The twin with binary weights and real activations: what a two-stage training trains first.

    Parameters
    ----------
    config : ModelConfig
    pixels : PixelNorm
    binarization : Binarization
        Only `weight_slope` matters.
    """

    kind = "weights"

    def __init__(
        self, config: ModelConfig, pixels: PixelNorm | None = None, binarization: Binarization | None = None
    ) -> None:
        self.binarization = binarization = binarization or Binarization()
        parts = binary_weight_parts(config, pixels or PixelNorm.default(config), binarization)
        VisionTransformer.__init__(self, config, parts)


class BiViT(VisionTransformer):
    """The fully binarized vision transformer; integer-aware, and exact in evaluation mode (`model.vit.layers`).

    Parameters
    ----------
    config : ModelConfig
    pixels : PixelNorm
    formats : Formats
    binarization : Binarization
    """

    kind = "binary"

    def __init__(
        self,
        config: ModelConfig,
        pixels: PixelNorm | None = None,
        formats: Formats | None = None,
        binarization: Binarization | None = None,
    ) -> None:
        formats, binarization = formats or Formats(), binarization or Binarization()
        super().__init__(config, binary_parts(config, pixels or PixelNorm.default(config), formats, binarization))
        self.formats, self.binarization = formats, binarization

    def head_parameters(self) -> tuple[Tensor, Tensor]:
        """Classifier with the last norm's gamma and beta folded in: float64[classes, T*D] and float64[classes]."""
        heads = [self.head, self.head_dist] if self.config.head_rows == 2 else [self.head]
        weights = [head.weight.double() / len(heads) for head in heads]
        gamma, beta = self.norm.weight.double(), self.norm.bias.double()
        bias = torch.stack(
            [head.bias.double() / len(heads) + weight @ beta for head, weight in zip(heads, weights, strict=True)]
        )
        return torch.cat([weight * gamma for weight in weights], 1), bias.sum(0)

    @torch.no_grad()
    def exact_logits(self, rows: Tensor) -> Tensor:
        """Logits of the folded network in real units, float64[B, classes], for rows on the residual's grid."""
        formats, config = self.formats, self.config
        x = fold.residual_integers(rows, formats) >> formats.norm_shift
        eps = fold.block_norm_eps(config.num_features, config.eps, formats)
        y, _, _, _ = operators.normalise(x, eps, formats.head_frac_bits, formats)
        head = fold.head_integers(*self.head_parameters(), formats)
        return (operators.signed_matmul(y.flatten(1), head.weight) + head.bias) * head.unit

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, float32[B, classes]; in evaluation mode rounded as the folded network's."""
        if self.training:
            return super().forward(images)
        x, _ = self.encode(images)
        real = torch.stack(self.classify(x)).mean(0)
        return straight_through(real, self.exact_logits(self.pool(x)))

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
        One entry a name; of a module with several outputs, the first.

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


def _keep(taps: dict[str, Tensor], name: str, module: nn.Module, inputs: Any, output: Any) -> None:
    taps[name] = output[0] if isinstance(output, tuple) else output
