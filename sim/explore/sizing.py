"""An engine from the shape of its array: every width as small as keeps its part less busy than the array."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from math import gcd, lcm
from typing import Any

from ..engine.config import Fabric
from ..engine.pipeline import BLOCK_BITS, SHARED_PRODUCT, fits
from ..engine.presets import engine_for
from ..engine.words import WORD, ceil_div, power_of_two
from ..errors import BivitError
from ..flow.config import LEFT_OUT, FlowConfig
from ..flow.edge_settings import edge_settings
from ..flow.softmax import SoftmaxUnit
from ..flow.streams import TileShape
from ..mapping.loads import loads_of
from ..mapping.pass_limits import with_windows
from ..network.config import ModelConfig
from ..network.formats import Formats
from ..network.stage_view import stage_views
from .windowed import SLOTS, columns_for, fitted, in_flight, sides_for, windowed

#: Columns that an array can have.
COLUMNS = (8, 16, 32, 64)
#: Rows beyond which no engine is sought.
MOST_ROWS = 66
#: Lanes of the edge, patches of a pass, and bytes of a beat that are tried.
_LANES, _PATCHES, PIXEL_BYTES = (8, 16, 32), (1, 2, 3, 4, 6, 8, 10, 12, 16, 24, 32), (1, 2, 4, 8, 16)
#: Widths of a unit, in columns, beyond one column.
_WIDE = (1, 2, 3, 4, 6, 8, 12, 16)
#: Slots of rings with which images in flight wait for nothing, and those of one image, whose chain is all there is.
_MANY: dict[str, Any] = {"residual_slots": 5, "head_slots": 5, "score_slots": 3, "context_slots": 2, "hidden_slots": 2}
_MANY |= {"staging_slots": 2}
_ALONE: dict[str, Any] = {"residual_slots": 8, "head_slots": 8, "score_slots": 8, "attention_slots": 8, "norm_slots": 8}
_ALONE |= {"context_slots": 4, "staging_slots": 8}
#: Products that the dense unit has at most.
_MOST_PRODUCTS = 4096


@dataclass(frozen=True)
class Wish:
    """What an engine is to be like.

    Parameters
    ----------
    rows, columns : int
        Of the array.
    images : int
        In flight, or windows.
    slack : float
        Part of the array's load, 0 to 1, that no other part's is to exceed in any pass: the smaller, the less waits.
    """

    rows: int
    columns: int
    images: int
    slack: float


def wishes(configs: Sequence[ModelConfig], images: Iterable[int], slacks: Iterable[float]) -> Iterator[Wish]:
    """Yield the wishes that are worth a try: rows with which the tiles of some network are evenly filled.

    Parameters
    ----------
    configs : sequence of ModelConfig
    images : iterable of int
        In flight; of windows there are as many as fill the array.
    slacks : iterable of float
    """
    tokens = {block.window_tokens for config in configs for block in config.blocks}
    rows = {ceil_div(count, tiles) for count in tokens for tiles in range(1, count + 1)}
    windows = windowed(configs)
    for count in sorted(row for row in rows if row <= MOST_ROWS):
        lanes = (in_flight(configs, count),) if windows else images
        for columns, one, slack in product(columns_for(configs, COLUMNS), lanes, slacks):
            yield Wish(count, columns, one, slack)


def sized(configs: Sequence[ModelConfig], formats: Formats, wish: Wish, fabric: Fabric) -> FlowConfig | None:
    """Return the smallest engine for some networks that fulfils a wish, or None where no legal widths do.

    Parameters
    ----------
    configs : sequence of ModelConfig
    formats : Formats
        Theirs.
    wish : Wish
    fabric : {"lut6", "lut4"}
    """
    flow = smallest(configs, formats, wish, fabric)
    for parts, field, values in (flow and lane_choices(flow)) or ():
        flow = flow and _least(configs, flow, parts, field, values, wish.slack)
    flow = flow and _drained(flow)
    return flow and _embedding(configs, flow)


def smallest(configs: Sequence[ModelConfig], formats: Formats, wish: Wish, fabric: Fabric) -> FlowConfig | None:
    """The engine with the array, one lane of everything, and the widest beats of pixels that the edge has room for."""
    strips = gcd(*(config.img_size * config.patch_size * config.in_chans for config in configs))
    for size in (one for one in reversed(PIXEL_BYTES) if strips % one == 0):
        try:
            flow = _narrowest(configs, formats, wish, fabric, size)
            for config in configs:
                edge_settings(config, flow, 1)  # refuses beats that hold too little of many small patches
            return flow
        except BivitError:
            continue
    return None


def _narrowest(
    configs: Sequence[ModelConfig], formats: Formats, wish: Wish, fabric: Fabric, pixel_bytes: int
) -> FlowConfig:
    embed = gcd(*(config.embed_dim for config in configs))
    lanes = max((one for one in _LANES if embed % one == 0 and one <= wish.columns), default=0)
    many, windows = wish.images > 1, windowed(configs)
    engine = engine_for(
        *configs,
        rows=wish.rows,
        columns=wish.columns,
        lanes=lanes,
        dense_lanes=lanes,
        program_words=program_words(configs, wish),
        pixel_bytes=pixel_bytes,
        fabric=fabric,
        formats=formats,
    )
    flow = FlowConfig(
        engine=engine,
        drain_rows=1,
        norm_lanes=1,
        head_norm_lanes=int(_needs(configs, "head_norm_lanes")),
        softmax_lanes=int(_needs(configs, "softmax_lanes")),
        images=wish.images,
        products_per_dsp=2 if fits(SHARED_PRODUCT, BLOCK_BITS[fabric]) else 1,
        edge_banks=1 if many else 2,
        **(SLOTS if windows else _MANY if many else _ALONE),
    )
    return with_windows(flow, *configs, images=1) if windows else flow


def _needs(configs: Sequence[ModelConfig], lanes: str) -> bool:
    """Whether some network has a mode for which an engine must have a unit, the one with these lanes."""
    field, mode = LEFT_OUT[lanes]
    return windowed(configs) or any(getattr(config, field) != mode for config in configs)


def program_words(configs: Sequence[ModelConfig], wish: Wish) -> int:
    """Return the words that hold the slot tables of each network, a power of two.

    Parameters
    ----------
    configs : sequence of ModelConfig
    wish : Wish
        Of its images it counts whether there are several.
    """
    words = max(_all_table_words(config, wish) for config in configs)
    return power_of_two(words)


def _all_table_words(config: ModelConfig, wish: Wish) -> int:
    """Words of the slot tables of a network: one for each of its passes."""
    return sum(_table_words(TileShape(view, wish.rows, wish.columns), wish.images) for view in stage_views(config))


def _table_words(shape: TileShape, images: int) -> int:
    """Words of a slot table: two operations each, of a tile, or of a block where one image is in flight."""
    slots = sum(shape.operations.values()) * (1 if images > 1 else shape.tiles)
    return slots if slots % 2 else slots // 2  # one with an odd number is written twice


def lane_choices(flow: FlowConfig) -> Iterator[tuple[tuple[str, ...], str, list[int]]]:
    """Yield parts beside the array, the field on which their load depends, and its values, the smallest first.

    Parameters
    ----------
    flow : FlowConfig
        Of its lanes only those are looked at that are 0, since there is no such unit: they have no values.
    """
    rows, columns = flow.engine.rows, flow.engine.columns
    narrow = [1 << k for k in range(columns.bit_length() - 1)]
    lanes = [*narrow, *(columns * many for many in _WIDE if many <= rows)]
    yield ("residual_add", "sign_norm"), "norm_lanes", sides_for(lanes, columns) if flow.windows else lanes
    if flow.has_head_norm:
        yield ("head_norm",), "head_norm_lanes", [one for one in lanes if one <= WORD]
    if flow.has_softmax:
        yield ("softmax",), "softmax_lanes", lanes
    # A window waits for each of its tiles' rows, and two of them a cycle cost next to nothing.
    yield ("row_writer",), "value_rows", [1 << k for k in range(1 if flow.windows else 0, columns.bit_length())]


def _least(
    configs: Sequence[ModelConfig],
    flow: FlowConfig,
    parts: tuple[str, ...],
    field: str,
    values: list[int],
    slack: float,
) -> FlowConfig | None:
    """The engine with the first value of a field whose parts are idle enough with all networks.

    Where none is, an engine with windows has the value with which they are least busy: some of its passes wait then.
    """
    least, busiest = None, float("inf")
    for value in values:
        try:
            changes: dict[str, Any] = {"drain_rows": rows_together(flow, {field: value}), field: value}
            changed = fitted(configs, replace(flow, **changes))
            passes = [of for config in configs for of in loads_of(config, changed).passes]
        except BivitError:
            continue
        # Patch mergings are short, and no unit is made wider for them: they have no values to write.
        if all(_idle(of, parts, slack) for of in passes if "row_writer" in of):
            return changed
        busy = sum(max(of.get(part, 0) for part in parts) for of in passes)
        if flow.windows and busy < busiest:
            least, busiest = changed, busy
    return least


def rows_together(flow: FlowConfig, changes: Mapping[str, int]) -> int:
    """Return of how many rows those that leave the array together are a multiple: of those that each unit takes.

    Parameters
    ----------
    flow : FlowConfig
    changes : mapping of str to int
        Lanes in place of the engine's.
    """
    lanes = {name: getattr(flow, name) for name in ("norm_lanes", "head_norm_lanes", "softmax_lanes")}
    return lcm(*(flow.rows_of(changes.get(name, lanes[name])) for name in lanes))


def _idle(cycles: Mapping[str, int], parts: tuple[str, ...], slack: float) -> bool:
    """Whether parts are less busy than a share of the array's time."""
    return all(cycles.get(part, 0) <= slack * cycles["array"] for part in parts)


