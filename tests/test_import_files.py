"""The outer form of checkpoints that real programs write, what no weights are, and files that are something else."""

from __future__ import annotations

import argparse
import collections
import datetime
import enum
import gzip
import json
import pathlib
import sys
import types
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import images_of
from safetensors.torch import save_file
from torch import Tensor
from typer.testing import CliRunner

from bivit.cli.main import app
from bivit.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from bivit.model.importer import IMAGENET, ImportOptions, import_checkpoint
from bivit.model.vit import RealViT
from bivit.sim.config import SwinConfig, ViTConfig
from bivit.sim.errors import BivitError

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


def quantised(count: int) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(count), 0.1, 0, torch.qint8)


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


# --- what is no weights ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(64).to(torch.float8_e4m3fn), r"norm\.bias \(float8_e4m3fn, shape \[64\]\)"),
        (torch.zeros(64, dtype=torch.int8), r"norm\.bias \(int8, shape \[64\]\)"),
        (torch.zeros(64, dtype=torch.bool), r"norm\.bias \(bool, shape \[64\]\)"),
        (torch.zeros(64, dtype=torch.complex64), r"norm\.bias \(complex64, shape \[64\]\)"),
        (torch.zeros(64).to_sparse(), r"norm\.bias \(not dense, float32, shape \[64\]\)"),
        (quantised(64), r"norm\.bias \(quantised, qint8"),
        (torch.empty(64, device="meta"), r"norm\.bias \(without values \(meta\), shape \[64\]\)"),
        (torch.zeros(0), r"norm\.bias \(empty, shape \[0\]\)"),
        (torch.zeros(1).expand(1 << 40), r"norm\.bias \(a view that repeats values, shape \[1099511627776\]\)"),
        (torch.tensor(1.0), r"norm\.bias in .* has shape \[\]"),
        (torch.full((64,), 1e300, dtype=torch.float64), r"NaN or infinite: norm\.bias \(64\)"),
        (torch.full((64,), torch.nan), r"NaN or infinite: norm\.bias \(64\)"),
    ],
)
def test_only_plain_floats_are_weights(value: Tensor, message: str, tensors: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(tensors | {"norm.bias": value}, tmp_path / "file.pth")
    with pytest.raises(BivitError, match=message):
        import_checkpoint(tmp_path / "file.pth")


@pytest.mark.parametrize("name", ["patch_embed.proj.weight", "head.weight", "pos_embed", "blocks.0.mlp.fc1.weight"])
@pytest.mark.parametrize("shape", [(), (64,), (1, 2, 3, 4, 5)])
def test_tensors_that_tell_the_shape_have_their_dimensions(
    name: str, shape: tuple[int, ...], tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save(tensors | {name: torch.zeros(shape)}, tmp_path / "file.pth")
    with pytest.raises(BivitError, match=rf"{name} must have [234] dimensions, got shape"):
        import_checkpoint(tmp_path / "file.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks.99999.norm1.weight": torch.ones(64)}, r"3 parts blocks\.N, up to 99999, but lacks blocks\.2"),
        ({f"blocks.{'9' * 6000}.x": torch.ones(1)}, r"3 parts blocks\.N, up to 99999999999999999999, but lacks"),
        ({"blocks.1000000000000.x": torch.ones(1)}, r"lacks blocks\.2"),
        ({"patch_embed.proj.weight": torch.zeros(60000, 3, 1, 1)}, "embed_dim|multiple|heads"),
        (
            {"head.fc.weight": torch.zeros(7, 64)},
            r"two tensors of the file are one of the model: head\.weight and head",
        ),
    ],
)
def test_names_and_sizes_are_bounded_before_anything_is_built(
    change: dict[str, Tensor], message: str, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save(tensors | change, tmp_path / "file.pth")
    with pytest.raises(BivitError, match=message):
        import_checkpoint(tmp_path / "file.pth")


def test_a_wide_patch_embedding_reserves_no_memory_for_blocks_that_are_not_there(
    tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    wide = {"patch_embed.proj.weight": torch.zeros(32768, 1, 1, 1), "pos_embed": torch.zeros(1, 2, 32768)}
    wide |= {"head.weight": torch.zeros(7, 32768), "blocks.0.mlp.fc1.weight": torch.zeros(32768, 1)}
    torch.save(tensors | wide, tmp_path / "file.pth")
    with pytest.raises(BivitError, match=r"has shape \[.*\] needs|needs \["):
        import_checkpoint(tmp_path / "file.pth")


# --- files that are something else -----------------------------------------------------------------------------------


class Kind(enum.Enum):
    ONE = 1


class Runs:
    """What a pickle could run."""

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return print, ("this must never be printed",)


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "weights")


OTHERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "web page": (lambda p: p.write_text("\n<!DOCTYPE html><html>404</html>"), "is a web page .* download failed"),
    "git lfs": (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1"), "git lfs pull"),
    "empty": (lambda p: p.touch(), "is empty; fetch it again"),
    "folder": (lambda p: p.mkdir(), "is a folder; give the file"),
    "missing": (lambda p: None, "there is no file"),
    "gzip": (lambda p: p.write_bytes(gzip.compress(b"weights")), "a gzip archive; unpack it first"),
    "json": (lambda p: p.write_text("{}"), "it is JSON text; give the file of the weights"),
    "text": (lambda p: p.write_text("weights"), "it is text, and begins with 'weights'"),
    "bytes": (lambda p: p.write_bytes(bytes(range(100))), "neither safetensors nor what torch.save writes"),
    "hdf5": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n"), "an HDF5 file, as Keras writes"),
    "npy": (lambda p: np.save(p.open("wb"), np.zeros(3)), "an array of NumPy"),
    "zip": (write_zip, r"a zip archive, but not one of torch.save: it holds 0 files data\.pkl"),
    "module": (lambda p: torch.save(torch.nn.Linear(2, 2), p), r"a whole pickled model.*torch\.nn\.\S+Linear"),
    "enum": (lambda p: torch.save({"model": {}, "kind": Kind.ONE}, p), r"holds Python objects, .*: \S+Kind; in the"),
    "code": (lambda p: torch.save({"model": Runs()}, p), r"holds Python objects, .*: builtins\.print; in the"),
    "script": (
        lambda p: torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), p),
        "is a TorchScript program, which is not run|holds 0 files",
    ),
    "list": (lambda p: torch.save([torch.zeros(2)], p), "holds no tensors by name"),
    "other model": (lambda p: torch.save({"conv1.weight": torch.zeros(2)}, p), r"no known format: .* got conv1"),
    "protocol 4": (
        lambda p: torch.save({"a": argparse.Namespace()}, p, pickle_protocol=4),
        "form of pickle that torch's safe reader does not take; save it again",
    ),
    "escapes": (lambda p: torch.save({"\x1b[31mred": torch.zeros(2)}, p), r"got \\x1b\[31mred"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", OTHERS)
def test_each_mistake_has_its_message(name: str, tmp_path: Path) -> None:
    make, message = OTHERS[name]
    make(tmp_path / "file.pth")
    result = CliRunner().invoke(app, ["import", str(tmp_path / "file.pth"), "--out", str(tmp_path / "out" / "t")])
    assert (result.exit_code, result.stdout) == (2, "")
    with pytest.raises(BivitError, match=message):
        import_checkpoint(tmp_path / "file.pth")
    assert "\x1b[31m" not in result.stderr
    assert "never" not in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99, 0.9999])
