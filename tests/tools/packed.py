"""Kernels for arrays of single bits: packed on the way in, unpacked on the way out."""

import numpy as np

from bivit.sim.bits import pack, unpack, word_count
from bivit.sim.network.formats import Formats
from bivit.sim.reference import attention, sign_norms
from bivit.sim.reference import context as context_kernels
from bivit.sim.reference import products as kernels
from bivit.sim.reference.prepare import Heads, acc_type, exp_pairs, grouped, score_mask, score_start


def binary_linear(a: np.ndarray, w: np.ndarray) -> np.ndarray:
    """int[rows, outputs] of uint8[rows, K] and uint8[outputs, K]."""
    length = a.shape[1]
    acc = np.empty((len(a), len(w)), dtype=acc_type(length))
    kernels.binary_linear(pack(a), grouped(pack(w)), length, acc)
    return acc


def threshold_sign(acc: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """uint8[rows, channels] of int[rows, channels]."""
    bits = np.empty((len(acc), word_count(acc.shape[1])), dtype=np.uint64)
    kernels.threshold_sign(acc.astype(np.int16), theta.astype(np.int16), bits)
    return unpack(bits, acc.shape[1])


def rows_of(heads: np.ndarray, start: int) -> np.ndarray:
    """[B, H, N, E] as [B * N, start + H * E], which is how a product leaves it; what is before `start` is noise."""
    batch, count, tokens, channels = heads.shape
    rows = heads.swapaxes(1, 2).reshape(batch * tokens, count * channels)
    noise = np.random.default_rng(0).integers(-9, 9, (len(rows), start))
    return np.concatenate([noise, rows], axis=1).astype(np.int16)


def value_signs(acc: np.ndarray, theta: np.ndarray, start: int = 0) -> np.ndarray:
    """uint8[B, H, N, E] of int[B, H, N, E]."""
    batch, count, tokens, channels = acc.shape
    bits = np.empty((batch, count, word_count(tokens), channels), dtype=np.uint64)
    context_kernels.value_signs(rows_of(acc, start), start, theta.reshape(-1).astype(np.int16), bits)
    return unpack(bits.swapaxes(2, 3), tokens).swapaxes(2, 3)


def head_signs(acc: np.ndarray, theta: np.ndarray, start: int = 0) -> np.ndarray:
    """uint8[B, H, N, E] of int[B, H, N, E]."""
    batch, count, tokens, channels = acc.shape
    bits = np.empty((batch, count, tokens), dtype=np.uint64)
    kernels.head_signs(rows_of(acc, start), start, theta.astype(np.int16), bits)
    return unpack(bits[..., np.newaxis], channels)


def sign_norm(
    x: np.ndarray, theta: np.ndarray, eps: int | None, formats: Formats
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bits [B, N, D], S1 and R [B, N] of int[B, N, D]; eps None is mode `mean`."""
    batch, tokens, channels = x.shape
    bits = np.empty((batch * tokens, word_count(channels)), dtype=np.uint64)
    s1, r = (np.empty(batch * tokens, dtype=np.int64) for _ in range(2))
    constant = 1 << (formats.theta_frac_bits + formats.mean_shift) if eps is None else 0
    rows, shift = x.reshape(-1, channels).astype(np.int32), formats.norm_shift
    sign_norms.sign_norm(rows, shift, theta, formats.theta_frac_bits, eps or 0, constant, bits, s1, r)
    return unpack(bits, channels).reshape(x.shape), s1.reshape(batch, tokens), r.reshape(batch, tokens)


def head_norm(
    acc: np.ndarray, theta: np.ndarray, scale: np.ndarray, eps: np.ndarray, frac: int, start: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bits [B, H, N, E], S1 and R [B, H, N] of int[B, H, N, E]."""
    batch, count, tokens, channels = acc.shape
    bits = np.empty((batch, count, tokens), dtype=np.uint64)
    s1, r = (np.empty((batch, count, tokens), dtype=np.int64) for _ in range(2))
    sign_norms.head_norm(rows_of(acc, start), start, scale, theta, frac, eps, bits, s1, r)
    return unpack(bits[..., np.newaxis], channels), s1, r


def _attention(q, k, start, mask, exp, limits):  # type: ignore[no-untyped-def]
    batch, count, tokens = q.shape
    bits = np.empty((batch, count, tokens, word_count(tokens)), dtype=np.uint64)
    m, z = (np.empty((batch, count, tokens), dtype=np.int64) for _ in range(2))
    p = np.empty((batch, count, tokens, tokens), dtype=np.int16)
    empty = attention.attention(q, k, start, mask, exp, exp_pairs(exp), limits, bits, m, z, p)
    found = unpack(bits, tokens)
    assert empty == np.count_nonzero(~found.any(-1))
    return found, m, z, p


def scores(q: np.ndarray, k: np.ndarray, heads: Heads | None = None) -> np.ndarray:
    """int16[B, H, N, N] of uint8[B, H, N, E], with the bias and mask of `heads`."""
    packed = [pack(bits)[..., 0] for bits in (q, k)]
    table, theta = np.empty((q.shape[1], 0), dtype=np.int32), np.zeros(q.shape[1], dtype=np.int32)
    heads = heads or Heads(None, score_start(*q.shape[:1:-1]), score_mask(q.shape[2]), table, exp_pairs(table), theta)
    return _attention(*packed, heads.start, heads.mask, heads.exp, heads.limits)[3]


def attention_of(p: np.ndarray, exp: np.ndarray | None, limits: np.ndarray) -> tuple[np.ndarray, ...]:
    """Bits, m and Z of given scores int[B, H, N, N], which take the place of the bias; -1 may not attend."""
    table = np.empty((p.shape[1], 0), dtype=np.int32) if exp is None else exp
    # Rows of no bits agree in none of them. Each image is a window of its own.
    nothing = np.zeros((1, p.shape[1], p.shape[2]), dtype=np.uint64)
    results = []
    for image in p:
        for head in range(p.shape[1]):
            allowed = image[head][np.newaxis] >= 0
            one = slice(head, head + 1)
            row = nothing[:, one]
            start, mask = score_start(0, p.shape[2], image[one]), score_mask(p.shape[2], allowed)
            found = _attention(row, row, start, mask, table[one], limits[one])
            assert np.array_equal(found[3][0, 0], np.where(allowed[0], image[head], -1))
            results.append(found[:3])
    return tuple(np.stack([part[0, 0] for part in parts]).reshape(*p.shape[:2], *parts[0].shape[2:])
                 for parts in zip(*results, strict=True))  # fmt: skip


def context(a: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """c and bits [B, H, N, E] of uint8[B, H, N, N] and uint8[B, H, N, E]."""
    batch, count, tokens, channels = v.shape
    width = count * channels
    bits = np.empty((batch * tokens, word_count(width)), dtype=np.uint64)
    c = np.empty((batch * tokens, width), dtype=np.int16)
    values = pack(np.ascontiguousarray(v.swapaxes(2, 3))).swapaxes(2, 3)
    context_kernels.context(pack(a), np.ascontiguousarray(values), bits, c)

    def heads(rows: np.ndarray) -> np.ndarray:
        return rows.reshape(batch, tokens, count, channels).swapaxes(1, 2)

    return heads(c), heads(unpack(bits, width))
