"""Packing of binary vectors into 64-bit words, the one bit order of bivit; and the range of a number of bits.

Element k of a row is bit k % 64 of word k // 64; the padding bits of the last word are 0. Weights in the artefact,
operands of the numba kernels and words of the hardware's memories all follow it (docs/network.md, Bit order).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .errors import check

WORD_BITS = 64
#: Largest argument of `isqrt`; the norms' variances are checked against it (`sim.network.tensors`).
ISQRT_LIMIT = 2**62


def signed_range(bits: int) -> tuple[int, int]:
    """Lowest and highest two's-complement value of `bits` bits.

    >>> signed_range(8)
    (-128, 127)
    """
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def word_count(length: int) -> int:
    """Words that hold `length` bits.

    >>> word_count(64), word_count(65)
    (1, 2)
    """
    return -(-length // WORD_BITS)


def pack(bits: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Pack the last axis of an array of bits into words.

    Parameters
    ----------
    bits : uint8[..., K]
        Zeros and ones, K at least 1.

    Returns
    -------
    uint64[..., ceil(K / 64)]
        Padding bits are 0.

    Raises
    ------
    BivitError
        When the dtype is not uint8, the last axis is empty or an element exceeds 1.

    Examples
    --------
    >>> int(pack(np.array([1, 0, 1], dtype=np.uint8))[0])
    5
    """
    check(bits.dtype == np.uint8, f"bits to pack must be uint8, got {bits.dtype}; convert them first")
    check(bits.ndim > 0 and bits.shape[-1] > 0, f"bits to pack need a last axis of 1 or more, got shape {bits.shape}")
    check(bits.size == 0 or int(bits.max()) <= 1, "bits to pack must be 0 or 1, got larger values")
    octets = np.packbits(bits, axis=-1, bitorder="little")
    padded = np.zeros((*bits.shape[:-1], word_count(bits.shape[-1]) * 8), dtype=np.uint8)
    padded[..., : octets.shape[-1]] = octets
    return padded.view("<u8").astype(np.uint64, copy=False)


def unpack(words: NDArray[np.uint64], length: int) -> NDArray[np.uint8]:
    """Unpack words into bits; the inverse of `pack`.

    Parameters
    ----------
    words : uint64[..., ceil(length / 64)]
    length : int
        Bits of a row.

    Returns
    -------
    uint8[..., length]

    Raises
    ------
    BivitError
        When the dtype is not uint64 or the last axis does not hold exactly `length` bits.
    """
    check(words.dtype == np.uint64, f"words to unpack must be uint64, got {words.dtype}; convert them first")
    expected = word_count(length)
    check(
        length > 0 and words.ndim > 0 and words.shape[-1] == expected,
        f"{length} bits need a last axis of {expected} words, got shape {words.shape}",
    )
    octets = np.ascontiguousarray(words.astype("<u8", copy=False)).view(np.uint8)
    return np.unpackbits(octets, axis=-1, count=length, bitorder="little")


def padding_is_zero(words: NDArray[np.uint64], length: int) -> bool:
    """Whether every bit beyond `length` of the last axis is 0 (uint64[..., ceil(length / 64)])."""
    used = length % WORD_BITS
    return used == 0 or not bool((words[..., -1] >> np.uint64(used)).any())
