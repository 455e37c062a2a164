"""Checkpoints of trained models: one safetensors file with a JSON header, checked strictly when it is read.

Tensors are the model's state dict. The metadata holds one key, `bivit`, a JSON object: `format` ("bivit-checkpoint"),
`version` (2), `kind` ("float" for the real-valued twin, "weights" for the one with binary weights, "binary" for the
Bi-ViT, "official" for one as its published code defines it), `config`, `pixels` (normalisation), `binarization`
(weights and binary), `formats` (binary), `seed`, `metrics` and `provenance` (free form).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from ...sim.errors import BivitError, check, some
from ...sim.network.config import config_from_dict
from ...sim.network.formats import Formats
from ...sim.system.files import whole_file
from ...sim.system.tensor_file import Format as FileFormat
from ...sim.system.typed import build, shown
from ..vit.binarize import Binarization
from ..vit.official import OfficialBiViT
from ..vit.patch import PixelNorm
from ..vit.vit import BinaryWeightViT, BiViT, RealViT, VisionTransformer

CHECKPOINT_FORMAT = "bivit-checkpoint"
CHECKPOINT_VERSION = 2
#: Kinds of models, and the objects that the header of each holds beside `OBJECTS`.
KINDS = {"float": (), "official": (), "weights": ("binarization",), "binary": ("binarization", "formats")}
OBJECTS = ("config", "pixels", "metrics", "provenance")
_FILE = FileFormat(
    CHECKPOINT_FORMAT, CHECKPOINT_VERSION, "checkpoint", "train again", ("kind", "seed", *OBJECTS), OBJECTS
)


@dataclass(frozen=True)
class Checkpoint:
    """A model and where it came from."""

    model: VisionTransformer
    seed: int
    metrics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write a checkpoint; the file appears whole or not at all.

    Raises
    ------
    BivitError
        When metrics or provenance are not JSON, or the file cannot be written.
    """
    model = checkpoint.model
    header: dict[str, Any] = {
        "format": CHECKPOINT_FORMAT,
        "version": CHECKPOINT_VERSION,
        "kind": model.kind,
        "config": model.config.to_dict(),
        "pixels": asdict(model.pixels),
        "seed": checkpoint.seed,
        "metrics": checkpoint.metrics,
        "provenance": checkpoint.provenance,
    }
    if isinstance(model, BiViT):
        header["formats"] = asdict(model.formats)
    if isinstance(model, BiViT | BinaryWeightViT):
        header["binarization"] = asdict(model.binarization)
    try:
        metadata = {"bivit": json.dumps(header, allow_nan=False)}
    except (TypeError, ValueError) as error:
        raise BivitError(f"metrics and provenance must hold finite JSON values only: {error}") from error
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    # Not by save_file, whose files only their owner may read, whatever the umask.
    with whole_file(path) as partial:
        partial.write_bytes(save(tensors, metadata))


def load_checkpoint(path: str | Path, kind: str | None = None) -> Checkpoint:
    """Read a checkpoint and check all of it.

    Parameters
    ----------
    path : path
        A file of `save_checkpoint`.
    kind : str, optional
        One of `KINDS`: refuse the others.

    Returns
    -------
    Checkpoint
        Its model is in evaluation mode.

    Raises
    ------
    BivitError
        When the file is missing, damaged, no checkpoint, of another version or kind, or when its tensors are not
        exactly those of its config, or hold NaN or infinity; the message names them.
    """
    source = Path(path)
    check(source.is_file(), f"there is no checkpoint {source}; `bivit train` writes one")
    header, tensors = _FILE.read(source, "pt")
    _check_header(source, header)
    got = header["kind"]
    check(
        kind in (None, got),
        f"{source} holds a model of kind {got!r}, but {kind!r} is needed; "
        "`bivit train` writes the teacher as float and the Bi-ViT as binary",
    )
    # Without memory first, so that sizes that the file does not hold are refused before they are reserved.
    with torch.device("meta"):
        expected = _build(source, header).state_dict()
    _check_tensors(source, tensors, expected)
    model = _build(source, header)
    model.load_state_dict(tensors)
    return Checkpoint(model.eval(), header["seed"], header["metrics"], header["provenance"])


def _check_header(source: Path, header: dict[str, Any]) -> None:
    kind = header["kind"]
    known = isinstance(kind, str) and kind in KINDS
    check(known, f"{source} holds a model of kind {shown(kind)}; allowed are {', '.join(KINDS)}")
    _FILE.check_keys(source, header, KINDS[kind], KINDS[kind])
    seed = header["seed"]
    check(type(seed) is int, f"seed in the header of {source} must be an integer, got {shown(seed)}")


def _build(source: Path, header: dict[str, Any]) -> VisionTransformer:
    """Make the model that the header describes, its weights still random."""
    config = config_from_dict(header["config"], f"config in {source}")
    pixels = build(PixelNorm, header["pixels"], f"pixels in {source}")
    if header["kind"] == "float":
        return RealViT(config, pixels)
    if header["kind"] == "official":
        return OfficialBiViT(config, pixels)
    binarization = build(Binarization, header["binarization"], f"binarization in {source}")
    if header["kind"] == "weights":
        return BinaryWeightViT(config, pixels, binarization)
    formats = build(Formats, header["formats"], f"formats in {source}")
    return BiViT(config, pixels, formats, binarization)


def _check_tensors(source: Path, got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    missing, unexpected = sorted(set(expected) - set(got)), sorted(set(got) - set(expected))
    check(
        not missing and not unexpected,
        f"{source} does not hold the tensors of its config; missing: {some(missing) or 'none'}; "
        f"unexpected: {some(unexpected) or 'none'}",
    )
    for name, tensor in got.items():
        shape, dtype = list(expected[name].shape), expected[name].dtype
        check(list(tensor.shape) == shape, f"{name} in {source} must have shape {shape}, got {list(tensor.shape)}")
        check(tensor.dtype == dtype, f"{name} in {source} must be {dtype}, got {tensor.dtype}")
    refuse_nonfinite(got, str(source))


def refuse_nonfinite(
    tensors: Mapping[str, Tensor], where: str, remedy: str = "train again with a lower learning rate"
) -> None:
    """Raise `BivitError`, naming tensors and counts, when one holds NaN or infinity.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        Of floating-point numbers, or integers.
    where, remedy : str
        What holds them, and what to do, for the message.
    """
    bad = {name: int((~torch.isfinite(tensor)).sum()) for name, tensor in tensors.items()}
    named = some([f"{name} ({count})" for name, count in bad.items() if count])
    check(not named, f"{where} holds values that are NaN or infinite: {named}; {remedy}")
