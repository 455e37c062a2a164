"""Precision of matrix products in training: which are exact for binary operands, and what it costs.

Products of +-1 and 0/1 are whole numbers. A float32 sum of them is exact, whatever the operands are rounded to, because
+-1 is exact in every format: `tf32` keeps every binary product. `bf16` also rounds the results, to 8 significant bits:
whole numbers up to 256 stay exact, and even ones up to 512. A sum over K signs has the parity of K, which is even.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ...sim.errors import check
from ...sim.network.config import ModelConfig

#: What torch is told about float32 products, by name: `tf32` rounds operands only (to TF32 on a GPU, to bfloat16 on a
#: processor that has it), `bf16` is autocast to bfloat16 and rounds operands and results.
PRECISIONS = {"fp32": "highest", "tf32": "medium", "bf16": "highest"}
#: Longest dot product of signs, and longest row of attention bits, whose results are exact in bfloat16.
_EXACT_SIGNS = 512
_EXACT_BITS = 256


@contextmanager
def precision(name: str, device: torch.device) -> Iterator[None]:
    """Compute products in a precision of `PRECISIONS` while the context lasts."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(PRECISIONS[name])
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=name == "bf16"):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def check_exact(name: str, config: ModelConfig) -> None:
    """Refuse to train a binary model of a shape whose products a precision would round.

    Raises
    ------
    BivitError
        For `bf16` and dot products that are too long.
    """
    if name != "bf16":
        return
    signs = max(max(block.embed_dim, block.hidden_dim) for block in config.blocks)
    bits = max(block.window_tokens for block in config.blocks)
    check(
        signs <= _EXACT_SIGNS and bits <= _EXACT_BITS,
        f"bf16 would round products of this shape: it is exact for dot products of up to {_EXACT_SIGNS} signs and rows "
        f"of up to {_EXACT_BITS} tokens, got {signs} and {bits}; set precision = 'tf32', which is exact for all",
    )
