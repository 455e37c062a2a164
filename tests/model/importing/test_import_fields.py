"""Fields beside the tensors: those that change results are used or refused by name, and each setting has its source."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fuzz_import import HF_CONFIG, PROCESSOR, TIMM_CONFIG, VIT, families
from models import images_of
from safetensors.torch import save_file
from torch import Tensor
from transformers import SwinConfig as SwinConfigOf
from transformers import SwinForImageClassification, ViTConfig, ViTForImageClassification
from typer.testing import CliRunner

from bivit.cli.main import app
from bivit.model.files.checkpoint import load_checkpoint
from bivit.model.importing.importer import IMAGENET, Imported, ImportOptions, import_checkpoint
from bivit.model.importing.outside_fields import HARMLESS, ONLY, USED
from bivit.sim.errors import BivitError

FAMILIES = families()
WITH_CONFIG = {"hf vit": HF_CONFIG, "timm vit": TIMM_CONFIG}


def changed(family: str, folder: Path, change: dict[str, Any], file: str = "config.json") -> Path:
    """Write a small checkpoint, and the files beside it with other fields."""
    tensors, files = FAMILIES[family]
    files = {**files, file: files.get(file, {}) | change}
    for name, values in files.items():
        (folder / name).write_text(json.dumps(values), encoding="utf-8")
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, folder / "model.safetensors")
    return folder / "model.safetensors"


def settings(imported: Imported) -> dict[str, tuple[Any, str]]:
    return {row["setting"]: (row["value"], row["source"]) for row in imported.settings}


def difference(imported: Imported, logits: Callable[[Tensor], Tensor]) -> float:
    """Largest difference to logits of [B, C, H, W] with values 0 .. 255, as a share of the largest."""
    images = images_of(imported.model.config, 3)
    with torch.no_grad():
        expected, found = logits(images.permute(0, 3, 1, 2).float()), imported.model(images)
    return float((expected - found).abs().max() / expected.abs().max())


def randomised(model: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * (0.3 if "bias" in name else 0.05))
    return model.eval()


# --- used ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("processor", "entered"),
    [
        (PROCESSOR, lambda p: (p / 255 - 0.5) / 0.5),
        (PROCESSOR | {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}, None),
        (PROCESSOR | {"do_normalize": False}, lambda p: p / 255),
        (PROCESSOR | {"rescale_factor": 1 / 127.5}, lambda p: (p / 127.5 - 0.5) / 0.5),
        (PROCESSOR | {"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [51.0] * 3},
         lambda p: (p - 127.5) / 51),
        ({"image_processor": PROCESSOR}, lambda p: (p / 255 - 0.5) / 0.5),
    ],
)  # fmt: skip
def test_pixels_as_the_processor_normalises_them(
    processor: dict[str, Any], entered: Callable[[Tensor], Tensor] | None, tmp_path: Path
) -> None:
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    model = randomised(ViTForImageClassification(ViTConfig(**sizes, image_size=16, patch_size=8, num_labels=3)))
    model.save_pretrained(tmp_path)
    name = "processor_config.json" if "image_processor" in processor else "preprocessor_config.json"
    (tmp_path / name).write_text(json.dumps(processor), encoding="utf-8")
    imported = import_checkpoint(tmp_path / "model.safetensors")
    if entered is None:
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]))
        entered = lambda p: (p / 255 - mean) / std  # noqa: E731
    assert difference(imported, lambda pixels: model(pixel_values=entered(pixels)).logits) < 2e-5
    assert settings(imported)["std"][1].startswith(name)
    assert imported.unread == []


@pytest.mark.parametrize("family", ["vit", "swin"])
def test_no_bias_of_q_k_and_v_where_the_config_says_so(family: str, tmp_path: Path) -> None:
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    stages = {"embed_dim": 32, "depths": [2, 1], "num_heads": [1, 2], "window_size": 4}
    model = (
        ViTForImageClassification(ViTConfig(**sizes, image_size=16, patch_size=8, qkv_bias=False))
        if family == "vit"
        else SwinForImageClassification(SwinConfigOf(**stages, image_size=16, patch_size=2, qkv_bias=False))
    )
    randomised(model).save_pretrained(tmp_path)
    imported = import_checkpoint(tmp_path / "model.safetensors")
    assert len(imported.zero) == len(imported.model.config.blocks)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET.mean, IMAGENET.std))
    assert difference(imported, lambda pixels: model(pixel_values=(pixels / 255 - mean) / std).logits) < 2e-5
    (tmp_path / "config.json").unlink()
    small = ImportOptions(image_size=16, num_heads=2)
    assert any(name.endswith("qkv.bias") for name in import_checkpoint(tmp_path / "model.safetensors", small).missing)


@pytest.mark.parametrize(
    ("family", "change", "name", "expected"),
    [
        ("hf vit", {"layer_norm_eps": 1e-6}, "eps", (1e-6, "config.json layer_norm_eps")),
        ("hf vit", {"hidden_act": "gelu_python"}, "activation", ("gelu", "config.json hidden_act")),
        ("hf vit", {}, "mean", ((0.5,) * 3, "preprocessor_config.json image_mean")),
        ("hf vit", {}, "interpolation", (3, "preprocessor_config.json resample; images are read as docs/data.md says")),
        ("timm vit", {"model_args": {"num_heads": 2}}, "num_heads", (2, "config.json model_args num_heads")),
        ("timm vit", {}, "mean", ((0.5,) * 3, "config.json pretrained_cfg mean")),
        ("timm vit", {"pretrained_cfg": {"input_size": [3, 32, 32]}}, "image_size", (16, "the tensors")),
        ("timm vit", {"pretrained_cfg": {}}, "mean", (IMAGENET.mean, "default: ImageNet's")),
        ("timm vit", {"norm_layer": "layernorm"}, "eps", (1e-6, "config.json norm_layer")),
        ("timm swin", {"pretrained_cfg": {"input_size": [3, 16, 16]}}, "image_size", (16, "the tensors")),
        ("timm vit", {}, "pooling", ("token", "config.json global_pool")),
        ("official", {}, "num_heads", (1, "the tensors")),
    ],
)
def test_what_is_used_and_where_it_is_from(
    family: str, change: dict[str, Any], name: str, expected: tuple[Any, str], tmp_path: Path
) -> None:
    imported = import_checkpoint(changed(family, tmp_path, change))
    assert settings(imported)[name] == expected


def test_options_come_before_files(tmp_path: Path) -> None:
    path = changed("hf vit", tmp_path, {"num_attention_heads": 2})
    options = ImportOptions(num_heads=4, eps=1e-3, mean=(0.1,) * 3, std=(0.2,) * 3)
    imported = import_checkpoint(path, options)
    assert (imported.model.config.to_dict()["num_heads"], imported.model.config.eps) == (4, 1e-3)
    assert (imported.model.pixels.mean, imported.model.pixels.std) == ((0.1,) * 3, (0.2,) * 3)
    assert settings(imported)["num_heads"] == (4, "--heads")


def test_the_options_of_a_training_program_tell_pixels_and_sizes(tmp_path: Path) -> None:
    tensors, _ = FAMILIES["timm vit"]
    args = argparse.Namespace(mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6], lr=0.1, input_size=16, num_heads="many")
    torch.save({"model": tensors, "args": args}, tmp_path / "file.pth")
    imported = import_checkpoint(tmp_path / "file.pth")
    assert settings(imported)["mean"] == ((0.1, 0.2, 0.3), "the file's args mean")
    args.act_layer = "relu"
    torch.save({"model": tensors, "hyper_parameters": vars(args)}, tmp_path / "file.pth")
    with pytest.raises(BivitError, match="the file's hyper_parameters act_layer says 'relu'"):
        import_checkpoint(tmp_path / "file.pth")


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["relu", "gelu_new", "gelu_fast", "quick_gelu", "gelu_pytorch_tanh", "silu", "gelu_10"])
@pytest.mark.parametrize("family", WITH_CONFIG)
def test_other_activations_are_refused(act: str, family: str, tmp_path: Path) -> None:
    change = {"hidden_act": act} if family == "hf vit" else {"model_args": {"act_layer": act}}
    with pytest.raises(BivitError, match=rf"config\.json.* (hidden_act|act_layer) says '{act}', .* the exact GELU"):
        import_checkpoint(changed(family, tmp_path, change))


#: A value of each field of `ONLY` that is not computed here.
_OTHER = {
    bool: lambda value: not value,
    int: lambda value: value + 4,
    str: lambda value: "sincos",
    dict: lambda value: {"0": [1]},
}


@pytest.mark.parametrize("key", ONLY)
def test_every_field_that_no_model_here_computes_is_refused_by_name(key: str, tmp_path: Path) -> None:
    allowed = ONLY[key]
    value = _OTHER[type(allowed[0])](allowed[0]) if allowed else 1
    with pytest.raises(BivitError, match=rf"config\.json {key} says|config\.json says {key} "):
        import_checkpoint(changed("timm vit", tmp_path, {key: value}))
    for right in (*allowed, None):
        assert import_checkpoint(changed("timm vit", tmp_path, {key: right})).complete


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("hf vit", {"num_hidden_layers": 12}, "config.json num_hidden_layers says 12, and the tensors say 2"),
        ("hf vit", {"hidden_size": 192}, "hidden_size says 192, and the tensors say 64"),
        ("hf vit", {"intermediate_size": 256}, "intermediate_size says 256, and the tensors say 64"),
        ("hf vit", {"image_size": 224}, "the tensors tell image_size 16, got 224|image_size is 224 and"),
        ("hf vit", {"num_channels": 1}, "num_channels says 1, and the tensors say 3"),
        ("hf vit", {"patch_size": 16}, "patch_size says 16, and the tensors say 8"),
        ("hf vit", {"id2label": {"0": "a"}}, "num_labels is 3 and config.json id2label is 1"),
        ("hf vit", {"num_labels": 7, "id2label": None}, "num_labels says 7, and the tensors say 3"),
        ("hf vit", {"qkv_bias": False}, "qkv_bias is false, and the file holds blocks.0.attn.qkv.bias"),
        ("hf vit", {"model_type": "beit"}, "model_type says 'beit', and these tensors are imported as vit or deit"),
        ("hf vit", {"layer_norm_eps": 0}, "eps must be above 0, and at most 1, got 0"),
        ("hf vit", {"layer_norm_eps": "1e-6"}, "layer_norm_eps must be a finite number, got '1e-6'"),
        ("hf vit", {"num_attention_heads": 3}, "embed_dim 64 is not a multiple of num_heads 3"),
        ("hf vit", {"num_attention_heads": True}, "num_attention_heads must be an integer, got true"),
        ("hf vit", {"hidden_act": {"name": "gelu"}}, "hidden_act must be a text"),
        ("hf vit", {"image_size": [16, 32]}, r"image_size must be that of a square, got \[16, 32\]"),
        ("timm vit", {"global_pool": "avg"}, "global_pool says 'avg', and a ViT with class token is"),
        ("timm vit", {"model_args": {"fc_norm": True}}, "fc_norm says true"),
        ("timm vit", {"model_args": {"mlp_ratio": 4.0}}, r"mlp_ratio says 4\.0, and the tensors have 64 hidden"),
        ("timm vit", {"model_args": {"depth": 3}}, "model_args depth says 3, and the tensors say 2"),
        ("timm vit", {"model_args": []}, r"model_args must be a table"),
        ("timm vit", {"architecture": "vit_base_patch32_siglip_gap_256"}, "architecture says 'vit_base_patch32_siglip"),
        ("timm vit", {"architecture": "vit_base_patch16_clip_quickgelu_224"}, "is no plain ViT"),
        ("timm vit", {"architecture": "resnet50"}, "architecture says 'resnet50', which is no plain ViT"),
        ("timm vit", {"norm_layer": "rmsnorm"}, "norm_layer 'rmsnorm', and the models here compute 'layernorm' only"),
        ("timm vit", {"pretrained_cfg": {"mean": [123.675, 116.28, 103.53]}}, "mean must be 0 to 1 .* divide"),
        ("timm vit", {"pretrained_cfg": {"mean": [0.5]}}, "must have 3 numbers, a channel each"),
        ("timm vit", {"pretrained_cfg": {"std": [0.5, 0.5, 0]}}, "std must be above 0 to 1"),
        ("timm swin", {"global_pool": "max"}, "global_pool says 'max', and a Swin is computed with 'avg' only"),
        ("timm swin", {"window_size": 4}, "window_size says window 4, and the tables"),
        ("timm swin", {"depths": [2, 2]}, r"depths says \[2, 2\], and the tensors say \[2, 1\]"),
        ("timm swin", {"use_absolute_embeddings": True}, "use_absolute_embeddings true, and the models here compute"),
        ("timm swin", {"model_type": "swinv2"}, "model_type says 'swinv2'"),
        ("timm swin", {"model_type": "swin", "layer_norm_eps": 1e-12}, "uses in its blocks, and 1e-05 in its"),
    ],
)  # fmt: skip
def test_fields_that_differ_from_the_tensors_or_are_not_computed(
    family: str, change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(BivitError, match=message):
        import_checkpoint(changed(family, tmp_path, change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_mean": None}, "do_normalize is true, but no file says mean; give it by --mean"),
        ({"do_flip_channel_order": True}, "do_flip_channel_order true, and the models here compute false only"),
        ({"rescale_factor": 0}, "rescale_factor must be above 0"),
        ({"size": {"height": 224, "width": 224}}, "image_size is 16 and preprocessor_config.json size is 224"),
        ({"do_center_crop": True, "crop_size": 224}, "image_size is 16 and preprocessor_config.json crop_size is 224"),
    ],
)
def test_processors_that_do_not_fit(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(BivitError, match=message):
        import_checkpoint(changed("hf vit", tmp_path, change, "preprocessor_config.json"))


def test_what_no_rule_knows_is_named(tmp_path: Path) -> None:
    path = changed("hf vit", tmp_path, {"gated_mlp": True, "hidden_dropout_prob": 0.1, "nothing": None})
    (tmp_path / "args.yaml").write_text("lr: 1\n")
    assert import_checkpoint(path).unread == ["config.json gated_mlp", "args.yaml (file)"]
    assert not [key for key in (*USED, *ONLY) if HARMLESS.fullmatch(key)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("{", "is not JSON"),
        ("[]", "must be a table of names and values"),
        ('{"hidden_act": "gelu", "hidden_act": "relu"}', "'hidden_act' stands twice"),
        ('{"layer_norm_eps": NaN}', "NaN is not a number"),
        ('{"layer_norm_eps": ' + "1" * 6000 + "}", "is not JSON"),
        ('{"num_attention_heads": 1' + "0" * 30 + "}", "num_attention_heads must be an integer, got 1000"),
    ],
)
def test_a_config_that_is_not_trusted(text: str, message: str, tmp_path: Path) -> None:
    path = changed("hf vit", tmp_path, {})
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(BivitError, match=message):
        import_checkpoint(path)
    (tmp_path / "config.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(HF_CONFIG).encode())
    assert import_checkpoint(path).complete


def test_tensors_in_another_librarys_order_are_refused(tmp_path: Path) -> None:
    tensors, _ = FAMILIES["timm vit"]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "tf"})
    with pytest.raises(BivitError, match="holds tensors in the order of 'tf'"):
        import_checkpoint(tmp_path / "model.safetensors")


def test_a_mean_of_normalised_patches_is_refused(tmp_path: Path) -> None:
    """What timm's ``fc_norm=False`` gives: `norm` before the mean; with `fc_norm` after it the model is computed."""
    tensors = {name: tensor for name, tensor in FAMILIES["timm vit"][0].items() if name != "cls_token"}
    tensors["pos_embed"] = tensors["pos_embed"][:, 1:].contiguous()
    save_file(tensors, tmp_path / "norm.safetensors")
    with pytest.raises(BivitError, match="holds norm, not fc_norm, and no cls_token"):
        import_checkpoint(tmp_path / "norm.safetensors")
    save_file({name.replace("norm.", "fc_norm.") if name.startswith("norm.") else name: tensor
               for name, tensor in tensors.items()}, tmp_path / "fc_norm.safetensors")  # fmt: skip
    imported = import_checkpoint(tmp_path / "fc_norm.safetensors")
    assert settings(imported)["pooling"] == ("mean", "the tensors")


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--eps", "0"], "--eps must be above 0, and at most 1, got 0.0"),
        (["--eps", "-1"], "--eps must be above 0"),
        (["--eps", "nan"], "--eps must be a finite number, got NaN"),
        (["--eps", "inf"], "--eps must be a finite number, got Infinity"),
        (["--mean", "inf,0,0"], "--mean must be 0 to 1"),
        (["--mean", "nan,0,0"], "--mean must be 0 to 1"),
        (["--mean", "123.7,116.3,103.5"], "divide numbers of pixels from 0 to 255 by 255"),
        (["--mean", "0.5"], "--mean must have 3 numbers"),
        (["--mean", ""], "--mean must not be empty; give a value, or leave it out"),
        (["--std", "0.2,0.2,0"], "--std must be above 0 to 1"),
        (["--std", "0.2,0.2"], "--std must have 3 numbers"),
        (["--heads", "0"], "--heads must be an integer of 1 to"),
        (["--heads", "3"], "embed_dim 64 is not a multiple of num_heads 3"),
        (["--image-size", "-32"], "--image-size must be an integer of 1 to"),
        (["--image-size", "99999999999999999999"], "--image-size must be a number of at most"),
        (["--image-size", "32"], "the tensors tell image_size 16, got 32 from --image-size"),
        (["--weights", "ema"], "holds no model at 'ema'"),
        (["--as", "pupil"], "--as must be one of teacher, student"),
    ],
)
def test_every_option_has_a_type_and_a_range(arguments: list[str], message: str, tmp_path: Path) -> None:
    path = changed("timm vit", tmp_path, {})
    out = tmp_path / "out" / "teacher.safetensors"
    result = CliRunner().invoke(app, ["import", str(path), "--out", str(out), *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
    assert not out.parent.exists()


def test_the_report_says_each_setting_and_its_source(tmp_path: Path) -> None:
    path, out = changed("hf vit", tmp_path, {"gated": 1}), tmp_path / "teacher.safetensors"
    result = CliRunner().invoke(app, ["import", str(path), "--out", str(out)])
    assert result.exit_code == 0, result.stderr
    assert "preprocessor_config.json image_mean" in result.stdout
    assert "config.json gated" in result.stderr
    report = json.loads(CliRunner().invoke(app, ["import", str(path), "--json"]).stdout)
    named = {row["setting"] for row in report["settings"]}
    assert named >= {"activation", "pooling", "image_size", "num_heads", "eps", "mean", "std", "interpolation"}
    assert report["unread"] == ["config.json gated"]
    loaded = load_checkpoint(out)
    assert [row["setting"] for row in loaded.provenance["settings"]] == [row["setting"] for row in report["settings"]]
    assert loaded.model.config == import_checkpoint(path).model.config
    assert loaded.model.config.to_dict()["embed_dim"] == VIT.embed_dim
