"""The rate that binary products are measured against: xor, population count and addition on registers."""

from __future__ import annotations

import numpy as np

from ..system.jit import kernel
from .popcount import Int64s, Words, popcount


@kernel()
def _differences(keys: Words, count: int, sums: Int64s) -> None:
    a, b, c, d, e, f, g, h = keys[0], keys[1], keys[2], keys[3], keys[4], keys[5], keys[6], keys[7]
    s0, s1, s2, s3, s4, s5, s6, s7 = sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], sums[6], sums[7]
    for i in range(count):
        word = np.uint64(i)
        s0, s1, s2, s3 = (
            s0 + popcount(a ^ word),
            s1 + popcount(b ^ word),
            s2 + popcount(c ^ word),
            s3 + popcount(d ^ word),
        )
        s4, s5, s6, s7 = (
            s4 + popcount(e ^ word),
            s5 + popcount(f ^ word),
            s6 + popcount(g ^ word),
            s7 + popcount(h ^ word),
        )
    sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], sums[6], sums[7] = s0, s1, s2, s3, s4, s5, s6, s7


def popcount_peak(words: int) -> int:
    """Count where `words` pairs of words differ, without any memory: eight keys with the numbers from 0 up.

    Parameters
    ----------
    words : int
        A multiple of 8.

    Returns
    -------
    int
        The sum, so that nothing is left out.

    Examples
    --------
    >>> popcount_peak(16)
    572
    """
    keys, sums = np.arange(1, 9, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15), np.zeros(8, dtype=np.int64)
    _differences(keys, words // 8, sums)
    return int(sums.sum())
