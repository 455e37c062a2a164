"""The shape of an imported model: what its tensors tell, what options and files say, and that these agree."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...sim.errors import check, some
from ...sim.network.config import SwinConfig, ViTConfig
from ...sim.system.typed import shown
from .names import LAYERS_OF
from .options import Told
from .outside_fields import Facts

#: Eps of the LayerNorms where neither an option nor a file says it.
_EPS = {"huggingface": 1e-12, "timm": 1e-6, "official": 1e-6}
_SWIN_EPS = 1e-5
#: Channels of a head in every published DeiT, and widths of published ViTs whose heads are wider.
_HEAD_DIM, _WIDER = 64, (1152, 1280, 1408, 1664)
#: What GELU, computed by the error function, is called; its approximations have other names.
_GELU = ("gelu", "gelu_python")
#: Architectures of timm that differ in what their tensors do not tell.
_OTHER_KINDS = re.compile(r"quickgelu|quick_gelu|siglip|rope|relpos|rel_pos|tanh")
_KINDS = re.compile(r"(vit|deit|swin|flexivit|test_vit)(?![a-z0-9]*v2)")
_TABLE = "attn.relative_position_bias_table"


def infer_config(tensors: Mapping[str, Tensor], format_name: str, told: Told) -> ViTConfig | SwinConfig:
    """Tell the shape of a model from its tensors, under bivit's names, and from what was told of it.

    Raises
    ------
    BivitError
        When a tensor that tells it is missing or of no such shape, when what is told differs from the tensors or is
        not computed here, or when nobody tells what is needed.
    """
    embed_dim, in_chans, patch_size, width = _shape(tensors, "patch_embed.proj.weight", 4)
    check(patch_size == width, f"patches must be square, got {patch_size} x {width} pixels")
    shared = {
        "patch_size": patch_size,
        "in_chans": in_chans,
        "num_classes": _shape(tensors, "head.weight", 2)[0],
        "embed_dim": embed_dim,
    }
    swin = any(name.startswith("layers.") for name in tensors)
    _check_kind(told, swin)
    # Before the sizes, which then are read of fields that are right.
    config: ViTConfig | SwinConfig
    config = _infer_swin(tensors, told, shared) if swin else _infer_vit(tensors, format_name, told, shared)
    _compare(config, told.facts, swin)
    return config


def _check_kind(told: Told, swin: bool) -> None:
    """Refuse what changes results and no tensor shows."""
    facts = told.facts
    activation = facts.get("activation")
    if activation is not None:
        check(
            activation.value in _GELU,
            f"{activation.source} says {shown(activation.value)}, and the models here compute the exact GELU "
            f"({', '.join(_GELU)}) only; take other weights",
        )
    told.note("activation", "gelu", activation.source if activation else "default")
    kind, model_type = facts.get("architecture"), facts.get("model_type")
    if kind is not None:
        name = kind.value.lower()
        check(
            not _OTHER_KINDS.search(name) and (kind.rank > 0 or bool(_KINDS.match(name))),
            f"{kind.source} says {shown(kind.value)}, which is no plain ViT, DeiT or Swin: those are imported",
        )
    if model_type is not None:
        known = ("swin", "timm_wrapper") if swin else ("vit", "deit", "timm_wrapper")
        check(
            model_type.value in known,
            f"{model_type.source} says {shown(model_type.value)}, and these tensors are imported as "
            f"{' or '.join(known[:-1])}; take the config.json that belongs to these weights",
        )


def _infer_vit(tensors: Mapping[str, Tensor], format_name: str, told: Told, shared: dict[str, Any]) -> ViTConfig:
    prefix = [name for name in ("cls_token", "dist_token") if name in tensors]
    _check_pooling(tensors, told, bool(prefix))
    entries = _shape(tensors, "pos_embed", 3, "the image size")[1]
    patches = entries - len(prefix)
    grid = math.isqrt(max(patches, 0))
    check(
        grid > 0 and grid * grid == patches,
        f"pos_embed has {patches} patches, which is no square image, beside {len(prefix)} tokens; only squares are "
        "read, with an embedding for each token",
    )
    size = told.choose("image_size", "--image-size", told.options.image_size, grid * shared["patch_size"])
    width = shared["embed_dim"]
    return ViTConfig(
        img_size=size,
        depth=_numbered(tensors, "blocks."),
        num_heads=_heads(tensors, told, width),
        mlp_ratio=_mlp_ratio(tensors, "blocks.0", width),
        class_token="cls_token" in prefix,
        dist_token="dist_token" in prefix,
        pool="token" if prefix else "mean",
        eps=_eps(told, _EPS[format_name]),
        **shared,
    )


def _check_pooling(tensors: Mapping[str, Tensor], told: Told, tokens: bool) -> None:
    """Refuse a classifier that reads anything but normalised tokens, or the normalised mean of patches."""
    pooling, fc_norm = told.facts.get("pooling"), told.facts.get("fc_norm")
    if pooling is not None:
        needed = "token" if tokens else "avg"
        check(
            pooling.value == needed,
            f"{pooling.source} says {shown(pooling.value)}, and a ViT {'with' if tokens else 'without'} class token is "
            f"computed with {needed!r} only",
        )
    check(
        fc_norm is None or fc_norm.value != tokens,
        f"{fc_norm and fc_norm.source} says {fc_norm and shown(fc_norm.value)}, and a ViT "
        f"{'with' if tokens else 'without'} class token is computed with {shown(not tokens)} only",
    )
    source = "default" if tokens else "the tensors"
    told.note("pooling", "token" if tokens else "mean", pooling.source if pooling else source)


def _heads(tensors: Mapping[str, Tensor], told: Told, width: int) -> int:
    # Published Bi-ViTs tell their heads by the LayerNorm of q.
    norm = tensors.get("blocks.0.attn.q_norm.norm.weight")
    told_by_norm = None if norm is None or norm.dim() != 1 else width // len(norm)
    heads = told.choose("num_heads", "--heads", told.options.num_heads, told_by_norm)
    if heads is None and (model_type := told.facts.get("model_type")) and model_type.value in ("vit", "deit"):
        return told.note("num_heads", 12, "default of transformers")
    if heads is None:
        check(
            width % _HEAD_DIM == 0 and width not in _WIDER,
            f"the tensors do not tell the heads of {width} channels; give them by --heads",
        )
        return told.note("num_heads", width // _HEAD_DIM, f"default: {_HEAD_DIM} channels a head")
    check(type(heads) is int, f"num_heads must be one number for a ViT, got {shown(heads)}")
    return int(heads)


def _eps(told: Told, default: float) -> float:
    eps = told.choose("eps", "--eps", told.options.eps)
    check(eps is None or 0 < eps <= 1, f"eps must be above 0, and at most 1, got {shown(eps)}")
    return float(told.note("eps", default, "default") if eps is None else eps)


def _infer_swin(tensors: Mapping[str, Tensor], told: Told, shared: dict[str, Any]) -> SwinConfig:
    pooling = told.facts.get("pooling")
    check(
        pooling is None or pooling.value == "avg",
        f"{pooling and pooling.source} says {shown(pooling and pooling.value)}, and a Swin is computed with 'avg' only",
    )
    told.note("pooling", "mean", pooling.source if pooling else "default")
    stages = _numbered(tensors, "layers.")
    tables = [_shape(tensors, f"layers.{stage}.blocks.0.{_TABLE}", 2) for stage in range(stages)]
    windows = [(math.isqrt(rows) + 1) // 2 for rows, _ in tables]
    for stage, (window, (rows, _)) in enumerate(zip(windows, tables, strict=True)):
        check(
            (2 * window - 1) ** 2 == rows,
            f"layers.{stage}.blocks.0.{_TABLE} has {rows} rows, which is that of no square window",
        )
    grid = _grid(tensors, windows)
    size = told.choose("image_size", "--image-size", told.options.image_size, grid and grid * shared["patch_size"])
    step = shared["patch_size"] * windows[0] << (stages - 1)
    check(
        size is not None,
        f"the tensors of a Swin whose windows are all {windows[0]} patches wide do not tell its image size; give it by "
        f"--image-size ({', '.join(str(step * count) for count in (1, 2, 3))}, ...), or put its config.json beside it",
    )
    eps = _eps(told, _SWIN_EPS)
    model_type = told.facts.get("model_type")
    check(
        told.options.eps is not None or eps == _SWIN_EPS or model_type is None or model_type.value != "swin",
        f"config.json says layer_norm_eps {eps}, which transformers' Swin uses in its blocks, and {_SWIN_EPS} in its "
        "patches and mergings; one eps for all is computed here: choose it by --eps",
    )
    heads = tuple(count for _, count in tables)
    told.note("num_heads", list(heads), "the tensors")
    return SwinConfig(
        img_size=size,
        depths=tuple(_numbered(tensors, f"layers.{stage}.blocks.") for stage in range(stages)),
        num_heads=heads,
        window_size=_window(told, max(windows), windows),
        mlp_ratio=_mlp_ratio(tensors, "layers.0.blocks.0", shared["embed_dim"]),
        eps=eps,
        **shared,
    )


def _window(told: Told, largest: int, windows: list[int]) -> int:
    """Window of all stages: as the tables say, which are smaller where a stage's grid is."""
    fact = told.facts.get("window_size")
    said = set(fact.value) if fact and isinstance(fact.value, tuple) else {fact.value} if fact else {largest}
    check(len(said) == 1, f"{fact and fact.source} says {shown(list(said))}, and one window for all stages is computed")
    window = said.pop()
    check(
        window >= largest,
        f"{fact and fact.source} says window {window}, and the tables of the tensors are of {windows} patches a side",
    )
    return told.note("window_size", window, fact.source if fact else "the tensors")


