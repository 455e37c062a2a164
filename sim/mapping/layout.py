"""A network in the measures of a dataflow engine: what each operation makes, where its parameters lie, if it fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..engine.limits import check_limits, check_strips
from ..engine.memories import TABLE_WORDS
from ..engine.words import ceil_div
from ..errors import check
from ..flow.config import LEFT_OUT, FlowConfig
from ..flow.head_norm import HeadNormUnit
from ..flow.memories import head_eps
from ..flow.operation import Operands
from ..flow.residual_add import ResidualAddUnit
from ..flow.settings import preload_bases, weight_bases, weight_words
from ..flow.streams import Part, Stream, TileShape
from ..flow.weight_stream import WeightStreamUnit
from ..network.config import ModelConfig, ViTConfig
from ..network.formats import Formats
from ..network.side_by_side import Ints, token_slots
from ..network.stage_view import StageView

#: What each part of `Stream.QKV` is of the tensor `attn.qkv`.
QKV_ROWS = {Part.QUERY: 0, Part.KEY: 1, Part.VALUE: 2}


@dataclass(frozen=True)
class Made:
    """What an operation makes.

    Parameters
    ----------
    head, group : int
        Head (0 where there is none) and column group of the head, or of the layer.
    channels : range
        Channels of the tensor, or keys, that its first columns are; other columns are beyond the network.
    part : Part or None
        Of `Stream.QKV`.
    """

    head: int
    group: int
    channels: range
    part: Part | None = None


@dataclass(frozen=True)
class FlowLayout:
    """Places of a network's parameters in the memories of an engine.

    Parameters
    ----------
    config : ViTConfig
    formats : Formats
    flow : FlowConfig

    Raises
    ------
    BivitError
        When the network does not fit the engine: which size, the engine's limit, and the network's.
    """

    config: ViTConfig
    formats: Formats
    flow: FlowConfig

    def __post_init__(self) -> None:
        check_fits(self.config, self.formats, self.flow)

    # Sizes.

    @property
    def columns(self) -> int:
        """Columns of the array."""
        return self.flow.engine.columns

    @cached_property
    def shape(self) -> TileShape:
        """Its tiles and operations."""
        return TileShape(self.config, self.flow.engine.rows, self.columns)

    @property
    def context_columns(self) -> int:
        """Columns of a token's context: the column groups of all heads side by side, each padded."""
        return self.config.num_heads * self.shape.head_groups * self.columns

    @property
    def layer_words(self) -> int:
        """Words of parameters of ResidualAdd or SignNorm for all channels: parts of every column group."""
        unit = ResidualAddUnit(self.flow)
        return ceil_div(self.config.embed_dim, self.columns) * unit.parts

    @property
    def head_words(self) -> int:
        """Words of parameters of HeadNorm for one head."""
        return HeadNormUnit(self.flow).words(self.config.head_dim)

    # Parameters of a block, by the first word of a run.

    @cached_property
    def _weights(self) -> tuple[Mapping[Stream, int], int]:
        """First word of each stream's weights in a block, and their words in all."""
        return weight_bases(self.shape, self.flow), weight_words(self.shape)

    @cached_property
    def _preloads(self) -> tuple[Mapping[Stream, int], int]:
        """First word of each stream's starts in a block, and their words in all."""
        return preload_bases(self.shape), sum(self.shape.work.values())

    def weights_addr(self, block: int, stream: Stream, number: int) -> int:
        """Return the word of an operation's first step.

        Parameters
        ----------
        block : int
        stream : Stream
        number : int
            Of the operation in its tile.
        """
        bases, words = self._weights
        return block * words + bases[stream] + number * self.shape.steps[stream]

    def preload_addr(self, block: int, stream: Stream, number: int) -> int:
        """Return the word of where an operation's sums begin.

        Parameters
        ----------
        block : int
        stream : Stream
        number : int
            Of the operation in its tile.
        """
        bases, words = self._preloads
        return block * words + bases[stream] + number

    def layer_addr(self, block: int, second: bool) -> int:
        """Return the word of a layer, proj or fc2, in the parameters of ResidualAdd; of norm1 or norm2 in SignNorm's.

        Parameters
        ----------
        block : int
        second : bool
            Whether it is fc2, or norm2.
        """
        return (2 * block + second) * self.layer_words

    def head_eps_addr(self, block: int, part: Part, head: int) -> int:
        """Return the word of Eps of a head of k or q.

        Parameters
        ----------
        block : int
        part : Part
        head : int
        """
        return head_eps(self.flow) + self._head_of_all(block, part, head)

    def head_addr(self, block: int, part: Part, head: int) -> int:
        """Return the first word of HeadNorm's parameters of a head of k or q.

        Parameters
        ----------
        block : int
        part : Part
        head : int
        """
        return self._head_of_all(block, part, head) * self.head_words

    def tables_addr(self, block: int, head: int) -> int:
        """Return the word of Tau of a head, behind which are Exp[1] to Exp[64].

        Parameters
        ----------
        block, head : int
        """
        return (block * self.config.num_heads + head) * TABLE_WORDS

    def x_addr(self, bank: int, tile: int, group: int = 0, word: int = 0) -> int:
        """Return a word of x.

        Parameters
        ----------
        bank, tile : int
            Of the image; of its tokens.
        group, word : int
            Rows side by side within the tile, and columns within them.
        """
        unit = ResidualAddUnit(self.flow)
        return bank * unit.bank_words + tile * unit.tile_words + group * self.layer_words + word

    def _head_of_all(self, block: int, part: Part, head: int) -> int:
        """Number of a head among those of all blocks: k's before q's."""
        return (2 * block + (part is Part.QUERY)) * self.config.num_heads + head

    # Operations.

    def made(self, stream: Stream, number: int) -> Made:
        """Return what an operation makes.

        Parameters
        ----------
        stream : Stream
        number : int
            Of the operation in its tile.
        """
        return self._all_made[stream][number]

    @cached_property
    def _all_made(self) -> dict[Stream, list[Made]]:
        return {stream: [self._made(stream, k) for k in range(self.shape.operations[stream])] for stream in Stream}

    def _made(self, stream: Stream, number: int) -> Made:
        config, shape = self.config, self.shape
        if isinstance(config, StageView) and config.merge is not None:
            return Made(0, number, self._columns(number, config.out_dim))
        if stream is Stream.SCORES:
            head, group = divmod(number, shape.key_groups)
            return Made(head, group, self._columns(group, config.num_tokens))
        if stream is Stream.CONTEXT:
            return self._of_head(number)
        if stream is Stream.QKV:
            part, number = shape.qkv_order[number]
            return self._of_head(number, part)
        outputs = config.hidden_dim if stream is Stream.FC1 else config.embed_dim
        return Made(0, number, self._columns(number, outputs))

    def _of_head(self, number: int, part: Part | None = None) -> Made:
        head, group = divmod(number, self.shape.head_groups)
        inner, first = self._columns(group, self.config.head_dim), head * self.config.head_dim
        return Made(head, group, range(first + inner.start, first + inner.stop), part)

    def _columns(self, group: int, outputs: int) -> range:
        return range(group * self.columns, min((group + 1) * self.columns, outputs))


