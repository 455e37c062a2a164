"""Patch embedding and the normalisation of pixels that is folded into it (docs/semantics.md, paragraph 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...sim.errors import check
from ...sim.network.config import ModelConfig
from ...sim.network.formats import Formats
from . import fold, operators
from .binarize import fake_floor, fake_round, straight_through
from .layers import standardise


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
    def default(cls, config: ModelConfig) -> PixelNorm:
        """Map 0 .. 255 to -1 .. 1 in every channel."""
        return cls((0.5,) * config.in_chans, (0.5,) * config.in_chans)


class PatchEmbed(nn.Module):
    """Patch embedding in real arithmetic, as a convolution whose stride is its kernel.

    Parameters
    ----------
    config : ModelConfig
    pixels : PixelNorm
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig, pixels: PixelNorm) -> None:
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
        # Pixels have eight bits and lose some in bfloat16.
        with torch.autocast(pixels.device.type, enabled=False):
            return F.linear((pixels / 255 - self.mean) / self.std, self.matrix(), self.proj.bias)


class IntegerPatchEmbed(PatchEmbed):
    """Patch embedding with the rounding of paragraph 1.

    Evaluation computes the integers. Training uses the rounded weights and rounds the result, in float32, which may
    differ by one step of the residual's grid.

    Parameters
    ----------
    config : ModelConfig
    pixels : PixelNorm
    formats : Formats
    """

    def __init__(self, config: ModelConfig, pixels: PixelNorm, formats: Formats) -> None:
        super().__init__(config, pixels)
        self.formats = formats

    def integers(self) -> fold.PatchIntegers:
        """Weights, multiplier, bias and shift of the folded network."""
        bias = self.proj.bias
        assert bias is not None
        return fold.patch_integers(self.matrix().detach(), bias.detach(), self.mean, self.std, self.formats)

    def forward(self, images: Tensor) -> Tensor:
        """Return float32[B, T, D] on the residual's grid for images uint8[B, H, W, C]."""
        real, frac_bits = super().forward(images), self.formats.residual_frac_bits
        weight, scale, bias, shift = self.integers()
        pixels = operators.patches(images, self.patch_size)
        if self.training:
            unit = 2.0 ** -(shift + frac_bits)
            scaled = (weight * scale[:, None] * unit).float()
            with torch.autocast(pixels.device.type, enabled=False):
                exact = F.linear(pixels.float(), scaled, (bias * unit).float())
            return straight_through(real, torch.round(exact * 2.0**frac_bits) * 2.0**-frac_bits)
        exact = operators.patch_embed(pixels.long(), weight, scale, bias, shift)
        return straight_through(real, exact * 2.0**-frac_bits)


class PatchNorm(nn.LayerNorm):
    """LayerNorm of the patches with the rounding of paragraph 1 (Swin).

    Parameters
    ----------
    channels : int
    eps : float
    formats : Formats
    """

    def __init__(self, channels: int, eps: float, formats: Formats) -> None:
        super().__init__(channels, eps=eps)
        self.formats = formats

    def integers(self) -> fold.PatchNormIntegers:
        """Scale, bias and Eps of the folded network."""
        return fold.patch_norm_integers(self.weight.detach(), self.bias.detach(), self.eps, self.formats)

    def forward(self, x: Tensor) -> Tensor:
        """Return float32[B, T, D] on the residual's grid for `x` on that grid."""
        formats, frac_bits = self.formats, self.formats.residual_frac_bits
        if self.training:
            norm_bits = frac_bits - formats.norm_shift
            y = standardise(fake_floor(x, norm_bits), self.eps * 4.0**norm_bits)
            y = fake_floor(y, frac_bits) * 2.0**-frac_bits
            return fake_round(y * fake_round(self.weight, frac_bits), frac_bits) + fake_round(self.bias, frac_bits)
        real = super().forward(x)
        scale, bias, eps = self.integers()
        steps = fold.residual_integers(x.detach(), formats) >> formats.norm_shift
        y, _, _, _ = operators.normalise(steps, eps, frac_bits, formats)
        exact = operators.affine(y, scale, bias, frac_bits)
        return straight_through(real, exact * 2.0**-frac_bits)
