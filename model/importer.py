"""Import of checkpoints of timm, Hugging Face, Facebook (DeiT), Microsoft (Swin) and the Bi-ViT's published code.

Nothing is guessed in silence: every tensor is converted, ignored by a rule, missing or unexpected, and named.
"""

from __future__ import annotations

import json
import math
import pickle
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..sim.config import ModelConfig, SwinConfig, ViTConfig
from ..sim.errors import BivitError, check
from .checkpoint import refuse_nonfinite
from .import_names import IGNORED, RULES, convert_names, format_of
from .official import OfficialBiViT, published_config
from .patch import PixelNorm
from .vit import RealViT

#: Where training scripts put a state dict inside a file.
_NESTED = ("model", "state_dict", "model_ema", "model_state_dict")
#: Normalisation of ImageNet's pixels, with which these models are trained.
IMAGENET = PixelNorm((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
#: Eps of the LayerNorms where neither an option nor a config.json beside the file says it.
_EPS = {"huggingface": 1e-12, "timm": 1e-6, "official": 1e-6}
_SWIN_EPS = 1e-5
_IMAGE_SIZE = 224
#: Channels of a head in every published DeiT.
_HEAD_DIM = 64


@dataclass(frozen=True)
class ImportOptions:
    """What a file does not say; None takes it from the tensors, a config.json beside the file, or a default."""

    image_size: int | None = None
    num_heads: int | None = None
    eps: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Imported:
    """An imported model, and what became of each tensor of the file."""

    model: RealViT
    #: Key of `import_names.RULES`.
    format: str
    #: Pairs of source and target names.
    converted: list[list[str]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every tensor of the model came from the file, and the file holds nothing else."""
        return not self.missing and not self.unexpected


def import_checkpoint(path: str | Path, options: ImportOptions | None = None) -> Imported:
    """Read a checkpoint of another library.

    Parameters
    ----------
    path : path
        .safetensors, or what `torch.save` wrote, of which only tensors and plain values are read.
    options : ImportOptions, optional

    Returns
    -------
    Imported
        Its model is a `RealViT`, or an `OfficialBiViT`, in evaluation mode; where tensors are missing, random.

    Raises
    ------
    BivitError
        When the file cannot be read, is of an unknown format, does not tell its shape, holds NaN, or has a tensor of
        another shape than its model; the message names it.
    """
    source = Path(path)
    tensors, options = read_tensors(source), options or ImportOptions()
    ignored = [name for name in tensors if IGNORED.search(name)]
    kept = {name: tensor for name, tensor in tensors.items() if name not in ignored}
    name = format_of(kept)
    check(
        name is not None,
        f"{source} is of no known format: expected names of {', '.join(RULES)}, such as patch_embed.proj.weight, got "
        f"{', '.join(list(kept)[:4]) or 'none'}",
    )
    assert name is not None
    check(
        not {"fc_norm.weight", "cls_token"} <= set(kept),
        f"{source} holds fc_norm beside cls_token: its classifier reads the mean of the patches although there is a "
        "class token, which no model here does; import one that reads its tokens, or has none",
    )
    refuse_nonfinite({key: value for key, value in kept.items() if value.is_floating_point()}, str(source))
    renamed, converted = convert_names(kept, name)
    config = infer_config(renamed, name, options, _config_beside(source))
    if name == "official":
        config = published_config(config, renamed)
    kind = OfficialBiViT if name == "official" else RealViT
    model = kind(config, _pixels(config, options)).eval()
    own = model.state_dict()
    both = {key: value for key, value in renamed.items() if key in own}
    for key, value in both.items():
        check(
            value.shape == own[key].shape,
            f"{key} in {source} has shape {list(value.shape)}, and a model of image size {config.img_size}, patch size "
            f"{config.patch_size} and {config.num_classes} classes needs {list(own[key].shape)}; give the size by "
            "--image-size, or the heads by --heads",
        )
    model.load_state_dict(own | {key: value.to(own[key].dtype) for key, value in both.items()})
    return Imported(
        model,
        name,
        [pair for pair in converted if pair[1] in own],
        ignored,
        sorted(set(own) - set(renamed)),
        sorted(pair[0] for pair in converted if pair[1] not in own),
    )


def read_tensors(source: Path) -> dict[str, Tensor]:
    """Read the tensors of a .safetensors or torch file; a state dict inside it is found, prefixes are taken off.

    Raises
    ------
    BivitError
        When the file is missing, damaged, holds code, or no tensors.
    """
    check(source.is_file(), f"there is no file {source}; give a .safetensors, .pth or .bin file")
    try:
        if source.suffix == ".safetensors":
            found: Any = load_file(source)
        else:
            found = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BivitError(
            f"{source} is damaged or holds Python objects beside tensors, which are not loaded because they could run "
            f"code; save its state_dict() alone, best as .safetensors ({str(error).splitlines()[0]})"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise BivitError(f"{source} cannot be read as a checkpoint: {error}; fetch it again") from error
    for key in _NESTED:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    tensors = found if isinstance(found, dict) else {}
    tensors = {str(key).removeprefix("module."): value for key, value in tensors.items() if isinstance(value, Tensor)}
    check(bool(tensors), f"{source} holds no tensors by name; save a state_dict()")
    return tensors


def infer_config(
    tensors: dict[str, Tensor], format_name: str, options: ImportOptions, beside: dict[str, Any]
) -> ModelConfig:
    """Tell the shape of a model from its tensors, under bivit's names.

    Raises
    ------
    BivitError
        When a tensor that tells it is missing, or sizes do not fit.
    """
    for key in ("patch_embed.proj.weight", "head.weight"):
        check(key in tensors, f"the checkpoint has no {key}, which tells its shape; got {len(tensors)} other tensors")
    embed_dim, in_chans, patch_size, _ = tensors["patch_embed.proj.weight"].shape
    shared = {
        "patch_size": patch_size,
        "in_chans": in_chans,
        "num_classes": len(tensors["head.weight"]),
        "embed_dim": embed_dim,
    }
    if any(name.startswith("layers.") for name in tensors):
        eps = options.eps or beside.get("layer_norm_eps") or _SWIN_EPS
        return _infer_swin(tensors, options, beside, shared, eps)
    return _infer_vit(
        tensors, options, beside, shared, options.eps or beside.get("layer_norm_eps") or _EPS[format_name]
    )


def _infer_vit(
    tensors: dict[str, Tensor], options: ImportOptions, beside: dict[str, Any], shared: dict[str, Any], eps: float
) -> ViTConfig:
    check("pos_embed" in tensors, "the checkpoint has no pos_embed, which tells the image size")
    prefix = [name for name in ("cls_token", "dist_token") if name in tensors]
    patches = tensors["pos_embed"].shape[1] - len(prefix)
    grid = math.isqrt(patches)
    check(grid * grid == patches, f"pos_embed has {patches} patches, which is no square image; only squares are read")
    size = grid * shared["patch_size"]
    check(
        options.image_size in (None, size),
        f"pos_embed is that of {size}-pixel images, got --image-size {options.image_size}; resize the checkpoint first",
    )
    width = shared["embed_dim"]
    heads = options.num_heads or beside.get("num_attention_heads") or _heads_of_norms(tensors, width)
    check(
        bool(heads) or width % _HEAD_DIM == 0,
        f"the tensors do not tell the heads of {width} channels; give them by --heads",
    )
    return ViTConfig(
        img_size=size,
        depth=_count(tensors, r"^blocks\.(\d+)\."),
        num_heads=heads or width // _HEAD_DIM,
        mlp_ratio=_hidden(tensors, "blocks.0", width) / width,
        class_token="cls_token" in prefix,
        dist_token="dist_token" in prefix,
        pool="token" if prefix else "mean",
        eps=eps,
        **shared,
    )


def _infer_swin(
    tensors: dict[str, Tensor], options: ImportOptions, beside: dict[str, Any], shared: dict[str, Any], eps: float
) -> SwinConfig:
    stages = _count(tensors, r"^layers\.(\d+)\.")
    table = "attn.relative_position_bias_table"
    tables = [tensors.get(f"layers.{stage}.blocks.0.{table}") for stage in range(stages)]
    found = [value for value in tables if value is not None]
    check(len(found) == stages, f"every stage needs a layers.S.blocks.0.{table}, got {len(found)} of {stages}")
    return SwinConfig(
        img_size=options.image_size or beside.get("image_size") or _IMAGE_SIZE,
        depths=tuple(_count(tensors, rf"^layers\.{stage}\.blocks\.(\d+)\.") for stage in range(stages)),
        num_heads=tuple(value.shape[1] for value in found),
        window_size=max((math.isqrt(len(value)) + 1) // 2 for value in found),
        mlp_ratio=_hidden(tensors, "layers.0.blocks.0", shared["embed_dim"]) / shared["embed_dim"],
        eps=eps,
        **shared,
    )


def _heads_of_norms(tensors: dict[str, Tensor], width: int) -> int | None:
    """Heads by the LayerNorm of q, which published Bi-ViTs have."""
    norm = tensors.get("blocks.0.attn.q_norm.norm.weight")
    return None if norm is None else width // len(norm)


def _count(tensors: dict[str, Tensor], pattern: str) -> int:
    numbers = [int(match[1]) for name in tensors if (match := re.match(pattern, name))]
    check(bool(numbers), f"the checkpoint has no tensors that begin as {pattern}, which tell its depth")
    return max(numbers) + 1


def _hidden(tensors: dict[str, Tensor], block: str, width: int) -> int:
    name = f"{block}.mlp.fc1.weight"
    check(name in tensors, f"the checkpoint has no {name}, which tells the size of its MLP for {width} channels")
    return len(tensors[name])


def _pixels(config: ModelConfig, options: ImportOptions) -> PixelNorm:
    default = IMAGENET if config.in_chans == len(IMAGENET.mean) else PixelNorm.default(config)
    return PixelNorm(options.mean or default.mean, options.std or default.std)


def _config_beside(source: Path) -> dict[str, Any]:
    """Return Hugging Face's config.json in the file's folder; empty without one."""
    path = source.parent / "config.json"
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BivitError(f"{path} is no JSON: {error}; mend it or move it away") from error
    return values if isinstance(values, dict) else {}
