"""What engines with windows, which Swins take, have beside others: columns, lanes, limits, images that go together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from ..engine.words import ceil_div
from ..errors import BivitError, check
from ..flow.config import FlowConfig
from ..flow.residual_add import ResidualAddUnit
from ..mapping.pass_limits import with_windows
from ..network.config import ModelConfig, ViTConfig
from ..network.side_by_side import token_slots

#: Tiles of windows in flight: with fewer the array waits for what is behind it, with more rings run out of slots.
_TILES = 12
#: Windows in flight, at least and at most.
_LEAST, _MOST = 2, 8
#: Shares of the array's load that other parts may have in each pass: in the first stage, where tiles have few steps,
#: they may well be what binds.
SLACKS = (0.7, 0.95, 1.25, 1.75, 3.5)
#: Images that go through the passes together, and banks of x beside theirs, in which the next ones are embedded
#: meanwhile. x is what fills memories; but of the last stage, where an image is one window, the array waits for each.
TOGETHER = ((1, 1), (2, 2))
#: Slots of rings with which windows in flight wait for little, and no table locks up.
SLOTS: dict[str, Any] = {"residual_slots": 6, "head_slots": 8, "score_slots": 10, "attention_slots": 16}
SLOTS |= {"norm_slots": 4, "context_slots": 4, "hidden_slots": 4, "staging_slots": 3}
#: Rows of x side by side that parts of its memory are found for: powers of two.
_SIDES = (1, 2, 4, 8)


def windowed(configs: Iterable[ModelConfig]) -> bool:
    """Return whether some network needs an engine with windows.

    Parameters
    ----------
    configs : iterable of ModelConfig
    """
    return not all(isinstance(config, ViTConfig) for config in configs)


def in_flight(configs: Iterable[ModelConfig], rows: int) -> int:
    """Return how many windows an engine works on at a time.

    Parameters
    ----------
    configs : iterable of ModelConfig
    rows : int
        Of the array.
    """
    tokens = max(block.window_tokens for config in configs for block in config.blocks)
    return min(max(_TILES // ceil_div(tokens, rows), _LEAST), _MOST)


def columns_for(configs: Sequence[ModelConfig], columns: Iterable[int]) -> list[int]:
    """Return the columns of which the channels that a patch merging puts side by side are a multiple.

    Parameters
    ----------
    configs : sequence of ModelConfig
    columns : iterable of int
    """
    merges = [stage.merge for config in configs for stage in config.stages if stage.merge is not None]
    return [one for one in columns if all(merge.embed_dim % one == 0 for merge in merges)]


def sides_for(lanes: Iterable[int], columns: int) -> list[int]:
    """Return the lanes of norms that take rows of x for which parts of its memory are found.

    Parameters
    ----------
    lanes : iterable of int
    columns : int
        Of the array.
    """
    return [one for one in lanes if max(1, one // columns) in _SIDES]


def with_groups(configs: Sequence[ModelConfig], flow: FlowConfig) -> Iterator[FlowConfig]:
    """Yield an engine with each of `TOGETHER`; itself where it has no windows.

    Parameters
    ----------
    configs : sequence of ModelConfig
    flow : FlowConfig
    """
    if flow.windows is None:
        yield flow
        return
    for images, banks in TOGETHER:
        yield with_windows(replace(flow, edge_banks=banks), *configs, images=images)


def fitted(configs: Sequence[ModelConfig], flow: FlowConfig) -> FlowConfig:
    """Return an engine with the limits of windows that networks need with its lanes; itself where it has no windows.

    Parameters
    ----------
    configs : sequence of ModelConfig
    flow : FlowConfig

    Raises
    ------
    BivitError
        When no way is found to have so many rows of x side by side.
    """
    if flow.windows is None:
        return flow
    unit, rows = ResidualAddUnit(flow), flow.engine.rows
    check(
        all(_lie(config, rows, unit.side, unit.parts_of_bank) for config in configs),
        f"no way is found to have {unit.side} rows of x side by side; choose norm_lanes of at most columns",
    )
    return with_windows(flow, *configs, images=flow.windows.images)


@cache
def _lie(config: ModelConfig, rows: int, side: int, parts: int) -> bool:
    """Whether parts of the memory are found for so many rows of x side by side, which takes a second where none are."""
    try:
        for stage in range(len(config.stages)):
            token_slots(config, stage, rows, side, parts)
    except BivitError:
        return False
    return True
