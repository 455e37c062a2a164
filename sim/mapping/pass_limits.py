"""Whether a network fits an engine with windows, and the limits of an engine that is made for some networks."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from ..engine.limits import check_formats, check_strips
from ..engine.presets import engine_needs
from ..engine.words import WORD, ceil_div, power_of_two
from ..errors import check
from ..flow.config import FlowConfig
from ..flow.edge_settings import edge_settings
from ..flow.head_norm import HeadNormUnit
from ..flow.residual_add import ResidualAddUnit
from ..flow.weight_stream import WeightStreamUnit
from ..flow.windows import WindowLimits
from ..network.config import ModelConfig
from ..network.formats import Formats
from ..network.side_by_side import tiles_of
from ..network.stage_view import StageView, stage_views
from .layout import token_size, token_words, x_words
from .passes import words_of_all


def windows_needs(config: ModelConfig, flow: FlowConfig) -> dict[str, int]:
    """Return what a network needs of each limit of `WindowLimits` but `images` and `bias_window`, by name.

    Parameters
    ----------
    config : ModelConfig
    flow : FlowConfig
        Its own limits are not looked at.
    """
    at = words_of_all(config, flow)
    views = stage_views(config)
    return {
        "image_tokens": config.num_tokens,
        "x_words": x_words(config, flow),
        "merged_dim": max((view.embed_dim for view in views if view.merge), default=0),
        "passes": len(views),
        "places": at["place"],
        "weight_words": at["weights"],
        "preload_words": at["preload"],
        "norm_words": at["layer"],
        # Without norms of heads there are no words, and settings of a block's all the same.
        "head_norm_words": max(at["head"], *(_head_words(view, flow) for view in views)),
        "heads": at["head_eps"] // 2,
        "layers": at["block"],
        "bias_words": max(1, at["bias"]),
        "mask_words": max(1, at["mask"]),
        "ring_words": power_of_two(WeightStreamUnit(flow).ring_words(config)),
    }


def _head_words(view: StageView, flow: FlowConfig) -> int:
    """Words of parameters of HeadNorm that a block has, if its heads are normalised."""
    return 0 if view.merge else 2 * view.num_heads * HeadNormUnit(flow).words(view.head_dim)


def needs_that_count(config: ModelConfig, flow: FlowConfig) -> dict[str, int]:
    """Return `windows_needs` without that limit which is of no effect: weights are streamed, or they are not.

    Parameters
    ----------
    config : ModelConfig
    flow : FlowConfig
        Its own limits are not looked at.
    """
    needs = windows_needs(config, flow)
    del needs["weight_words" if flow.streamed else "ring_words"]
    return needs


def check_windows(config: ModelConfig, formats: Formats, flow: FlowConfig) -> None:
    """Check that the passes of a network fit an engine with windows.

    Parameters
    ----------
    config : ModelConfig
    formats : Formats
    flow : FlowConfig

    Raises
    ------
    BivitError
        With every limit that the network exceeds, or the shape that the engine has no way for.
    """
    windows, columns = flow.windows, flow.engine.columns
    check(windows is not None, "the engine has no windows: set its field windows, or choose an engine that has them")
    check_formats(formats, flow.engine)
    limits = [(name, getattr(flow.engine, name), need) for name, need in engine_needs(config).items()]
    needs = needs_that_count(config, flow).items()
    limits += [(f"windows.{name}", getattr(windows, name), need) for name, need in needs]
    said = "; ".join(f"{name} is {most}, the network needs {need}" for name, most, need in limits if need > most)
    check(not said, f"the engine is too small: {said}")
    check_strips(config, flow.engine)
    check_merging(config, flow)
    for stage in config.stages:
        block = stage.blocks[0]
        check(
            block.largest_score <= WORD,
            f"scores with a relative position bias go up to twice the channels of a head, and the engine counts to "
            f"{WORD}; got heads of {block.head_dim} channels, choose {WORD // 2} or fewer",
        )
        held = flow.bias_window
        check(
            not held or block.window in (None, held),
            f"the engine holds biases of windows of {held} x {held} tokens (windows.bias_window), got windows of "
            f"{block.window} x {block.window}; choose 0 for windows of any side",
        )
        if stage.merge is not None:
            check(
                stage.merge.embed_dim % columns == 0,
                f"a patch merging puts tokens of {stage.merge.embed_dim} channels side by side, which must be a "
                f"multiple of columns, got columns {columns}; choose an engine with fewer columns",
            )
    edge_settings(config, flow, 1)  # refuses what the edge has no room for


def with_windows(flow: FlowConfig, *configs: ModelConfig, images: int) -> FlowConfig:
    """Return an engine of the same shape whose limits are what networks need, with windows.

    Parameters
    ----------
    flow : FlowConfig
        Of its own limits none is looked at, but for `WindowLimits.bias_window`.
    *configs : ModelConfig
        Networks that it is for.
    images : int
        Images that go through the stages together.
    """
    limits: dict[str, Any] = _largest([engine_needs(config) for config in configs])
    # Whether there are windows says how rows of x lie, whatever their limits.
    kept = {"bias_window": flow.bias_window}
    least = {field.name: 1 for field in fields(WindowLimits)} | {"merged_dim": 0, "images": images} | kept
    sized = replace(flow, engine=replace(flow.engine, **limits), windows=WindowLimits(**least))
    needs = _largest([windows_needs(config, sized) for config in configs])
    # Words of a token of the first stage are x_words over image_tokens, whichever network has most of either.
    first = ceil_div(max(config.embed_dim for config in configs), flow.engine.columns) * ResidualAddUnit(sized).parts
    needs["x_words"] = max(needs["x_words"], needs["image_tokens"] * first)
    needs["ring_words"] *= 2  # of the least a block takes more than half
    return replace(sized, windows=WindowLimits(**needs, **kept, images=images))


def _largest(needs: list[dict[str, int]]) -> dict[str, int]:
    """Return the largest of each need."""
    return {name: max(need[name] for need in needs) for name in needs[0]}


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
        read, made = (token_size(config, flow, number) for number in (stage - 1, stage))
        owner = np.full(int(max(before.max() + read, after.max() + made)), -1)
        for word in range(read):
            owner[before + word] = np.arange(len(before)) // 4
        view = next(view for view in stage_views(config) if view.merge == config.stages[stage].merge)
        for number, tile in enumerate(tiles_of(view.windows, view.num_tokens, rows)):
            words = after[tile][:, None] + np.arange(made)
            check(
                int(owner[words].max()) <= int(tile.max()),
                f"the tokens that stage {stage} begins with lie on others that are still to be read, from tile "
                f"{number} of the patch merging on; choose norm_lanes of at most columns ({flow.engine.columns})",
            )
