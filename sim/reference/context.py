"""Values and attention's sums of them: paragraphs 5 (v) and 9 of docs/semantics.md; rules of `products`."""

from __future__ import annotations

import numpy as np

from ..system.jit import kernel
from .popcount import TURNS, Int64s, Ints, Words, aligned_words, aligned_zeros, pack_flags, popcount


@kernel()
def value_signs(acc: Ints, start: int, theta: Ints, bits: Words) -> None:
    """`sim.reference.products.threshold_sign` for v, packed over the tokens.

    Parameters
    ----------
    acc : int[B * N, columns]
        Those of v begin at column `start`.
    start : int
    theta : int[H * E]
        Of the type of `acc`.
    bits : uint64[B, H, words of N, E]
        Written.
    """
    batch, heads, words, channels = bits.shape
    tokens = acc.shape[0] // batch
    row = np.empty(heads * channels, dtype=np.uint64)
    for b in range(batch):
        for w in range(words):
            for c in range(heads * channels):
                row[c] = 0
            for n in range(64 * w, min(64 * w + 64, tokens)):
                # A slice, as an index with an offset would be checked for negative values in the loop.
                values = acc[b * tokens + n, start : start + heads * channels]
                shift = np.uint64(n - 64 * w)
                for c in range(heads * channels):
                    row[c] |= np.uint64(values[c] >= theta[c]) << shift
            for h in range(heads):
                for e in range(channels):
                    bits[b, h, w, e] = row[h * channels + e]


@kernel(inline="always")
def _shared_ones(ones: Words, values: Words, both: Ints, totals: Int64s) -> None:
    """Count the ones that rows of attention share with each column of v, and their own ones."""
    words = ones.shape[1]
    whole = words - words % 4
    for i in range(ones.shape[0]):
        row, total = both[i], np.int64(0)
        for w in range(words):
            total += popcount(ones[i, w])
        totals[i] = total
        for w in range(0, whole, 4):
            a0, a1, a2, a3 = ones[i, w], ones[i, w + 1], ones[i, w + 2], ones[i, w + 3]
            v0, v1, v2, v3 = values[w], values[w + 1], values[w + 2], values[w + 3]
            if w == 0:
                for e in range(row.shape[0]):
                    row[e] = popcount(a0 & v0[e]) + popcount(a1 & v1[e]) + popcount(a2 & v2[e]) + popcount(a3 & v3[e])
            else:
                for e in range(row.shape[0]):
                    row[e] += popcount(a0 & v0[e]) + popcount(a1 & v1[e]) + popcount(a2 & v2[e]) + popcount(a3 & v3[e])
        for w in range(whole, words):
            a0, v0 = ones[i, w], values[w]
            if w == 0:
                for e in range(row.shape[0]):
                    row[e] = popcount(a0 & v0[e])
            else:
                for e in range(row.shape[0]):
                    row[e] += popcount(a0 & v0[e])


@kernel()
def context(ones: Words, values: Words, bits: Words, c: Ints) -> None:
    """Weighted sum of the +-1 values by the 0/1 attention (paragraph 9).

    ``c[i, d] = 2 * popcount(a[i] & v[:, d]) - popcount(a[i])``, ``bit = c >= 0``.

    Parameters
    ----------
    ones : uint64[B, H, N, words of N]
        Rows of a, packed over the keys; N at most 32,767.
    values : uint64[B, H, words of N, E]
        Columns of v, packed over the keys.
    bits : uint64[B * N, words of H * E]
        Written: packed over the channels of all heads.
    c : int[B * N, H * E]
        Written: -N to N; size 0 to leave it out.
    """
    batch, heads, tokens = ones.shape[:3]
    channels, width, totals = values.shape[3], 64 * bits.shape[1], np.empty(TURNS, dtype=np.int64)
    flags = aligned_zeros(TURNS * width // 8).view(np.uint8).reshape(TURNS, width)
    both = aligned_words(TURNS // 4 * channels).view(np.int16).reshape(TURNS, channels)
    for b in range(batch):
        for first in range(0, tokens, TURNS):
            count = min(TURNS, tokens - first)
            for h in range(heads):
                _shared_ones(ones[b, h, first : first + count], values[b, h], both, totals)
                for i in range(count):
                    # A slice, as an index with an offset would be checked for negative values in the loop.
                    row, head, least = both[i], flags[i, h * channels : (h + 1) * channels], (totals[i] + 1) >> 1
                    for e in range(channels):
                        head[e] = row[e] >= np.int16(least)
                    if c.size:
                        sums = c[b * tokens + first + i, h * channels : (h + 1) * channels]
                        for e in range(channels):
                            sums[e] = 2 * np.int64(row[e]) - totals[i]
            done = bits[b * tokens + first : b * tokens + first + count]
            pack_flags(flags[:count].reshape(-1).view(np.uint64), done.reshape(-1).view(np.uint8))
