"""Where the tokens of shifted windows lie, and which of them may attend to each other (docs/semantics.md, paragraph 7).

Tokens are stored in raster order everywhere; only the attention gathers them window by window.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blocks import BlockShape

#: Score of a pair of tokens that may not attend to each other; every real score is 0 or more.
MASKED = -1


def window_tokens(block: BlockShape) -> NDArray[np.int64]:
    """Raster indices of each window's tokens, int64[W, n]; all tokens in order without windows.

    Window and token positions count from the image that is rolled by `shift` patches up and to the left, so the last
    row and column of windows hold patches of opposite edges.

    >>> from .blocks import BlockShape
    >>> shape = dict(name="", prefix=0, embed_dim=8, num_heads=1, hidden_dim=8, norm_mode="mean")
    >>> window_tokens(BlockShape(grid=4, window=2, shift=1, qk_mode="threshold", attn_mode="score", eps=0, **shape))[0]
    array([ 5,  6,  9, 10])
    """
    if block.window is None:
        return np.arange(block.tokens)[np.newaxis]
    raster = np.arange(block.tokens).reshape(block.grid, block.grid)
    return _partition(np.roll(raster, (-block.shift, -block.shift), (0, 1)), block.window)


def window_mask(block: BlockShape) -> NDArray[np.bool_] | None:
    """Which pairs of a window's tokens may attend to each other, bool[W, n, n]; None when all may.

    Tokens of a window that comes from opposite edges of the image attend only to those of their own edge.
    """
    if block.window is None or not block.shift:
        return None
    # Positions along one side of the rolled image: before the last window, in its near part, in its wrapped part.
    position = np.arange(block.grid)
    part = (position >= block.grid - block.window).astype(np.int64) + (position >= block.grid - block.shift)
    regions = _partition(3 * part[:, np.newaxis] + part, block.window)
    return regions[:, :, np.newaxis] == regions[:, np.newaxis]


def relative_positions(window: int) -> NDArray[np.int64]:
    """Row of the relative position bias table for each pair of a window's tokens, int64[n, n] (Swin, section 3.2)."""
    rows, columns = np.divmod(np.arange(window**2), window)
    down = rows[:, np.newaxis] - rows + window - 1
    right = columns[:, np.newaxis] - columns + window - 1
    return down * (2 * window - 1) + right


def to_windows(rows: NDArray[Any], members: NDArray[np.int64] | None, batch: int) -> NDArray[Any]:
    """Put rows [batch * N, ...] from raster order into that of `members`, window by window; None leaves them."""
    if members is None:
        return rows
    return rows.reshape(batch, -1, *rows.shape[1:])[:, members.reshape(-1)].reshape(rows.shape)


def to_raster(rows: NDArray[Any], members: NDArray[np.int64] | None, batch: int) -> NDArray[Any]:
    """Undo `to_windows`."""
    if members is None:
        return rows
    joined, images = np.empty_like(rows), (batch, -1, *rows.shape[1:])
    joined.reshape(images)[:, members.reshape(-1)] = rows.reshape(images)
    return joined


def merge_neighbours(x: NDArray[Any], grid: int) -> NDArray[Any]:
    """Put the channels of 2 x 2 neighbours side by side (paragraph 10), columns of a square first.

    Parameters
    ----------
    x : int[B, grid**2, D]
    grid : int
        Patches along one side, even.

    Returns
    -------
    int[B, grid**2 / 4, 4 * D]
        Upper left, lower left, upper right, lower right, as in Swin's own code.
    """
    batch, _, channels = x.shape
    squares = x.reshape(batch, grid // 2, 2, grid // 2, 2, channels).transpose(0, 1, 3, 4, 2, 5)
    return np.ascontiguousarray(squares).reshape(batch, grid**2 // 4, 4 * channels)


def _partition(plane: NDArray[np.int64], window: int) -> NDArray[np.int64]:
    """Cut a square [side, side] into windows [W, window**2], both in raster order."""
    count = len(plane) // window
    return plane.reshape(count, window, count, window).swapaxes(1, 2).reshape(count**2, window**2)
