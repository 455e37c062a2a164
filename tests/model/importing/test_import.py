"""Checkpoints of other libraries: equal logits, every tensor accounted for, and files that are refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from models import images_of
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    DeiTConfig,
    DeiTForImageClassification,
    DeiTForImageClassificationWithTeacher,
    PretrainedConfig,
    PreTrainedModel,
    SwinConfig,
    SwinForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)
from typer.testing import CliRunner

from bivit.cli.main import app
from bivit.model.files.checkpoint import load_checkpoint
from bivit.model.importing.importer import IMAGENET, ImportOptions, import_checkpoint
from bivit.model.importing.names import IGNORED, convert_names, format_of
from bivit.model.vit.official import OfficialBiViT
from bivit.model.vit.vit import BiViT, RealViT
from bivit.sim.errors import BivitError
from bivit.sim.network import config as own

#: Largest difference of logits between two float32 implementations of one network.
FLOAT32 = 2e-5

SIZES = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "image_size": 32,
    "patch_size": 8,
    "num_labels": 7,
}
HUGGING_FACE: dict[str, tuple[type[PreTrainedModel], PretrainedConfig]] = {
    "deit": (DeiTForImageClassificationWithTeacher, DeiTConfig(**SIZES)),
    "vit": (ViTForImageClassification, ViTConfig(**SIZES)),
    "swin": (
        SwinForImageClassification,
        SwinConfig(image_size=32, patch_size=2, embed_dim=32, depths=[2, 2], num_heads=[2, 4], window_size=4),
    ),
    "swin whose last stage is one window": (
        SwinForImageClassification,
        SwinConfig(image_size=32, patch_size=2, embed_dim=32, depths=[2, 2], num_heads=[2, 4], window_size=8),
    ),
}


def randomised(model: torch.nn.Module) -> torch.nn.Module:
    """Every parameter random, so that none that is left out could be missed."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * (0.3 if "bias" in name else 0.05))
    return model.eval()


