"""A network in the measures of an engine: tiles, groups, words and chunks; and whether it fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..engine.config import EngineConfig
from ..engine.limits import check_limits, check_strips
from ..engine.words import WORD, ceil_div
from ..errors import check
from ..network.config import ViTConfig
from ..network.formats import Formats


@dataclass(frozen=True)
class Tile:
    """Tokens `token` .. `token + rows - 1`, the `index`-th tile."""

    index: int
    token: int
    rows: int

    @property
    def tokens(self) -> range:
        """Its tokens."""
        return range(self.token, self.token + self.rows)


@dataclass(frozen=True)
class Group:
    """Output channels `column` .. `column + columns - 1` of a layer, the `index`-th group of the layer."""

    index: int
    column: int
    columns: int

    @property
    def channels(self) -> range:
        """Its channels."""
        return range(self.column, self.column + self.columns)


@dataclass(frozen=True)
class Layout:
    """Sizes of a network of `config` in the tiles, groups and words of `engine`.

    Raises
    ------
    BivitError
        When the network does not fit the engine: which size, the engine's limit, and the network's.
    """

    config: ViTConfig
    formats: Formats
    engine: EngineConfig

    def __post_init__(self) -> None:
        check_fits(self.config, self.formats, self.engine)

    # Sizes in words and chunks.

    @property
    def embed_words(self) -> int:
        """64-bit words of one token of D bits."""
        return ceil_div(self.config.embed_dim, WORD)

    @property
    def hidden_words(self) -> int:
        """64-bit words of one token of M bits."""
        return ceil_div(self.config.hidden_dim, WORD)

    @property
    def token_words(self) -> int:
        """64-bit words of one bit a token."""
        return ceil_div(self.config.num_tokens, WORD)

    @property
    def row_chunks(self) -> int:
        """Chunks of one token of the residual."""
        return self.config.embed_dim // self.engine.lanes

    @property
    def head_chunks(self) -> int:
        """Chunks of one token of one head."""
        return self.config.head_dim // self.engine.lanes

    @property
    def head_groups(self) -> int:
        """Groups of C channels of one head."""
        return ceil_div(self.config.head_dim, self.engine.columns)

    @property
    def dense_groups(self) -> int:
        """Groups of dense lanes of one token."""
        return ceil_div(self.config.embed_dim, self.engine.dense_lanes)

    @property
    def class_groups(self) -> int:
        """Groups of dense lanes of the classes."""
        return ceil_div(self.config.num_classes, self.engine.dense_lanes)

    @property
    def head_inputs(self) -> int:
        """Inputs of the classifier, T*D."""
        return self.config.head_rows * self.config.embed_dim

    # Tiles and groups.

    def tiles(self) -> list[Tile]:
        """All tiles of R tokens; the last one may have fewer."""
        n, r = self.config.num_tokens, self.engine.rows
        return [Tile(i, t, min(r, n - t)) for i, t in enumerate(range(0, n, r))]

    def groups(self, channels: int) -> list[Group]:
        """Groups of C of a layer's output channels; the last one may have fewer."""
        c = self.engine.columns
        return [Group(i, at, min(c, channels - at)) for i, at in enumerate(range(0, channels, c))]

    def groups_of_head(self, head: int) -> list[Group]:
        """Groups of C channels of one head, columns counted over all heads."""
        base = head * self.config.head_dim
        return [Group(g.index, base + g.column, g.columns) for g in self.groups(self.config.head_dim)]

    def qkv_group(self, part: int, head: int, group: int) -> int:
        """Index of a group of q (part 0), k (1) or v (2) among all groups of qkv."""
        return (part * self.config.num_heads + head) * self.head_groups + group

    def value_group(self, head: int, group: int) -> int:
        """Index of a group of v among those of all heads."""
        return head * self.head_groups + group

    def key_groups(self) -> list[Group]:
        """Groups of C keys."""
        return self.groups(self.config.num_tokens)

    # Pixels.

    @property
    def strip_bytes(self) -> int:
        """Bytes of one row of patches."""
        return self.config.img_size * self.config.patch_size * self.config.in_chans

    @property
    def strip_beats(self) -> int:
        """Beats of the pixel stream of one row of patches."""
        return self.strip_bytes // self.engine.pixel_bytes

    def blocks(self) -> Iterator[str]:
        """State-dict prefixes of the blocks: ``blocks.0`` and so on."""
        return (f"blocks.{i}" for i in range(self.config.depth))


def check_fits(config: ViTConfig, formats: Formats, engine: EngineConfig) -> None:
    """Raise `BivitError` unless a network of `config` and `formats` can run on `engine`: every limit that fails."""
    check_limits(config, formats, engine)
    lanes = engine.lanes
    for what, value in (("head_dim", config.head_dim), ("MLP hidden dim", config.hidden_dim)):
        check(value % lanes == 0, f"{what} must be a multiple of the engine's lanes ({lanes}), the network has {value}")
    check_strips(config, engine)
