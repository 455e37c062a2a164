"""Where everything of one network lies in one engine: parameter words, operand words, tiles; and whether it fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from ..engine.config import EngineConfig
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


@dataclass(frozen=True)
class Group:
    """Output channels `column` .. `column + columns - 1` of a layer, the `index`-th group of the layer."""

    index: int
    column: int
    columns: int


@dataclass(frozen=True)
class Layout:
    """Addresses of a network of `config` in `engine`; parameter addresses are relative to their block.

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

    # Parameters of one block.

    def qkv_group(self, part: int, head: int, group: int) -> int:
        """Index of a group of q (part 0), k (1) or v (2) among all groups of qkv."""
        return (part * self.config.num_heads + head) * self.head_groups + group

    @property
    def _qkv_groups(self) -> int:
        return 3 * self.config.num_heads * self.head_groups

    def weights_addr(self, layer: str, group: int) -> int:
        """First weight word of a group of ``attn.qkv``, ``attn.proj``, ``mlp.fc1`` or ``mlp.fc2``."""
        return self._weight_bases[layer] + group * (self.hidden_words if layer == "mlp.fc2" else self.embed_words)

    @cached_property
    def _weight_bases(self) -> dict[str, int]:
        d_groups, m_groups = len(self.groups(self.config.embed_dim)), len(self.groups(self.config.hidden_dim))
        sizes = {
            "attn.qkv": self._qkv_groups * self.embed_words,
            "attn.proj": d_groups * self.embed_words,
            "mlp.fc1": m_groups * self.embed_words,
            "mlp.fc2": d_groups * self.hidden_words,
        }
        return _starts(sizes)

    def preload_addr(self, layer: str, group: int) -> int:
        """Preload word of a group of ``attn.qkv`` or ``mlp.fc1``."""
        return {"attn.qkv": 0, "mlp.fc1": self._qkv_groups}[layer] + group

    def sign_norm_addr(self, norm: str) -> int:
        """First word of Theta of ``norm1`` or ``norm2``."""
        return {"norm1": 0, "norm2": self.row_chunks}[norm]

    def head_norm_addr(self, norm: str, head: int) -> int:
        """First word of Theta and Scale of one head of ``attn.q_norm`` or ``attn.k_norm``."""
        part = {"attn.q_norm": 0, "attn.k_norm": 1}[norm]
        return (part * self.config.num_heads + head) * self.head_chunks

    def residual_addr(self, layer: str) -> int:
        """First word of Scale and Bias of ``attn.proj`` or ``mlp.fc2``."""
        return {"attn.proj": 0, "mlp.fc2": self.row_chunks}[layer]

    def table_addr(self, head: int) -> int:
        """First word of one head's table: Tau, then Exp[1] to Exp[64]."""
        return head * (WORD + 1)

    def eps_addr(self, norm: str, head: int = 0) -> int:
        """Word of Eps of a norm, or of one head of ``attn.q_norm`` or ``attn.k_norm``; that of ``norm`` is absolute."""
        heads = self.config.num_heads
        if norm == "norm":
            return self.config.depth * (2 + 2 * heads)
        return {"norm1": 0, "norm2": 1, "attn.q_norm": 2, "attn.k_norm": 2 + heads}[norm] + head

    def score_threshold_addr(self, head: int) -> int:
        """Preload word of one head's Theta, mode `score`."""
        return self._qkv_groups + len(self.groups(self.config.hidden_dim)) + head

    def block_steps(self) -> dict[str, int]:
        """Words of one block in each parameter memory, under the names of the ``loop`` instruction's fields."""
        config = self.config
        bases = self._weight_bases
        d_groups = len(self.groups(config.embed_dim))
        return {
            "weights_step": bases["mlp.fc2"] + d_groups * self.hidden_words,
            "preload_step": self.score_threshold_addr(config.num_heads if config.attn_mode == "score" else 0),
            "sign_norm_step": 2 * self.row_chunks,
            "head_norm_step": 2 * config.num_heads * self.head_chunks,
            "residual_step": 2 * self.row_chunks,
            "tables_step": config.num_heads * (WORD + 1),
            "eps_step": 2 + 2 * config.num_heads,
        }

    # The dense unit's weights.

    @property
    def head_weight_addr(self) -> int:
        """First word of the classifier's weights, after the patch embedding's."""
        return self.dense_groups * self.config.patch_dim

    # Operands.

    def x_addr(self, token: int) -> int:
        """First word of a token of the residual; token N is the pooled row."""
        return token * self.row_chunks

    def norm_addr(self, tile: Tile) -> int:
        """First word of a tile in `norm`."""
        return tile.index * self.embed_words

    def query_addr(self, tile: Tile, head: int) -> int:
        """Word of a tile and head in `query`."""
        return tile.index * self.config.num_heads + head

    def context_addr(self, tile: Tile) -> int:
        """First word of a tile in `context`."""
        return tile.index * self.embed_words

    def attention_addr(self, buffer: int) -> int:
        """First word of one of the two tiles in `attention`."""
        return buffer * self.token_words

    def hidden_addr(self, buffer: int) -> int:
        """First word of one of the two tiles in `hidden`."""
        return buffer * self.hidden_words

    def key_groups(self) -> list[Group]:
        """Groups of C keys."""
        return self.groups(self.config.num_tokens)

    def key_addr(self, head: int) -> int:
        """First word of a head in `key`."""
        return head * len(self.key_groups())

    def value_group(self, head: int, group: int) -> int:
        """Index of a group of a head in `value` and in the value sums."""
        return head * self.head_groups + group

    def value_addr(self, head: int, group: int) -> int:
        """First word of a group of a head in `value`."""
        return self.value_group(head, group) * self.token_words

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


