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
from .popcount import Int64s, Ints, Words, pack_flags, popcount

#: Rows of activations that share a loaded word of weights.
_ROWS = 4


@kernel()
def _distance(a: np.uint64, b: np.uint64, c: np.uint64, u: np.uint64, v: np.uint64, w: np.uint64) -> np.int64:
    return popcount(a ^ u) + popcount(b ^ v) + popcount(c ^ w)


@kernel(inline="always")
def _three_words(a: Words, w: Words, n: int, k: int, length: int, differ: Int64s, acc: Ints) -> None:
    """Products of four rows with three words of every output, added to those of the words before."""
    a00, a01, a02 = a[n, k], a[n, k + 1], a[n, k + 2]
    a10, a11, a12 = a[n + 1, k], a[n + 1, k + 1], a[n + 1, k + 2]
    a20, a21, a22 = a[n + 2, k], a[n + 2, k + 1], a[n + 2, k + 2]
    a30, a31, a32 = a[n + 3, k], a[n + 3, k + 1], a[n + 3, k + 2]
    if a.shape[1] == 3:
        for o in range(w.shape[1]):
            w0, w1, w2 = w[k, o], w[k + 1, o], w[k + 2, o]
            acc[n, o] = length - 2 * _distance(a00, a01, a02, w0, w1, w2)
            acc[n + 1, o] = length - 2 * _distance(a10, a11, a12, w0, w1, w2)
            acc[n + 2, o] = length - 2 * _distance(a20, a21, a22, w0, w1, w2)
            acc[n + 3, o] = length - 2 * _distance(a30, a31, a32, w0, w1, w2)
    elif k + 3 == a.shape[1]:
        for o in range(w.shape[1]):
            w0, w1, w2 = w[k, o], w[k + 1, o], w[k + 2, o]
            acc[n, o] = length - 2 * (differ[0, o] + _distance(a00, a01, a02, w0, w1, w2))
            acc[n + 1, o] = length - 2 * (differ[1, o] + _distance(a10, a11, a12, w0, w1, w2))
            acc[n + 2, o] = length - 2 * (differ[2, o] + _distance(a20, a21, a22, w0, w1, w2))
            acc[n + 3, o] = length - 2 * (differ[3, o] + _distance(a30, a31, a32, w0, w1, w2))
    elif k == 0:
        for o in range(w.shape[1]):
            w0, w1, w2 = w[k, o], w[k + 1, o], w[k + 2, o]
            differ[0, o] = _distance(a00, a01, a02, w0, w1, w2)
            differ[1, o] = _distance(a10, a11, a12, w0, w1, w2)
            differ[2, o] = _distance(a20, a21, a22, w0, w1, w2)
            differ[3, o] = _distance(a30, a31, a32, w0, w1, w2)
    else:
        for o in range(w.shape[1]):
            w0, w1, w2 = w[k, o], w[k + 1, o], w[k + 2, o]
            differ[0, o] += _distance(a00, a01, a02, w0, w1, w2)
            differ[1, o] += _distance(a10, a11, a12, w0, w1, w2)
            differ[2, o] += _distance(a20, a21, a22, w0, w1, w2)
            differ[3, o] += _distance(a30, a31, a32, w0, w1, w2)


@kernel(inline="always")
def _one_word(a: Words, w: Words, n: int, k: int, length: int, differ: Int64s, acc: Ints) -> None:
    """As `_three_words`, for one word."""
    a0, a1, a2, a3 = a[n, k], a[n + 1, k], a[n + 2, k], a[n + 3, k]
    first, last = k == 0, k + 1 == a.shape[1]
    for o in range(w.shape[1]):
        w0 = w[k, o]
        d0, d1, d2, d3 = popcount(a0 ^ w0), popcount(a1 ^ w0), popcount(a2 ^ w0), popcount(a3 ^ w0)
        if not first:
            d0, d1, d2, d3 = d0 + differ[0, o], d1 + differ[1, o], d2 + differ[2, o], d3 + differ[3, o]
        if last:
            acc[n, o], acc[n + 1, o] = length - 2 * d0, length - 2 * d1
            acc[n + 2, o], acc[n + 3, o] = length - 2 * d2, length - 2 * d3
        else:
            differ[0, o], differ[1, o], differ[2, o], differ[3, o] = d0, d1, d2, d3


@kernel()
def binary_linear(activations: Words, weights: Words, length: int, acc: Ints) -> None:
    """Product of +-1 rows (paragraph 3): ``acc[n, o] = 2 * popcount(xnor(a[n], w[o])) - K``.

    Parameters
    ----------
    activations : uint64[rows, words]
    weights : uint64[words, outputs]
        Equal padding bits cancel in the exclusive or.
    length : int
        K, bits of a row.
    acc : int16, int32 or int64[rows, outputs]
        Written: -K to K, of K's parity.
    """
    rows, words = activations.shape
    differ = np.empty((_ROWS, weights.shape[1]), dtype=np.int64)
    for block in range(0, rows - _ROWS + 1, _ROWS):
        for k in range(0, words - words % 3, 3):
            _three_words(activations, weights, block, k, length, differ, acc)
        for k in range(words - words % 3, words):
            _one_word(activations, weights, block, k, length, differ, acc)
    for n in range(rows - rows % _ROWS, rows):
        for o in range(weights.shape[1]):
            total = np.int64(0)
            for k in range(words):
                total += popcount(activations[n, k] ^ weights[k, o])
            acc[n, o] = length - 2 * total


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
def value_signs(acc: Ints, start: int, theta: Ints, bits: Words) -> None:
    """`threshold_sign` for v, packed over the tokens.

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
            row[:] = 0
            for n in range(64 * w, min(64 * w + 64, tokens)):
                # A slice, as an index with an offset would be checked for negative values in the loop.
                values = acc[b * tokens + n, start : start + heads * channels]
                shift = np.uint64(n - 64 * w)
                for c in range(heads * channels):
                    row[c] |= np.uint64(values[c] >= theta[c]) << shift
            for h in range(heads):
                bits[b, h, w] = row[h * channels : (h + 1) * channels]


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
