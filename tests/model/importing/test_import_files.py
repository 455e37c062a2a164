"""The outer form of checkpoints of real programs: objects beside tensors, keys, prefixes, averages, suffixes."""

from __future__ import annotations

import argparse
import collections
import datetime
import json
import pathlib
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import images_of
from safetensors.torch import save_file
from torch import Tensor

from bivit.model.importing.importer import IMAGENET, ImportOptions, import_checkpoint
from bivit.model.vit.vit import RealViT
from bivit.sim.errors import BivitError
from bivit.sim.network.config import SwinConfig, ViTConfig

DEIT = ViTConfig(img_size=32, patch_size=8, num_classes=7, embed_dim=64, depth=2, num_heads=1, mlp_ratio=1.0)
SWIN = SwinConfig(
    img_size=32,
    patch_size=2,
    num_classes=7,
    embed_dim=32,
    depths=(2, 2),
    num_heads=(1, 2),
    window_size=4,
    mlp_ratio=1.0,
)


@pytest.fixture(scope="module")
def model() -> RealViT:
    torch.manual_seed(0)
    return RealViT(DEIT, IMAGENET).eval()


@pytest.fixture(scope="module")
def tensors(model: RealViT) -> dict[str, Tensor]:
    return dict(model.state_dict())


def same(path: Path, model: RealViT, options: ImportOptions | None = None) -> Any:
    """Import a file, and check that the model that comes out computes the same."""
    imported = import_checkpoint(path, options)
    assert imported.complete
    images = images_of(imported.model.config, 2)
    assert torch.equal(imported.model(images), model(images))
    return imported


