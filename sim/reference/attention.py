"""Attention between packed heads: paragraphs 7 and 8 of docs/semantics.md; layouts and rules of `products`.

The scores of a few queries stay in a buffer, and every step is done for all of these before the next one. The softmax's
threshold becomes the lowest score that gets a bit, so that a row costs one table lookup for two keys.
"""

from __future__ import annotations

import numpy as np

from ..system.jit import kernel
from .popcount import TURNS, Bits, Chunks, Int32s, Int64s, Ints, Words, aligned_words, aligned_zeros, ones16, pack_flags

#: What a score starts from where a key may not attend, and is lowered by where a window's mask says so.
LOW = -(2**13)


@kernel(inline="always")
def _scores(queries: Chunks, keys: Chunks, start: Ints, mask: Ints, first: int, rows: Ints, tops: Ints) -> None:
    """Scores of a few queries (paragraph 7), and the highest of each."""
    for i in range(tops.shape[0]):
        n, top, row = first + i, np.int16(LOW), rows[i]
        q0, q1, q2, q3 = queries[n, 0], queries[n, 1], queries[n, 2], queries[n, 3]
        begin = start[n] if start.shape[0] > 1 else start[0]
        lower = mask[n] if mask.shape[0] > 1 else mask[0]
        for j in range(row.shape[0]):
            # 16 bits at a time, so that counts are as wide as scores.
            left = ones16(q0 ^ keys[0, j]) + ones16(q1 ^ keys[1, j])
            right = ones16(q2 ^ keys[2, j]) + ones16(q3 ^ keys[3, j])
            row[j] = np.int16(np.int16(begin[j] + lower[j]) - (left + right))
            top = max(top, row[j])
        tops[i] = top


@kernel(inline="always")
def _pair_index(rows: Ints, tops: Ints, half: int, entries: int, index: Chunks) -> None:
    """Places in the table of pairs of each key of the first half with one of the second (`prepare.exp_pairs`)."""
    masked, line = np.int16(entries), np.int16(entries + 1)
    for i in range(tops.shape[0]):
        top, lower, upper, places = tops[i], rows[i], rows[i, half:], index[i]
        # Whole vectors; what lies after the half is not looked up.
        for j in range(index.shape[1]):
            first, second = min(np.int16(top - lower[j]), masked), min(np.int16(top - upper[j]), masked)
            places[j] = np.uint16(np.int16(first * line) + second)


@kernel(inline="always")
def _lowest_score(top: np.int16, total: int, exp: Int32s, tau: int) -> np.int16:
    """Lowest score that gets a bit (paragraph 8)."""
    # Exp << 16 >= limit and Exp >= limit / 2^16, rounded up, say the same; the latter fits int32.
    least = np.int32((np.int64(tau) * total + np.int64(0xFFFF)) >> np.int64(16))
    # Exp never rises with the distance from m, so the distances with a bit are the first ones.
    distances = np.int32(0)
    for distance in range(exp.shape[0]):
        distances = np.int32(distances + np.int32(exp[distance] >= least))
    return np.int16(max(np.int64(0), np.int64(top) + np.int64(1) - np.int64(distances)))


@kernel(inline="always")
def _softmax_limits(
    rows: Ints,
    tops: Ints,
    half: int,
    exp: Int32s,
    pairs: Int32s,
    tau: int,
    index: Chunks,
    m: Int64s,
    z: Int64s,
    limits: Ints,
) -> None:
    """M, Z and the lowest score with a bit of each query; two scores are looked up at a time."""
    _pair_index(rows, tops, half, exp.shape[0], index)
    for i in range(tops.shape[0]):
        total, places = np.int64(0), index[i]
        for j in range(half):
            total += np.int64(pairs[places[j]])
        m[i], z[i] = tops[i], total
    for i in range(tops.shape[0]):
        limits[i] = _lowest_score(tops[i], z[i], exp, tau)


@kernel(inline="always")
def _pack_rows(rows: Ints, lowest: Ints, flags: Bits, octets: Bits) -> None:
    """Pack where scores reach the lowest with a bit."""
    for i in range(flags.shape[0]):
        row, limit, line = rows[i], lowest[i], flags[i]
        for j in range(flags.shape[1]):
            line[j] = row[j] >= limit
    pack_flags(flags.reshape(-1).view(np.uint64), octets)


@kernel()
def attention(
    q: Words,
    k: Words,
    start: Ints,
    mask: Ints,
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
    start : int16[H or 1, N or 1, 64 * words of N]
        E + Rel of each pair, and `LOW` after the last key; axes of 1 serve all (`sim.reference.prepare.score_start`).
    mask : int16[W or 1, N or 1, 64 * words of N]
        `LOW` for the pairs that may not attend, else 0, image b being a window of the place b mod W.
    exp : int32[H, largest score + 1]
        The table; size 0 is mode `score`.
    pairs : int32[H, (largest score + 2)**2]
        Sums of each two of its entries and a 0 after them, for pairs of keys (`sim.reference.prepare.exp_pairs`).
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
    size, tops, lowest = TURNS * 64 * words, np.empty(TURNS, dtype=np.int16), np.empty(TURNS, dtype=np.int16)
    rows = aligned_words(size // 4).view(np.int16).reshape(TURNS, 64 * words)
    index = aligned_words(size // 8).view(np.uint16).reshape(TURNS, 32 * words)
    flags = aligned_words(size // 8).view(np.uint8).reshape(TURNS, 64 * words)
    keys = aligned_zeros(64 * words).view(np.uint16).reshape(4, 64 * words)
    half, empty = (tokens + 1) // 2, np.int64(0)
    for b in range(batch):
        for h in range(heads):
            queries, ours = q[b, h].view(np.uint16).reshape(tokens, 4), k[b, h].view(np.uint16).reshape(tokens, 4)
            for c in range(4):
                for j in range(tokens):
                    keys[c, j] = ours[j, c]
            begin, lower = start[h % start.shape[0]], mask[b % mask.shape[0]]
            for first in range(0, tokens, TURNS):
                count = min(TURNS, tokens - first)
                _scores(queries, keys, begin, lower, first, rows, tops[:count])
                if p.size:
                    for i in range(count):
                        for j in range(tokens):
                            p[b, h, first + i, j] = max(rows[i, j], np.int16(-1))
                if exp.size:
                    top, maximum, total = tops[:count], m[b, h, first:], z[b, h, first:]
                    _softmax_limits(rows, top, half, exp[h], pairs[h], limits[h], index, maximum, total, lowest)
                else:
                    for i in range(count):
                        lowest[i] = limits[h]
                _pack_rows(rows, lowest, flags[:count], bits[b, h, first : first + count].reshape(-1).view(np.uint8))
                for i in range(count):
                    empty += np.int64(tops[i] < lowest[i])
    return empty
