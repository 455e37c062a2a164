"""The reference's taps as a pass has them: of windows in place of images, and their tokens in the window's order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network.blocks import BlockShape
from ..network.config import ModelConfig
from ..network.stage_view import token_places
from ..network.taps import taps_of
from ..network.windows import window_tokens
from .expected import MERGED, MERGED_NORM, MERGED_SUMS
from .passes import Pass

Taps = Mapping[str, NDArray[Any]]


def pass_taps(config: ModelConfig, one: Pass, taps: Taps) -> dict[str, NDArray[Any]]:
    """Return the taps of a pass's blocks by name, or of its patch merging by the names of `expected`.

    Of a window's scores the array makes popcounts: these are counted anew, without bias and masks.

    Parameters
    ----------
    config : ModelConfig
    one : Pass
    taps : mapping of str to ndarray [images, ...]

    Returns
    -------
    dict of str to ndarray [images * windows, ...]
    """
    members = pass_tokens(config, one)
    if one.view.merge is not None:
        name = one.view.merge.name
        of = {MERGED_NORM: f"{name}.norm", MERGED_SUMS: f"{name}.reduction", MERGED: name}
        return {mine: _by_window(taps[tap], members[0]) for mine, tap in of.items()}
    axes = {tap.name: tap.axes for tap in taps_of(config)}
    found = {}
    for number, block in enumerate(one.view.of):
        prefix = f"{block.name}."
        for name in (name for name in axes if name.startswith(prefix)):
            if axes[name][0] == "token":
                found[name] = _by_window(taps[name], members[number])
            else:
                found[name] = taps[name].reshape(-1, *taps[name].shape[2:]) if _windowed(block) else taps[name]
        if _windowed(block):
            q, k = (found[f"{prefix}attn.{norm}"].astype(np.int64) for norm in ("q_norm", "k_norm"))
            equal = q @ k.swapaxes(-1, -2) + (1 - q) @ (1 - k).swapaxes(-1, -2)
            found[f"{prefix}attn.scores"] = equal
    return found


def pass_tokens(config: ModelConfig, one: Pass) -> list[NDArray[np.int64]]:
    """Return for each block of a pass, or for its patch merging, the raster numbers of each window's tokens.

    Parameters
    ----------
    config : ModelConfig
    one : Pass

    Returns
    -------
    list of int64 [windows, tokens]
    """
    if one.view.merge is not None:
        # Tokens are made in the order of their places.
        return [np.argsort(token_places(config, one.stage)).reshape(one.view.windows, one.view.num_tokens)]
    return [window_tokens(block) for block in one.view.of]


def _windowed(block: BlockShape) -> bool:
    return block.window is not None


def _by_window(values: NDArray[Any], members: NDArray[np.int64]) -> NDArray[Any]:
    """Cut [images, tokens, ...] into [images * windows, tokens of a window, ...]."""
    return values[:, members].reshape(-1, members.shape[1], *values.shape[2:])
