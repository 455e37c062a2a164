"""Shapes of the parts that both families, DeiT and Swin, are made of: blocks, patch mergings and stages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

#: Layers outside the blocks and mergings, which have names of their own.
PATCH_EMBED, HEAD = "patch_embed", "head"


@dataclass(frozen=True, kw_only=True)
class BlockShape:
    """Shape and modes of one transformer block.

    A DeiT block has one window that holds all tokens; a Swin block has `windows` windows of ``window**2`` tokens.
    """

    #: Key in the state dict: `blocks.0`, or `layers.1.blocks.0`.
    name: str
    #: Patches along one side.
    grid: int
    #: Class and distillation tokens before the patches.
    prefix: int
    embed_dim: int
    num_heads: int
    hidden_dim: int
    norm_mode: str
    qk_mode: str
    attn_mode: str
    eps: float
    #: Side of a window in patches; None lets every token attend to every other.
    window: int | None = None
    #: Patches by which the windows are shifted, towards the lower right, around the edges.
    shift: int = 0

    @cached_property
    def tokens(self) -> int:
        """All tokens, N."""
        return self.prefix + self.grid**2

    @cached_property
    def head_dim(self) -> int:
        """Channels of one head, E."""
        return self.embed_dim // self.num_heads

    @cached_property
    def windows(self) -> int:
        """Windows, W; 1 without windows."""
        return 1 if self.window is None else (self.grid // self.window) ** 2

    @cached_property
    def window_tokens(self) -> int:
        """Tokens that attend to each other, n."""
        return self.tokens // self.windows

    @cached_property
    def largest_score(self) -> int:
        """Largest score: E agreements, and as much again from the relative position bias of a window."""
        return self.head_dim * (1 if self.window is None else 2)

    @cached_property
    def bias_entries(self) -> int:
        """Rows of the relative position bias table, one for each offset between two patches of a window."""
        return 0 if self.window is None else (2 * self.window - 1) ** 2


@dataclass(frozen=True, kw_only=True)
class MergeShape:
    """Shape of a patch merging, which makes one token of four neighbours."""

    #: Key in the state dict: `layers.1.downsample`.
    name: str
    #: Patches along one side, before.
    grid: int
    #: Channels of a token, before.
    embed_dim: int
    norm_mode: str
    eps: float

    @property
    def in_dim(self) -> int:
        """Channels of four neighbours together."""
        return 4 * self.embed_dim

    @property
    def out_dim(self) -> int:
        """Channels of a token, after."""
        return 2 * self.embed_dim

    @property
    def tokens(self) -> int:
        """Tokens, after."""
        return (self.grid // 2) ** 2


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Blocks of one size, and what comes before them."""

    merge: MergeShape | None
    blocks: tuple[BlockShape, ...]