def check_fits(config: ViTConfig, formats: Formats, flow: FlowConfig) -> None:
    """Check that a network can run on an engine.

    Parameters
    ----------
    config : ViTConfig
    formats : Formats
    flow : FlowConfig

    Raises
    ------
    BivitError
        With every limit that the network exceeds, or the mode that the engine has no unit for.
    """
    engine = flow.engine
    if isinstance(config, StageView) and config.merge is not None:
        check(
            config.embed_dim <= flow.norm_dim,
            f"the engine is too small: windows.merged_dim is {flow.norm_dim}, the network has {config.embed_dim}",
        )
        return
    check_limits(config, formats, engine)
    for lanes, (field, mode) in LEFT_OUT.items():
        got = getattr(config, field)
        check(
            getattr(flow, lanes) > 0 or got == mode,
            f"an engine with {lanes} 0 runs networks with {field} {mode}, this one has {got}; take an engine with "
            f"{lanes} of 1 or more",
        )
    ring = WeightStreamUnit(flow).ring_words(config) if flow.ring_words else 0
    check(
        ring <= flow.ring_words, f"the engine is too small: ring_words is {flow.ring_words}, the network needs {ring}"
    )
    groups, most = config.num_heads * ceil_div(config.head_dim, engine.columns), Operands(flow).value_groups
    check(
        groups <= most,
        f"{config.num_heads} heads of {config.head_dim} channels take {groups} column groups, and the engine's "
        f"memories hold {most}; raise max_heads or max_embed_dim",
    )
    if not isinstance(config, StageView):
        check_strips(config, engine)


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
    part, slot = token_slots(config, stage, flow.engine.rows, unit.side, unit.parts_of_bank)
    return part * unit.part_words + slot * token_size(config, flow, stage)


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
        int(token_slots(config, stage, flow.engine.rows, unit.side, parts)[1].max() + 1)
        * token_size(config, flow, stage)
        for stage in range(len(config.stages))
    )
    return parts * max(found)


def token_size(config: ModelConfig, flow: FlowConfig, stage: int) -> int:
    """Return the words of a token in x.

    Parameters
    ----------
    config : ModelConfig
    flow : FlowConfig
    stage : int
    """
    return ceil_div(config.stages[stage].blocks[0].embed_dim, flow.engine.columns) * ResidualAddUnit(flow).parts
