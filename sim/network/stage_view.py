"""A stage of a network as a DeiT whose images are windows, and a patch merging likewise: what an engine runs in a pass.

A window of a block goes through that block as an image of a DeiT with one block would.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import check
from .blocks import BlockShape, MergeShape, Stage
from .config import ModelConfig, ViTConfig
from .windows import window_tokens


@dataclass(frozen=True, kw_only=True)
class StageView(ViTConfig):
    """What a lane of an engine works on: the tokens of a window, in blocks that are named as in the network.

    Beside the fields of `ViTConfig` it has its blocks, `of`, of which a patch merging has none; the patch merging,
    `merge`, where `embed_dim` is of four neighbours together; and `windows`, those of an image.
    """

    of: tuple[BlockShape, ...] = ()
    merge: MergeShape | None = None
    windows: int = 1

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """One stage, whose blocks have their names and the tokens of a window."""
        stage = super().stages[0]
        names = [block.name for block in self.of] + [block.name for block in stage.blocks[len(self.of) :]]
        blocks = (replace(block, name=name) for block, name in zip(stage.blocks, names, strict=False))
        return (Stage(merge=None, blocks=tuple(blocks)),)

    @property
    def num_prefix_tokens(self) -> int:
        """Class and distillation tokens, of a DeiT."""
        return self.of[0].prefix if self.of else 0

    @property
    def chained(self) -> bool:
        """Whether a window goes through all blocks before it is left, since it is the whole image in each."""
        return self.windows == 1

    @property
    def out_dim(self) -> int:
        """Channels of a token that the pass leaves."""
        return self.merge.out_dim if self.merge else self.embed_dim


def stage_views(config: ModelConfig) -> tuple[StageView, ...]:
    """Return the passes of a network: of each stage the patch merging, if it has one, and then its blocks.

    Parameters
    ----------
    config : ModelConfig
    """
    found = []
    for stage in config.stages:
        block = stage.blocks[0]
        if stage.merge is not None:
            found.append(_merge_view(config, stage.merge, block))
        found.append(_view(config, block, stage.blocks))
    return tuple(found)


def _view(config: ModelConfig, block: BlockShape, blocks: tuple[BlockShape, ...], **more: Any) -> StageView:
    """Return a view with as many tokens as a window of a block has."""
    side = block.window or block.grid
    return StageView(
        img_size=side,
        patch_size=1,
        in_chans=1,
        num_classes=config.num_classes,
        mlp_ratio=config.mlp_ratio,
        norm_mode=config.norm_mode,
        qk_mode=config.qk_mode,
        attn_mode=config.attn_mode,
        class_token=False,
        pool="mean",
        eps=config.eps,
        of=blocks,
        **{
            "embed_dim": block.embed_dim,
            "depth": len(blocks),
            "num_heads": block.num_heads,
            "windows": block.windows,
            **more,
        },
    )


def _merge_view(config: ModelConfig, merge: MergeShape, behind: BlockShape) -> StageView:
    """Return the view of a merging, whose tokens go in as many pieces as the stage behind it has windows."""
    heads = next(merge.in_dim // width for width in (64, 32, 16, 8) if merge.in_dim % width == 0)
    return _view(config, behind, (), embed_dim=merge.in_dim, depth=1, num_heads=heads, merge=merge)


def token_places(config: ModelConfig, stage: int) -> NDArray[np.int64]:
    """Return the places of a stage's tokens in x, int64 [N], by their raster number.

    In the last stage that is the raster number; before that the four neighbours that are merged come one after the
    other, in the order in which they are merged (docs/semantics.md 10), at the place of what they become.

    Parameters
    ----------
    config : ModelConfig
    stage : int

    Examples
    --------
    >>> from .config import SwinConfig
    >>> small = SwinConfig(img_size=4, patch_size=1, num_classes=2, embed_dim=8, depths=(1, 1), num_heads=(1, 1),
    ...                    window_size=2)
    >>> token_places(small, 0).reshape(4, 4).tolist()
    [[0, 2, 4, 6], [1, 3, 5, 7], [8, 10, 12, 14], [9, 11, 13, 15]]
    """
    block = config.stages[stage].blocks[0]
    if stage == len(config.stages) - 1:
        return np.arange(block.tokens)
    after = token_places(config, stage + 1).reshape(block.grid // 2, block.grid // 2)
    row, column = np.divmod(np.arange(block.tokens), block.grid)
    return 4 * after[row // 2, column // 2] + row % 2 + 2 * (column % 2)


def window_places(config: ModelConfig, stage: int, shifted: bool) -> NDArray[np.int64]:
    """Return the places of the tokens of each window of a stage's blocks, int64 [W, n].

    Parameters
    ----------
    config : ModelConfig
    stage : int
    shifted : bool
        Whether windows are shifted, as in every second block.

    Raises
    ------
    BivitError
        When no block of the stage has shifted windows.
    """
    found = [block for block in config.stages[stage].blocks if bool(block.shift) == shifted]
    check(bool(found), f"no block of stage {stage} has {'shifted' if shifted else 'unshifted'} windows")
    return token_places(config, stage)[window_tokens(found[0])]
