"""Binary products and their thresholds: paragraphs 3, 5 and 6 (mode `threshold`) of docs/semantics.md, one kernel each.

Bits are packed along the axis that the next product sums over (`sim.bits`); what a kernel needs row by row is stored
with that axis first, so that the innermost loop runs over neighbours in memory and becomes vector instructions. Sums
are kept in the narrowest type that holds them, all arithmetic is exact, and results do not depend on the order of
summation.

Kernels write into arrays that the caller owns (`sim.reference.workspace`), hold no state and release the interpreter
lock, so that `sim.reference.run` can run images in parallel threads. `sim.reference.sign_norms` and
`sim.reference.attention` follow the same rules.
"""

from __future__ import annotations

import numpy as np

from ..system.jit import kernel
from .popcount import Ints, Words, aligned_words, pack_flags, popcount

#: Rows of activations that share a loaded word of weights.
_ROWS = 4
#: Outputs whose counts, 16 bits each, share a word: a group.
FIELDS = 4
#: Most groups of a block of weights.
GROUPS = 192
#: From row to row of weights and of counts: a constant, so that LLVM addresses all rows from one pointer and need not
#: ask in every loop whether they overlap; and no power of two, as such rows would share their places in the cache.
STRIDE = GROUPS + 8
#: Words of a row whose products are written as they are counted: one pass over the weights.
_SHORT = 3
#: One, and the sign bit, of each of the outputs that share a word.
_EACH, _SIGNS = np.uint64(0x0001000100010001), np.uint64(0x8000800080008000)
_ONE, _STEP, _TWO_STEPS, _THREE_STEPS = np.uint64(1), np.uint64(16), np.uint64(32), np.uint64(48)


@kernel()
def _join(d0: np.int64, d1: np.int64, d2: np.int64, d3: np.int64) -> np.uint64:
    return np.uint64(d0) | np.uint64(d1) << _STEP | np.uint64(d2) << _TWO_STEPS | np.uint64(d3) << _THREE_STEPS


@kernel()
def _one(a: np.uint64, w: Words, j: int) -> np.uint64:
    """Where a word differs from those of four outputs: counts, joined."""
    d0, d1 = popcount(a ^ w[j]), popcount(a ^ w[STRIDE + j])
    return _join(d0, d1, popcount(a ^ w[2 * STRIDE + j]), popcount(a ^ w[3 * STRIDE + j]))


@kernel()
def _sum(a: np.uint64, b: np.uint64, c: np.uint64, w: Words, place: int) -> np.int64:
    second, third = FIELDS * STRIDE + place, 2 * FIELDS * STRIDE + place
    return popcount(a ^ w[place]) + popcount(b ^ w[second]) + popcount(c ^ w[third])


@kernel()
def _three(a: np.uint64, b: np.uint64, c: np.uint64, w: Words, j: int) -> np.uint64:
    """As `_one`, for three words."""
    d0, d1 = _sum(a, b, c, w, j), _sum(a, b, c, w, STRIDE + j)
    return _join(d0, d1, _sum(a, b, c, w, 2 * STRIDE + j), _sum(a, b, c, w, 3 * STRIDE + j))


@kernel(inline="always")
def _count_three(p: Words, q: Words, r: Words, s: Words, k: int, w: Words, groups: int, counts: Words) -> None:
    """Add the differences of four rows in three words, for every group; `w` begins at the first word."""
    p0, p1, p2, q0, q1, q2 = p[k], p[k + 1], p[k + 2], q[k], q[k + 1], q[k + 2]
    r0, r1, r2, s0, s1, s2 = r[k], r[k + 1], r[k + 2], s[k], s[k + 1], s[k + 2]
    if k == 0:
        for j in range(groups):
            counts[j] = _three(p0, p1, p2, w, j)
            counts[STRIDE + j] = _three(q0, q1, q2, w, j)
            counts[2 * STRIDE + j] = _three(r0, r1, r2, w, j)
            counts[3 * STRIDE + j] = _three(s0, s1, s2, w, j)
    else:
        for j in range(groups):
            counts[j] += _three(p0, p1, p2, w, j)
            counts[STRIDE + j] += _three(q0, q1, q2, w, j)
            counts[2 * STRIDE + j] += _three(r0, r1, r2, w, j)
            counts[3 * STRIDE + j] += _three(s0, s1, s2, w, j)


