"""Operators on the residual stream: paragraphs 1, 2, 4, 6, 10 and 11 of docs/semantics.md.

The norms are composed as in the hardware: a statistics unit (S1, V), a square root (`sim.fixed.isqrt`) and comparison
lanes, each a compiled loop over ``[B, groups, N, channels]``, where a group is a set of channels normalised together
(one for SignNorm, the heads for HeadNorm). `sim.tensors` checks that nothing here can leave int64.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .config import Formats
from .fixed import isqrt, round_half_up_shift, saturate_signed

Int64s = NDArray[np.int64]
Int32s = NDArray[np.int32]


class SignNormResult(NamedTuple):
    """What SignNorm and HeadNorm produce: bits as the input's shape (uint8), S1 and R a row (int64)."""

    bits: NDArray[np.uint8]
    s1: Int64s
    r: Int64s


class NormResult(NamedTuple):
    """What a norm to numbers produces: S1, R and Q [B, T], and y [B, T, D], all int64."""

    s1: Int64s
    r: Int64s
    q: Int64s
    y: Int64s


@njit(cache=True, nogil=True)
def _integer_products(rows: NDArray[np.integer], weights: NDArray[np.int8]) -> Int64s:
    acc = np.zeros((rows.shape[0], weights.shape[0]), dtype=np.int64)
    for n in range(rows.shape[0]):
        for o in range(weights.shape[0]):
            total = np.int64(0)
            for k in range(rows.shape[1]):
                total += np.int64(rows[n, k]) * np.int64(weights[o, k])
            acc[n, o] = total
    return acc


@njit(cache=True, nogil=True)
def _scaled_sums(x: Int64s, acc: Int64s, scale: Int32s, bias: Int32s) -> Int64s:
    sums = np.empty(x.shape, dtype=np.int64)
    for b in range(x.shape[0]):
        for n in range(x.shape[1]):
            for c in range(x.shape[2]):
                sums[b, n, c] = x[b, n, c] + np.int64(scale[c]) * acc[b, n, c] + np.int64(bias[c])
    return sums


@njit(cache=True, nogil=True)
def _statistics(x: Int64s, eps: Int64s) -> tuple[Int64s, Int64s]:
    batch, groups, tokens, channels = x.shape
    s1 = np.empty((batch, groups, tokens), dtype=np.int64)
    v = np.empty((batch, groups, tokens), dtype=np.int64)
    for b in range(batch):
        for g in range(groups):
            for n in range(tokens):
                total, squares = np.int64(0), np.int64(0)
                for c in range(channels):
                    total += x[b, g, n, c]
                    squares += x[b, g, n, c] * x[b, g, n, c]
                s1[b, g, n] = total
                v[b, g, n] = channels * squares - total * total + eps[g]
    return s1, v


@njit(cache=True, nogil=True)
def _compare(x: Int64s, s1: Int64s, r: Int64s, theta: Int32s, theta_frac_bits: int) -> NDArray[np.uint8]:
    batch, groups, tokens, channels = x.shape
    bits = np.empty(x.shape, dtype=np.uint8)
    for b in range(batch):
        for g in range(groups):
            for n in range(tokens):
                for c in range(channels):
                    centred = channels * x[b, g, n, c] - s1[b, g, n]
                    bits[b, g, n, c] = (centred << theta_frac_bits) >= np.int64(theta[g, c]) * r[b, g, n]
    return bits


def patch_embed(
    patches: NDArray[np.uint8], weight: NDArray[np.int8], scale: Int32s, bias: Int64s, shift: int
) -> Int64s:
    """Embed patches onto the residual grid (paragraph 1), not yet saturated.

    Parameters
    ----------
    patches : uint8[B, G, K]
        Pixels of a patch in the order (row, column, channel).
    weight : int8[D, K]
    scale, bias : int32[D], int64[D]
        S, 1 to 2^15 - 1, and B, 48 bits.
    shift : int
        n, 1 to 40.

    Returns
    -------
    int64[B, G, D]
    """
    batch, count, length = patches.shape
    acc = _integer_products(patches.reshape(batch * count, length), weight).reshape(batch, count, -1)
    return round_half_up_shift(acc * scale + bias, shift)


def add_position(patches: Int64s, position: Int32s, residual_bits: int) -> tuple[Int64s, int]:
    """Add the position embedding and put the prefix tokens, which are constants, before the patches (paragraph 1).

    Parameters
    ----------
    patches : int64[B, G, D]
    position : int32[N, D]
        P; its first N - G rows are the prefix tokens.
    residual_bits : int

    Returns
    -------
    x : int64[B, N, D]
        The residual stream.
    saturations : int
    """
    batch, count, channels = patches.shape
    x = np.empty((batch, len(position), channels), dtype=np.int64)
    x[:] = position
    x[:, len(position) - count :] += patches
    return saturate_signed(x, residual_bits)


