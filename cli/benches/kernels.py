"""Rates of the binary product beside what the processor's population count can do; and the rest of the roofline."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ...sim.bits import WORD_BITS
from ...sim.reference.peak import popcount_peak
from ...sim.reference.prepare import acc_type, grouped
from ...sim.reference.products import binary_linear
from ...sim.reference.workspace import aligned

#: Rows of an image, K and outputs: qkv, fc2, fc1 and proj of DeiT-Tiny.
SHAPES = ((198, 192, 576), (198, 768, 192), (198, 192, 768), (198, 192, 192))
#: Images together.
_BATCH = 8
#: Words of one measurement of the peak, and calls of a kernel in one.
_PEAK_WORDS, _CALLS = 1 << 26, 20
#: Kernels take milliseconds: each of the rounds measures them so many times.
_REPEATS = 5
_COPY_BYTES = 1 << 27


def bench_kernels(rounds: int) -> dict[str, Any]:
    """Measure peak and kernels in turns, on one core.

    Parameters
    ----------
    rounds : int
        A fifth of the measurements of each.

    Returns
    -------
    dict
        `peak_gmacs` (10^9 products a second of xor, popcount and add on registers, median), `copy_gbytes` (10^9 bytes a
        second that a large copy reads and writes) and `rows`: for each shape `gmacs`, `peak_ratio`, `float32_ratio`
        (time of torch's float32 product of the same shape over the kernel's), each a median over the rounds;
        `peak_ratio_low` and `peak_ratio_high`; `bytes` and `macs` of one call.
    """
    import torch

    torch.set_num_threads(1)
    cases = [_case(*shape) for shape in SHAPES]
    rates: dict[str, list[float]] = {case["name"]: [] for case in cases}
    floats: dict[str, list[float]] = {case["name"]: [] for case in cases}
    ratios: dict[str, list[float]] = {case["name"]: [] for case in cases}
    peaks = []
    for _ in range(_REPEATS * rounds):
        for case in cases:
            # Each kernel is measured next to the peak, as the clock of a shared machine wanders.
            peak = _PEAK_WORDS * WORD_BITS / _seconds(_peak, 1) / 1e9
            rate = case["macs"] / _seconds(case["run"], _CALLS) / 1e9
            peaks.append(peak)
            rates[case["name"]].append(rate)
            ratios[case["name"]].append(rate / peak)
            floats[case["name"]].append(rate * 1e9 * _seconds(case["float32"], 3) / case["macs"])
    rows = []
    for case in cases:
        name = case["name"]
        rows.append(
            {
                "name": name,
                "gmacs": statistics.median(rates[name]),
                "peak_ratio": statistics.median(ratios[name]),
                "peak_ratio_low": min(ratios[name]),
                "peak_ratio_high": max(ratios[name]),
                "float32_ratio": statistics.median(floats[name]),
                "macs": case["macs"],
                "bytes": case["bytes"],
            }
        )
    return {"peak_gmacs": statistics.median(peaks), "copy_gbytes": _copy_rate(rounds), "rows": rows}


def _seconds(function: Callable[[], Any], calls: int) -> float:
    """Processor time of one call of this thread, which other processes do not lengthen."""
    function()
    start = time.thread_time()
    for _ in range(calls):
        function()
    return (time.thread_time() - start) / calls


def _peak() -> int:
    return popcount_peak(_PEAK_WORDS)


def _case(rows: int, length: int, outputs: int) -> dict[str, Any]:
    import torch

    random, words = np.random.default_rng(0), length // WORD_BITS
    a = aligned((_BATCH * rows, words), np.uint64)
    a[...] = random.integers(0, 1 << 63, a.shape, dtype=np.uint64)
    w = grouped(random.integers(0, 1 << 63, (outputs, words), dtype=np.uint64))
    acc = aligned((_BATCH * rows, outputs), acc_type(length))
    x, y = torch.randn(_BATCH * rows, length), torch.randn(length, outputs)
    out = torch.empty(_BATCH * rows, outputs)
    return {
        "name": f"kernel.{rows}x{length}x{outputs}",
        "run": lambda: binary_linear(a, w, length, acc),
        "float32": lambda: torch.matmul(x, y, out=out),
        "macs": _BATCH * rows * length * outputs,
        "bytes": a.nbytes + w.nbytes + acc.nbytes,
    }


def _copy_rate(rounds: int) -> float:
    source = np.ones(_COPY_BYTES, dtype=np.uint8)
    target = np.empty_like(source)
    return 2 * _COPY_BYTES / min(_seconds(lambda: np.copyto(target, source), 1) for _ in range(rounds)) / 1e9
