"""Layers of the Bi-ViT, integer-aware: their forward pass computes the integers of docs/semantics.md exactly.

Every product sees only +-1 and 0/1 operands, every rounding is that of `model.fold`, and scales come after. The
gradient is that of the real-valued layer with straight-through estimators behind the signs and roundings. Activations
travel as float32 holding exact values: +-1, 0/1, small integers (products), or multiples of 2^-residual_frac_bits (the
residual). The layers of the attention heads are in `model.heads`; `model.parts` chooses between these and real ones.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..sim.config import Formats, ViTConfig
from . import fold, operators
from .binarize import fake_round, sign_ste, straight_through


class BinaryLinear(nn.Module):
    """Linear layer on +-1 activations with signs as weights (paragraph 3).

    The forward pass returns the integer products; the row scale, the mean magnitude of a row's latent weights, is
    applied by whoever reads them. There is no bias in the product: thresholds and the residual hold it.

    Parameters
    ----------
    in_features, out_features : int
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Return float32[..., out_features], integers of magnitude up to in_features, for +-1 in `x`."""
        return F.linear(x, sign_ste(self.weight, "clipped"))

    def row_scale(self) -> Tensor:
        """Real value of one product step, float64[out_features]; float64 so that no summation order can change it."""
        return self.weight.double().abs().mean(1)


class ResidualLinear(BinaryLinear):
    """Binary linear layer whose result is added to the residual: scale and bias on the residual's grid (paragraph 4).

    Parameters
    ----------
    in_features, out_features : int
    formats : Formats
    """

    def __init__(self, in_features: int, out_features: int, formats: Formats) -> None:
        super().__init__(in_features, out_features)
        self.frac_bits = formats.residual_frac_bits
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Return float32[..., out_features] on the residual's grid.

        Exact below 2^24 steps; anything larger saturates the residual, whatever its last bits are.
        """
        scale = fake_round(self.row_scale(), self.frac_bits).to(x.dtype)
        return super().forward(x) * scale + fake_round(self.bias, self.frac_bits)


class SignNorm(nn.Module):
    """LayerNorm (or subtraction of the mean, `norm_mode`) followed by sign, over the residual's channels (paragraph 2).

    Parameters
    ----------
    config : ViTConfig
    formats : Formats
    slope : str
        Gradient of the sign, a key of `binarize.SIGN_GRADIENTS`.
    """

    def __init__(self, config: ViTConfig, formats: Formats, slope: str) -> None:
        super().__init__()
        self.config, self.formats, self.slope = config, formats, slope
        self.weight = nn.Parameter(torch.ones(config.embed_dim))
        self.bias = nn.Parameter(torch.zeros(config.embed_dim))

    def theta(self) -> Tensor:
        """Integer thresholds, int64[D]."""
        to_theta = fold.layernorm_theta if self.config.norm_mode == "layernorm" else fold.mean_theta
        return to_theta(self.weight.detach(), self.bias.detach(), self.formats)

    def eps(self) -> int | None:
        """Integer Eps; None in mode `mean`."""
        if self.config.norm_mode == "mean":
            return None
        return fold.block_norm_eps(self.config.embed_dim, self.config.eps, self.formats)

    def forward(self, x: Tensor) -> Tensor:
        """Return +-1 (float32[B, N, D]) for the residual `x` (float32[B, N, D] on its grid).

        Channels with a negative gamma leave negated: the comparison is that of the folded network, also on a tie.
        """
        integers = fold.residual_integers(x.detach(), self.formats) >> self.formats.norm_shift
        bits, _, _ = operators.sign_norm(integers, self.theta(), self.eps(), self.formats)
        exact = (2 * bits - 1) * fold.flips(self.weight.detach())
        if self.config.norm_mode == "layernorm":
            normalised = F.layer_norm(x, x.shape[-1:], eps=self.config.eps)
        else:
            normalised = x - x.mean(-1, keepdim=True)
        return sign_ste(normalised * self.weight + self.bias, self.slope, exact)


class ThresholdSign(nn.Module):
    """Sign of a scaled product plus a bias, which is one integer threshold (paragraph 5): v, and GELU of fc1.

    Parameters
    ----------
    features, length : int
        Channels, and elements K of the dot products.
    slope : str
    """

    def __init__(self, features: int, length: int, slope: str) -> None:
        super().__init__()
        self.length, self.slope = length, slope
        self.bias = nn.Parameter(torch.zeros(features))

    def theta(self, row_scale: Tensor) -> Tensor:
        """Integer thresholds in the shape of `row_scale`."""
        return fold.sign_theta(row_scale.detach(), self.bias.detach().view(row_scale.shape), self.length)

    def forward(self, acc: Tensor, row_scale: Tensor) -> Tensor:
        """Return +-1 for integer products `acc` and row scales that broadcast against them."""
        exact = 2 * (acc.detach() >= self.theta(row_scale)).to(acc.dtype) - 1
        x = acc * row_scale.to(acc.dtype) + self.bias.view(row_scale.shape)
        return sign_ste(x, self.slope, exact)


class Sign(nn.Module):
    """Sign of the context (paragraph 9).

    Parameters
    ----------
    slope : str
    """

    def __init__(self, slope: str) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """Return +-1."""
        return sign_ste(x, self.slope)


class ResidualGrid(nn.Module):
    """The residual's number format (Vocabulary of docs/semantics.md).

    Parameters
    ----------
    formats : Formats
    """

    def __init__(self, formats: Formats) -> None:
        super().__init__()
        self.frac_bits = formats.residual_frac_bits
        limit = 1 << (formats.residual_bits - 1)
        self.low, self.high = -limit * 2.0**-self.frac_bits, (limit - 1) * 2.0**-self.frac_bits

    def forward(self, x: Tensor) -> Tensor:
        """Saturate values that lie on the grid."""
        return x.clamp(self.low, self.high)

    def round(self, x: Tensor) -> Tensor:
        """Round parameters onto the grid, with gradient 1."""
        return fake_round(x, self.frac_bits)

    def mean(self, x: Tensor, shift: int) -> Tensor:
        """Sum over the tokens (axis 1, kept) shifted right by `shift` (paragraph 11), with the gradient of the mean."""
        exact = torch.floor(x.detach().double().sum(1, keepdim=True) * 2.0 ** (self.frac_bits - shift))
        return straight_through(x.sum(1, keepdim=True) * 2.0**-shift, exact * 2.0**-self.frac_bits)
