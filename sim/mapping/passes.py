"""The passes of a network on an engine with windows: its stages and patch mergings, and where each finds its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

from ..engine.limits import check_strips
from ..engine.memories import TABLE_WORDS
from ..engine.words import WORD, ceil_div
from ..errors import check
from ..flow.config import FlowConfig
from ..flow.head_norm import HeadNormUnit
from ..flow.pass_settings import NEIGHBOURS, PassBases, bias_words, job_words
from ..flow.residual_add import ResidualAddUnit
from ..flow.settings import settings_of, table_words, weight_words
from ..flow.streams import Stream, TileShape
from ..flow.table import SlotTable
from ..flow.windows import WindowLimits
from ..network.config import ModelConfig
from ..network.formats import Formats
from ..network.stage_view import StageView, stage_views
from .layout import FlowLayout
from .shipped import table_of
from .token_words import check_merging, x_words


@dataclass(frozen=True)
class Pass:
    """A stage's blocks, or a patch merging.

    Parameters
    ----------
    view : StageView
    stage : int
        Number of the stage, or of the one that is behind the merging.
    layout : FlowLayout
        Of its blocks.
    table : SlotTable
    bases : PassBases
    """

    view: StageView
    stage: int
    layout: FlowLayout
    table: SlotTable
    bases: PassBases

    @cached_property
    def settings(self) -> dict[str, int]:
        """Settings of the core by name."""
        return settings_of(self.view, self.layout.flow, self.table, self.bases)

    @property
    def shape(self) -> TileShape:
        """Its tiles and operations."""
        return self.layout.shape

    @property
    def rounds(self) -> int:
        """How often all windows of an image go through the core."""
        return 1 if self.view.chained else self.view.depth

    @property
    def steps(self) -> int:
        """Steps of the array for an image."""
        return self.view.depth * self.view.windows * self.shape.tiles * self.shape.tile_steps

    @property
    def useful(self) -> int:
        """Binary products of an image, without any padding."""
        return self.view.depth * self.view.windows * self.shape.useful


def passes_of(
    config: ModelConfig, formats: Formats, flow: FlowConfig, tables: Sequence[SlotTable] | None = None
) -> tuple[Pass, ...]:
    """Return the passes of a network, in order.

    Parameters
    ----------
    config : ModelConfig
    formats : Formats
    flow : FlowConfig
        With windows.
    tables : sequence of SlotTable, optional
        Of each pass, in place of those that are shipped, or sought.

    Raises
    ------
    BivitError
        When the network does not fit the engine.
    """
    views, sizes = stage_views(config), _Sizes(flow)
    found, stage = [], -1
    for number, view in enumerate(views):
        stage += view.merge is not None or number == 0
        table = tables[number] if tables else table_of_pass(view, flow)
        bases = sizes.take(view, table, shifted=any(block.shift for block in view.of), last=number == len(views) - 1)
        found.append(Pass(view, stage, FlowLayout(view, formats, flow), table, bases))
    return tuple(found)


def table_of_pass(view: StageView, flow: FlowConfig) -> SlotTable:
    """Return the slot table of a pass: of a patch merging there is but one.

    Parameters
    ----------
    view : StageView
    flow : FlowConfig
    """
    return merge_table(view, flow) if view.merge is not None else table_of(view, flow)


def merge_table(view: StageView, flow: FlowConfig) -> SlotTable:
    """Return the table of a patch merging: fc2, whose slots say which tile is read next, goes two tiles ahead.

    Parameters
    ----------
    view : StageView
    flow : FlowConfig
    """
    shape = TileShape(view, flow.engine.rows, flow.engine.columns)
    others = [stream for stream in Stream if stream is not Stream.QKV]
    work = shape.operations[Stream.QKV]
    ahead = min(2, flow.images * shape.tiles - 1)
    return SlotTable((*others, *[Stream.QKV] * work), dict.fromkeys(Stream, 0) | {Stream.QKV: ahead * work})


class _Sizes:
    """Counts the words that passes take, one behind the other."""

    def __init__(self, flow: FlowConfig):
        self.flow = flow
        names = ("slots", "block", "weights", "preload", "layer", "head", "head_eps", "table", "bias", "mask", "place")
        self.at = dict.fromkeys(names, 0)

    def take(self, view: StageView, table: SlotTable | None, *, shifted: bool, last: bool) -> PassBases:
        """Return where a pass begins, and go behind it."""
        flow, begins = self.flow, dict(self.at)
        shape = TileShape(view, flow.engine.rows, flow.engine.columns)
        places = view.windows * shape.tiles * ResidualAddUnit(flow).most_groups
        self.at["place"] += places * (1 + NEIGHBOURS if shape.merges else 2 if shifted else 1)
        self.at["slots"] += len(table_words(table)) if table else 0
        for name, words in pass_words(view, shape, flow).items():
            self.at[name] += words
        second = begins["place"] + places if shifted else begins["place"]
        return PassBases(**begins, shifted=second, last=last)


def pass_words(view: StageView, shape: TileShape, flow: FlowConfig) -> dict[str, int]:
    """Return the words that a pass takes of each memory, by the name of its base.

    Parameters
    ----------
    view : StageView
    shape : TileShape
    flow : FlowConfig
    """
    blocks, heads = view.depth, 0 if shape.merges else view.depth * view.num_heads
    layers = shape.norm_groups * ResidualAddUnit(flow).parts
    words = {
        "block": blocks,
        "weights": blocks * weight_words(shape),
        "preload": blocks * sum(shape.work.values()),
        "layer": layers if shape.merges else 2 * blocks * layers,
        "head": 2 * heads * HeadNormUnit(flow).words(view.head_dim) if shape.head_norm else 0,
        "head_eps": 2 * heads,
        "table": heads * TABLE_WORDS,
    }
    if shape.biased:
        words |= {"bias": blocks * bias_words(shape, flow), "mask": shape.tiles * job_words(shape, flow)}
    return words


def windows_needs(config: ModelConfig, flow: FlowConfig) -> dict[str, int]:
    """Return what a network needs of each limit of `WindowLimits` but `images`, by name.

    Parameters
    ----------
    config : ModelConfig
    flow : FlowConfig
        Its own limits are not looked at.
    """
    sizes = _Sizes(flow)
    views = stage_views(config)
    for view in views:
        sizes.take(view, None, shifted=any(block.shift for block in view.of), last=False)
    at = sizes.at
    return {
        "image_tokens": config.num_tokens,
        "x_words": x_words(config, flow),
        "merged_dim": max((view.embed_dim for view in views if view.merge), default=0),
        "passes": len(views),
        "places": at["place"],
        "weight_words": at["weights"],
        "preload_words": at["preload"],
        "norm_words": at["layer"],
        "head_norm_words": max(1, at["head"]),
        "heads": at["head_eps"] // 2,
        "layers": at["block"],
        "bias_words": max(1, at["bias"]),
        "mask_words": max(1, at["mask"]),
    }


def check_windows(config: ModelConfig, flow: FlowConfig) -> None:
    """Check that the passes of a network fit an engine with windows.

    Parameters
    ----------
    config : ModelConfig
    flow : FlowConfig

    Raises
    ------
    BivitError
        With every limit that the network exceeds, or the shape that the engine has no way for.
    """
    windows, columns = flow.windows, flow.engine.columns
    check(windows is not None, "the engine has no windows: set its field windows, or choose an engine that has them")
    few = [(name, getattr(windows, name), n) for name, n in windows_needs(config, flow).items()]
    said = "; ".join(f"windows.{name} is {most}, the network needs {need}" for name, most, need in few if need > most)
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
        if stage.merge is not None:
            check(
                stage.merge.embed_dim % columns == 0,
                f"a patch merging puts tokens of {stage.merge.embed_dim} channels side by side, which must be a "
                f"multiple of columns, got columns {columns}; choose an engine with fewer columns",
            )


def with_windows(flow: FlowConfig, *configs: ModelConfig, images: int) -> FlowConfig:
    """Return an engine of the same shape whose limits are what networks need, with windows.

    Parameters
    ----------
    flow : FlowConfig
        Its own limits are not looked at.
    *configs : ModelConfig
        Networks that it is for.
    images : int
        Images that go through the stages together.
    """
    blocks = [block for config in configs for block in config.blocks]
    merged = [stage.merge.in_dim for config in configs for stage in config.stages if stage.merge is not None]
    engine = replace(
        flow.engine,
        max_tokens=max(block.window_tokens for block in blocks),
        max_embed_dim=max(block.embed_dim for block in blocks),
        # A patch merging normalises as many channels as hidden ones are, or more.
        max_hidden_dim=max(*(block.hidden_dim for block in blocks), *merged),
        max_heads=max(block.num_heads for block in blocks),
        max_depth=max(len(config.blocks) for config in configs),
        max_classes=max(config.num_classes for config in configs),
        max_patch_dim=max(config.patch_dim for config in configs),
        max_strip_bytes=max(config.img_size * config.patch_size * config.in_chans for config in configs),
    )
    # Whether there are windows says how rows of x lie, whatever their limits.
    least = {field.name: 1 for field in fields(WindowLimits)}
    sized = replace(flow, engine=engine, windows=WindowLimits(**{**least, "merged_dim": 0, "images": images}))
    needs = [windows_needs(config, sized) for config in configs]
    limits = {name: max(need[name] for need in needs) for name in needs[0]}
    # Words of a token of the first stage are x_words over image_tokens, whichever network has most of either.
    widest = max(config.embed_dim for config in configs)
    first = ceil_div(widest, engine.columns) * ResidualAddUnit(sized).parts
    limits["x_words"] = max(limits["x_words"], limits["image_tokens"] * first)
    return replace(sized, windows=WindowLimits(**limits, images=images))
