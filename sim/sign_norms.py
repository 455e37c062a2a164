"""Norms that end in bits: paragraphs 2 and 6 of docs/semantics.md; layouts and rules are those of `sim.kernels`."""

from __future__ import annotations

import numpy as np

from .fixed import root
from .jit import kernel
from .popcount import Bits, Int32s, Int64s, Ints, Words, pack_flags


@kernel()
def _norm_flags(x: Int32s, theta: Int32s, frac: int, eps: int, constant: int, flags: Bits) -> tuple[np.int64, np.int64]:
    """Compare one row with its thresholds (paragraph 2); return S1 and R, which is `constant` unless that is 0."""
    channels = x.shape[0]
    s1, s2 = np.int64(0), np.int64(0)
    for c in range(channels):
        s1 += np.int64(x[c])
        s2 += np.int64(x[c]) * np.int64(x[c])
    r = np.int64(constant)
    if r == 0:
        r = root(channels * s2 - s1 * s1 + eps)
    # (N_c * x - S1) << frac, with the shift multiplied in. All factors are int32, which vectors multiply at once.
    factor, offset, times = np.int32(channels << frac), s1 << frac, np.int32(r)
    for c in range(channels):
        flags[c] = np.int64(x[c]) * np.int64(factor) - offset >= np.int64(theta[c]) * np.int64(times)
    return s1, r


@kernel()
def sign_norm(
    x: Int32s, shift: int, theta: Int32s, frac: int, eps: int, constant: int, bits: Words, s1: Int64s, r: Int64s
) -> None:
    """LayerNorm followed by sign, without a division (paragraph 2).

    Parameters
    ----------
    x : int32[rows, channels]
        The residual stream.
    shift : int
        `norm_shift`.
    theta : int32[1, channels]
        Thresholds with `frac` fraction bits.
    frac : int
    eps : int
        Eps, 1 or more.
    constant : int
        R in mode `mean`; 0 takes the root.
    bits : uint64[rows, words]
        Written: packed over the channels.
    s1, r : int64[rows]
        Written.
    """
    rows, channels = x.shape
    words = bits.shape[1]
    flags, packed = np.zeros(64 * words, dtype=np.uint8), np.empty(words, dtype=np.uint64)
    eights, octets = flags.view(np.uint64), packed.view(np.uint8)
    shifted = np.empty(channels, dtype=np.int32)
    for n in range(rows):
        for c in range(channels):
            shifted[c] = x[n, c] >> shift
        s1[n], r[n] = _norm_flags(shifted, theta[0], frac, eps, constant, flags)
        pack_flags(eights, octets)
        for w in range(words):
            bits[n, w] = packed[w]


@kernel()
def head_norm(
    acc: Ints, start: int, scale: Int32s, theta: Int32s, frac: int, eps: Int64s, bits: Words, s1: Int64s, r: Int64s
) -> None:
    """SignNorm over the channels of each head of ``x[c] = Scale[c] * acc[c]`` (paragraph 6, mode `layernorm`).

    Parameters
    ----------
    acc : int[B * N, columns]
        Those of q or k begin at column `start`.
    start : int
    scale, theta : int32[H, E]
    frac : int
        Fraction bits of theta.
    eps : int64[H]
    bits : uint64[B, H, N]
        Written: packed over the channels, of which a word holds all.
    s1, r : int64[B, H, N]
        Written.
    """
    batch, heads, tokens = bits.shape
    channels = theta.shape[1]
    flags, packed = np.zeros(64, dtype=np.uint8), np.empty(1, dtype=np.uint64)
    eights, octets = flags.view(np.uint64), packed.view(np.uint8)
    x = np.empty(channels, dtype=np.int32)
    for b in range(batch):
        for n in range(tokens):
            for h in range(heads):
                # A slice, as an index with an offset would be checked for negative values in the loop.
                head = acc[b * tokens + n, start + h * channels : start + (h + 1) * channels]
                for e in range(channels):
                    x[e] = np.int32(head[e]) * scale[h, e]
                s1[b, h, n], r[b, h, n] = _norm_flags(x, theta[h], frac, eps[h], 0, flags)
                pack_flags(eights, octets)
                bits[b, h, n] = packed[0]
