"""Norms that end in bits: paragraphs 2 and 6 of docs/semantics.md; layouts and rules of `sim.reference.products`."""

from __future__ import annotations

import numpy as np

from ..system.jit import kernel
from .fixed import root
from .popcount import TURNS, Bits, Int32s, Int64s, Ints, Words, aligned_words, aligned_zeros, pack_flags


@kernel()
def _norm_rows(
    x: Int32s, theta: Int32s, frac: int, eps: int, constant: int, s1: Int64s, r: Int64s, flags: Bits, octets: Bits
) -> None:
    """Compare rows with their thresholds (paragraph 2) and pack the bits; write S1 and R."""
    channels = theta.shape[0]
    for i in range(s1.shape[0]):
        row, total, squares = x[i], np.int64(0), np.int64(0)
        for c in range(channels):
            total += np.int64(row[c])
            squares += np.int64(row[c]) * np.int64(row[c])
        s1[i], r[i] = total, channels * squares - total * total + eps
    for i in range(s1.shape[0]):
        r[i] = constant if constant else root(r[i])
    # (N_c * x - S1) << frac, with the shift multiplied in. All factors are int32, which vectors multiply at once.
    factor = np.int32(channels << frac)
    for i in range(s1.shape[0]):
        row, line, offset, times = x[i], flags[i], s1[i] << frac, np.int32(r[i])
        for c in range(channels):
            line[c] = np.int64(row[c]) * np.int64(factor) - offset >= np.int64(theta[c]) * np.int64(times)
    pack_flags(flags.reshape(-1).view(np.uint64), octets)


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
    theta : int32[channels]
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
    width = 64 * bits.shape[1]
    flags = aligned_zeros(TURNS * width // 8).view(np.uint8).reshape(TURNS, width)
    shifted = aligned_words(TURNS * width // 2).view(np.int32).reshape(TURNS, width)
    for first in range(0, rows, TURNS):
        end = min(first + TURNS, rows)
        for i in range(end - first):
            row, values = shifted[i], x[first + i]
            for c in range(channels):
                row[c] = values[c] >> shift
        octets = bits[first:end].reshape(-1).view(np.uint8)
        some = flags[: end - first]
        _norm_rows(shifted, theta, frac, eps, constant, s1[first:end], r[first:end], some, octets)


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
    flags = aligned_zeros(TURNS * 8).view(np.uint8).reshape(TURNS, 64)
    x = aligned_words(TURNS * 32).view(np.int32).reshape(TURNS, 64)
    for b in range(batch):
        for first in range(0, tokens, TURNS):
            end = min(first + TURNS, tokens)
            for h in range(heads):
                for i in range(end - first):
                    # A slice, as an index with an offset would be checked for negative values in the loop.
                    row, head = x[i], acc[b * tokens + first + i, start + h * channels : start + (h + 1) * channels]
                    for e in range(channels):
                        row[e] = np.int32(head[e]) * scale[h, e]
                octets = bits[b, h, first:end].view(np.uint8)
                some, sums, roots = flags[: end - first], s1[b, h, first:end], r[b, h, first:end]
                _norm_rows(x, theta[h], frac, eps[h], np.int64(0), sums, roots, some, octets)
