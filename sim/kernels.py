"""Binary products and thresholds: paragraphs 3, 5 and 7 to 9 of docs/semantics.md, one kernel each.

Operands of the products are packed words (`sim.bits`); equal padding bits cancel in the exclusive or. All arithmetic is
int64, so results are exact and independent of the order of summation. The kernels hold no state and release the
interpreter lock, so that `sim.network` can run images in parallel threads. Their helper lives in this module because
numba's cache does not see edits elsewhere.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bits = NDArray[np.uint8]
Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]
Words = NDArray[np.uint64]

_M1 = np.uint64(0x5555555555555555)
_M2 = np.uint64(0x3333333333333333)
_M4 = np.uint64(0x0F0F0F0F0F0F0F0F)
_BYTES = np.uint64(0x0101010101010101)
_ONE, _TWO, _FOUR, _TOP = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)


@njit(cache=True, nogil=True)
def _popcount(word: np.uint64) -> np.int64:
    # LLVM recognises this shape as its population count; numpy's own does not compile in numba. The product wraps.
    word = word - ((word >> _ONE) & _M1)
    word = (word & _M2) + ((word >> _TWO) & _M2)
    word = (word + (word >> _FOUR)) & _M4
    return np.int64((word * _BYTES) >> _TOP)


@njit(cache=True, nogil=True)
def binary_linear(activations: Words, weights: Words, length: int) -> Int64s:
    """Product of +-1 rows (paragraph 3): ``acc[n, o] = 2 * popcount(xnor(a[n], w[o])) - K``.

    Parameters
    ----------
    activations : uint64[rows, words]
    weights : uint64[outputs, words]
    length : int
        K, bits of a row.

    Returns
    -------
    int64[rows, outputs]
        -K to K, of K's parity.
    """
    rows, outputs = activations.shape[0], weights.shape[0]
    acc = np.empty((rows, outputs), dtype=np.int64)
    for n in range(rows):
        for o in range(outputs):
            differ = np.int64(0)
            for k in range(activations.shape[1]):
                differ += _popcount(activations[n, k] ^ weights[o, k])
            acc[n, o] = length - 2 * differ
    return acc


@njit(cache=True, nogil=True)
def threshold_sign(acc: Int64s, theta: Int32s) -> Bits:
    """Sign against a threshold a channel (paragraph 5): ``bit = acc >= Theta[c]``.

    Parameters
    ----------
    acc : int64[rows, channels]
    theta : int32[channels]

    Returns
    -------
    uint8[rows, channels]
    """
    bits = np.empty(acc.shape, dtype=np.uint8)
    for n in range(acc.shape[0]):
        for c in range(acc.shape[1]):
            bits[n, c] = acc[n, c] >= theta[c]
    return bits


@njit(cache=True, nogil=True)
def scores(queries: Words, keys: Words, length: int) -> Int64s:
    """Agreement of every query with every key of its head (paragraph 7): ``p = popcount(xnor(q[i], k[j]))``.

    Parameters
    ----------
    queries, keys : uint64[groups, N, words]
        A group is one head of one image.
    length : int
        E, bits of a row.

    Returns
    -------
    int64[groups, N, N]
        0 to E.
    """
    groups, tokens, words = queries.shape
    p = np.empty((groups, tokens, tokens), dtype=np.int64)
    for g in range(groups):
        for i in range(tokens):
            for j in range(tokens):
                differ = np.int64(0)
                for k in range(words):
                    differ += _popcount(queries[g, i, k] ^ keys[g, j, k])
                p[g, i, j] = length - differ
    return p


@njit(cache=True, nogil=True)
def attention_threshold(p: Int64s, exp: Int32s, tau: Int32s) -> tuple[Bits, Int64s, Int64s]:
    """Binarize the softmax of the scores without a division (paragraph 8, mode `softmax`).

    ``a[i, j] = (Exp[h][m[i] - p[i, j]] << 16) >= Tau[h] * Z[i]``, m the row's largest score, Z the row's sum of Exp.

    Parameters
    ----------
    p : int64[B, H, N, N]
        Scores of 0 or more, below the length of a row of `exp`; a negative one marks a pair that may not attend. Each
        row needs one of 0 or more.
    exp : int32[H, largest score + 1]
    tau : int32[H]

    Returns
    -------
    bits : uint8[B, H, N, N]
        Ones and zeros, not signs.
    m, z : int64[B, H, N]
        z is 2^15 to N * 2^15.
    """
    batch, heads, tokens, keys = p.shape
    bits = np.empty(p.shape, dtype=np.uint8)
    m = np.empty((batch, heads, tokens), dtype=np.int64)
    z = np.empty((batch, heads, tokens), dtype=np.int64)
    for b in range(batch):
        for h in range(heads):
            for i in range(tokens):
                row = p[b, h, i]
                largest = row.max()
                total = np.int64(0)
                for j in range(keys):
                    if row[j] >= 0:
                        total += np.int64(exp[h, largest - row[j]])
                limit = np.int64(tau[h]) * total
                for j in range(keys):
                    weight = np.int64(exp[h, largest - row[j]]) if row[j] >= 0 else np.int64(-1)
                    bits[b, h, i, j] = weight >= 0 and (weight << np.int64(16)) >= limit
                m[b, h, i] = largest
                z[b, h, i] = total
    return bits, m, z


@njit(cache=True, nogil=True)
def score_threshold(p: Int64s, theta: Int32s) -> Bits:
    """Binarize the scores by one threshold a head (paragraph 8, mode `score`): ``a[i, j] = p[i, j] >= Theta[h]``.

    Parameters
    ----------
    p : int64[B, H, N, N]
        A negative score marks a pair that may not attend.
    theta : int32[H]
        0 or more.

    Returns
    -------
    uint8[B, H, N, N]
    """
    bits = np.empty(p.shape, dtype=np.uint8)
    for b in range(p.shape[0]):
        for h in range(p.shape[1]):
            for i in range(p.shape[2]):
                for j in range(p.shape[3]):
                    bits[b, h, i, j] = p[b, h, i, j] >= theta[h]
    return bits


@njit(cache=True, nogil=True)
def context(attention: Words, values: Words) -> tuple[Int64s, Bits]:
    """Weighted sum of the +-1 values by the 0/1 attention (paragraph 9).

    ``c[i, d] = 2 * popcount(a[i] & v[:, d]) - popcount(a[i])``, ``bit = c >= 0``.

    Parameters
    ----------
    attention : uint64[groups, N, words]
        Rows of a, packed over the keys.
    values : uint64[groups, E, words]
        Columns of v, packed over the keys.

    Returns
    -------
    c : int64[groups, N, E]
        -N to N.
    bits : uint8[groups, N, E]
    """
    groups, tokens, words = attention.shape
    channels = values.shape[1]
    c = np.empty((groups, tokens, channels), dtype=np.int64)
    bits = np.empty((groups, tokens, channels), dtype=np.uint8)
    for g in range(groups):
        for i in range(tokens):
            ones = np.int64(0)
            for k in range(words):
                ones += _popcount(attention[g, i, k])
            for d in range(channels):
                both = np.int64(0)
                for k in range(words):
                    both += _popcount(attention[g, i, k] & values[g, d, k])
                c[g, i, d] = 2 * both - ones
                bits[g, i, d] = c[g, i, d] >= 0
    return c, bits