@pytest.mark.parametrize("name", HUGGING_FACE)
def test_logits_of_hugging_face_models(name: str, tmp_path: Path) -> None:
    kind, config = HUGGING_FACE[name]
    model = randomised(kind(config))
    model.save_pretrained(tmp_path)
    imported = import_checkpoint(tmp_path / "model.safetensors")
    assert (imported.format, imported.missing, imported.unexpected) == ("huggingface", [], [])
    assert imported.model.config.eps == config.layer_norm_eps
    images = images_of(imported.model.config, 3)
    mean, std = (torch.tensor(values) for values in (IMAGENET.mean, IMAGENET.std))
    pixels = ((images / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected, found = model(pixel_values=pixels).logits, imported.model(images)
    assert (expected - found).abs().max() < FLOAT32 * expected.abs().max()


def test_the_comparison_sees_one_changed_tensor(tmp_path: Path) -> None:
    model = randomised(ViTForImageClassification(HUGGING_FACE["vit"][1]))
    model.save_pretrained(tmp_path)
    imported = import_checkpoint(tmp_path / "model.safetensors")
    images = images_of(imported.model.config, 3)
    with torch.no_grad():
        before = imported.model(images)
        imported.model.blocks[1].attn.qkv.bias[5] += 0.5
        after = imported.model(images)
    assert (before - after).abs().max() > 10 * FLOAT32 * before.abs().max()


def test_a_head_that_the_file_lacks_is_missing(tmp_path: Path) -> None:
    randomised(DeiTForImageClassification(HUGGING_FACE["deit"][1])).save_pretrained(tmp_path)
    imported = import_checkpoint(tmp_path / "model.safetensors")
    assert imported.missing == ["head_dist.bias", "head_dist.weight"]
    assert imported.unexpected == []


# --- names of libraries that are not installed here -----------------------------------------------------------------

_LINEARS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2", "norm1", "norm2")


def both(*names: str) -> set[str]:
    return {f"{name}.{end}" for name in names for end in ("weight", "bias")}


def deit_names(depth: int, *tokens: str) -> set[str]:
    """Of timm and of Facebook's DeiT."""
    blocks = (f"blocks.{block}.{linear}" for block in range(depth) for linear in _LINEARS)
    return both("patch_embed.proj", "norm", *blocks) | {*tokens, "pos_embed"}


def swin_names(depths: tuple[int, ...], downsample: int, head: str, buffers: bool) -> set[str]:
    """Of timm (`downsample` 1: before the blocks of the next stage) and of Microsoft (0: after those of its own)."""
    names = both("patch_embed.proj", "patch_embed.norm", "norm", head)
    for stage, depth in enumerate(depths):
        for block in range(depth):
            prefix = f"layers.{stage}.blocks.{block}"
            names |= both(*(f"{prefix}.{linear}" for linear in _LINEARS))
            names.add(f"{prefix}.attn.relative_position_bias_table")
            names |= {f"{prefix}.attn.relative_position_index"} if buffers else set()
            names |= {f"{prefix}.attn_mask"} if buffers and block % 2 else set()
    for stage in range(len(depths) - 1):
        names |= both(f"layers.{stage + downsample}.downsample.norm")
        names.add(f"layers.{stage + downsample}.downsample.reduction.weight")
    return names


def official_names(depth: int) -> set[str]:
    """Of the published Bi-ViT, DeiT backbone with distillation token."""
    names = deit_names(depth, "cls_token", "dist_token") | both("head", "head_dist")
    for block in range(depth):
        prefix = f"blocks.{block}.attn"
        names |= both(f"{prefix}.norm_q", f"{prefix}.norm_k")
        for part in ("q_act", "k_act", "v_act", "attn_act"):
            names |= {f"{prefix}.{part}.{value}" for value in ("alpha", "zero_point", "init_state", "signed")}
    return names


DEIT = own.ViTConfig(img_size=32, patch_size=8, num_classes=7, embed_dim=128, depth=2, num_heads=2)
DISTILLED = replace(DEIT, dist_token=True)
SWIN = own.SwinConfig(
    img_size=32, patch_size=2, num_classes=7, embed_dim=32, depths=(2, 2), num_heads=(2, 4), window_size=4
)


def renamed(rules: dict[str, str]) -> Callable[[str], str]:
    """Names of bivit as those of others, by text that is replaced."""

    def rename(name: str) -> str:
        for text, other in rules.items():
            name = name.replace(text, other)
        return name

    return rename


_OFFICIAL = {
    ".q_norm.norm.": ".norm_q.",
    ".k_norm.norm.": ".norm_k.",
    ".q_norm.act.": ".q_act.",
    ".k_norm.act.": ".k_act.",
    ".v_sign.": ".v_act.",
    ".attn_sign.act.": ".attn_act.",
}


class Foreign(NamedTuple):
    """A model under another library's names."""

    names: set[str]
    model: RealViT
    rename: Callable[[str], str]
    format: str
    options: ImportOptions = ImportOptions()

    def tensors(self) -> dict[str, Tensor]:
        """What a file of that library holds, the buffers that are ignored included."""
        values = {self.rename(name): value for name, value in self.model.state_dict().items()}
        return values | {name: torch.zeros(3) for name in self.names if IGNORED.search(name)}


def foreign(name: str) -> Foreign:
    torch.manual_seed(1)
    small = ImportOptions(image_size=32)
    if name == "timm deit":
        model = RealViT(DEIT, IMAGENET)
        return Foreign(deit_names(2, "cls_token") | both("head"), model, renamed({}), "timm")
    if name == "facebook deit, distilled":
        names = deit_names(2, "cls_token", "dist_token") | both("head", "head_dist")
        return Foreign(names, RealViT(DISTILLED, IMAGENET), renamed({}), "timm")
    if name == "timm swin":
        names = swin_names((2, 2), 1, "head.fc", buffers=False)
        return Foreign(names, RealViT(SWIN, IMAGENET), renamed({"head.": "head.fc."}), "timm", small)
    if name == "microsoft swin":
        names = swin_names((2, 2), 0, "head", buffers=True)
        return Foreign(names, RealViT(SWIN, IMAGENET), renamed({"layers.1.down": "layers.0.down"}), "timm", small)
    return Foreign(official_names(2), OfficialBiViT(DISTILLED), renamed(_OFFICIAL), "official")


FOREIGN = ("timm deit", "facebook deit, distilled", "timm swin", "microsoft swin", "official")


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("nested", ["", "model", "state_dict"])
def test_every_tensor_under_another_librarys_name(name: str, nested: str, tmp_path: Path) -> None:
    source = foreign(name)
    tensors = source.tensors()
    assert set(tensors) == source.names
    path = tmp_path / "file.pth"
    torch.save({nested: {f"module.{key}": value for key, value in tensors.items()}} if nested else tensors, path)
    imported = import_checkpoint(path, source.options)
    assert (imported.format, imported.missing, imported.unexpected) == (source.format, [], [])
    assert imported.model.config == source.model.config
    assert type(imported.model) is type(source.model)
    expected = source.model.state_dict()
    assert {
        key: torch.equal(value, expected[key]) for key, value in imported.model.state_dict().items()
    } == dict.fromkeys(expected, True)
    assert sorted(imported.ignored) == sorted(key for key in source.names if IGNORED.search(key))
    assert len(imported.converted) + len(imported.ignored) == len(tensors)


def test_formats_are_told_by_their_names() -> None:
    assert format_of({"a.weight", "b.bias"}) is None
    assert {name: format_of(foreign(name).names) for name in FOREIGN} == {
        name: "official" if name == "official" else "timm" for name in FOREIGN
    }


def test_q_k_and_v_are_joined_in_this_order() -> None:
    prefix = "vit.encoder.layer.0.attention.attention"
    tensors = {f"{prefix}.{part}.bias": torch.full((2,), i) for i, part in enumerate(("query", "key", "value"))}
    joined, converted = convert_names(tensors, "huggingface")
    assert joined["blocks.0.attn.qkv.bias"].tolist() == [0, 0, 1, 1, 2, 2]
    assert converted == [[name, "blocks.0.attn.qkv.bias"] for name in tensors]


# --- what is refused ------------------------------------------------------------------------------------------------


class Code:
    """What a pickle could run."""

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return print, ("this must never be printed",)


def test_files_that_hold_code_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model": Code()}, tmp_path / "file.pth")
    with pytest.raises(
        BivitError, match=r"Python objects, whose code is not run: builtins\.print; .* state_dict\(\) alone"
    ):
        import_checkpoint(tmp_path / "file.pth")
    assert "never" not in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("keep", [0, 100, -10])
def test_truncated_files_are_refused(suffix: str, keep: int, tmp_path: Path) -> None:
    path = tmp_path / f"file{suffix}"
    tensors = foreign("timm deit").tensors()
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BivitError, match=r"file\.(pth|safetensors) (cannot be read|is empty)"):
        import_checkpoint(path)


def without(name: str) -> Callable[[dict[str, Tensor]], None]:
    return lambda tensors: tensors.__delitem__(name)


def changed(name: str, value: Tensor) -> Callable[[dict[str, Tensor]], None]:
    return lambda tensors: tensors.update({name: value})


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (dict.clear, {}, "holds no tensors by name"),
        (
            without("patch_embed.proj.weight"),
            {},
            "no known format: expected names of huggingface, official, timm",
        ),
        (without("head.weight"), {}, "has no head.weight, which tells its shape"),
        (without("pos_embed"), {}, "has no pos_embed, which tells the image size"),
        (changed("norm.bias", torch.full((128,), torch.nan)), {}, "norm.bias"),
        (changed("norm.bias", torch.zeros(64)), {}, r"norm.bias in .* has shape \[64\].* needs \[128\]"),
        (changed("pos_embed", torch.zeros(1, 14, 128)), {}, "pos_embed has 13 patches, which is no square"),
        (dict.values, {"image_size": 64}, "the tensors tell image_size 32, got 64 from --image-size"),
        (dict.values, {"num_heads": 3}, "heads"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    change: Callable[[dict[str, Tensor]], None], options: dict[str, int], message: str, tmp_path: Path
) -> None:
    tensors = foreign("timm deit").tensors()
    change(tensors)
    save_file(tensors, tmp_path / "file.safetensors")
    with pytest.raises(BivitError, match=message):
        import_checkpoint(tmp_path / "file.safetensors", ImportOptions(**options))


def test_a_swin_of_another_image_size_is_refused_by_its_window(tmp_path: Path) -> None:
    save_file(foreign("timm swin").tensors(), tmp_path / "file.safetensors")
    with pytest.raises(BivitError, match="window"):
        import_checkpoint(tmp_path / "file.safetensors", ImportOptions(image_size=36))


# --- the command ----------------------------------------------------------------------------------------------------


def run(*arguments: str | Path) -> tuple[int, dict, str]:
    result = CliRunner().invoke(app, ["import", *map(str, arguments), "--json"])
    return result.exit_code, json.loads(result.stdout) if result.stdout else {}, result.stderr


def test_the_command_writes_a_teacher(tmp_path: Path) -> None:
    source = foreign("facebook deit, distilled")
    save_file(source.tensors(), tmp_path / "file.safetensors")
    code, report, _ = run(tmp_path / "file.safetensors", "--out", tmp_path / "teacher.safetensors")
    assert code == 0
    assert (report["missing"], report["unexpected"]) == ([], [])
    assert sorted(name for name, _ in report["converted"]) == sorted(source.names)
    loaded = load_checkpoint(tmp_path / "teacher.safetensors", kind="float").model
    assert torch.equal(loaded(images_of(DISTILLED)), source.model.eval()(images_of(DISTILLED)))


@pytest.mark.parametrize("name", ["timm swin", "official"])
def test_the_command_writes_a_student_with_the_weights(name: str, tmp_path: Path) -> None:
    source = foreign(name)
    if isinstance(source.model, OfficialBiViT):
        with torch.no_grad():
            for _, block in source.model.named_blocks():
                block.attn.attn_sign.act.zero_point.fill_(-1.0)
    save_file(source.tensors(), tmp_path / "file.safetensors")
    out = tmp_path / "deep" / "student.safetensors"
    code, _, stderr = run(tmp_path / "file.safetensors", "--as", "student", "--out", out, "--image-size", "32")
    assert code == 0, stderr
    student = load_checkpoint(out, kind="binary").model
    assert isinstance(student, BiViT)
    for name, block in student.named_blocks():
        twin = source.model.get_submodule(name)
        assert torch.equal(block.attn.qkv.weight, twin.attn.qkv.weight)
        assert torch.equal(block.mlp.fc2.weight, twin.mlp.fc2.weight)


def test_an_incomplete_file_is_reported_and_nothing_is_written(tmp_path: Path) -> None:
    tensors = foreign("timm deit").tensors()
    tensors["blocks.0.gamma_1"] = tensors.pop("blocks.0.norm1.weight")
    save_file(tensors, tmp_path / "file.safetensors")
    code, report, stderr = run(tmp_path / "file.safetensors", "--out", tmp_path / "teacher.safetensors")
    assert code == 2
    assert (report["missing"], report["unexpected"]) == (["blocks.0.norm1.weight"], ["blocks.0.gamma_1"])
    assert "blocks.0.gamma_1" in stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "file.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--as", "pupil"], "--as must be one of teacher, student"), (["--mean", "0.5,x"], "--mean takes numbers")],
)
def test_wrong_options_are_refused(arguments: list[str], message: str, tmp_path: Path) -> None:
    save_file(foreign("timm deit").tensors(), tmp_path / "file.safetensors")
    code, _, stderr = run(tmp_path / "file.safetensors", *arguments)
    assert (code, message in stderr) == (2, True)
