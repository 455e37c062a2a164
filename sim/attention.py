"""Attention between packed heads: paragraphs 7 to 9 of docs/semantics.md; layouts and rules are those of `sim.kernels`.

The scores of a query stay in a row buffer. The softmax's threshold becomes the lowest score that gets a bit, so that a
row costs one table lookup for two keys.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .jit import kernel
from .popcount import Int32s, Int64s, Ints, Words, pack_flags, popcount


@kernel()
def _softmax_cut(
    row: Ints, top: int, exp: Int32s, pairs: Int32s, tau: int, index: NDArray[np.uint16]
) -> tuple[np.int64, np.int64]:
    """Lowest score with a bit, and Z of a row (paragraph 8); two scores are looked up at a time."""
    half, entries = index.shape[0], exp.shape[0]
    upper, masked = row[half:], np.int16(entries)
    for j in range(half):
        first = masked if row[j] < 0 else np.int16(top - row[j])
        second = masked if upper[j] < 0 else np.int16(top - upper[j])
        index[j] = np.uint16(np.int16(first * np.int16(entries + 1)) + second)
    total = np.int64(0)
    for j in range(half):
        total += np.int64(pairs[index[j]])
    # Exp << 16 >= limit and Exp >= limit / 2^16, rounded up, say the same; the latter fits int32.
    least = np.int32((np.int64(tau) * total + np.int64(0xFFFF)) >> np.int64(16))
    # Exp never rises with the distance from m, so the distances with a bit are the first ones.
    distances = np.int32(0)
    for distance in range(entries):
        distances = np.int32(distances + np.int32(exp[distance] >= least))
    return max(np.int64(0), np.int64(top) + np.int64(1) - np.int64(distances)), total


@kernel()
def attention(
    q: Words,
    k: Words,
    length: int,
    bias: Ints,
    allowed: NDArray[np.bool_],
    exp: Int32s,
    pairs: Int32s,
    limits: Int32s,
    bits: Words,
    m: Int64s,
    z: Int64s,
    p: Ints,
) -> np.int64:
    """Scores of every query with every key of its head, and their bits (paragraphs 7 and 8).

    ``p[i, j] = popcount(xnor(q[i], k[j])) + Rel``; with a table of exponentials the bits are those of the softmax,
    ``(Exp[h][m[i] - p[i, j]] << 16) >= Tau[h] * Z[i]``, else ``p[i, j] >= Theta[h]``.

    Parameters
    ----------
    q, k : uint64[B, H, N]
        Packed over the channels, of which a word holds all.
    length : int
        E, bits of a row.
    bias : int[H, N, N]
        The relative position bias of each pair; size 0 for none.
    allowed : bool[W, N, N]
        Which pairs may attend, image b being a window of the place b mod W; size 0 for all.
    exp : int32[H, largest score + 1]
        The table; size 0 is mode `score`.
    pairs : int32[H, (largest score + 2)**2]
        Sums of each two of its entries and a 0 after them, for pairs of keys (`sim.prepare.exp_pairs`).
    limits : int32[H]
        Tau, or Theta.
    bits : uint64[B, H, N, words of N]
        Written: ones and zeros, not signs, packed over the keys.
    m, z : int64[B, H, N]
        Written in mode `softmax`.
    p : int[B, H, N, N]
        Written, with -1 for pairs that may not attend; size 0 to leave it out.

    Returns
    -------
    int
        Rows without a 1.
    """
    batch, heads, tokens = q.shape
    words = bits.shape[3]
    flags, packed = np.zeros(64 * words, dtype=np.uint8), np.empty(words, dtype=np.uint64)
    eights, octets = flags.view(np.uint64), packed.view(np.uint8)
    # Whole vectors: the row goes on with keys that may not attend.
    row = np.empty(64 * words, dtype=np.int16)
    row[:] = -1
    index = np.empty((tokens + 1) // 2, dtype=np.uint16)
    empty = np.int64(0)
    for b in range(batch):
        for h in range(heads):
            keys = k[b, h]
            for i in range(tokens):
                query = q[b, h, i]
                for j in range(tokens):
                    row[j] = length - popcount(query ^ keys[j])
                if bias.size:
                    for j in range(tokens):
                        row[j] += bias[h, i, j]
                if allowed.size:
                    for j in range(tokens):
                        row[j] = row[j] if allowed[b % allowed.shape[0], i, j] else np.int16(-1)
                if p.size:
                    p[b, h, i] = row[:tokens]
                cut = np.int64(limits[h])
                if exp.size:
                    top = row[0]
                    for j in range(64 * words):
                        top = max(top, row[j])
                    m[b, h, i] = top
                    cut, z[b, h, i] = _softmax_cut(row, top, exp[h], pairs[h], limits[h], index)
                lowest = np.int16(cut)
                for j in range(64 * words):
                    flags[j] = row[j] >= lowest
                pack_flags(eights, octets)
                ones = np.uint64(0)
                for w in range(words):
                    bits[b, h, i, w] = packed[w]
                    ones |= packed[w]
                empty += np.int64(ones == np.uint64(0))
    return empty


@kernel()
def context(ones: Words, values: Words, bits: Words, c: Ints) -> None:
    """Weighted sum of the +-1 values by the 0/1 attention (paragraph 9).

    ``c[i, d] = 2 * popcount(a[i] & v[:, d]) - popcount(a[i])``, ``bit = c >= 0``.

    Parameters
    ----------
    ones : uint64[B, H, N, words of N]
        Rows of a, packed over the keys.
    values : uint64[B, H, words of N, E]
        Columns of v, packed over the keys.
    bits : uint64[B * N, words of H * E]
        Written: packed over the channels of all heads.
    c : int[B * N, H * E]
        Written: -N to N; size 0 to leave it out.
    """
    batch, heads, tokens, words = ones.shape
    channels = values.shape[3]
    flags, packed = np.zeros(64 * bits.shape[1], dtype=np.uint8), np.empty(bits.shape[1], dtype=np.uint64)
    eights, octets = flags.view(np.uint64), packed.view(np.uint8)
    both = np.empty(channels, dtype=np.int64)
    for b in range(batch):
        for i in range(tokens):
            for h in range(heads):
                total = np.int64(0)
                both[:] = 0
                for w in range(words):
                    row = ones[b, h, i, w]
                    total += popcount(row)
                    for e in range(channels):
                        both[e] += popcount(row & values[b, h, w, e])
                # A slice, as an index with an offset would be checked for negative values in the loop.
                first, end = h * channels, (h + 1) * channels
                head = flags[first:end]
                for e in range(channels):
                    head[e] = 2 * both[e] >= total
                if c.size:
                    sums = c[b * tokens + i, first:end]
                    for e in range(channels):
                        sums[e] = 2 * both[e] - total
            pack_flags(eights, octets)
            for w in range(bits.shape[1]):
                bits[b * tokens + i, w] = packed[w]
