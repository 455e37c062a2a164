"""The passes of a network on an engine with windows: its stages and patch mergings, and where each finds its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ..engine.memories import TABLE_WORDS
from ..flow.config import FlowConfig
from ..flow.head_norm import HeadNormUnit
from ..flow.pass_settings import NEIGHBOURS, PassBases, bias_words, job_words
from ..flow.residual_add import ResidualAddUnit
from ..flow.settings import settings_of, table_words, weight_words
from ..flow.streams import Stream, TileShape
from ..flow.table import SlotTable
from ..network.config import ModelConfig
from ..network.formats import Formats
from ..network.stage_view import StageView, stage_views
from .layout import FlowLayout
from .shipped import table_of


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
        Of the blocks of each stage, in place of those that are shipped, or sought.

    Raises
    ------
    BivitError
        When the network does not fit the engine.
    """
    views, sizes = stage_views(config), _Sizes(flow)
    found, stage = [], -1
    for number, view in enumerate(views):
        stage += view.merge is not None or number == 0
        table = tables[stage] if tables and view.merge is None else table_of_pass(view, flow)
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


def words_of_all(config: ModelConfig, flow: FlowConfig) -> dict[str, int]:
    """Return the words of each memory that all passes take together, by the name of its base.

    Parameters
    ----------
    config : ModelConfig
    flow : FlowConfig
        Its limits are not looked at.
    """
    sizes = _Sizes(flow)
    for view in stage_views(config):
        sizes.take(view, None, shifted=any(block.shift for block in view.of), last=False)
    return sizes.at
