"""Where the words of every token lie in an image's x, on an engine with windows.

Rows that a unit takes side by side must lie in different parts of a bank, whatever takes them: the windows of a block,
the shifted ones of the next block, and the patch merging that reads them. Which part a token lies in is a colouring.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..engine.words import ceil_div
from ..errors import check
from ..flow.config import FlowConfig
from ..flow.residual_add import ResidualAddUnit
from ..network.config import ModelConfig
from ..network.stage_view import stage_views, token_places, window_places

Ints = NDArray[np.int64]

#: Random orders in which tokens are coloured, at most.
_TRIES = 64


def token_words(config: ModelConfig, flow: FlowConfig, stage: int) -> Ints:
    """Return the first word of each token of a stage in a bank of x, int64 [N], by the token's place.

    Parameters
    ----------
    config : ModelConfig
    flow : FlowConfig
        With windows.
    stage : int

    Raises
    ------
    BivitError
        When no way is found for so many rows side by side.
    """
    unit = ResidualAddUnit(flow)
    part, slot = _slots(config, stage, flow.engine.rows, unit.side, unit.parts_of_bank)
    return part * unit.part_words + slot * _row_words(config, flow, stage)


def x_words(config: ModelConfig, flow: FlowConfig) -> int:
    """Return the words of x that an image takes in its largest stage.

    Parameters
    ----------
    config : ModelConfig
    flow : FlowConfig
        Its own limits are not looked at.
    """
    unit = ResidualAddUnit(flow)
    parts = unit.parts_of_bank
    found = (
        int(_slots(config, stage, flow.engine.rows, unit.side, parts)[1].max() + 1) * _row_words(config, flow, stage)
        for stage in range(len(config.stages))
    )
    return parts * max(found)


def check_merging(config: ModelConfig, flow: FlowConfig) -> None:
    """Check that what a patch merging makes never lies on tokens that are still to be read.

    Parameters
    ----------
    config : ModelConfig
    flow : FlowConfig

    Raises
    ------
    BivitError
        With the stage, and the first tile that would.
    """
    rows = flow.engine.rows
    for stage in range(1, len(config.stages)):
        before, after = (token_words(config, flow, number) for number in (stage - 1, stage))
        read, made = (_row_words(config, flow, number) for number in (stage - 1, stage))
        owner = np.full(int(max(before.max() + read, after.max() + made)), -1)
        for word in range(read):
            owner[before + word] = np.arange(len(before)) // 4
        view = next(view for view in stage_views(config) if view.merge == config.stages[stage].merge)
        for number, tile in enumerate(_tiles(view.windows, view.num_tokens, rows)):
            words = after[tile][:, None] + np.arange(made)
            check(
                int(owner[words].max()) <= int(tile.max()),
                f"the tokens that stage {stage} begins with lie on others that are still to be read, from tile "
                f"{number} of the patch merging on; choose norm_lanes of at most columns ({flow.engine.columns})",
            )


def _row_words(config: ModelConfig, flow: FlowConfig, stage: int) -> int:
    """Words of a token."""
    return ceil_div(config.stages[stage].blocks[0].embed_dim, flow.engine.columns) * ResidualAddUnit(flow).parts


@cache
def _slots(config: ModelConfig, stage: int, rows: int, side: int, parts: int) -> tuple[Ints, Ints]:
    """Return the part of the bank that each token lies in, by its place, and which of the tokens there it is."""
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
        for tile in _tiles(windows.shape[0], windows.shape[1], rows):
            yield from _side_by_side(windows.ravel()[tile], side)
    merges = [number.merge for number in config.stages]
    behind = merges[stage + 1] if stage + 1 < len(merges) else None
    for view in (view for view in stage_views(config) if view.merge is not None):
        for tile in _tiles(view.windows, view.num_tokens, rows):
            if view.merge == merges[stage]:
                yield from _side_by_side(tile, side)
            elif view.merge == behind:
                for neighbour in range(4):
                    yield from _side_by_side(4 * tile + neighbour, side)


def _tiles(windows: int, tokens: int, rows: int) -> Iterator[Ints]:
    """Yield the numbers of the rows of each tile, windows one after the other."""
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
