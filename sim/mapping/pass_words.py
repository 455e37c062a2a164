"""The words of a network's passes: blocks and patch mergings one behind the other, biases, masks, places of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.fields import pack_fields
from ..engine.words import WORD
from ..flow.config import FlowConfig
from ..flow.memories import head_eps
from ..flow.pass_settings import NEIGHBOURS, job_words
from ..flow.residual_add import ResidualAddUnit
from ..flow.settings import setting_bits, table_words
from ..flow.sign_norm import SignNormUnit
from ..flow.softmax import SoftmaxUnit
from ..flow.streams import Stream
from ..network.blocks import BlockShape
from ..network.config import ModelConfig
from ..network.formats import EPS_BITS
from ..network.network import IntNetwork
from ..network.stage_view import window_places
from ..network.windows import relative_positions
from .layout import token_words
from .passes import Pass
from .words import Field, Words, operation_words, structs, words_of_blocks

#: Bits of a relative position bias, and of a mask: opposite edges of the image in the rows, and in the columns.
BIAS_BITS, MASK_BITS = 6, 2


def pass_words(network: IntNetwork, flow: FlowConfig, passes: Sequence[Pass]) -> Words:
    """Return the words of the core's memories for a network on an engine with windows.

    Parameters
    ----------
    network : IntNetwork
    flow : FlowConfig
    passes : sequence of Pass

    Raises
    ------
    BivitError
        When a value does not fit its field: which one, what is allowed, what was got.
    """
    found: dict[str, list[int]] = {}
    of_heads: list[int] = []
    for one in passes:
        words = _merge_words(network, one) if one.view.merge else words_of_blocks(network, one.layout)
        of_heads += words["norm_eps"].pop(head_eps(flow), [])
        words |= {"slots": {0: table_words(one.table)}, "places": {0: _place_words(network.config, flow, one)}}
        words["passes"] = {0: settings_words(flow, one.settings)}
        if one.shape.biased:
            words |= {"bias": {0: _biases(network, flow, one)}, "masks": {0: _masks(flow, one)}}
        for name, runs in words.items():
            found.setdefault(name, []).extend(runs[0])
    settings = settings_words(flow, passes[0].settings)
    result: Words = {"settings": {0: settings}} | {name: {0: run} for name, run in found.items()}
    result["norm_eps"][head_eps(flow)] = of_heads
    # Scores without a bias get that of word 0, over and over: not one that another network left there.
    result.setdefault("bias", {0: [0]})
    return result


def settings_words(flow: FlowConfig, values: dict[str, int]) -> list[int]:
    """Return the words of the core's settings, one a setting.

    Parameters
    ----------
    flow : FlowConfig
    values : dict of str to int
    """
    return [pack_fields([values[name]], bits, f"settings.{name}") for name, bits in setting_bits(flow).items()]


def _merge_words(network: IntNetwork, one: Pass) -> Words:
    """Words of a patch merging: those of a norm, and of a layer whose sums are a new x."""
    merge, layout, formats = one.view.merge, one.layout, network.formats
    assert merge is not None
    unit, norm = ResidualAddUnit(layout.flow), SignNormUnit(layout.flow)
    packed = network.tensors[f"{merge.name}.reduction.weight"]
    weights, columns = list[int](), layout.columns
    for number in range(layout.shape.work[Stream.QKV]):
        weights += operation_words(packed[number * columns : (number + 1) * columns], columns)
    start = merge.in_dim - layout.shape.steps[Stream.QKV] * WORD - merge.in_dim // 2
    starts = pack_fields([start] * columns, layout.flow.engine.acc_bits, f"the start of {merge.name}", signed=True)
    layer = layout.shape.norm_groups * unit.parts

    def field(name: str, bits: int) -> Field:
        return Field(f"{merge.name}.{name}", network.tensors[f"{merge.name}.{name}"], bits)

    added = [field("reduction.scale", formats.scale_bits), field("reduction.bias", formats.residual_bits)]
    eps = network.tensors.get(f"{merge.name}.norm.eps", np.zeros(1, np.int64))
    return {
        "weights": {0: weights},
        "preload": {0: [starts] * layout.shape.work[Stream.QKV]},
        "residual": {0: structs(added, unit.columns, layer)},
        "sign_norm": {0: structs([field("norm.theta", formats.theta_bits)], norm.columns, layer)},
        "norm_eps": {0: [pack_fields(eps, EPS_BITS, f"{merge.name}.norm.eps"), 0]},
    }


def _place_words(config: ModelConfig, flow: FlowConfig, one: Pass) -> list[int]:
    """Pack the places of rows side by side."""
    bits = ResidualAddUnit(flow).row_place_bits
    return [pack_fields(word, bits, "the place of a token in x") for word in places_of(config, flow, one)]


def places_of(config: ModelConfig, flow: FlowConfig, one: Pass) -> list[list[int]]:
    """Return the words of a pass's places: first words of x of rows side by side.

    Window by window and tile by tile the rows of a tile; of shifted windows after the others. Of a patch merging each
    tile has the rows that are read, one of the neighbours after the other, and then those that are made.

    Parameters
    ----------
    config : ModelConfig
    flow : FlowConfig
    one : Pass

    Returns
    -------
    list of list of int
    """
    words = token_words(config, flow, one.stage)
    if one.view.merge is not None:
        before = token_words(config, flow, one.stage - 1)
        made = np.arange(len(words)).reshape(one.view.windows, one.view.num_tokens)
        read = [_rows_of(before[NEIGHBOURS * made + neighbour], flow) for neighbour in range(NEIGHBOURS)]
        tiles = zip(*read, _rows_of(words[made], flow), strict=True)
        return [word for tile in tiles for rows in tile for word in rows]
    if one.view.of[0].window is None:
        return [word for tile in _rows_of(words[None], flow) for word in tile]
    kinds = [False, True] if any(block.shift for block in one.view.of) else [False]
    windows = [words[window_places(config, one.stage, shifted)] for shifted in kinds]
    return [word for places in windows for tile in _rows_of(places, flow) for word in tile]


def _rows_of(windows: NDArray[np.int64], flow: FlowConfig) -> list[list[list[int]]]:
    """Cut the rows of windows, int64 [W, n], into tiles, and each into words of rows side by side; all tiles alike."""
    unit, rows = ResidualAddUnit(flow), flow.engine.rows
    found = []
    for window in windows:
        for first in range(0, len(window), rows):
            mine = window[first : first + rows]
            tile = np.zeros(unit.most_groups * unit.side, np.int64)
            # A row that there is not is read as well: with the first one beside it, so that it wants no other part.
            tile[: len(mine)] = mine
            last = len(mine) - len(mine) % unit.side
            tile[len(mine) : last + unit.side] = mine[last] if last < len(mine) else 0
            found.append(tile.reshape(-1, unit.side).tolist())
    return found


def _biases(network: IntNetwork, flow: FlowConfig, one: Pass) -> list[int]:
    """Relative position bias: of each block, tile and head the words of its scores; or of each head its table."""
    words = []
    for block in one.view.of:
        name = f"{block.name}.attn.relative_position_bias_table"
        assert block.window is not None
        if flow.bias_window:
            words += [pack_fields(values.tolist(), BIAS_BITS, name) for values in network.tensors[name].T]
            continue
        pairs = network.tensors[name][relative_positions(block.window)]  # [n, n, heads]
        for tile in range(one.shape.tiles):
            for head in range(block.num_heads):
                words += _score_words(pairs[:, :, head], tile, flow, one, BIAS_BITS, name)
    return words


def _masks(flow: FlowConfig, one: Pass) -> list[int]:
    """Which pairs are of opposite edges of the image, in a window of the last row and in one of the last column."""
    shape = next((block for block in one.view.of if block.shift), one.view.of[0])
    pairs = edge_pairs(shape)
    masks = [
        word
        for tile in range(one.shape.tiles)
        for word in _score_words(pairs, tile, flow, one, MASK_BITS, "the mask of shifted windows")
    ]
    unit = SoftmaxUnit(flow)
    if unit.bias_table is None:
        return masks
    return [word | place << MASK_BITS * unit.word_scores for place, word in enumerate(masks)]


def edge_pairs(block: BlockShape) -> NDArray[np.int64]:
    """Return for each pair of a window's tokens whether they are on opposite sides of where the image is wrapped.

    Parameters
    ----------
    block : BlockShape

    Returns
    -------
    int64 [n, n]
        1 for the rows, 2 for the columns, and their sum.
    """
    assert block.window is not None
    wrapped = np.arange(block.window) >= block.window - block.shift
    row, column = np.divmod(np.arange(block.window**2), block.window)
    return sum(
        weight * (wrapped[at][:, None] != wrapped[at]).astype(np.int64) for weight, at in ((1, row), (2, column))
    )


def _score_words(pairs: NDArray[Any], tile: int, flow: FlowConfig, one: Pass, bits: int, name: str) -> list[int]:
    """Pack a field a pair as a tile's scores come: column group after column group, some rows a word."""
    rows, columns, side = flow.engine.rows, flow.engine.columns, flow.drain_rows
    wide = np.zeros((flow.drain_cycles * side, one.shape.key_groups * columns), np.int64)
    mine = pairs[tile * rows : (tile + 1) * rows]
    wide[: len(mine), : mine.shape[1]] = mine
    words = []
    for group in range(one.shape.key_groups):
        for first in range(0, len(wide), side):
            part = wide[first : first + side, group * columns : (group + 1) * columns]
            words.append(pack_fields(part.ravel().tolist(), bits, name))
    assert len(words) == job_words(one.shape, flow)
    return words
