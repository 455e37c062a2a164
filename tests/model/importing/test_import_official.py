"""The published Bi-ViT's Swin: its names and shapes, the definition that they decide, and files that are incomplete."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models import images_of
from program import invoke
from torch import Tensor

from bivit.model.files.checkpoint import load_checkpoint
from bivit.model.importing.importer import IMAGENET, ImportOptions, import_checkpoint
from bivit.model.vit.official import OfficialBiViT
from bivit.model.vit.vit import BiViT
from bivit.sim.network.config import SwinConfig, ViTConfig
from bivit.sim.network.file import load_network

CONFIG = SwinConfig(
    img_size=32,
    patch_size=2,
    num_classes=7,
    embed_dim=32,
    depths=(2, 2),
    num_heads=(2, 4),
    window_size=4,
    qk_mode="threshold",
)
SIZE = ImportOptions(image_size=32)


def both(name: str) -> list[str]:
    return [f"{name}.weight", f"{name}.bias"]


def binarizer(name: str) -> list[str]:
    return [f"{name}.{value}" for value in ("alpha", "zero_point", "init_state", "signed")]


def published_names(depths: Iterable[int]) -> set[str]:
    """Every tensor of the published code's Swin: patch merging ends a stage, and q and k have no norm."""
    names = [*both("patch_embed.proj"), *both("patch_embed.norm"), *both("norm"), *both("head")]
    for stage, depth in enumerate(depths):
        for block in (f"layers.{stage}.blocks.{i}" for i in range(depth)):
            for part in ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"):
                names += both(f"{block}.{part}")
            names += [f"{block}.attn.relative_position_bias_table", f"{block}.attn.relative_position_index"]
            for part in ("q_act", "k_act", "v_act", "attn_act"):
                names += binarizer(f"{block}.attn.{part}")
        # The last block's windows are shifted, and the last stage is no longer halved.
        if stage + 1 < len(list(depths)):
            names.append(f"layers.{stage}.blocks.{depth - 1}.attn_mask")
            reduction = f"layers.{stage}.downsample.reduction"
            names += [
                f"{reduction}.weight",
                f"{reduction}.alpha",
                f"{reduction}.init_state",
                *both("layers.0.downsample.norm"),
            ]
            names += binarizer(f"{reduction}.act")
    return set(names)


def published(model: OfficialBiViT) -> dict[str, Tensor]:
    """The tensors of a model under the names of the published code."""
    names = {
        "layers.1.downsample": "layers.0.downsample",
        ".q_norm.norm.": ".norm_q.",
        ".k_norm.norm.": ".norm_k.",
        ".q_norm.act.": ".q_act.",
        ".k_norm.act.": ".k_act.",
        ".v_sign.": ".v_act.",
        ".attn_sign.act.": ".attn_act.",
    }
    tensors = {}
    for name, tensor in model.state_dict().items():
        for text, other in names.items():
            name = name.replace(text, other)
        tensors[name] = tensor
    return tensors


def published_file(path: Path) -> tuple[OfficialBiViT, dict[str, Tensor]]:
    """A random model, and the file that the published code would write of it."""
    torch.manual_seed(2)
    model = OfficialBiViT(CONFIG, IMAGENET).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("alpha"):
                parameter.uniform_(0.5, 1.5)
            elif not name.endswith("zero_point"):
                parameter.normal_(0, 0.3)
        for _, block in model.named_blocks():
            block.attn.attn_sign.act.alpha.fill_(1 / block.attn.block.window_tokens)
            block.attn.attn_sign.act.zero_point.fill_(-1.2)
    tensors = published(model)
    ends = ("init_state", "signed", "relative_position_index", "attn_mask")
    tensors |= {name: torch.zeros(3) for name in published_names(CONFIG.depths) if name.endswith(ends)}
    torch.save({"model": tensors, "epoch": 3}, path)
    return model, tensors


