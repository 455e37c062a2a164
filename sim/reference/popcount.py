"""Parts of the compiled kernels: counting the ones of a word, packing flags into words, aligned memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..system.jit import kernel

Bits = NDArray[np.uint8]
Ints = NDArray[np.signedinteger[Any]]
Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]
Words = NDArray[np.uint64]
Chunks = NDArray[np.uint16]

#: Rows whose steps take turns: the steps of one row wait for each other, those of different rows do not.
TURNS = 16

_M1 = np.uint64(0x5555555555555555)
_M2 = np.uint64(0x3333333333333333)
_M4 = np.uint64(0x0F0F0F0F0F0F0F0F)
_BYTES = np.uint64(0x0101010101010101)
_ONE, _TWO, _FOUR, _TOP = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)
#: Multiplied with eight bytes of 0 or 1, it has byte i at bit 56 + i.
_GATHER = np.uint64(0x0102040810204080)


@kernel()
def popcount(word: np.uint64) -> np.int64:
    """Ones of a word."""
    # LLVM recognises this shape as its population count; numpy's own does not compile in numba. The product wraps.
    word = word - ((word >> _ONE) & _M1)
    word = (word & _M2) + ((word >> _TWO) & _M2)
    word = (word + (word >> _FOUR)) & _M4
    return np.int64((word * _BYTES) >> _TOP)


@kernel()
def ones16(chunk: np.uint16) -> np.int16:
    """Ones of 16 bits."""
    return np.int16(popcount(np.uint64(chunk)))


@kernel()
def pack_flags(eights: Words, octets: Bits) -> None:
    """Pack flags of 0 and 1, which are read eight at a time, into the bytes of words, lowest bit first."""
    for i in range(octets.shape[0]):
        octets[i] = np.uint8((eights[i] * _GATHER) >> _TOP)


@kernel()
def aligned_words(count: int) -> Words:
    """Return uninitialised words that begin at a multiple of 64 bytes, where no vector lies across two cache lines."""
    memory = np.empty(count + 7, dtype=np.uint64)
    first = (-memory.ctypes.data % 64) // 8
    return memory[first : first + count]


@kernel()
def aligned_zeros(count: int) -> Words:
    """As `aligned_words`, of zeros."""
    memory = aligned_words(count)
    # A loop, as numba takes a second and more to compile its first assignment to a slice.
    for i in range(count):
        memory[i] = 0
    return memory