def test_truncated_torch_files(legacy: bool, share: float, tensors: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    torch.save(tensors, path, _use_new_zipfile_serialization=not legacy)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(BivitError, match=r"cannot be read as a checkpoint: .*fetch it again"):
        import_checkpoint(path)


def test_files_of_bivit_itself(model: RealViT, tensors: dict[str, Tensor], tmp_path: Path) -> None:
    save_checkpoint(Checkpoint(model, 0), tmp_path / "teacher.safetensors")
    with pytest.raises(BivitError, match="is a file of bivit itself, which needs no import"):
        import_checkpoint(tmp_path / "teacher.safetensors")
    state = {"phase": "teacher", "rows": [], "losses": [], "sums": {}, "model": tensors}
    torch.save(state, tmp_path / "last.pt")
    with pytest.raises(BivitError, match="the state of a training of bivit, which `bivit train --resume` continues"):
        import_checkpoint(tmp_path / "last.pt")


def test_a_torch_file_where_bivits_own_is_expected_names_the_import(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(tensors, tmp_path / "x.pth")
    with pytest.raises(BivitError, match=r"what torch.save writes; `bivit import .*x\.pth --out teacher\.safetensors`"):
        load_checkpoint(tmp_path / "x.pth")
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(BivitError, match=r"another library, `bivit import .*x\.safetensors --out"):
        load_checkpoint(tmp_path / "x.safetensors")


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
