"""Binary products and their thresholds: paragraphs 3, 5 and 6 (mode `threshold`) of docs/semantics.md, one kernel each.

Bits are packed along the axis that the next product sums over (`sim.bits`); what a kernel needs row by row is stored
with that axis first, so that the innermost loop runs over neighbours in memory and becomes vector instructions. Sums
are kept in the narrowest type that holds them, all arithmetic is exact, and results do not depend on the order of
summation.

Kernels write into arrays that the caller owns (`sim.workspace`), hold no state and release the interpreter lock, so
that `sim.network` can run images in parallel threads. `sim.sign_norms` and `sim.attention` follow the same rules.
"""

from __future__ import annotations

import numpy as np

from .jit import kernel
from .popcount import Ints, Words, aligned_words, pack_flags, popcount

#: Rows of activations that share a loaded word of weights.
_ROWS = 4
#: Outputs whose counts, 16 bits each, share a word.
FIELDS = 4
#: Most words of counts a row.
GROUPS = 1024
#: From row to row of counts: a constant, so that LLVM need not ask in every loop whether rows overlap, and no power of
#: two, as such rows would share their places in the cache.
_STRIDE = GROUPS + 8
_STEP, _TWO_STEPS, _THREE_STEPS = np.uint64(16), np.uint64(32), np.uint64(48)


@kernel()
def _join(d0: np.int64, d1: np.int64, d2: np.int64, d3: np.int64) -> np.uint64:
    return np.uint64(d0) | np.uint64(d1) << _STEP | np.uint64(d2) << _TWO_STEPS | np.uint64(d3) << _THREE_STEPS


@kernel()
def _one(a: np.uint64, w: Words, k: int, j: int) -> np.uint64:
    """Where a word differs from those of four outputs: counts, joined."""
    return _join(popcount(a ^ w[k, 0, j]), popcount(a ^ w[k, 1, j]), popcount(a ^ w[k, 2, j]), popcount(a ^ w[k, 3, j]))


@kernel()
def _sum(a: np.uint64, b: np.uint64, c: np.uint64, w: Words, k: int, i: int, j: int) -> np.int64:
    return popcount(a ^ w[k, i, j]) + popcount(b ^ w[k + 1, i, j]) + popcount(c ^ w[k + 2, i, j])


@kernel()
def _three(a: np.uint64, b: np.uint64, c: np.uint64, w: Words, k: int, j: int) -> np.uint64:
    """As `_one`, for three words."""
    return _join(
        _sum(a, b, c, w, k, 0, j), _sum(a, b, c, w, k, 1, j), _sum(a, b, c, w, k, 2, j), _sum(a, b, c, w, k, 3, j)
    )


@kernel(inline="always")
def _count_three(p: Words, q: Words, r: Words, s: Words, w: Words, k: int, counts: Words) -> None:
    """Add the differences of four rows in three words, for every four outputs."""
    p0, p1, p2, q0, q1, q2 = p[k], p[k + 1], p[k + 2], q[k], q[k + 1], q[k + 2]
    r0, r1, r2, s0, s1, s2 = r[k], r[k + 1], r[k + 2], s[k], s[k + 1], s[k + 2]
    if k == 0:
        for j in range(w.shape[2]):
            counts[j] = _three(p0, p1, p2, w, k, j)
            counts[_STRIDE + j] = _three(q0, q1, q2, w, k, j)
            counts[2 * _STRIDE + j] = _three(r0, r1, r2, w, k, j)
            counts[3 * _STRIDE + j] = _three(s0, s1, s2, w, k, j)
    else:
        for j in range(w.shape[2]):
            counts[j] += _three(p0, p1, p2, w, k, j)
            counts[_STRIDE + j] += _three(q0, q1, q2, w, k, j)
            counts[2 * _STRIDE + j] += _three(r0, r1, r2, w, k, j)
            counts[3 * _STRIDE + j] += _three(s0, s1, s2, w, k, j)


