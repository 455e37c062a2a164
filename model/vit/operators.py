"""The operators of docs/semantics.md on dense torch int64 tensors.

Written for clarity, not speed, and without any code of `sim`: `model.integer.run` composes them into the network that
must equal the reference, and the integer-aware layers of `model.vit.layers` use them in their forward pass. Bits are
int64 0 and 1; products of signs run on float64, which is exact below 2^53.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...sim.network.formats import Formats


def isqrt(values: Tensor) -> Tensor:
    """Floor of the square root of int64 values 0 .. 2^62, exact.

    >>> isqrt(torch.tensor([0, 3, 4, 2**62 - 1])).tolist()
    [0, 1, 2, 2147483647]
    """
    # float64 is off by one at most, because its relative error is 2^-53 and the root has 31 bits.
    root = values.double().sqrt().long()
    root = torch.where(root * root > values, root - 1, root)
    return torch.where((root + 1) * (root + 1) <= values, root + 1, root)


def saturate(values: Tensor, bits: int) -> Tensor:
    """Clamp int64 values to the two's-complement range of `bits` bits."""
    return values.clamp(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def signed_matmul(a: Tensor, b: Tensor) -> Tensor:
    """Matrix product of int64 tensors with small entries (sums below 2^53), exact, over the last axes of `a` and `b`.

    Parameters
    ----------
    a : int64[..., R, K]
    b : int64[..., C, K]

    Returns
    -------
    int64[..., R, C]
    """
    return (a.double() @ b.double().transpose(-1, -2)).long()


def patches(images: Tensor, patch_size: int) -> Tensor:
    """Cut images into patches, each in the order (row, column, channel).

    Parameters
    ----------
    images : any dtype [B, H, W, C]
        H and W multiples of `patch_size`.
    patch_size : int

    Returns
    -------
    same dtype [B, (H / p) * (W / p), p * p * C]
    """
    batch, height, width, channels = images.shape
    rows, columns = height // patch_size, width // patch_size
    grid = images.reshape(batch, rows, patch_size, columns, patch_size, channels)
    return grid.permute(0, 1, 3, 2, 4, 5).reshape(batch, rows * columns, -1)


def merge_neighbours(x: Tensor, grid: int) -> Tensor:
    """Put the channels of 2 x 2 neighbours side by side: (0, 0), (1, 0), (0, 1), (1, 1) of (row, column).

    Parameters
    ----------
    x : any dtype [B, grid * grid, C]
    grid : int
        Even.

    Returns
    -------
    same dtype [B, grid * grid / 4, 4 * C]
    """
    plane = x.unflatten(1, (grid, grid))
    corners = [plane[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
    return torch.cat(corners, -1).flatten(1, 2)


def patch_embed(pixels: Tensor, weight: Tensor, scale: Tensor, bias: Tensor, shift: int) -> Tensor:
    """Paragraph 1 without position embedding and saturation: ``(pixels . w * S + B + half) >> n``.

    Parameters
    ----------
    pixels : int64[B, T, K]
        Patches, 0 .. 255.
    weight : int64[D, K]
    scale, bias : int64[D]
    shift : int
        n, 1 .. 40.

    Returns
    -------
    int64[B, T, D]
    """
    return (signed_matmul(pixels, weight) * scale + bias + (1 << (shift - 1))) >> shift


def affine(y: Tensor, scale: Tensor, bias: Tensor, frac_bits: int) -> Tensor:
    """Gamma and beta of the norm of the patches (paragraph 1): ``((y * scale + half) >> frac_bits) + bias``."""
    return ((y * scale + (1 << (frac_bits - 1))) >> frac_bits) + bias


def statistics(x: Tensor, eps: Tensor | int) -> tuple[Tensor, Tensor, Tensor]:
    """Sum and root of paragraph 2 over the last axis.

    Parameters
    ----------
    x : int64[..., C]
    eps : int or int64, broadcastable to [..., 1]
        At least 1.

    Returns
    -------
    centred : int64[..., C]
        ``C * x - S1``.
    s1, root : int64[..., 1]
        S1, and R = isqrt(C * S2 - S1^2 + eps), C times the standard deviation.
    """
    channels = x.shape[-1]
    s1 = x.sum(-1, keepdim=True)
    s2 = (x * x).sum(-1, keepdim=True)
    return channels * x - s1, s1, isqrt(channels * s2 - s1 * s1 + eps)


def sign_norm(x: Tensor, theta: Tensor, eps: Tensor | int | None, formats: Formats) -> tuple[Tensor, Tensor, Tensor]:
    """Paragraphs 2 and 6: normalise over the last axis and compare with a threshold a channel.

    Parameters
    ----------
    x : int64[..., C]
    theta : int64, broadcastable to `x`
    eps : int, int64 or None
        None selects mode `mean`, in which R is a constant.
    formats : Formats

    Returns
    -------
    bits : int64[..., C]
    s1, root : int64[..., 1]
    """
    if eps is None:
        s1 = x.sum(-1, keepdim=True)
        centred = x.shape[-1] * x - s1
        root = torch.full_like(s1, 1 << (formats.theta_frac_bits + formats.mean_shift))
    else:
        centred, s1, root = statistics(x, eps)
    return ((centred << formats.theta_frac_bits) >= theta * root).long(), s1, root


def attention_threshold(weights: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
    """The comparison of paragraph 8, mode `softmax`.

    Parameters
    ----------
    weights : int64[B, H, N, N]
        Exp[h][m[i] - p[i, j]], 0 .. 2^15.
    tau : int64[H]

    Returns
    -------
    bits : int64[B, H, N, N]
    z : int64[B, H, N, 1]
        Row sums.
    """
    z = weights.sum(-1, keepdim=True)
    return ((weights << 16) >= tau.view(-1, 1, 1) * z).long(), z


def normalise(x: Tensor, eps: Tensor | int, frac_bits: int, formats: Formats) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Normalisation to numbers: the head's rows (paragraph 11) and Swin's patches (paragraph 1).

    Parameters
    ----------
    x : int64[..., C]
        ``X >> norm_shift``.
    eps : int or int64
    frac_bits : int
    formats : Formats

    Returns
    -------
    y : int64[..., C]
        Normalised values in units of 2^-frac_bits.
    s1, root, quotient : int64[..., 1]
        S1, R, Q = floor(2^head_m / R).
    """
    centred, s1, root = statistics(x, eps)
    quotient = (1 << formats.head_m) // root
    return (centred * quotient) >> (formats.head_m - frac_bits), s1, root, quotient