@kernel(inline="always")
def _count_one(p: Words, q: Words, r: Words, s: Words, k: int, w: Words, groups: int, counts: Words) -> None:
    """As `_count_three`, for one word."""
    p0, q0, r0, s0 = p[k], q[k], r[k], s[k]
    if k == 0:
        for j in range(groups):
            counts[j] = _one(p0, w, j)
            counts[STRIDE + j] = _one(q0, w, j)
            counts[2 * STRIDE + j] = _one(r0, w, j)
            counts[3 * STRIDE + j] = _one(s0, w, j)
    else:
        for j in range(groups):
            counts[j] += _one(p0, w, j)
            counts[STRIDE + j] += _one(q0, w, j)
            counts[2 * STRIDE + j] += _one(r0, w, j)
            counts[3 * STRIDE + j] += _one(s0, w, j)


@kernel()
def _short_rows(activations: Words, w: Words, length: int, joined: Words) -> None:
    """Products of rows of three words, four int16 joined; without counts in between, writes spread over the work."""
    # Fields of length + 2^15 - 2 * differences never borrow from each other; the sign bit then takes 2^15 off.
    bias = _SIGNS + np.uint64(length) * _EACH
    for n in range(activations.shape[0]):
        a, b, c = activations[n, 0], activations[n, 1], activations[n, 2]
        for j in range(joined.shape[1]):
            joined[n, j] = (bias - (_three(a, b, c, w, j) << _ONE)) ^ _SIGNS


@kernel()
def _rows(activations: Words, weights: Words, length: int, acc: Ints) -> None:
    """Products of rows of any length, a block of weights and four rows at a time."""
    rows, words = activations.shape
    blocks, outputs = weights.shape[0], acc.shape[1]
    counts, groups = aligned_words(_ROWS * STRIDE), -(-outputs // (FIELDS * blocks))
    fields, whole = counts.view(np.uint16), words - words % 3
    for block in range(blocks):
        first, end = FIELDS * groups * block, min(FIELDS * groups * (block + 1), outputs)
        for n in range(0, rows, _ROWS):
            # The last rows stand in for those that are missing.
            p, q = activations[n], activations[min(n + 1, rows - 1)]
            r, s = activations[min(n + 2, rows - 1)], activations[min(n + 3, rows - 1)]
            for k in range(0, whole, 3):
                _count_three(p, q, r, s, k, weights[block, FIELDS * STRIDE * k :], groups, counts)
            for k in range(whole, words):
                _count_one(p, q, r, s, k, weights[block, FIELDS * STRIDE * k :], groups, counts)
            for row in range(min(_ROWS, rows - n)):
                start = FIELDS * STRIDE * row
                differ, out = fields[start : start + end - first], acc[n + row, first:end]
                for o in range(end - first):
                    out[o] = length - 2 * np.int64(differ[o])


@kernel()
def binary_linear(activations: Words, weights: Words, length: int, acc: Ints) -> None:
    """Product of +-1 rows (paragraph 3): ``acc[n, o] = 2 * popcount(xnor(a[n], w[o])) - K``.

    Parameters
    ----------
    activations : uint64[rows, words]
    weights : uint64[blocks, words * 4 * STRIDE]
        As `sim.reference.prepare.grouped` makes them. Equal padding bits cancel in the exclusive or.
    length : int
        K, bits of a row, at most 65,535.
    acc : int16, int32 or int64[rows, outputs]
        Written: -K to K, of K's parity.
    """
    short = activations.shape[1] == _SHORT and weights.shape[0] == 1
    if short and acc.itemsize == 2 and acc.shape[1] % FIELDS == 0:
        _short_rows(activations, weights[0], length, acc.view(np.uint64))
    else:
        _rows(activations, weights, length, acc)


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