def _grid(tensors: Mapping[str, Tensor], windows: list[int]) -> int | None:
    """Patches along the image, where a mask of shifted windows, or a window that is a whole grid, tells them."""
    for stage, window in enumerate(windows):
        mask = tensors.get(f"layers.{stage}.blocks.1.attn_mask")
        if mask is not None and mask.dim() == 3 and mask.shape[1] == window**2:
            side = math.isqrt(len(mask))
            check(side * side == len(mask), f"layers.{stage}.blocks.1.attn_mask has {len(mask)} windows, no square")
            return side * window << stage
        if window < windows[0]:
            return window << stage
    return None


def _compare(config: ViTConfig | SwinConfig, facts: Facts, swin: bool) -> None:
    """Refuse a file that says another shape than the tensors have."""
    hidden = config.blocks[0].hidden_dim
    told: dict[str, Any] = {
        "patch_size": config.patch_size,
        "in_chans": config.in_chans,
        "num_classes": config.num_classes,
        "num_features": config.num_features,
        "embed_dim": config.embed_dim,
        "depth": len(config.stages) if swin else len(config.blocks),
        "depths": tuple(len(stage.blocks) for stage in config.stages),
        "hidden_dim": hidden,
        "class_token": config.num_prefix_tokens > 0,
        "dist_token": config.num_prefix_tokens > 1,
    }
    if swin:
        told["num_heads"] = config.num_heads
    ratio = facts.get("mlp_ratio")
    check(
        ratio is None or int(config.embed_dim * ratio.value) == hidden,
        f"{ratio and ratio.source} says {shown(ratio and ratio.value)}, and the tensors have {hidden} hidden channels "
        f"for {config.embed_dim}; take the file that belongs to these weights",
    )
    for name, value in told.items():
        fact = facts.get(name)
        check(
            fact is None or fact.rank > 0 or fact.value == value,
            f"{fact and fact.source} says {shown(fact and fact.value)}, and the tensors say {shown(value)}; take the "
            "file that belongs to these weights",
        )