def prefixed(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


class Table(dict):  # type: ignore[type-arg]
    """A dictionary of a class of its own; pickled as one of a library that is not installed here."""


Table.__module__, Table.__qualname__ = "mmengine.config.config", "ConfigDict"


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pickle write `Table` under its name."""
    for name in ("mmengine", "mmengine.config", "mmengine.config.config"):
        module = types.ModuleType(name)
        module.ConfigDict = Table  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)


def beside() -> dict[str, Any]:
    """Objects that training programs put beside tensors."""
    table = Table(depth=2)
    table.name = "config"  # type: ignore[attr-defined]
    return {
        "args": argparse.Namespace(lr=1e-3, out=pathlib.Path("/tmp"), betas=(0.9, 0.999), drop_path=0.1),
        "best": np.float64(0.75),
        "history": np.arange(3),
        "table": table,
        "counts": collections.defaultdict(list, {"a": [1]}),
        "last": collections.deque([1, 2]),
        "when": datetime.datetime(2024, 1, 2, 3, 4),
        "took": datetime.timedelta(seconds=3),
        "size": torch.Size([1, 2]),
        "dtype": torch.bfloat16,
        "set": {1, 2},
        "frozen": frozenset({1}),
        "rng": torch.get_rng_state(),
        "scaler": {"scale": 65536.0},
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
    }


@pytest.mark.parametrize("legacy", [False, True])
def test_what_training_programs_put_beside_tensors(
    legacy: bool, tensors: dict[str, Tensor], model: RealViT, tmp_path: Path, library: None
) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save({"model": collections.OrderedDict(tensors), **beside()}, path, _use_new_zipfile_serialization=not legacy)
    assert same(path, model).where == "model"


@pytest.mark.parametrize("key", ["", "model", "state_dict", "net", "model_state_dict", "checkpoint.model"])
@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "model.", "backbone.", "module._orig_mod.encoder.vit."]
)
def test_any_key_and_any_prefix(
    key: str, prefix: str, tensors: dict[str, Tensor], model: RealViT, tmp_path: Path
) -> None:
    content: Any = prefixed(tensors, prefix)
    for part in reversed(key.split(".") if key else []):
        content = {part: content, "epoch": 3}
    torch.save(content, tmp_path / "file.ckpt")
    plain = prefix.replace("_orig_mod.", "").removesuffix(".")
    assert same(tmp_path / "file.ckpt", model).where == ".".join(filter(None, (key, plain)))


def test_wrappers_in_the_middle_of_names(tensors: dict[str, Tensor], model: RealViT, tmp_path: Path) -> None:
    names = {name.replace("blocks.1.", "blocks.1._checkpoint_wrapped_module._orig_mod."): name for name in tensors}
    save_file({name: tensors[plain] for name, plain in names.items()}, tmp_path / "file.safetensors")
    same(tmp_path / "file.safetensors", model)


def test_a_head_outside_of_the_backbone(tensors: dict[str, Tensor], model: RealViT, tmp_path: Path) -> None:
    content = {name if name.startswith("head") else f"backbone.{name}": tensor for name, tensor in tensors.items()}
    torch.save(content, tmp_path / "file.pth")
    same(tmp_path / "file.pth", model)
    torch.save(content | {"backbone.head.weight": tensors["head.weight"]}, tmp_path / "file.pth")
    with pytest.raises(BivitError, match=r"holds head\.weight twice, with and without backbone\."):
        import_checkpoint(tmp_path / "file.pth")


@pytest.mark.parametrize("key", ["model_ema", "state_dict_ema", "ema", "ema_state_dict"])
def test_an_average_alone_is_taken_and_beside_the_model_is_named(
    key: str, tensors: dict[str, Tensor], model: RealViT, tmp_path: Path
) -> None:
    path = tmp_path / "file.pth"
    torch.save({key: tensors, "epoch": 3}, path)
    assert same(path, model).where == key
    other = {name: tensor + 1 for name, tensor in tensors.items()}
    torch.save({key: other, "model": tensors}, path)
    imported = same(path, model)
    assert (imported.where, imported.others) == ("model", [key])
    torch.save({key: tensors, "model": other}, path)
    assert same(path, model, ImportOptions(weights=key)).others == ["model"]


def test_of_several_models_one_is_asked_for(tensors: dict[str, Tensor], model: RealViT, tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    other = {name: tensor + 1 for name, tensor in tensors.items()}
    torch.save({"state_dict": prefixed(tensors, "student.") | prefixed(other, "teacher.")}, path)
    with pytest.raises(BivitError, match=r"several models: state_dict\.student, state_dict\.teacher; .* --weights"):
        import_checkpoint(path)
    imported = same(path, model, ImportOptions(weights="state_dict.student"))
    assert sorted(imported.ignored) == sorted(prefixed(other, "teacher."))
    with pytest.raises(BivitError, match=r"holds no model at 'pupil'; it holds state_dict\.student"):
        import_checkpoint(path, ImportOptions(weights="pupil"))


def test_tensors_of_something_else_are_unexpected_until_they_are_ignored(
    tensors: dict[str, Tensor], model: RealViT, tmp_path: Path
) -> None:
    path = tmp_path / "file.ckpt"
    torch.save({"state_dict": prefixed(tensors, "model.") | {"criterion.weight": torch.ones(7)}}, path)
    assert import_checkpoint(path).unexpected == ["criterion.weight"]
    assert same(path, model, ImportOptions(ignore=("criterion.*",))).ignored == ["criterion.weight"]


def test_a_safetensors_file_under_another_name(tensors: dict[str, Tensor], model: RealViT, tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "pytorch_model.bin", {"format": "pt"})
    same(tmp_path / "pytorch_model.bin", model)
    torch.save(tensors, tmp_path / "torch.safetensors")
    same(tmp_path / "torch.safetensors", model)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_other_widths(dtype: torch.dtype, tensors: dict[str, Tensor], model: RealViT, tmp_path: Path) -> None:
    narrow = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    torch.save(narrow, tmp_path / "file.pth")
    wide = RealViT(DEIT, IMAGENET).eval()
    wide.load_state_dict({name: tensor.float() for name, tensor in narrow.items()})
    same(tmp_path / "file.pth", wide)


# --- image size of a Swin --------------------------------------------------------------------------------------------


def swin_file(path: Path, config: SwinConfig, masks: bool = False) -> RealViT:
    torch.manual_seed(0)
    model = RealViT(config, IMAGENET).eval()
    extra = {}
    for block in config.blocks if masks else ():
        if block.shift:
            extra[f"{block.name}.attn_mask"] = torch.zeros(block.windows, block.window_tokens, block.window_tokens)
    save_file(dict(model.state_dict()) | extra, path)
    return model


def test_the_image_size_of_a_swin_is_asked_for_where_no_tensor_tells_it(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    model = swin_file(path, replace(SWIN, img_size=64))
    with pytest.raises(BivitError, match=r"do not tell its image size; give it by --image-size \(16, 32, 48, \.\.\.\)"):
        import_checkpoint(path)
    same(path, model, ImportOptions(image_size=64))
    (tmp_path / "config.json").write_text(json.dumps({"image_size": 64}), encoding="utf-8")
    same(path, model)


def test_the_image_size_of_a_swin_by_its_masks(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    same(path, swin_file(path, replace(SWIN, img_size=64), masks=True))
    with pytest.raises(BivitError, match="the tensors tell image_size 64, got 32 from --image-size"):
        import_checkpoint(path, ImportOptions(image_size=32))


def test_the_image_size_of_a_swin_by_a_window_that_is_a_grid(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    same(path, swin_file(path, replace(SWIN, img_size=32, window_size=16)))