def test_the_published_swin_is_imported_as_it_computes(tmp_path: Path) -> None:
    model, tensors = published_file(tmp_path / "swin.pth")
    assert set(tensors) == published_names(CONFIG.depths)
    imported = import_checkpoint(tmp_path / "swin.pth", SIZE)
    assert (imported.format, imported.missing, imported.unexpected) == ("official", [], [])
    assert imported.model.config == CONFIG
    assert len(imported.converted) + len(imported.ignored) == len(tensors)
    pixels = images_of(CONFIG, 3)
    assert torch.equal(imported.model(pixels), model(pixels))


def test_it_becomes_a_teacher_a_student_and_an_integer_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bivit(*arguments: str | Path) -> None:
        done = invoke(*arguments, cwd=tmp_path, monkeypatch=monkeypatch)
        assert done.returncode == 0, done.stderr

    model, _ = published_file(tmp_path / "swin.pth")
    for role in ("teacher", "student"):
        bivit("import", "swin.pth", "--image-size", "32", "--as", role, "--out", f"{role}.safetensors")
    teacher = load_checkpoint(tmp_path / "teacher.safetensors", kind="official").model
    assert torch.equal(teacher(images_of(CONFIG)), model(images_of(CONFIG)))
    student = load_checkpoint(tmp_path / "student.safetensors", kind="binary").model
    assert isinstance(student, BiViT)
    pixels = np.random.default_rng(0).integers(256, size=(20, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", images=pixels, labels=np.arange(20) % 7, classes=list("abcdefg"))
    bivit("export", "student.safetensors", "--data", "data.npz", "--out", "network.safetensors")
    network = load_network(tmp_path / "network.safetensors")
    for block in CONFIG.blocks:
        assert not network.tensors[f"{block.name}.attn.q_norm.theta"].any()
    assert network.agreement["same_predictions"] == 1.0


@pytest.mark.parametrize("kept", ["layers.0.blocks.1.attn.norm_k.", "layers.1.blocks.0.attn.norm_q."])
def test_norms_in_some_blocks_are_no_known_definition(
    kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the others lack is named, and nothing is written."""
    _, tensors = published_file(tmp_path / "swin.pth")
    torch.save(tensors | {f"{kept}weight": torch.ones(16), f"{kept}bias": torch.zeros(16)}, tmp_path / "mixed.pth")
    command = ("import", "mixed.pth", "--image-size", "32", "--out", "out.safetensors", "--json")
    done = invoke(*command, cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.returncode == 2
    assert "missing: layers.0.blocks.0.attn.k_norm.norm.bias" in done.stderr
    assert not (tmp_path / "out.safetensors").exists()


def test_a_deit_without_its_norms_is_incomplete(tmp_path: Path) -> None:
    config = ViTConfig(img_size=16, patch_size=8, num_classes=7, embed_dim=64, depth=2, num_heads=1)
    tensors = {name: value for name, value in published(OfficialBiViT(config)).items() if ".norm_" not in name}
    torch.save(tensors, tmp_path / "deit.pth")
    imported = import_checkpoint(tmp_path / "deit.pth")
    assert imported.missing == [
        f"blocks.{block}.attn.{part}_norm.norm.{end}" for block in (0, 1) for part in "kq" for end in ("bias", "weight")
    ]
    assert imported.model.config.qk_mode == "layernorm"


def test_a_swin_with_norms_keeps_them(tmp_path: Path) -> None:
    _, tensors = published_file(tmp_path / "swin.pth")
    for block in CONFIG.blocks:
        for name in (f"{block.name}.attn.norm_{part}" for part in "qk"):
            tensors |= {f"{name}.weight": torch.ones(block.head_dim), f"{name}.bias": torch.zeros(block.head_dim)}
    torch.save(tensors, tmp_path / "normalised.pth")
    imported = import_checkpoint(tmp_path / "normalised.pth", SIZE)
    assert imported.complete
    assert imported.model.config == replace(CONFIG, qk_mode="layernorm")