def _drained(flow: FlowConfig) -> FlowConfig | None:
    """Deliver so many rows that sums leave in four cycles or fewer, or in steps of the units' rows."""
    side, rows = rows_together(flow, {}), flow.engine.rows
    if side > rows:
        return None
    most = min(rows // side, max(1, ceil_div(ceil_div(rows, 4), side)))
    for drain in range(most * side, 0, -side):
        changed = replace(flow, drain_rows=drain)
        with suppress(BivitError):  # more scores a cycle than have a bias in an engine with windows
            SoftmaxUnit(changed)
            return changed
    return None


def _embedding(configs: Sequence[ModelConfig], flow: FlowConfig) -> FlowConfig | None:
    """The engine with the fewest products of the dense unit that keep up with the array."""
    for patches, width in dense_choices(configs, flow.engine.lanes):
        try:
            changed = replace(flow, dense_patches=patches, dense_channels=width)
            if all(_idle(loads_of(config, changed).cycles, ("dense",), 1.0) for config in configs):
                return changed
        except BivitError:
            continue
    return None


def dense_choices(configs: Sequence[ModelConfig], lanes: int) -> list[tuple[int, int]]:
    """Return patches and channels that the dense unit can multiply side by side, the fewest products first.

    Parameters
    ----------
    configs : sequence of ModelConfig
    lanes : int
        Of the edge, of which channels are a multiple.
    """
    widest = max(config.embed_dim for config in configs)
    channels = {min(512, widest // parts // lanes * lanes) for parts in (1, 2, 3, 4, 6, 8, 12)} - {0}
    pairs = sorted((patches * width, patches, width) for patches in _PATCHES for width in channels)
    return [(patches, width) for products, patches, width in pairs if products <= _MOST_PRODUCTS]
