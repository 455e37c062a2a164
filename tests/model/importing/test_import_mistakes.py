"""What is no weights in a checkpoint, and files that are something else: each mistake has its own message."""

from __future__ import annotations

import argparse
import enum
import gzip
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from typer.testing import CliRunner

from bivit.cli.main import app
from bivit.model.files.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from bivit.model.importing.importer import IMAGENET, import_checkpoint
from bivit.model.vit.vit import RealViT
from bivit.sim.errors import BivitError
from bivit.sim.network.config import ViTConfig

DEIT = ViTConfig(img_size=32, patch_size=8, num_classes=7, embed_dim=64, depth=2, num_heads=1, mlp_ratio=1.0)


@pytest.fixture(scope="module")
def model() -> RealViT:
    torch.manual_seed(0)
    return RealViT(DEIT, IMAGENET).eval()


@pytest.fixture(scope="module")
def tensors(model: RealViT) -> dict[str, Tensor]:
    return dict(model.state_dict())


def quantised(count: int) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(count), 0.1, 0, torch.qint8)


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
    "pickle": (lambda p: p.write_bytes(pickle.dumps({"a": 1})), "own pickle.dump .* torch.save or safetensors"),
    "objects": (lambda p: p.write_bytes(pickle.dumps(Kind.ONE)), "is a pickle as Python's own pickle.dump writes it"),
    "cut pickle": (lambda p: p.write_bytes(pickle.dumps({"a": 1})[:-1]), "it is truncated or damaged"),
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


def test_one_file_of_several_is_named(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "model-00001-of-00002.safetensors")
    with pytest.raises(BivitError, match="is one of 2 files of one model"):
        import_checkpoint(tmp_path / "model-00001-of-00002.safetensors")
    save_file(tensors, tmp_path / "model-00001-of-00001.safetensors")
    assert import_checkpoint(tmp_path / "model-00001-of-00001.safetensors").complete


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
    with pytest.raises(
        BivitError, match=r"as torch.save writes; .* by `bivit import .*x\.pth --out teacher\.safetensors`"
    ):
        load_checkpoint(tmp_path / "x.pth")
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(
        BivitError, match=r"another library becomes one of bivit by `bivit import .*x\.safetensors --out"
    ):
        load_checkpoint(tmp_path / "x.safetensors")
