"""Checkpoints: round trip, and every damage refused with its name (model/files/checkpoint.py)."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from models import random_images, random_model
from safetensors import safe_open
from safetensors.torch import save_file
from shapes import TINY, TOKENS

from bivit.model.files.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from bivit.model.vit.binarize import Binarization
from bivit.model.vit.patch import PixelNorm
from bivit.model.vit.vit import BiViT, RealViT
from bivit.sim.errors import BivitError
from bivit.sim.network.formats import Formats
from bivit.sim.system.files import file_hash


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "student.safetensors"
    save_checkpoint(Checkpoint(random_model(TINY), 3, {"top1": 0.5}, {"data": "digits"}), path)
    return path


def rewrite(path: Path, header: dict[str, Any] | None = None, **tensors: torch.Tensor | None) -> None:
    """Write the file again with other header entries and tensors; None removes one."""
    with safe_open(path, framework="pt") as file:
        metadata = json.loads(file.metadata()["bivit"]) | (header or {})
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    changed = {name: tensor for name, tensor in (kept | tensors).items() if tensor is not None}
    save_file(changed, path, {"bivit": json.dumps(metadata)})


def test_round_trip_of_a_binary_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    binarization = Binarization(slope="tanh", weight_slope="bireal", attention="fixed")
    model = BiViT(TOKENS, PixelNorm((0.1, 0.2), (0.3, 0.4)), Formats(residual_frac_bits=11), binarization)
    path = tmp_path / "model.safetensors"
    save_checkpoint(Checkpoint(model, 5, {"top1": 0.25}, {"data": "noise"}), path)
    loaded = load_checkpoint(path, "binary")
    assert (loaded.seed, loaded.metrics, loaded.provenance) == (5, {"top1": 0.25}, {"data": "noise"})
    assert isinstance(loaded.model, BiViT)
    assert (loaded.model.config, loaded.model.formats) == (TOKENS, model.formats)
    assert (loaded.model.pixels, loaded.model.binarization) == (model.pixels, binarization)
    images = torch.from_numpy(random_images(TOKENS, 4))
    assert torch.equal(loaded.model(images), model.eval()(images))
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_round_trip_of_a_real_valued_model(tmp_path: Path) -> None:
    model = RealViT(TINY)
    save_checkpoint(Checkpoint(model, 0), tmp_path / "teacher.safetensors")
    loaded = load_checkpoint(tmp_path / "teacher.safetensors", "float").model
    images = torch.from_numpy(random_images(TINY, 4))
    assert torch.equal(loaded(images), model(images))
    assert not loaded.training


def test_hash(saved: Path) -> None:
    before = file_hash(saved)
    assert len(before) == 64
    rewrite(saved, {"seed": 4})
    assert file_hash(saved) != before


def test_the_other_kind_is_refused(saved: Path) -> None:
    with pytest.raises(BivitError, match="holds a model of kind 'binary', but 'float' is needed"):
        load_checkpoint(saved, "float")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BivitError, match=r"there is no checkpoint .*nowhere\.safetensors"):
        load_checkpoint(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("keep", [0, 7, 300, -1])
def test_truncated_file(saved: Path, keep: int) -> None:
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(BivitError, match="truncated or not a safetensors file"):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            {"format": "bivit-network"},
            "not a bivit checkpoint: its format is 'bivit-network', allowed is 'bivit-checkpoint'; it is an integer",
        ),
        ({"format": ["bivit-checkpoint"]}, r'its format is \["bivit-checkpoint"\], allowed is'),
        ({"version": True}, "of version true, this bivit reads version 2"),
        ({"kind": ["float"]}, r'kind \["float"\]; allowed are float'),
        ({"seed": 1.5}, "seed in the header of .* must be an integer, got 1.5"),
        ({"config": TINY.to_dict() | {"family": ["vit"]}}, "family in config in .* must be one of vit, swin"),
        ({"config": TINY.to_dict() | {"depth": 2**31}}, "depth must be 1 to 1024, got 2147483648"),
        ({"config": TINY.to_dict() | {"mlp_ratio": 1e-9}}, "mlp_ratio"),
        ({"config": TINY.to_dict() | {"mlp_ratio": 1e300}}, "mlp_ratio"),
        ({"config": TINY.to_dict() | {"embed_dim": 16384, "num_heads": 2048}}, "must have shape"),
        ({"formats": {"head_m": 10**9}}, "head_m must be at most 64"),
        ({"pixels": {"mean": [0.5], "std": [0.0]}}, "std"),
        ({"version": 1}, "of version 1, this bivit reads version 2"),
        ({"kind": "ternary"}, "kind 'ternary'; allowed are float, official, weights, binary"),
        ({"config": {"img_size": 8}}, "config in .* is incomplete"),
        ({"config": TINY.to_dict() | {"colour": 1}}, "config in .* has unknown keys colour"),
        ({"config": TINY.to_dict() | {"num_heads": 3}}, "embed_dim 16 is not a multiple of num_heads 3"),
        ({"pixels": {"mean": [0.5]}}, "pixels in .* is incomplete"),
        ({"config": None}, "config in the header of .* must be an object"),
        ({"binarization": {"slope": "steep"}}, "no sign gradient 'steep'"),
        ({"binarization": {"attention": "soft"}}, "attention must be one of learned, fixed, got 'soft'"),
        ({"binarization": {"step": 1}}, "binarization in .* has unknown keys step"),
        ({"binarization": "bireal"}, "binarization in the header of .* must be an object"),
        ({"pixels": {"mean": 1, "std": 1}}, "pixels in .*: mean must be a list, got 1"),
    ],
)
def test_wrong_headers(saved: Path, header: dict[str, Any], message: str) -> None:
    rewrite(saved, header)
    with pytest.raises(BivitError, match=message):
        load_checkpoint(saved)


def test_files_of_others(saved: Path) -> None:
    save_file({"weight": torch.zeros(2)}, saved)
    with pytest.raises(BivitError, match="its metadata lacks the key 'bivit'"):
        load_checkpoint(saved)
    save_file({"weight": torch.zeros(2)}, saved, {"bivit": "{"})
    with pytest.raises(BivitError, match="its header is not JSON"):
        load_checkpoint(saved)


def test_missing_and_unexpected_tensors_are_named(saved: Path) -> None:
    rewrite(saved, None, **{"norm.weight": None, "blocks.0.attn.qkv.bias": torch.zeros(48)})
    with pytest.raises(BivitError, match=r"missing: norm\.weight; unexpected: blocks\.0\.attn\.qkv\.bias"):
        load_checkpoint(saved)


def test_wrong_shapes_are_named(saved: Path) -> None:
    rewrite(saved, None, **{"head.bias": torch.zeros(4)})
    with pytest.raises(BivitError, match=r"head\.bias in .* must have shape \[3\], got \[4\]"):
        load_checkpoint(saved)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_are_named(saved: Path, value: float) -> None:
    rewrite(saved, None, **{"head.bias": torch.tensor([0.0, value, value])})
    with pytest.raises(BivitError, match=r"NaN or infinite: head\.bias \(2\)"):
        load_checkpoint(saved)


def test_nothing_half_written(tmp_path: Path) -> None:
    with pytest.raises(BivitError, match="must hold finite JSON values only"):
        save_checkpoint(Checkpoint(RealViT(TINY), 0, {"loss": float("nan")}), tmp_path / "model.safetensors")
    (tmp_path / "file").touch()
    with pytest.raises(BivitError, match=r"cannot write .*: .*file is no folder"):
        save_checkpoint(Checkpoint(RealViT(TINY), 0), tmp_path / "file" / "model.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_others_may_read_it_as_far_as_the_umask_lets_them(saved: Path) -> None:
    plain = saved.with_name("plain")
    plain.touch()
    assert saved.stat().st_mode == plain.stat().st_mode
