"""Import of checkpoints of timm, Hugging Face, Facebook (DeiT), Microsoft (Swin) and the Bi-ViT's published code.

Nothing is guessed in silence: every tensor is converted, ignored by a rule, missing or unexpected, and named; every
setting of the model has a source, and every field that other programs write beside the tensors is used or refused.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...sim.errors import check, some
from ...sim.network.config import ModelConfig
from ..files.checkpoint import refuse_nonfinite
from ..vit.official import OfficialBiViT, published_config
from ..vit.patch import PixelNorm
from ..vit.vit import RealViT
from .names import IGNORED, convert_names, format_of
from .options import ImportOptions, Told, check_pixel_numbers
from .outside_fields import pixel_numbers, read_facts
from .outside_file import read_outside
from .outside_tensors import check_tensors, find_tensors
from .shape import infer_config

__all__ = ["IMAGENET", "ImportOptions", "Imported", "import_checkpoint"]

#: Normalisation of ImageNet's pixels, with which these models are trained.
IMAGENET = PixelNorm((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Imported:
    """An imported model, and what became of each tensor of the file."""

    #: Without values, on torch's device `meta`, where the file is not `complete`.
    model: RealViT
    #: Key of `names.NAME_RULES`.
    format: str
    #: Pairs of source and target names, without what `where` says.
    converted: list[list[str]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    #: Key and prefix under which the model was, and the other models of the file.
    where: str = ""
    others: list[str] = field(default_factory=list)
    #: Tensors that a file beside says are not there, and that are 0.
    zero: list[str] = field(default_factory=list)
    #: Rows of setting, value and source.
    settings: list[dict[str, Any]] = field(default_factory=list)
    #: Fields and files beside the tensors that no rule knows.
    unread: list[str] = field(default_factory=list)

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
        Its model is a `RealViT`, or an `OfficialBiViT`, in evaluation mode.

    Raises
    ------
    BivitError
        When the file cannot be read, is of an unknown format, does not tell its shape, holds NaN, or has a tensor of
        another shape or type than its model, or when a file beside it says what is not computed here; the message
        names it.
    """
    source, options = Path(path), options or ImportOptions()
    outside = read_outside(source)
    found = find_tensors(outside.content, source, options.weights)
    ignored = [name for name in found.tensors if IGNORED.search(name) or _matches(name, options.ignore)]
    kept = {name: tensor for name, tensor in found.tensors.items() if name not in set(ignored)}
    check_tensors(kept, source)
    format_name = format_of(kept)
    assert format_name is not None
    _check_names(kept, source)
    renamed, converted = convert_names(kept, format_name)
    told = Told(read_facts(source, outside), options)
    masks = {name: found.tensors[name] for name in ignored if name.endswith("attn_mask")}
    config: ModelConfig = infer_config(masks | renamed, format_name, told)
    if format_name == "official":
        config = published_config(config, renamed)
    pixels = _pixels(config, told)
    zero = _without_bias(renamed, config, told)
    model, missing = _build(OfficialBiViT if format_name == "official" else RealViT, config, pixels, renamed, source)
    own = set(model.state_dict())
    unexpected = sorted(pair[0] for pair in converted if pair[1] not in own)
    converted = [pair for pair in converted if pair[1] in own]
    return Imported(
        model,
        format_name,
        converted,
        [*ignored, *found.left_out],
        missing,
        unexpected,
        found.where,
        found.others,
        zero,
        told.settings,
        told.facts.unread,
    )


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _check_names(tensors: Mapping[str, Tensor], source: Path) -> None:
    """Refuse classifiers that read what no model here gives them, as far as names tell."""
    tokens, fc_norm = "cls_token" in tensors, "fc_norm.weight" in tensors
    check(
        not (tokens and fc_norm),
        f"{source} holds fc_norm beside cls_token: its classifier reads the mean of the patches although there is a "
        "class token, which no model here does; import one that reads its tokens, or has none",
    )
    check(
        tokens or fc_norm or not {"pos_embed", "norm.weight"} <= set(tensors),
        f"{source} holds norm, not fc_norm, and no cls_token: its classifier reads the mean of normalised patches, and "
        "the models here normalise the mean; import one with a class token, or with fc_norm",
    )


def _pixels(config: ModelConfig, told: Told) -> PixelNorm:
    default = IMAGENET if config.in_chans == len(IMAGENET.mean) else PixelNorm.default(config)
    named = "default: ImageNet's" if default is IMAGENET else "default: pixels become -1 to 1"
    values = {}
    for name, given in (("mean", told.options.mean), ("std", told.options.std)):
        said = (given, f"--{name}") if given is not None else pixel_numbers(told.facts, name, config.in_chans)
        numbers, source = said or (getattr(default, name), named)
        check(
            len(numbers) == config.in_chans,
            f"{source} must have {config.in_chans} numbers, one for each channel of the patches, got {len(numbers)}",
        )
        check_pixel_numbers(source if given is None else f"--{name}", numbers)
        values[name] = told.note(name, numbers, source)
    for name in ("interpolation", "crop_pct", "crop_mode"):
        if (fact := told.facts.get(name)) is not None:
            told.note(name, fact.value, f"{fact.source}; images are read as docs/data.md says")
    return PixelNorm(values["mean"], values["std"])


def _without_bias(tensors: dict[str, Tensor], config: ModelConfig, told: Told) -> list[str]:
    """Add biases of 0 where a file says that q, k and v have none, which is the same; return their names."""
    fact = told.facts.get("qkv_bias")
    names = [f"{block.name}.attn.qkv.bias" for block in config.blocks]
    there = [name for name in names if name in tensors]
    if fact is None or fact.value:
        return []
    check(not there, f"{fact.source} is false, and the file holds {some(there)}; take the file that belongs to it")
    tensors |= {f"{block.name}.attn.qkv.bias": torch.zeros(3 * block.embed_dim) for block in config.blocks}
    return names


def _build(
    kind: type[RealViT], config: ModelConfig, pixels: PixelNorm, tensors: Mapping[str, Tensor], source: Path
) -> tuple[RealViT, list[str]]:
    """Make the model with its tensors; return it and the names of those that are missing."""
    # Without memory first, so that a size that is not in the file is refused before it is reserved.
    with torch.device("meta"):
        empty = kind(config, pixels).eval()
    own = empty.state_dict()
    used = {name: tensor for name, tensor in tensors.items() if name in own}
    for name, tensor in used.items():
        check(
            tensor.shape == own[name].shape,
            f"{name} in {source} has shape {list(tensor.shape)}, and a model of image size {config.img_size}, patch "
            f"size {config.patch_size} and {config.num_classes} classes needs {list(own[name].shape)}; give the size "
            "by --image-size, or the heads by --heads",
        )
    missing = sorted(set(own) - set(used))
    if missing:
        return empty, missing
    values = {name: tensor.to(own[name].dtype) for name, tensor in used.items()}
    refuse_nonfinite(values, str(source), "as float32, of which a model is made; take other weights")
    model = kind(config, pixels).eval()
    model.load_state_dict(values)
    return model, []
