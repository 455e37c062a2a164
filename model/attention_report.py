"""What each attention head of a Bi-ViT does on images: its scale, its ones, its entropy, and whether it is alive."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..sim.network.windows import window_mask
from .vit.vit import BiViT, forward_taps

#: Images that go through the model together.
_BATCH = 64


@torch.no_grad()
def attention_report(model: BiViT, images: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """Measure every head on images.

    Parameters
    ----------
    model : BiViT
        Left in evaluation mode.
    images : uint8[n, H, W, C]

    Returns
    -------
    list of dict
        One row a head, in order:

        - `head`: name, `blocks.0.attn.attn_sign[0]`;
        - `scale`: the learnable scaling factor s, None in mode `score`;
        - `ones`: share of ones among the pairs that may attend;
        - `entropy`: mean over the rows of the entropy of attending evenly to a row's ones, log2 of their number, in
          bits; a row without ones counts 0;
        - `empty_rows`: share of the rows without a one;
        - `constant`: whether every pair that may attend has the same bit in every image.
    """
    model.eval()
    names = [f"{block.name}.attn.attn_sign" for block in model.config.blocks]
    sums: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    for start in range(0, len(images), _BATCH):
        _, taps = forward_taps(model, torch.from_numpy(images[start : start + _BATCH]), names)
        for block, name in zip(model.config.blocks, names, strict=True):
            members = block.window_tokens
            bits = taps[name].reshape(-1, block.windows, block.num_heads, members, members).bool().numpy()
            mask = window_mask(block)
            allowed = np.ones((1, members, members), dtype=bool) if mask is None else mask
            sums[name].append(_of_heads(bits, np.broadcast_to(allowed[:, np.newaxis], bits.shape[1:])))
    rows = []
    for block, name in zip(model.config.blocks, names, strict=True):
        total = np.sum(sums[name], axis=0)
        scales: Any = getattr(model.get_submodule(name), "scale", None)
        for head in range(block.num_heads):
            scale = float(scales[head]) if block.attn_mode == "softmax" else None
            rows.append({"head": f"{name}[{head}]", "scale": scale, **_row(total[:, head])})
    return rows


def _of_heads(bits: NDArray[np.bool_], allowed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Sums a head, float64[5, H], of bits [B, W, H, n, n]: ones, pairs, entropy, empty rows, rows."""
    ones = (bits & allowed).sum(-1)
    axes = (0, 1, 3)
    return np.stack(
        [
            ones.sum(axes),
            len(bits) * allowed.sum((0, 2, 3)),
            np.log2(np.maximum(ones, 1)).sum(axes),
            (ones == 0).sum(axes),
            np.full(bits.shape[2], ones[:, :, 0].size),
        ]
    ).astype(np.float64)


def _row(sums: NDArray[np.float64]) -> dict[str, Any]:
    ones, pairs, entropy, empty, rows = (float(value) for value in sums)
    return {
        "ones": ones / pairs,
        "entropy": entropy / rows,
        "empty_rows": empty / rows,
        "constant": ones in (0.0, pairs),
    }
