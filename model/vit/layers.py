"""Layers of the Bi-ViT, integer-aware: they compute the integers of docs/semantics.md.

Every product sees only +-1 and 0/1 operands, every rounding is that of `model.vit.fold`, and scales come after. The
gradient is that of the real-valued layer with straight-through estimators behind the signs and roundings. Activations
travel as float32 holding exact values: +-1, 0/1, small integers (products), or multiples of 2^-residual_frac_bits (the
residual). The layers of the attention heads are in `model.vit.heads`; `model.vit.parts` chooses between these and real
ones.

In evaluation mode a layer computes the integers themselves, so that the folded network is equal bit for bit. In
training mode it computes the same formulas with the same rounded parameters in float32, which is several times as fast
and differs only where a value lies within float32's rounding error of its threshold.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...sim.network.formats import Formats
from . import fold, operators
from .binarize import fake_floor, fake_round, materialise, sign_ste, straight_through


class BinaryLinear(nn.Module):
    """Linear layer on +-1 activations with signs as weights (paragraph 3).

    The forward pass returns the integer products; the row scale, the mean magnitude of a row's latent weights, is
    applied by whoever reads them. There is no bias in the product: thresholds and the residual hold it.

    Parameters
    ----------
    in_features, out_features : int
    slope : str
        Gradient of the weights' signs, a key of `binarize.SIGN_GRADIENTS`.
    """

    def __init__(self, in_features: int, out_features: int, slope: str) -> None:
        super().__init__()
        self.in_features, self.slope = in_features, slope
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Return float32[..., out_features], integers of magnitude up to in_features, for +-1 in `x`."""
        return F.linear(x, sign_ste(self.weight, self.slope))

    def row_scale(self) -> Tensor:
        """Real value of one product step, float64[out_features]; float64 so that no summation order can change it."""
        return self.weight.double().abs().mean(1)


class ResidualLinear(BinaryLinear):
    """Binary linear layer whose result is added to the residual: scale and bias on the residual's grid (paragraph 4).

    Parameters
    ----------
    in_features, out_features : int
    slope : str
    formats : Formats
    """

    def __init__(self, in_features: int, out_features: int, slope: str, formats: Formats) -> None:
        super().__init__(in_features, out_features, slope)
        self.frac_bits = formats.residual_frac_bits
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Return float32[..., out_features] on the residual's grid.

        Exact below 2^24 steps; anything larger saturates the residual, whatever its last bits are.
        """
        scale = materialise(fake_round(self.row_scale(), self.frac_bits).float())
        return super().forward(x) * scale + materialise(fake_round(self.bias, self.frac_bits))


def standardise(x: Tensor, eps: Tensor | float) -> Tensor:
    """LayerNorm without gamma and beta over the last axis; a value that equals the mean of integers becomes exactly 0.

    `torch.nn.functional.layer_norm` accumulates the mean step by step, which breaks ties at random.
    """
    centred = x - x.mean(-1, keepdim=True)
    return centred * (centred.square().mean(-1, keepdim=True) + eps).rsqrt()


class SignNorm(nn.Module):
    """LayerNorm (or subtraction of the mean, `norm_mode`) followed by sign, over the residual's channels (paragraph 2).

    Parameters
    ----------
    channels : int
    norm_mode : str
        `layernorm` or `mean`.
    eps : float
        Of the LayerNorm.
    formats : Formats
    slope : str
        Gradient of the sign, a key of `binarize.SIGN_GRADIENTS`.
    """

    def __init__(self, channels: int, norm_mode: str, eps: float, formats: Formats, slope: str) -> None:
        super().__init__()
        self.norm_mode, self.real_eps, self.formats, self.slope = norm_mode, eps, formats, slope
        self.frac_bits = formats.residual_frac_bits - formats.norm_shift
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def theta(self) -> Tensor:
        """Integer thresholds, int64[D]."""
        to_theta = fold.layernorm_theta if self.norm_mode == "layernorm" else fold.mean_theta
        return to_theta(self.weight.detach(), self.bias.detach(), self.formats)

    def eps(self) -> int | None:
        """Integer Eps; None in mode `mean`."""
        if self.norm_mode == "mean":
            return None
        return fold.block_norm_eps(len(self.weight), self.real_eps, self.formats)

    def forward(self, x: Tensor) -> Tensor:
        """Return +-1 (float32[B, N, D]) for the residual `x` (float32[B, N, D] on its grid).

        Channels with a negative gamma leave negated: the comparison is that of the folded network, also on a tie.
        """
        steps = fake_floor(x, self.frac_bits)
        if self.norm_mode == "layernorm":
            normalised = standardise(steps, self.real_eps * 4.0**self.frac_bits)
            unit = 2.0**-self.formats.theta_frac_bits
        else:
            normalised = (steps - steps.mean(-1, keepdim=True)) * 2.0**-self.frac_bits
            unit = 2.0 ** (self.formats.mean_shift - self.frac_bits) / x.shape[-1]
        bits = self._bits(normalised.detach(), x.detach(), unit)
        exact = (2 * bits.to(x.dtype) - 1) * materialise(fold.flips(self.weight.detach()).to(x.dtype))
        return sign_ste(normalised * self.weight + self.bias, self.slope, exact)

    def _bits(self, normalised: Tensor, x: Tensor, unit: float) -> Tensor:
        """Bits of the residual `x`; `unit` is what one step of Theta is worth in the units of `normalised`."""
        if self.training:
            return normalised >= materialise((self.theta() * unit).float())
        integers = fold.residual_integers(x, self.formats) >> self.formats.norm_shift
        bits, _, _ = operators.sign_norm(integers, self.theta(), self.eps(), self.formats)
        return bits


class ThresholdSign(nn.Module):
    """Sign of a scaled product plus a bias, which is one integer threshold (paragraph 5): v, and GELU of fc1.

    The bias a channel is the learnable threshold of ReActNet (arXiv 2003.03488, section 4.2).

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
        acc = acc.float()
        exact = 2 * (acc.detach() >= materialise(self.theta(row_scale).float())).float() - 1
        return sign_ste(acc * materialise(row_scale.float()) + self.bias.view(row_scale.shape), self.slope, exact)


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
