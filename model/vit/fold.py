"""From real parameters to the integers of docs/semantics.md: the one place where a parameter's rounding is decided.

The integer-aware layers call these functions in every forward pass, and export writes the same values into the
artefact: a model is trained with exactly the numbers that the hardware will hold. All functions are pure, take detached
tensors of any float dtype, compute in float64 and return int64.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ...sim.network.formats import EPS_BITS, Formats

#: Largest patch multiplier S and largest right shift n of paragraph 1.
PATCH_SCALE_MAX = 2**15 - 1
PATCH_SHIFT_MAX = 40
#: Fraction bits of Exp[h] and Tau[h] of paragraph 8; Exp[h][0] is 1.
EXP_FRAC_BITS = 15
TAU_FRAC_BITS = 16


def to_grid(values: Tensor, frac_bits: int) -> Tensor:
    """Round to multiples of 2^-frac_bits (ties to even) and return the multiples.

    >>> to_grid(torch.tensor([0.3, -0.5]), 2).tolist()
    [1, -2]
    """
    return torch.round(values.double() * 2.0**frac_bits).long()


def residual_integers(x: Tensor, formats: Formats) -> Tensor:
    """The integers X of residual values that already lie on the grid."""
    return (x * 2.0**formats.residual_frac_bits).long()


def flips(weight: Tensor) -> Tensor:
    """-1 where gamma is negative and the consumer's weight column is negated (paragraph 2), else +1."""
    return torch.where(weight < 0, -1, 1)


def _norm_theta(weight: Tensor, bias: Tensor, unit: float, formats: Formats) -> Tensor:
    """round(-beta / gamma * unit), saturated; with a gamma of 0 the end of the range that gives sign(beta)."""
    low, high = -(1 << (formats.theta_bits - 1)), (1 << (formats.theta_bits - 1)) - 1
    constant = torch.where(bias >= 0, low, high)
    safe = torch.where(weight == 0, 1.0, weight.double())
    theta = torch.round(-bias.double() / safe * unit).clamp(low, high).long()
    return torch.where(weight == 0, constant, theta)


def layernorm_theta(weight: Tensor, bias: Tensor, formats: Formats) -> Tensor:
    """Theta of mode `layernorm`: -beta/gamma in units of 2^-theta_frac_bits standard deviations."""
    return _norm_theta(weight, bias, 2.0**formats.theta_frac_bits, formats)


def mean_theta(weight: Tensor, bias: Tensor, formats: Formats) -> Tensor:
    """Theta of mode `mean`: -beta/gamma in the units of C * x - S1, divided by 2^mean_shift."""
    steps = 2.0 ** (formats.residual_frac_bits - formats.norm_shift - formats.mean_shift)
    return _norm_theta(weight, bias, weight.shape[-1] * steps, formats)


def block_norm_eps(channels: int, eps: float, formats: Formats) -> int:
    """Eps of SignNorm and of the head: the LayerNorm's eps in squared units of C * x, at least 1."""
    return max(1, round(channels**2 * eps * 2.0 ** (2 * (formats.residual_frac_bits - formats.norm_shift))))


def sign_theta(row_scale: Tensor, bias: Tensor, length: int) -> Tensor:
    """Smallest integer acc with ``row_scale * acc + bias >= 0``, kept in -length .. length + 2 (paragraph 5).

    Parameters
    ----------
    row_scale : float[...]
        0 or more; at 0 the bit is the constant sign(bias).
    bias : float, same shape
    length : int
        K: acc lies in -K .. K.
    """
    constant = torch.where(bias >= 0, -length, length + 2)
    safe = torch.where(row_scale == 0, 1.0, row_scale.double())
    theta = torch.ceil(-bias.double() / safe).clamp(-length, length + 2).long()
    return torch.where(row_scale == 0, constant, theta)


class HeadScale(NamedTuple):
    """Scale of paragraph 6, int64[H, E] in 1 .. 2^qk_scale_bits - 1, and the real value of one step, float64[H]."""

    scale: Tensor
    unit: Tensor


def head_scale(row_scale: Tensor, formats: Formats) -> HeadScale:
    """Round row scales (float[H, E], 0 or more) relative to the largest of their head."""
    largest_step = 2**formats.qk_scale_bits - 1
    largest = row_scale.double().amax(-1)
    unit = torch.where(largest > 0, largest, 1.0) / largest_step
    return HeadScale(torch.round(row_scale.double() / unit[:, None]).clamp(1, largest_step).long(), unit)


def head_norm_eps(unit: Tensor, head_dim: int, eps: float) -> Tensor:
    """Eps[h] of paragraph 6: the LayerNorm's eps in squared steps of E * x, at least 1.

    A head whose weights are next to nothing has a larger one than `EPS_BITS` hold. It is kept at 2^EPS_BITS, under
    which every x of the head counts as 0, and export refuses it by name.
    """
    return torch.round(head_dim**2 * eps / unit.square()).clamp(min=1, max=2.0**EPS_BITS).long()


