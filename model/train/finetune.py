"""A teacher for other classes and another image size: what of a trained model is kept, resized or begun anew.

All as timm does it: a new classifier is drawn at random, position embeddings are resized as a picture, and the relative
position biases of windows that change are read between their offsets. What is new must then be trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...sim.errors import check
from ...sim.network.config import ModelConfig, SwinConfig, config_from_dict
from ..vit.vit import RealViT

#: Spread of a new classifier's weights.
_HEAD_STD = 0.02
_HEADS = ("head.", "head_dist.")
_TABLE = ".relative_position_bias_table"


@dataclass(frozen=True)
class Adapted:
    """A teacher that fits other data."""

    #: The teacher itself where nothing changes.
    model: RealViT
    #: What is new or resized, in words.
    changes: tuple[str, ...] = ()


def changed_shape(base: ModelConfig, changes: Mapping[str, Any]) -> ModelConfig:
    """Return a shape with some fields changed, in which a Swin's windows follow the image size.

    Parameters
    ----------
    base : ModelConfig
    changes : mapping
        Untrusted values by field. Without `window_size` among them, a Swin keeps its windows where they divide the new
        size, and else their share of the image, as timm's `set_input_size`.

    Raises
    ------
    BivitError
        When a field is unknown, has another type, or sizes do not fit.
    """
    size = changes.get("img_size", base.img_size)
    if type(size) is int and size > 0:
        unit = base.img_size // base.stages[-1].blocks[-1].grid
        low = max(1, size // unit) * unit
        check(
            "patch_size" in changes or size % unit == 0,
            f"images of {size} pixels do not fit: take a multiple of {unit}, the size of a patch in the last block, as "
            f"{low} or {low + unit}",
        )
        if isinstance(base, SwinConfig) and "window_size" not in changes:
            changes = {**changes, "window_size": _fitted_window(base, size)}
    return config_from_dict(base.to_dict() | dict(changes), "the shape with the changes that are asked for")


def _fitted_window(config: SwinConfig, img_size: int) -> int:
    """Window of a Swin for another image size; that of before where none fits, which the config then refuses."""
    window, grid = config.window_size, img_size // config.patch_size
    grids = [grid >> stage for stage in range(len(config.depths))]
    if all(side <= window or side % window == 0 for side in grids):
        return window
    scaled, rest = divmod(window * grid, config.grid_size)
    return window if rest else scaled


def adapt(teacher: RealViT, config: ModelConfig, new_head: bool = False, seed: int = 0) -> Adapted:
    """Fit a teacher to the classes and the image size of a student.

    Parameters
    ----------
    teacher : RealViT
        Not changed.
    config : ModelConfig
        The student's. Only classes, image size and windows are taken from it; whether the rest fits is asked by
        `train.check_given`.
    new_head : bool
        Begin the classifier anew although its number of classes is the student's.
    seed : int
        Of the new classifier.

    Raises
    ------
    BivitError
        When the teacher cannot take the image size.
    """
    before = teacher.config
    wanted: dict[str, Any] = {"img_size": config.img_size, "num_classes": config.num_classes}
    if isinstance(config, SwinConfig) and isinstance(before, SwinConfig):
        wanted["window_size"] = config.window_size
    after = changed_shape(before, wanted)
    if after == before and not new_head:
        return Adapted(teacher)
    anew = new_head or after.num_classes != before.num_classes
    model = RealViT(after, teacher.pixels)
    own, tensors = model.state_dict(), teacher.state_dict()
    for name in own:
        if anew and name.startswith(_HEADS):
            tensors[name] = _new_head(own[name], seed)
        elif name == "pos_embed":
            tensors[name] = resize_position(tensors[name], after.num_prefix_tokens, after.grid_size)
        elif name.endswith(_TABLE):
            tensors[name] = resize_bias_table(tensors[name], (math.isqrt(len(own[name])) + 1) // 2)
    model.load_state_dict(tensors)
    return Adapted(model.eval(), tuple(_changes(before, after, anew)))


def _changes(before: ModelConfig, after: ModelConfig, new_head: bool) -> list[str]:
    found = []
    if new_head:
        found.append(f"a new classifier for {after.num_classes:,} classes (before: {before.num_classes:,})")
    if after.img_size != before.img_size:
        found.append(f"images of {after.img_size} pixels (before: {before.img_size})")
    if after.grid_size != before.grid_size and not after.patch_norm:
        sides = f"{after.grid_size} x {after.grid_size} patches (before: {before.grid_size} x {before.grid_size})"
        found.append(f"position embeddings resized to {sides}")
    windows = [block.window for block in after.blocks]
    if isinstance(after, SwinConfig) and windows != [block.window for block in before.blocks]:
        found.append(f"relative position biases resized to windows of {', '.join(map(str, dict.fromkeys(windows)))}")
    return found


def _new_head(like: Tensor, seed: int) -> Tensor:
    """Weights or biases of a classifier that knows nothing yet."""
    if like.dim() == 1:
        return torch.zeros_like(like)
    return nn.init.trunc_normal_(torch.empty_like(like), std=_HEAD_STD, generator=torch.Generator().manual_seed(seed))


def resize_position(position: Tensor, prefix: int, grid: int) -> Tensor:
    """Resize position embeddings to another grid of patches, bicubically and with antialiasing.

    Parameters
    ----------
    position : float32[1, P + n * n, D]
    prefix : int
        P, class and distillation tokens, which are kept.
    grid : int
        Patches along one side of the new image.

    Returns
    -------
    float32[1, P + grid * grid, D]
    """
    tokens, patches = position[:, :prefix], position[:, prefix:]
    side = math.isqrt(patches.shape[1])
    if side == grid:
        return position
    picture = patches.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    picture = F.interpolate(picture, size=(grid, grid), mode="bicubic", antialias=True)
    return torch.cat([tokens, picture.permute(0, 2, 3, 1).reshape(1, grid * grid, -1)], 1)


def resize_bias_table(table: Tensor, window: int) -> Tensor:
    """Resize the relative position biases of a window.

    The old offsets are laid over the new ones with steps that grow outwards (BEiT's rule, which timm follows): near
    neighbours keep their bias, far ones are stretched. Between them the bias is linear.

    Parameters
    ----------
    table : float32[(2 w - 1)^2, H]
    window : int
        Patches along one side of the new window.

    Returns
    -------
    float32[(2 window - 1)^2, H]
    """
    old, new = math.isqrt(len(table)), 2 * window - 1
    if old == new:
        return table
    weights = _between(_offsets(old, new), torch.arange(new) - float(window - 1))
    picture = table.reshape(old, old, -1)
    return torch.einsum("is,jt,sth->ijh", weights, weights, picture).reshape(new * new, -1)


def _offsets(old: int, new: int) -> Tensor:
    """Where the old offsets lie on the axis of the new ones: 0, 1, 1 + q, 1 + q + q^2, ..., the last at its end."""
    low, high = 1.01, 1.5
    ratio = low
    while high - low > 1e-6:
        ratio = (low + high) / 2
        if sum(ratio**i for i in range(old // 2)) > new // 2:
            high = ratio
        else:
            low = ratio
    right = torch.tensor([ratio**i for i in range(old // 2)], dtype=torch.float64).cumsum(0)
    return torch.cat([-right.flip(0), torch.zeros(1, dtype=torch.float64), right]).float()


def _between(old: Tensor, new: Tensor) -> Tensor:
    """Weights of linear interpolation, float32[new, old]; beyond the ends the last value holds."""
    right = torch.searchsorted(old, new).clamp(max=len(old) - 1)
    left = (right - 1).clamp(min=0)
    span = old[right] - old[left]
    share = torch.where(span > 0, (new - old[left]) / span.clamp(min=1e-9), 1.0).clamp(0, 1)
    rows = torch.arange(len(new))
    weights = torch.zeros(len(new), len(old))
    weights[rows, left] += 1 - share
    weights[rows, right] += share
    return weights
