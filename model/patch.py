"""Patch embedding and the normalisation of pixels that is folded into it (docs/semantics.md, paragraph 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..sim.config import Formats, ViTConfig
from ..sim.errors import check
from . import fold, operators
from .binarize import straight_through


@dataclass(frozen=True)
class PixelNorm:
    """Normalisation of pixels, ``(pixel / 255 - mean) / std``, a value a channel.

    Raises
    ------
    BivitError
        When the two lengths differ or a std is not positive.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        check(
            len(self.mean) == len(self.std) and min(self.std, default=0) > 0,
            f"mean and std need one value a channel, and std above 0, got mean {self.mean} and std {self.std}",
        )

    @classmethod
    def default(cls, config: ViTConfig) -> PixelNorm:
        """Map 0 .. 255 to -1 .. 1 in every channel."""
        return cls((0.5,) * config.in_chans, (0.5,) * config.in_chans)


class PatchEmbed(nn.Module):
    """Patch embedding in real arithmetic, as a convolution whose stride is its kernel.

    Parameters
    ----------
    config : ViTConfig
    pixels : PixelNorm
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ViTConfig, pixels: PixelNorm) -> None:
        super().__init__()
        check(
            len(pixels.mean) == config.in_chans,
            f"pixel normalisation needs {config.in_chans} channels, as the config, got {len(pixels.mean)}",
        )
        self.patch_size = config.patch_size
        self.proj = nn.Conv2d(config.in_chans, config.embed_dim, config.patch_size, stride=config.patch_size)
        # In the order (row, column, channel); not in the state dict, whose keys are timm's.
        repeats = config.patch_size**2
        self.register_buffer("mean", torch.tensor(pixels.mean * repeats), persistent=False)
        self.register_buffer("std", torch.tensor(pixels.std * repeats), persistent=False)

    def matrix(self) -> Tensor:
        """Weights as float32[D, K] in the order (row, column, channel)."""
        return self.proj.weight.permute(0, 2, 3, 1).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Return float32[B, T, D] for images uint8[B, H, W, C]."""
        pixels = operators.patches(images, self.patch_size).to(self.mean.dtype)
        return F.linear((pixels / 255 - self.mean) / self.std, self.matrix(), self.proj.bias)


class IntegerPatchEmbed(PatchEmbed):
    """Patch embedding with the rounding of paragraph 1 in the forward pass.

    Parameters
    ----------
    config : ViTConfig
    pixels : PixelNorm
    formats : Formats
    """

    def __init__(self, config: ViTConfig, pixels: PixelNorm, formats: Formats) -> None:
        super().__init__(config, pixels)
        self.formats = formats

    def integers(self) -> fold.PatchIntegers:
        """Weights, multiplier, bias and shift of the folded network."""
        bias = self.proj.bias
        assert bias is not None
        return fold.patch_integers(self.matrix().detach(), bias.detach(), self.mean, self.std, self.formats)

    def forward(self, images: Tensor) -> Tensor:
        """Return float32[B, T, D] on the residual's grid for images uint8[B, H, W, C]."""
        exact = operators.patch_embed(operators.patches(images, self.patch_size).long(), *self.integers())
        return straight_through(super().forward(images), exact * 2.0**-self.formats.residual_frac_bits)
