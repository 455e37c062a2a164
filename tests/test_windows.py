"""Windows, masks, relative positions and neighbours by hand and against plain Python (sim/windows.py)."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes import SWIN, TINY

import naive
from bivit.sim.blocks import BlockShape
from bivit.sim.windows import (
    MASKED,
    Windows,
    merge_neighbours,
    relative_positions,
    window_mask,
    window_tokens,
)

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
def test_joining_undoes_splitting(block: BlockShape) -> None:
    rows = np.arange(2 * block.tokens * block.embed_dim).reshape(2, block.tokens, block.embed_dim)
    windows = Windows(block)
    heads = windows.split(rows)
    assert heads.shape == (2 * block.windows, block.num_heads, block.window_tokens, block.head_dim)
    assert np.array_equal(windows.join(heads), rows)
    image, window, head, token = 1, block.windows - 1, block.num_heads - 1, block.window_tokens - 1
    member = window_tokens(block)[window, token]
    expected = rows[image, member, 8 * head : 8 * head + 8]
    assert np.array_equal(windows.tap(heads)[image, window, head, token], expected)


def test_without_windows_all_tokens_are_one_group() -> None:
    assert window_tokens(GLOBAL).tolist() == [list(range(GLOBAL.tokens))]
    rows = np.arange(3 * GLOBAL.tokens * 16).reshape(3, GLOBAL.tokens, 16)
    heads = Windows(GLOBAL).split(rows)
    assert heads.shape == (3, 2, GLOBAL.tokens, 8)
    assert np.array_equal(Windows(GLOBAL).tap(heads), heads)
    assert np.array_equal(Windows(GLOBAL).join(heads), rows)


@given(blocks(), st.integers(0, 2**32 - 1))
def test_biased_scores_equal_the_naive_twin(block: BlockShape, seed: int) -> None:
    assert block.window is not None
    random = np.random.default_rng(seed)
    p = random.integers(0, 9, (2 * block.windows, block.num_heads, block.window_tokens, block.window_tokens))
    table = random.integers(0, 9, (block.bias_entries, block.num_heads)).astype(np.int32)
    scores = Windows(block).biased(p, table)
    assert scores.min() >= MASKED
    allowed = naive.window_allowed(block.grid, block.window, block.shift)
    for group, heads in enumerate(p.tolist()):
        for head, rows in enumerate(heads):
            pairs = allowed[group % block.windows]
            expected = naive.biased_scores(rows, table[:, head].tolist(), block.window, pairs)
            assert scores[group, head].tolist() == expected