def exp_weights(distance: Tensor, sharpness: Tensor) -> Tensor:
    """``round(2^15 * exp(-distance * lambda))`` of paragraph 8.

    Parameters
    ----------
    distance : float or int[..., H, ...]
        Largest dot product of the row minus the dot product, 0 or more: 2 * (m - p).
    sharpness : float, broadcastable to `distance`
        lambda_h, above 0.
    """
    return torch.round(2**EXP_FRAC_BITS * torch.exp(-distance.double() * sharpness.double())).long()


def exp_table(sharpness: Tensor, largest_score: int) -> Tensor:
    """Exp[h] (int64[H, largest_score + 1]) for lambda (float[H])."""
    return exp_weights(2 * torch.arange(largest_score + 1, device=sharpness.device), sharpness[:, None])


def attention_tau(threshold: Tensor) -> Tensor:
    """Tau[h] = round(2^16 * tau_h), kept in 0 .. 2^16."""
    return torch.round(2**TAU_FRAC_BITS * threshold.double()).clamp(0, 2**TAU_FRAC_BITS).long()


def score_theta(threshold: Tensor, sharpness: Tensor, head_dim: int, largest_score: int) -> Tensor:
    """Smallest p with ``lambda * (2p - E) >= threshold``, kept in 0 .. largest + 1 (paragraph 8, mode `score`)."""
    least = torch.ceil((head_dim + threshold.double() / sharpness.double()) / 2)
    return least.clamp(0, largest_score + 1).long()


def relative_bias(table: Tensor, sharpness: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    """Round a relative position bias to whole popcounts (paragraph 7).

    Parameters
    ----------
    table : float[R, H]
    sharpness : float[H]
        lambda_h, above 0.
    head_dim : int

    Returns
    -------
    steps : int64[R, H]
        Rel, 0 .. E.
    lowest : float[H]
        What was taken off before: the smallest bias of each head.
    """
    lowest = table.amin(0)
    steps = torch.round((table.double() - lowest.double()) / (2 * sharpness.double()))
    return steps.clamp(0, head_dim).long(), lowest


class PatchIntegers(NamedTuple):
    """Parameters of paragraph 1: weight int64[D, K], scale (S) and bias (B) int64[D], shift (n)."""

    weight: Tensor
    scale: Tensor
    bias: Tensor
    shift: int


def patch_integers(weight: Tensor, bias: Tensor, mean: Tensor, std: Tensor, formats: Formats) -> PatchIntegers:
    """Fold pixel normalisation and the patch convolution into int8 weights, a multiplier and a bias a channel.

    Parameters
    ----------
    weight : float[D, K]
        In the order (row, column, channel), for pixels ``(pixel / 255 - mean) / std``.
    bias : float[D]
    mean, std : float[K]
    formats : Formats
    """
    per_pixel = weight.double() / (255 * std.double())
    largest = per_pixel.abs().amax(1)
    step = torch.where(largest > 0, largest, 1.0) / 127
    rounded = torch.round(per_pixel / step[:, None])
    grid_step = step * 2.0**formats.residual_frac_bits
    shift = int(torch.floor(torch.log2(PATCH_SCALE_MAX / grid_step.max())).clamp(1, PATCH_SHIFT_MAX))
    scale = torch.round(grid_step * 2.0**shift).clamp(1, PATCH_SCALE_MAX)
    # The mean is taken off with the rounded weights, so that a pixel equal to the mean contributes exactly nothing.
    offset = (rounded * (255 * mean.double())).sum(1) * scale
    total = torch.round(bias.double() * 2.0 ** (formats.residual_frac_bits + shift) - offset)
    return PatchIntegers(rounded.long(), scale.long(), total.long(), shift)


class PatchNormIntegers(NamedTuple):
    """Parameters of the norm of the patches (paragraph 1, Swin): scale (G) and bias (B') int64[D], eps (Eps)."""

    scale: Tensor
    bias: Tensor
    eps: int


def patch_norm_integers(weight: Tensor, bias: Tensor, eps: float, formats: Formats) -> PatchNormIntegers:
    """Put gamma and beta (float[D]) of the norm of the patches on the residual's grid."""
    frac_bits = formats.residual_frac_bits
    return PatchNormIntegers(
        to_grid(weight, frac_bits), to_grid(bias, frac_bits), block_norm_eps(len(weight), eps, formats)
    )


class HeadIntegers(NamedTuple):
    """Parameters of paragraph 11: weight int64[classes, T*D], bias int64[classes], real value of one logit step."""

    weight: Tensor
    bias: Tensor
    unit: float


def head_integers(weight: Tensor, bias: Tensor, formats: Formats) -> HeadIntegers:
    """Round the classifier to int8 with one scale.

    Parameters
    ----------
    weight : float[classes, T*D]
        gamma of the last norm already multiplied in.
    bias : float[classes]
        beta of the last norm already added in.
    formats : Formats
    """
    largest = float(weight.double().abs().max())
    step = (largest if largest > 0 else 1.0) / 127
    unit = step * 2.0**-formats.head_frac_bits
    return HeadIntegers(torch.round(weight.double() / step).long(), torch.round(bias.double() / unit).long(), unit)
