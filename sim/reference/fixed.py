"""Fixed-point arithmetic: saturation, rounding and the integer square root (docs/semantics.md).

Every function is exact on int64 and takes arrays; those with loops are compiled by numba and run unchanged as plain
Python.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bits import signed_range
from ..system.jit import kernel


def saturate_signed(values: NDArray[np.int64], bits: int) -> tuple[NDArray[np.int64], int]:
    """Clamp to the two's-complement range of `bits` bits and count the elements that were outside it.

    Parameters
    ----------
    values : int64[...]
    bits : int
        1 to 63.

    Returns
    -------
    clamped : int64[...]
    saturations : int
        How many elements changed.
    """
    clamped = np.clip(values, *signed_range(bits))
    return clamped, int(np.count_nonzero(clamped != values))


@kernel()
def round_half_up_shift(values: NDArray[np.int64] | np.int64, shift: int) -> Any:
    """Divide by 2^shift, rounding to nearest and ties towards plus infinity: ``(x + 2^(shift-1)) >> shift``.

    `shift` is 1 or more; ``|x| + 2^(shift-1)`` must fit in int64.

    >>> round_half_up_shift(np.array([-3, -2, -1, 1, 2, 3]), 2).tolist()
    [-1, 0, 0, 0, 1, 1]
    """
    return (values + (np.int64(1) << np.int64(shift - 1))) >> np.int64(shift)


@kernel()
def root(value: np.int64) -> np.int64:
    """Floor of the square root of one number of 0 .. 2^62 - 1: the float's, off by one at most, made right."""
    guess = np.int64(np.sqrt(np.float64(value)))
    if guess * guess > value:
        guess -= np.int64(1)
    elif (guess + np.int64(1)) * (guess + np.int64(1)) <= value:
        guess += np.int64(1)
    return guess


@kernel()
def _roots(values: NDArray[np.int64], roots: NDArray[np.int64]) -> None:
    for i in range(values.shape[0]):
        roots[i] = root(values[i])


def isqrt(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Floor of the square root.

    Parameters
    ----------
    values : int64[...]
        0 to 2^62 - 1.

    Returns
    -------
    int64[...]
        0 to 2^31 - 1; ``r * r <= v < (r + 1) * (r + 1)``.

    Examples
    --------
    >>> isqrt(np.array([0, 15, 16, 2**62 - 1])).tolist()
    [0, 3, 4, 2147483647]
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    roots = np.empty_like(flat)
    _roots(flat, roots)
    return roots.reshape(values.shape)