@kernel(inline="always")
def _count_one(p: Words, q: Words, r: Words, s: Words, w: Words, k: int, counts: Words) -> None:
    """As `_count_three`, for one word."""
    p0, q0, r0, s0 = p[k], q[k], r[k], s[k]
    if k == 0:
        for j in range(w.shape[2]):
            counts[j] = _one(p0, w, k, j)
            counts[_STRIDE + j] = _one(q0, w, k, j)
            counts[2 * _STRIDE + j] = _one(r0, w, k, j)
            counts[3 * _STRIDE + j] = _one(s0, w, k, j)
    else:
        for j in range(w.shape[2]):
            counts[j] += _one(p0, w, k, j)
            counts[_STRIDE + j] += _one(q0, w, k, j)
            counts[2 * _STRIDE + j] += _one(r0, w, k, j)
            counts[3 * _STRIDE + j] += _one(s0, w, k, j)


@kernel()
def binary_linear(activations: Words, weights: Words, length: int, acc: Ints) -> None:
    """Product of +-1 rows (paragraph 3): ``acc[n, o] = 2 * popcount(xnor(a[n], w[o])) - K``.

    Parameters
    ----------
    activations : uint64[rows, words]
    weights : uint64[blocks, words, 4, groups]
        As `sim.prepare.grouped` makes them. Equal padding bits cancel in the exclusive or.
    length : int
        K, bits of a row, at most 65,535.
    acc : int16, int32 or int64[rows, outputs]
        Written: -K to K, of K's parity.
    """
    rows, words = activations.shape
    counts = aligned_words(_ROWS * _STRIDE)
    fields, whole = counts.view(np.uint16), words - words % 3
    for block in range(weights.shape[0]):
        first, w = FIELDS * weights.shape[3] * block, weights[block]
        outputs = min(acc.shape[1] - first, FIELDS * weights.shape[3])
        for n in range(0, rows, _ROWS):
            # The last rows stand in for those that are missing.
            p, q = activations[n], activations[min(n + 1, rows - 1)]
            r, s = activations[min(n + 2, rows - 1)], activations[min(n + 3, rows - 1)]
            for k in range(0, whole, 3):
                _count_three(p, q, r, s, w, k, counts)
            for k in range(whole, words):
                _count_one(p, q, r, s, w, k, counts)
            for row in range(min(_ROWS, rows - n)):
                start = FIELDS * _STRIDE * row
                differ, out = fields[start : start + outputs], acc[n + row, first : first + outputs]
                for o in range(outputs):
                    out[o] = length - 2 * np.int64(differ[o])


@kernel()
def threshold_sign(acc: Ints, theta: Ints, bits: Words) -> None:
    """Sign against a threshold a channel (paragraph 5): ``bit = acc >= Theta[c]``.

    Parameters
    ----------
    acc : int[rows, channels]
    theta : int[channels]
        Of the type of `acc`.
    bits : uint64[rows, words]
        Written: packed over the channels.
    """
    rows, channels = acc.shape
    words = bits.shape[1]
    flags, packed = np.zeros(64 * words, dtype=np.uint8), np.empty(words, dtype=np.uint64)
    eights, octets = flags.view(np.uint64), packed.view(np.uint8)
    for n in range(rows):
        for c in range(channels):
            flags[c] = acc[n, c] >= theta[c]
        pack_flags(eights, octets)
        for w in range(words):
            bits[n, w] = packed[w]


@kernel()
def head_signs(acc: Ints, start: int, theta: Ints, bits: Words) -> None:
    """`threshold_sign` for q or k (paragraph 6, mode `threshold`), head by head.

    Parameters
    ----------
    acc : int[B * N, columns]
        Those of q or k begin at column `start`.
    start : int
    theta : int[H, E]
        Of the type of `acc`.
    bits : uint64[B, H, words of E, N]
        Written.
    """
    batch, heads, tokens = bits.shape
    channels = theta.shape[1]
    flags, packed = np.zeros(64, dtype=np.uint8), np.empty(1, dtype=np.uint64)
    eights, octets = flags.view(np.uint64), packed.view(np.uint8)
    for b in range(batch):
        for n in range(tokens):
            for h in range(heads):
                head = acc[b * tokens + n, start + h * channels : start + (h + 1) * channels]
                for e in range(channels):
                    flags[e] = head[e] >= theta[h, e]
                pack_flags(eights, octets)
                bits[b, h, n] = packed[0]