def _shape(tensors: Mapping[str, Tensor], name: str, dimensions: int, tells: str = "its shape") -> tuple[int, ...]:
    check(name in tensors, f"the checkpoint has no {name}, which tells {tells}; got {len(tensors)} other tensors")
    shape = tuple(tensors[name].shape)
    check(len(shape) == dimensions, f"{name} must have {dimensions} dimensions, got shape {list(shape)}")
    return shape


def _numbered(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """Count what is numbered from 0 after a prefix, as the blocks; a number that is left out is refused."""
    after = (name[len(prefix) :] for name in tensors if name.startswith(prefix))
    found = {match[0] for rest in after if (match := LAYERS_OF.match(rest))}
    missing = [str(number) for number in range(len(found)) if str(number) not in found]
    check(bool(found), f"the checkpoint has no tensors {prefix}0, which tell its depth")
    check(
        not missing,
        f"the checkpoint has {len(found)} parts {prefix}N, up to {max(found, key=lambda n: (len(n), n))[:20]}, but "
        f"lacks {some([prefix + number for number in missing])}",
    )
    return len(found)


def _mlp_ratio(tensors: Mapping[str, Tensor], block: str, width: int) -> float:
    """Hidden channels a channel, as a number whose product with the width is not rounded below them."""
    hidden = _shape(tensors, f"{block}.mlp.fc1.weight", 2)[0]
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)