def _starts(sizes: dict[str, int]) -> dict[str, int]:
    """Turn sizes, in order, into start addresses."""
    starts, at = {}, 0
    for name, size in sizes.items():
        starts[name] = at
        at += size
    return starts


def check_fits(config: ViTConfig, formats: Formats, engine: EngineConfig) -> None:
    """Raise `BivitError` unless a network of `config` and `formats` can run on `engine`: every limit that fails."""
    check(
        formats == engine.formats,
        f"the network's number formats {formats} are not the engine's {engine.formats}; generate the engine with them",
    )
    found = needs(config)
    few = [name for name, (_, need) in found.items() if need > getattr(engine, name)]
    check(
        not few,
        "the engine is too small: "
        + "; ".join(
            f"{found[name][0]} at most {getattr(engine, name)} ({name}), the network has {found[name][1]}"
            for name in few
        ),
    )
    lanes = engine.lanes
    for what, value in (("head_dim", config.head_dim), ("MLP hidden dim", config.hidden_dim)):
        check(value % lanes == 0, f"{what} must be a multiple of the engine's lanes ({lanes}), the network has {value}")
    strip = config.img_size * config.patch_size * config.in_chans
    check(
        strip % engine.pixel_bytes == 0,
        f"a row of patches has {strip} bytes, no multiple of the engine's pixel_bytes ({engine.pixel_bytes})",
    )


def needs(config: ViTConfig) -> dict[str, tuple[str, int]]:
    """Return what a network needs of each limit of an engine: by the limit's name, words for messages and a size."""
    return {
        "max_tokens": ("tokens", config.num_tokens),
        "max_embed_dim": ("embed_dim", config.embed_dim),
        "max_hidden_dim": ("MLP hidden dim", config.hidden_dim),
        "max_heads": ("num_heads", config.num_heads),
        "max_depth": ("depth", config.depth),
        "max_classes": ("num_classes", config.num_classes),
        "max_patch_dim": ("pixels a patch", config.patch_dim),
        "max_strip_bytes": ("bytes a row of patches", config.img_size * config.patch_size * config.in_chans),
    }
