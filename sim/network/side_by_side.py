"""Which tokens of a stage lie in the same part of a memory, so that rows side by side never do.

Rows that a unit takes side by side must lie in different parts, whatever takes them: the windows of a block, the
shifted ones of the next block, and the patch merging that reads or makes them. So a part is a colour, and rows side by
side are edges of a graph.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..errors import check
from .config import ModelConfig
from .stage_view import stage_views, token_places, window_places

Ints = NDArray[np.int64]

#: Random orders in which tokens are coloured, at most.
_TRIES = 64


@cache
def token_slots(config: ModelConfig, stage: int, rows: int, side: int, parts: int) -> tuple[Ints, Ints]:
    """Return the part that each token of a stage lies in, by its place, and which of the tokens there it is.

    Parameters
    ----------
    config : ModelConfig
    stage : int
    rows, side : int
        Rows of a tile, and of these side by side.
    parts : int
        Parts of the memory.

    Returns
    -------
    tuple of int64 [N]

    Raises
    ------
    BivitError
        When no way is found for so many rows side by side.
    """
    count = config.stages[stage].blocks[0].tokens
    if parts == 1:
        return np.zeros(count, np.int64), np.arange(count)
    groups = np.array(list(_groups(config, stage, rows, side)))
    # The last norm, and the norm of patches, go from part to part.
    last, normed = stage == len(config.stages) - 1, stage == 0 and config.patch_norm
    for part in _colourings(config, stage, groups, parts):
        if not _apart(part, groups):
            continue
        slot = np.zeros(count, np.int64)
        for one in range(parts):
            slot[part == one] = np.arange(int((part == one).sum()))
        if last and not np.array_equal(slot * parts + part, np.arange(count)):
            continue
        if normed and len(set(np.bincount(part, minlength=parts))) > 1:
            continue
        return part, slot
    check(
        False,
        f"no way is found to have {side} rows of stage {stage} side by side; choose norm_lanes of at most columns",
    )
    raise AssertionError


def _groups(config: ModelConfig, stage: int, rows: int, side: int) -> Iterator[Ints]:
    """Yield places of rows that are side by side, filled up with -1."""
    blocks = config.stages[stage].blocks
    for shifted in {bool(block.shift) for block in blocks}:
        windows = window_places(config, stage, shifted)
        for tile in tiles_of(windows.shape[0], windows.shape[1], rows):
            yield from _side_by_side(windows.ravel()[tile], side)
    merges = [number.merge for number in config.stages]
    behind = merges[stage + 1] if stage + 1 < len(merges) else None
    for view in (view for view in stage_views(config) if view.merge is not None):
        for tile in tiles_of(view.windows, view.num_tokens, rows):
            if view.merge == merges[stage]:
                yield from _side_by_side(tile, side)
            elif view.merge == behind:
                for neighbour in range(4):
                    yield from _side_by_side(4 * tile + neighbour, side)


def tiles_of(windows: int, tokens: int, rows: int) -> Iterator[Ints]:
    """Yield the numbers of the rows of each tile, windows one after the other.

    Parameters
    ----------
    windows, tokens : int
        Windows, and tokens of each.
    rows : int
        Rows of a tile.
    """
    for window in range(windows):
        for first in range(0, tokens, rows):
            yield window * tokens + np.arange(first, min(first + rows, tokens))


def _side_by_side(tile: Ints, side: int) -> Iterator[Ints]:
    for first in range(0, len(tile), side):
        group = np.full(side, -1)
        group[: len(tile[first : first + side])] = tile[first : first + side]
        yield group


def _colourings(config: ModelConfig, stage: int, groups: Ints, parts: int) -> Iterator[Ints]:
    """Yield parts of the tokens: in turn, by row and column of the image, and one after the other as they are free."""
    block = config.stages[stage].blocks[0]
    yield np.arange(block.tokens) % parts
    if block.prefix == 0:
        place = token_places(config, stage)
        row, column = np.divmod(np.arange(block.tokens), block.grid)
        for step in range(parts):
            part = np.empty(block.tokens, np.int64)
            part[place] = (step * row + column) % parts
            yield part
    chance = random.Random(1)
    for _ in range(_TRIES):
        found = _greedy(block.tokens, groups, parts, chance)
        if found is not None:
            yield found


def _greedy(count: int, groups: Ints, parts: int, chance: random.Random) -> Ints | None:
    """Give each token the part that is least used, of those that no row beside it has; None where there is none."""
    beside = [set[int]() for _ in range(count)]
    for group in groups.tolist():
        mine = [place for place in group if place >= 0]
        for place in mine:
            beside[place].update(mine)
    part, used = np.full(count, -1), [0] * parts
    for place in sorted(range(count), key=lambda one: (-len(beside[one]), chance.random())):
        taken = {int(part[other]) for other in beside[place]}
        free = [one for one in range(parts) if one not in taken]
        if not free:
            return None
        part[place] = min(free, key=lambda one: (used[one], chance.random()))
        used[part[place]] += 1
    return part


def _apart(part: Ints, groups: Ints) -> bool:
    """Whether rows that are side by side are in different parts."""
    inside = np.where(groups >= 0, part[groups], -1 - np.arange(groups.shape[1]))
    ordered = np.sort(inside, axis=1)
    return bool((ordered[:, 1:] != ordered[:, :-1]).all())