def affine(y: Int64s, scale: Int32s, bias: Int32s, frac_bits: int) -> Int64s:
    """Gamma and beta of a real-valued norm (paragraph 1): ``((y * Scale[c] + half) >> frac_bits) + Bias[c]``."""
    return round_half_up_shift(y * scale, frac_bits) + bias


def sign_norm(x: Int64s, theta: Int32s, eps: int | None, formats: Formats) -> SignNormResult:
    """LayerNorm followed by sign, without a division (paragraph 2).

    Parameters
    ----------
    x : int64[B, N, D]
        The residual stream.
    theta : int32[D]
        Thresholds with `theta_frac_bits` fraction bits.
    eps : int or None
        Eps, 1 or more; None is mode `mean`, whose R is the constant 2^(theta_frac_bits + mean_shift).
    formats : Formats

    Returns
    -------
    SignNormResult
        bits [B, N, D], s1 and r [B, N].
    """
    shifted = (x >> formats.norm_shift)[:, np.newaxis]
    s1, v = _statistics(shifted, np.array([eps or 0], dtype=np.int64))
    if eps is None:
        r = np.full_like(s1, 1 << (formats.theta_frac_bits + formats.mean_shift))
    else:
        r = isqrt(v)
    bits = _compare(shifted, s1, r, theta[np.newaxis], formats.theta_frac_bits)
    return SignNormResult(bits[:, 0], s1[:, 0], r[:, 0])


def residual_add(x: Int64s, acc: Int64s, scale: Int32s, bias: Int32s, residual_bits: int) -> tuple[Int64s, int]:
    """Add a scaled product to the residual stream (paragraph 4): ``saturate(X + Scale[c] * acc + Bias[c])``.

    Parameters
    ----------
    x, acc : int64[B, N, D]
    scale, bias : int32[D]
    residual_bits : int

    Returns
    -------
    x : int64[B, N, D]
    saturations : int
    """
    return saturate_signed(_scaled_sums(x, acc, scale, bias), residual_bits)


def head_norm(acc: Int64s, theta: Int32s, scale: Int32s, eps: Int64s, theta_frac_bits: int) -> SignNormResult:
    """SignNorm over the channels of each head of ``x[c] = Scale[c] * acc[c]`` (paragraph 6, mode `layernorm`).

    Parameters
    ----------
    acc : int64[B, H, N, E]
    theta, scale : int32[H, E]
        Thresholds with `theta_frac_bits` fraction bits; scales of 1 or more.
    eps : int64[H]
    theta_frac_bits : int

    Returns
    -------
    SignNormResult
        bits [B, H, N, E], s1 and r [B, H, N].
    """
    x = acc * scale[:, np.newaxis]
    s1, v = _statistics(x, eps)
    r = isqrt(v)
    return SignNormResult(_compare(x, s1, r, theta, theta_frac_bits), s1, r)


def pool(x: Int64s, rows: int, mean_shift: int | None) -> Int64s:
    """Reduce the tokens to the rows of the classifier (paragraph 11).

    Parameters
    ----------
    x : int64[B, N, D]
    rows : int
        T, prefix tokens to take when there is no mean.
    mean_shift : int or None
        ceil(log2 N) for the mean over tokens, None to take the first `rows` tokens.

    Returns
    -------
    int64[B, T, D]
    """
    if mean_shift is None:
        return x[:, :rows]
    return x.sum(axis=1, keepdims=True) >> mean_shift


def normalise(x: Int64s, eps: int, frac_bits: int, formats: Formats) -> NormResult:
    """Normalise rows of the residual stream to numbers, by a reciprocal root (paragraphs 1 and 11).

    Parameters
    ----------
    x : int64[B, T, D]
    eps : int
        1 or more.
    frac_bits : int
        Of y.
    formats : Formats
        `norm_shift` and `head_m` are used.

    Returns
    -------
    NormResult
    """
    channels = x.shape[-1]
    shifted = x >> formats.norm_shift
    s1, v = _statistics(shifted[:, np.newaxis], np.array([eps], dtype=np.int64))
    s1, r = s1[:, 0], isqrt(v[:, 0])
    q = (1 << formats.head_m) // r
    centred = channels * shifted - s1[..., np.newaxis]
    return NormResult(s1, r, q, (centred * q[..., np.newaxis]) >> (formats.head_m - frac_bits))


def classify(y: Int64s, weight: NDArray[np.int8], bias: Int32s) -> Int64s:
    """Return the logits, int64[B, classes], of normalised rows int64[B, T, D] (paragraph 11).

    Parameters
    ----------
    y : int64[B, T, D]
    weight : int8[classes, T * D]
    bias : int32[classes]
    """
    return _integer_products(y.reshape(len(y), -1), weight) + bias
