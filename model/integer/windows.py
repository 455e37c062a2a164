"""Windows of a Swin by rolling the image, as published, for the integer mode (docs/semantics.md, paragraph 7).

`sim.network.windows` gathers tokens by their indices instead; that both give the same tensors says that both are right.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...sim.network.blocks import BlockShape

#: Score of a pair of tokens that may not attend to each other.
MASKED = -1


def split(rows: Tensor, block: BlockShape) -> Tensor:
    """Cut the rolled image into windows: [B, N, C] to [B, W, n, C]; unchanged without windows."""
    if block.window is None:
        return rows
    image = rows.unflatten(1, (block.grid, block.grid)).roll((-block.shift, -block.shift), (1, 2))
    return _tiles(image, block.window).flatten(-3, -2)


def join(rows: Tensor, block: BlockShape) -> Tensor:
    """Inverse of `split`."""
    if block.window is None:
        return rows
    side = block.grid // block.window
    tiles = rows.unflatten(2, (block.window, block.window)).unflatten(1, (side, side))
    image = tiles.transpose(2, 3).flatten(3, 4).flatten(1, 2)
    return image.roll((block.shift, block.shift), (1, 2)).flatten(1, 2)


def add_bias(p: Tensor, table: Tensor, block: BlockShape) -> Tensor:
    """Add the relative position bias to popcounts [B, W, H, n, n]; pairs from opposite edges become `MASKED`.

    Parameters
    ----------
    p : int64[B, W, H, n, n]
    table : int64[(2w-1)^2, H]
    block : BlockShape
    """
    window = block.window
    assert window is not None
    place = torch.cartesian_prod(torch.arange(window), torch.arange(window))
    offset = place[:, None] - place + window - 1
    bias = table.unflatten(0, (2 * window - 1, 2 * window - 1))[offset[..., 0], offset[..., 1]]
    scores = p + bias.movedim(-1, 0)
    if not block.shift:
        return scores
    # Where a patch comes from in the image that is not rolled tells which edge it is at.
    position = torch.cartesian_prod(torch.arange(block.grid), torch.arange(block.grid))
    source = split(position[None], block)[0]
    start = source[:, :1]
    wrapped = ((source < start).long() * torch.tensor([2, 1])).sum(-1)
    allowed = wrapped[:, :, None] == wrapped[:, None]
    return torch.where(allowed[:, None], scores, MASKED)


def _tiles(image: Tensor, window: int) -> Tensor:
    """[B, g, g, C] to [B, W, w, w, C]."""
    return image.unflatten(2, (-1, window)).unflatten(1, (-1, window)).transpose(2, 3).flatten(1, 2)
