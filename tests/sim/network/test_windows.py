"""Windows, masks, relative positions and neighbours by hand and against plain Python (sim/network/windows.py)."""

from dataclasses import replace

import numpy as np
import packed
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes import SWIN, TINY

import naive
from bivit.sim.network.blocks import BlockShape
from bivit.sim.network.random import random_network
from bivit.sim.network.windows import (
    MASKED,
    merge_neighbours,
    relative_positions,
    to_raster,
    to_windows,
    window_mask,
    window_tokens,
)
from bivit.sim.reference.prepare import prepare_heads

GLOBAL = TINY.blocks[0]


def windowed(grid: int, window: int, shift: int = 0, heads: int = 1) -> BlockShape:
    """A block of 8 channels a head."""
    return replace(SWIN.blocks[0], grid=grid, window=window, shift=shift, num_heads=heads, embed_dim=8 * heads)


@st.composite
def blocks(draw: st.DrawFn) -> BlockShape:
    window, count = draw(st.integers(1, 7)), draw(st.integers(1, 3))
    shift = draw(st.integers(0, window - 1)) if count > 1 else 0
    return windowed(window * count, window, shift, heads=draw(st.integers(1, 2)))


def test_windows_of_a_grid_of_four() -> None:
    """
     0  1 |  2  3
     4  5 |  6  7
     -----+------
     8  9 | 10 11
    12 13 | 14 15.
    """
    assert window_tokens(windowed(4, 2)).tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


def test_shifted_windows_of_a_grid_of_four() -> None:
    """The last row and column of windows hold both edges; the corner's window holds the four corners."""
    shifted = windowed(4, 2, shift=1)
    assert window_tokens(shifted).tolist() == [[5, 6, 9, 10], [7, 4, 11, 8], [13, 14, 1, 2], [15, 12, 3, 0]]


def test_mask_of_shifted_windows_of_a_grid_of_four() -> None:
    """Inside; left and right edge in turns; upper and lower edge in halves; four corners, each alone."""
    mask = window_mask(windowed(4, 2, shift=1))
    assert mask is not None
    left_right = [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]]
    up_down = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert mask.astype(int).tolist() == [[[1] * 4] * 4, left_right, up_down, np.eye(4, dtype=int).tolist()]


def test_mask_of_windows_of_seven_shifted_by_three() -> None:
    """Swin-Tiny's third stage: of the last windows' 7 rows, 4 are of the near edge and 3 of the far one."""
    mask = window_mask(windowed(14, 7, shift=3))
    assert mask is not None
    assert mask.sum(axis=(1, 2)).tolist() == [
        49 * 49, 7 * 7 * (16 + 9), 7 * 7 * (16 + 9), (16 + 9) ** 2,
    ]  # fmt: skip


def test_the_mask_is_the_one_of_numbered_slices() -> None:
    """Swin's own construction: nine slices of the rolled image are numbered, and different numbers may not attend."""
    grid, window, shift = 12, 4, 2
    plane = np.zeros((grid, grid), dtype=int)
    slices = (slice(0, -window), slice(-window, -shift), slice(-shift, None))
    for number, (rows, columns) in enumerate((rows, columns) for rows in slices for columns in slices):
        plane[rows, columns] = number
    tiles = [
        plane[a : a + window, b : b + window].reshape(-1)
        for a in range(0, grid, window)
        for b in range(0, grid, window)
    ]
    expected = [(tile[:, None] - tile[None, :]) == 0 for tile in tiles]
    assert np.array_equal(window_mask(windowed(grid, window, shift)), expected)


@pytest.mark.parametrize("block", [GLOBAL, windowed(4, 4), windowed(6, 3)])
def test_no_mask_without_a_shift(block: BlockShape) -> None:
    assert window_mask(block) is None


def test_relative_positions_of_windows_of_two() -> None:
    """The middle row of the table, 4, is no offset; a key one to the right is one row before it, one below three."""
    assert relative_positions(2).tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]
    assert relative_positions(1).tolist() == [[0]]


def test_relative_positions_of_windows_of_seven() -> None:
    table = relative_positions(7)
    assert (table.min(), table.max(), len(np.unique(table))) == (0, 168, 169)
    assert table[0, 48] == 0  # the key farthest to the lower right
    assert table[48, 0] == 168
    assert table[10, 3] == 84 + 13  # the key one row above


