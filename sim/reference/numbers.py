"""Operators on numbers: residual stream, patch norm and head, paragraphs 1, 4 and 11 of docs/semantics.md.

The residual stream is int32 and is added to in place. `sim.network.tensors` checks that no sum here can leave its type.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..network.formats import Formats
from ..system.jit import kernel
from .fixed import root, round_half_up_shift

Int64s = NDArray[np.int64]
Int32s = NDArray[np.int32]


#: Largest magnitude of a scale whose products with int16 are added in int32.
_SCALE16 = 1 << 15


class NormResult(NamedTuple):
    """What a norm to numbers produces: S1, R and Q [B, T], and y [B, T, D], all int64."""

    s1: Int64s
    r: Int64s
    q: Int64s
    y: Int64s


@kernel()
def _integer_products(rows: NDArray[np.integer], weights: NDArray[np.int8]) -> Int64s:
    acc = np.zeros((rows.shape[0], weights.shape[0]), dtype=np.int64)
    for n in range(rows.shape[0]):
        for o in range(weights.shape[0]):
            total = np.int64(0)
            for k in range(rows.shape[1]):
                total += np.int64(rows[n, k]) * np.int64(weights[o, k])
            acc[n, o] = total
    return acc


@kernel()
def _normalise_rows(
    x: NDArray[Any], shift: int, eps: int, head_m: int, drop: int, s1: Int64s, r: Int64s, q: Int64s, y: Int64s
) -> None:
    rows, channels = x.shape
    for n in range(rows):
        total, squares = np.int64(0), np.int64(0)
        for c in range(channels):
            value = np.int64(x[n, c]) >> np.int64(shift)
            total += value
            squares += value * value
        s1[n], r[n] = total, root(channels * squares - total * total + eps)
        q[n] = (np.int64(1) << np.int64(head_m)) // r[n]
        for c in range(channels):
            centred = channels * (np.int64(x[n, c]) >> np.int64(shift)) - total
            y[n, c] = (centred * q[n]) >> np.int64(drop)


@kernel()
def residual_add(x: Int32s, acc: NDArray[Any], scale: Int32s, bias: Int32s, low: int, high: int) -> np.int64:
    """Add a scaled product to the residual stream (paragraph 4): ``saturate(X + Scale[c] * acc + Bias[c])``.

    Parameters
    ----------
    x : int32[rows, D]
        The residual stream, changed in place.
    acc : int[rows, D]
    scale, bias : int32[D]
    low, high : int
        Ends of the residual stream's range.

    Returns
    -------
    int
        How many elements were clamped.
    """
    saturations, least, most = np.int64(0), np.int32(low), np.int32(high)
    narrow = acc.itemsize == 2
    for c in range(scale.shape[0]):
        narrow &= np.abs(np.int64(scale[c])) <= _SCALE16
    for n in range(x.shape[0]):
        if narrow:
            # int16 by 16 bits, and two numbers of the stream's 24 bits or less, stay in int32: twice as many a vector.
            for c in range(x.shape[1]):
                short = np.int32(np.int32(x[n, c] + bias[c]) + np.int32(scale[c] * np.int32(acc[n, c])))
                inside = min(max(short, least), most)
                saturations += np.int64(inside != short)
                x[n, c] = inside
        else:
            for c in range(x.shape[1]):
                value = np.int64(x[n, c]) + np.int64(scale[c]) * np.int64(acc[n, c]) + np.int64(bias[c])
                clamped = min(max(value, np.int64(low)), np.int64(high))
                saturations += np.int64(clamped != value)
                x[n, c] = np.int32(clamped)
    return saturations


@kernel()
def affine(y: Int64s, scale: Int32s, bias: Int32s, frac_bits: int, low: int, high: int, x: Int32s) -> np.int64:
    """Gamma and beta of a real-valued norm (paragraph 1): ``saturate(((y * Scale[c] + half) >> frac_bits) + Bias[c])``.

    Parameters
    ----------
    y : int64[rows, D]
    scale, bias : int32[D]
    frac_bits : int
        1 or more.
    low, high : int
        Ends of the residual stream's range.
    x : int32[rows, D]
        Written: the residual stream.

    Returns
    -------
    int
        How many elements were clamped.
    """
    saturations = np.int64(0)
    for n in range(y.shape[0]):
        for c in range(y.shape[1]):
            value = round_half_up_shift(y[n, c] * np.int64(scale[c]), frac_bits) + np.int64(bias[c])
            clamped = min(max(value, np.int64(low)), np.int64(high))
            saturations += np.int64(clamped != value)
            x[n, c] = np.int32(clamped)
    return saturations


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


def normalise(x: NDArray[Any], eps: int, frac_bits: int, formats: Formats) -> NormResult:
    """Normalise rows of the residual stream to numbers, by a reciprocal root (paragraphs 1 and 11).

    Parameters
    ----------
    x : int32 or int64[B, T, D]
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
    rows, channels = int(np.prod(x.shape[:-1])), x.shape[-1]
    s1, r, q = (np.empty(rows, dtype=np.int64) for _ in range(3))
    y = np.empty((rows, channels), dtype=np.int64)
    drop = formats.head_m - frac_bits
    _normalise_rows(x.reshape(rows, channels), formats.norm_shift, eps, formats.head_m, drop, s1, r, q, y)
    lines = x.shape[:-1]
    return NormResult(s1.reshape(lines), r.reshape(lines), q.reshape(lines), y.reshape(x.shape))


def classify(y: Int64s, weight: NDArray[np.int8], bias: Int32s) -> Int64s:
    """Return the logits, int64[B, classes], of normalised rows int64[B, T, D] (paragraph 11).

    Parameters
    ----------
    y : int64[B, T, D]
    weight : int8[classes, T * D]
    bias : int32[classes]
    """
    return _integer_products(y.reshape(len(y), -1), weight) + bias
