"""Patches of images and their embedding: paragraph 1 of docs/semantics.md; rules as in `sim.reference.products`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..network.config import ModelConfig
from ..system.jit import kernel
from .fixed import round_half_up_shift
from .popcount import Bits, Int32s, Int64s

#: Patches and outputs whose products are summed together: each loaded pixel and weight serves as many.
_TILE = 4


def image_patches(images: NDArray[np.uint8], config: ModelConfig) -> NDArray[np.uint8]:
    """Cut images into patches in raster order, each in the order (row, column, channel).

    Parameters
    ----------
    images : uint8[B, img_size, img_size, in_chans]
    config : ModelConfig

    Returns
    -------
    uint8[B, grid_size**2, patch_dim]
    """
    grid, side = config.grid_size, config.patch_size
    tiles = images.reshape(len(images), grid, side, grid, side, config.in_chans).swapaxes(2, 3)
    return np.ascontiguousarray(tiles).reshape(len(images), grid**2, config.patch_dim)


@kernel()
def _add_products(
    pixel: np.uint8,
    w: np.int32,
    x: np.int32,
    y: np.int32,
    z: np.int32,
    a: np.int32,
    b: np.int32,
    c: np.int32,
    d: np.int32,
) -> tuple[np.int32, np.int32, np.int32, np.int32]:
    """Add products of a pixel with weights of four outputs; the explicit int32 gives multiply-add instructions."""
    p = np.int32(pixel)
    return (
        np.int32(a + np.int32(p * w)),
        np.int32(b + np.int32(p * x)),
        np.int32(c + np.int32(p * y)),
        np.int32(d + np.int32(p * z)),
    )


@kernel(inline="always")
def _four_patches(p0: Bits, p1: Bits, p2: Bits, p3: Bits, weight: NDArray[np.int8], acc: Int32s) -> None:
    """Sums of four patches for all outputs; `acc` has room for whole fours of outputs."""
    last = weight.shape[0] - 1
    for o in range(0, weight.shape[0], _TILE):
        # The last outputs stand in for those that are missing.
        w0, w1, w2, w3 = weight[o], weight[min(o + 1, last)], weight[min(o + 2, last)], weight[min(o + 3, last)]
        a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = np.int32(0)
        c0 = c1 = c2 = c3 = d0 = d1 = d2 = d3 = np.int32(0)
        for k in range(weight.shape[1]):
            w, x, y, z = np.int32(w0[k]), np.int32(w1[k]), np.int32(w2[k]), np.int32(w3[k])
            a0, a1, a2, a3 = _add_products(p0[k], w, x, y, z, a0, a1, a2, a3)
            b0, b1, b2, b3 = _add_products(p1[k], w, x, y, z, b0, b1, b2, b3)
            c0, c1, c2, c3 = _add_products(p2[k], w, x, y, z, c0, c1, c2, c3)
            d0, d1, d2, d3 = _add_products(p3[k], w, x, y, z, d0, d1, d2, d3)
        acc[0, o], acc[0, o + 1], acc[0, o + 2], acc[0, o + 3] = a0, a1, a2, a3
        acc[1, o], acc[1, o + 1], acc[1, o + 2], acc[1, o + 3] = b0, b1, b2, b3
        acc[2, o], acc[2, o + 1], acc[2, o + 2], acc[2, o + 3] = c0, c1, c2, c3
        acc[3, o], acc[3, o + 1], acc[3, o + 2], acc[3, o + 3] = d0, d1, d2, d3


@kernel()
def patch_embed(
    patches: NDArray[np.uint8],
    weight: NDArray[np.int8],
    scale: Int32s,
    bias: Int64s,
    shift: int,
    position: Int32s,
    low: int,
    high: int,
    x: Int32s,
) -> np.int64:
    """Embed patches onto the residual grid, after the prefix tokens, which are constants (paragraph 1).

    Parameters
    ----------
    patches : uint8[B, G, K]
        Pixels of a patch in the order (row, column, channel).
    weight : int8[D, K]
        `sim.network.tensors` checks that no sum leaves int32.
    scale, bias : int32[D], int64[D]
        S, 1 to 2^15 - 1, and B, 48 bits.
    shift : int
        n, 1 to 40.
    position : int32[N, D]
        P; its first N - G rows are the prefix tokens.
    low, high : int
        Ends of the residual stream's range.
    x : int32[B, N, D]
        Written: the residual stream.

    Returns
    -------
    int
        How many elements were clamped.
    """
    batch, count, _ = patches.shape
    tokens, channels = position.shape
    prefix, last, saturations = tokens - count, count - 1, np.int64(0)
    acc = np.empty((_TILE, channels + _TILE), dtype=np.int32)
    for b in range(batch):
        # A loop, no slice: see `sim.reference.popcount.aligned_zeros`.
        for n in range(prefix):
            for c in range(channels):
                x[b, n, c] = position[n, c]
        for n in range(0, count, _TILE):
            p, q, r, s = n, min(n + 1, last), min(n + 2, last), min(n + 3, last)
            _four_patches(patches[b, p], patches[b, q], patches[b, r], patches[b, s], weight, acc)
            for i in range(min(_TILE, count - n)):
                row = prefix + n + i
                for c in range(channels):
                    exact = round_half_up_shift(np.int64(acc[i, c]) * np.int64(scale[c]) + bias[c], shift)
                    value = exact + np.int64(position[row, c])
                    clamped = min(max(value, np.int64(low)), np.int64(high))
                    saturations += np.int64(clamped != value)
                    x[b, row, c] = np.int32(clamped)
    return saturations