def test_neighbours_are_taken_by_columns() -> None:
    """
     0  1  2  3
     4  5  6  7
     8  9 10 11
    12 13 14 15.
    """
    merged = merge_neighbours(np.arange(16).reshape(1, 16, 1), 4)
    assert merged.tolist() == [[[0, 4, 1, 5], [2, 6, 3, 7], [8, 12, 9, 13], [10, 14, 11, 15]]]


def test_neighbours_are_those_of_strided_slices() -> None:
    """Swin's own definition, with several channels and images."""
    x = np.random.default_rng(0).integers(0, 100, (3, 6, 6, 5))
    slices = [x[:, row::2, column::2] for row, column in ((0, 0), (1, 0), (0, 1), (1, 1))]
    expected = np.concatenate(slices, axis=-1).reshape(3, 9, 20)
    assert np.array_equal(merge_neighbours(x.reshape(3, 36, 5), 6), expected)
    assert expected.tolist() == [naive.merge_neighbours(image, 6) for image in x.reshape(3, 36, 5).tolist()]


@given(blocks())
def test_windows_equal_the_naive_twin(block: BlockShape) -> None:
    assert block.window is not None
    shape = (block.grid, block.window, block.shift)
    assert window_tokens(block).tolist() == naive.window_tokens(*shape)
    allowed, mask = naive.window_allowed(*shape), window_mask(block)
    assert allowed == (np.ones_like(allowed) if mask is None else mask).tolist()
    side = range(block.window**2)
    assert relative_positions(block.window).tolist() == [
        [naive.relative_position(block.window, i, j) for j in side] for i in side
    ]


@given(blocks())
def test_every_token_is_in_one_window_and_attends_to_itself(block: BlockShape) -> None:
    assert sorted(window_tokens(block).reshape(-1).tolist()) == list(range(block.tokens))
    mask = window_mask(block)
    if mask is not None:
        assert mask.diagonal(axis1=1, axis2=2).all()
        assert np.array_equal(mask, mask.swapaxes(1, 2))


@given(blocks())
def test_raster_order_is_restored(block: BlockShape) -> None:
    rows = np.arange(2 * block.tokens * 3).reshape(2 * block.tokens, 3)
    members = window_tokens(block)
    windows = to_windows(rows, members, 2)
    assert np.array_equal(to_raster(windows, members, 2), rows)
    image, window, token = 1, block.windows - 1, block.window_tokens - 1
    expected = rows[image * block.tokens + members[window, token]]
    assert np.array_equal(windows.reshape(2, *members.shape, 3)[image, window, token], expected)


def test_without_windows_all_tokens_are_one_group() -> None:
    assert window_tokens(GLOBAL).tolist() == [list(range(GLOBAL.tokens))]
    assert prepare_heads(GLOBAL, random_network(TINY).tensors).members is None
    rows = np.arange(3 * GLOBAL.tokens).reshape(-1, 1)
    assert to_windows(rows, None, 3) is rows
    assert to_raster(rows, None, 3) is rows


@given(blocks(), st.integers(0, 2**32 - 1))
def test_biased_scores_equal_the_naive_twin(block: BlockShape, seed: int) -> None:
    assert block.window is not None
    random = np.random.default_rng(seed)
    q, k = random.integers(0, 2, (2, 2 * block.windows, block.num_heads, block.window_tokens, 8), dtype=np.uint8)
    table = random.integers(0, 9, (block.bias_entries, block.num_heads)).astype(np.int32)
    tensors = {
        "blocks.attn.relative_position_bias_table": table,
        "blocks.attn.attn_sign.theta": np.zeros(block.num_heads, dtype=np.int32),
    }
    heads = prepare_heads(replace(block, name="blocks", attn_mode="score"), tensors)
    scores = packed.scores(q, k, heads)
    assert scores.min() >= MASKED
    allowed = naive.window_allowed(block.grid, block.window, block.shift)
    for group in range(len(q)):
        for head in range(block.num_heads):
            rows = naive.scores(q[group, head].tolist(), k[group, head].tolist())
            bias = table[:, head].tolist()
            expected = naive.biased_scores(rows, bias, block.window, allowed[group % block.windows])
            assert scores[group, head].tolist() == expected
