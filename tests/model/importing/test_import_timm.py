"""timm's own models, randomly initialised: equal logits after import, and the names and shapes of every preset."""

from pathlib import Path
from typing import Any

import pytest
import torch
from models import images_of
from safetensors.torch import save_file
from torch import nn

from bivit.model.importing.importer import IMAGENET, ImportOptions, import_checkpoint
from bivit.model.importing.names import convert_names
from bivit.model.vit.vit import RealViT
from bivit.sim.errors import BivitError
from bivit.sim.network.presets import preset

#: Largest difference of logits between two float32 implementations of one network.
FLOAT32 = 2e-5

VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 2, "num_heads": 2, "num_classes": 7}
SWIN = {"img_size": 32, "patch_size": 2, "embed_dim": 32, "depths": (2, 2), "num_heads": (2, 4), "num_classes": 7}
#: Small models: timm's name, and what is changed.
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "deit": ("deit_tiny_patch16_224", VIT),
    "deit, distilled": ("deit_tiny_distilled_patch16_224", VIT),
    "vit, mean of tokens": ("vit_tiny_patch16_224", VIT | {"class_token": False, "global_pool": "avg"}),
    "swin": ("swin_tiny_patch4_window7_224", SWIN | {"window_size": 4}),
    "swin whose last stage is one window": ("swin_tiny_patch4_window7_224", SWIN | {"window_size": 8}),
}
#: Presets, and timm's names of the published models.
PUBLISHED = {
    "deit_tiny": "deit_tiny_distilled_patch16_224",
    "deit_small": "deit_small_distilled_patch16_224",
    "deit_base": "deit_base_distilled_patch16_224",
    "deit_tiny_cls": "deit_tiny_patch16_224",
    "deit_small_cls": "deit_small_patch16_224",
    "deit_base_cls": "deit_base_patch16_224",
    "swin_tiny": "swin_tiny_patch4_window7_224",
    "swin_small": "swin_small_patch4_window7_224",
}


def randomised(model: nn.Module) -> nn.Module:
    """Every parameter random, so that none that is left out could be missed."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * (0.3 if "bias" in name else 0.05))
    return model.eval()


def difference(model: nn.Module, imported: RealViT) -> float:
    """Largest difference of logits, as a share of the largest logit."""
    images = images_of(imported.config, 3)
    mean, std = (torch.tensor(values) for values in (IMAGENET.mean, IMAGENET.std))
    with torch.no_grad():
        expected, found = model(((images / 255 - mean) / std).permute(0, 3, 1, 2)), imported(images)
    return float((expected - found).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", SMALL)
def test_logits_of_timms_models(name: str, timm: Any, tmp_path: Path) -> None:
    kind, changes = SMALL[name]
    model = randomised(timm.create_model(kind, **changes))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    imported = import_checkpoint(tmp_path / "model.safetensors", ImportOptions(image_size=32))
    assert (imported.format, imported.missing, imported.unexpected) == ("timm", [], [])
    assert len(imported.converted) == len(model.state_dict())
    assert difference(model, imported.model) < FLOAT32
    with torch.no_grad():
        next(block for _, block in imported.model.named_blocks()).attn.qkv.bias[-5] += 0.5
    assert difference(model, imported.model) > 10 * FLOAT32


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_and_shapes_of_the_published_models(name: str, timm: Any) -> None:
    with torch.device("meta"):
        model, own = timm.create_model(PUBLISHED[name]), RealViT(preset(name))
    tensors = dict(model.state_dict())
    renamed, _ = convert_names(tensors, "timm")
    assert {key: tensor.shape for key, tensor in renamed.items()} == {
        key: tensor.shape for key, tensor in own.state_dict().items()
    }


@pytest.mark.parametrize("name", ["swin", "swin of 64 pixels", "vit without bias", "vit, mean of tokens"])
def test_the_config_that_timm_writes(name: str, timm: Any, tmp_path: Path) -> None:
    """Its own config.json: image size, pixels of another architecture, and no bias of q, k and v."""
    kind, changes = {
        "swin": ("swin_tiny_patch4_window7_224", SWIN | {"window_size": 4}),
        "swin of 64 pixels": ("swin_tiny_patch4_window7_224", SWIN | {"window_size": 4, "img_size": 64}),
        "vit without bias": ("vit_tiny_patch16_224", VIT | {"qkv_bias": False}),
        "vit, mean of tokens": SMALL["vit, mean of tokens"],
    }[name]
    model = randomised(timm.create_model(kind, **changes))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    timm.models.save_for_hf(model, tmp_path / "hub", model_args=changes, safe_serialization=True)
    imported = import_checkpoint(tmp_path / "hub" / "model.safetensors")
    assert imported.complete
    assert imported.unread == []
    assert imported.model.config.img_size == changes["img_size"]
    mean, std = (torch.tensor(model.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    images = images_of(imported.model.config, 3)
    with torch.no_grad():
        expected = model((images.permute(0, 3, 1, 2) / 255 - mean) / std)
        found = imported.model(images)
    assert (expected - found).abs().max() < FLOAT32 * expected.abs().max()


def test_a_norm_before_the_mean_is_refused(timm: Any, tmp_path: Path) -> None:
    changes = {"class_token": False, "global_pool": "avg", "fc_norm": False}
    model = timm.create_model("vit_tiny_patch16_224", **VIT, **changes)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(BivitError, match="holds norm, not fc_norm, and no cls_token"):
        import_checkpoint(tmp_path / "model.safetensors")


def test_a_mean_beside_a_class_token_is_refused(timm: Any, tmp_path: Path) -> None:
    """Its norm is named fc_norm, as that of a model without tokens; the class token would be taken for its features."""
    model = timm.create_model("vit_tiny_patch16_224", **VIT, global_pool="avg")
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(BivitError, match="fc_norm beside cls_token"):
        import_checkpoint(tmp_path / "model.safetensors")
