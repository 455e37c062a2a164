"""A teacher for other classes and another image size: what is kept, resized as timm resizes it, and new."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from models import images_of, randomise
from safetensors.torch import save_file
from shapes import SWIN, TINY, TOKENS
from torch import Tensor
from training import QUICK, quadrants

from bivit.model.importing.importer import IMAGENET, ImportOptions, import_checkpoint
from bivit.model.train.finetune import adapt, changed_shape, resize_bias_table, resize_position
from bivit.model.train.train import train_teacher
from bivit.model.vit.vit import RealViT
from bivit.sim.errors import BivitError
from bivit.sim.network.config import ModelConfig, SwinConfig
from bivit.sim.network.presets import preset

#: What timm's resizing of tables says under this torch.
pytestmark = pytest.mark.filterwarnings("ignore:Using a non-tuple sequence", "ignore:torch.searchsorted")

#: Largest difference of logits between two float32 implementations of one network.
FLOAT32 = 2e-5

VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 2, "num_heads": 2, "num_classes": 7}
WINDOWS = {"img_size": 32, "patch_size": 2, "embed_dim": 32, "depths": (2, 2), "num_heads": (2, 4), "num_classes": 7}
#: timm's name, what is changed, another image size, and what its `set_input_size` must be told.
RESIZED: dict[str, tuple[str, dict[str, Any], int, dict[str, int]]] = {
    "deit, larger": ("deit_tiny_patch16_224", VIT, 56, {}),
    "deit, distilled, smaller": ("deit_tiny_distilled_patch16_224", VIT, 24, {}),
    "vit, mean of tokens": ("vit_tiny_patch16_224", VIT | {"class_token": False, "global_pool": "avg"}, 48, {}),
    "swin that keeps its windows": (
        "swin_tiny_patch4_window7_224",
        WINDOWS | {"window_size": 4},
        48,
        {"window_size": 4},
    ),
    "swin whose last grid is smaller than its window": (
        "swin_tiny_patch4_window7_224",
        WINDOWS | {"window_size": 8},
        16,
        {"window_size": 8},
    ),
    "swin of larger windows": ("swin_tiny_patch4_window7_224", WINDOWS | {"window_size": 4}, 40, {}),
    "swin of smaller windows": ("swin_tiny_patch4_window7_224", WINDOWS | {"window_size": 8}, 24, {}),
}


def random_teacher(config: ModelConfig, seed: int = 0) -> RealViT:
    torch.manual_seed(seed)
    model = RealViT(config)
    randomise(model)
    return model.eval()


@pytest.mark.parametrize("prefix", [0, 1, 2])
@pytest.mark.parametrize(("old", "new"), [(14, 10), (14, 24), (4, 7), (7, 1), (5, 5)])
def test_position_embeddings_are_resized_as_by_timm(prefix: int, old: int, new: int, timm: Any) -> None:
    position = torch.randn(1, prefix + old * old, 16, generator=torch.Generator().manual_seed(old + new))
    expected = timm.layers.pos_embed.resample_abs_pos_embed(position, [new, new], num_prefix_tokens=prefix)
    found = resize_position(position, prefix, new)
    assert torch.equal(found, expected)
    assert torch.equal(found[:, :prefix], position[:, :prefix])


@pytest.mark.parametrize(
    ("old", "new"), [(7, 8), (7, 12), (7, 14), (7, 5), (7, 3), (4, 6), (8, 3), (2, 7), (1, 3), (3, 1)]
)
def test_position_biases_are_resized_as_by_timm(old: int, new: int, timm: Any) -> None:
    table = torch.randn((2 * old - 1) ** 2, 3, generator=torch.Generator().manual_seed(old + new))
    rows = (2 * new - 1) ** 2
    expected = timm.layers.pos_embed_rel.resize_rel_pos_bias_table(table, (new, new), (rows, 3))
    torch.testing.assert_close(resize_bias_table(table, new), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", RESIZED)
def test_a_resized_model_has_the_logits_of_timms(name: str, timm: Any, tmp_path: Any) -> None:
    kind, sizes, image_size, windows = RESIZED[name]
    model = timm.create_model(kind, **sizes)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    imported = import_checkpoint(tmp_path / "model.safetensors", ImportOptions(image_size=32)).model
    model.eval().set_input_size(img_size=image_size, **windows)
    adapted = adapt(imported, changed_shape(imported.config, {"img_size": image_size}))
    assert adapted.changes[0] == f"images of {image_size} pixels (before: 32)"
    images = images_of(adapted.model.config, 3)
    mean, std = (torch.tensor(values) for values in (IMAGENET.mean, IMAGENET.std))
    with torch.no_grad():
        expected, found = model(((images / 255 - mean) / std).permute(0, 3, 1, 2)), adapted.model(images)
    assert float((expected - found).abs().max() / expected.abs().max()) < FLOAT32


@pytest.mark.parametrize("config", [TINY, TOKENS, SWIN])
def test_other_classes_need_a_new_head_and_nothing_else(config: ModelConfig, timm: Any) -> None:
    teacher = random_teacher(config)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    adapted = adapt(teacher, replace(config, num_classes=500))
    assert adapted.changes == (f"a new classifier for 500 classes (before: {config.num_classes})",)
    heads = {name for name in before if name.startswith(("head.", "head_dist."))}
    assert len(heads) == 2 * config.head_rows
    for name, tensor in adapted.model.state_dict().items():
        if name not in heads:
            assert torch.equal(tensor, before[name]), name
        elif name.endswith("bias"):
            assert not tensor.any()
        else:
            drawn = timm.layers.trunc_normal_(torch.empty_like(tensor), std=0.02)
            assert float(tensor.std() / drawn.std()) == pytest.approx(1, abs=0.1)
            assert len(tensor) == 500
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert adapted.model.pixels == teacher.pixels


def head(teacher: RealViT, **options: Any) -> Tensor:
    return adapt(teacher, teacher.config, **options).model.head.weight


def test_a_head_for_as_many_classes_is_kept_unless_it_is_to_begin_anew() -> None:
    teacher = random_teacher(TINY)
    kept = adapt(teacher, replace(TINY, norm_mode="mean"))
    assert (kept.model, kept.changes) == (teacher, ())
    assert not torch.equal(head(teacher, new_head=True), teacher.head.weight)
    assert torch.equal(head(teacher, new_head=True, seed=1), head(teacher, new_head=True, seed=1))
    assert not torch.equal(head(teacher, new_head=True, seed=1), head(teacher, new_head=True, seed=2))


@pytest.mark.parametrize(
    ("image_size", "window"),
    [(224, 7), (448, 7), (192, 6), (256, 8), (320, 10), (384, 12), (32, 1)],
)
def test_windows_of_a_swin_follow_the_image_size(image_size: int, window: int) -> None:
    shape = changed_shape(preset("swin_tiny"), {"img_size": image_size})
    assert isinstance(shape, SwinConfig)
    assert (shape.img_size, shape.window_size) == (image_size, window)
    with torch.device("meta"):
        assert adapt(RealViT(preset("swin_tiny")), preset("swin_tiny")).changes == ()


def test_windows_that_are_asked_for_are_taken() -> None:
    shape = changed_shape(preset("swin_tiny"), {"img_size": 448, "window_size": 14})
    assert isinstance(shape, SwinConfig)
    assert shape.window_size == 14
    teacher = random_teacher(SWIN)
    wide = changed_shape(SWIN, {"img_size": 2 * SWIN.img_size, "window_size": 2 * SWIN.window_size})
    assert adapt(teacher, wide).changes[1].startswith("relative position biases resized to windows of ")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "deit_tiny",
            {"img_size": 200},
            "images of 200 pixels do not fit: take a multiple of 16",
        ),
        (
            "deit_tiny",
            {"img_size": 9},
            "images of 9 pixels do not fit: take a multiple of 16, the size of a patch in the last block, as 16 or 32",
        ),
        ("deit_tiny", {"img_size": 0}, "img_size must be a positive integer, got 0"),
        ("deit_tiny", {"img_size": "large"}, "img_size must be an integer, got 'large'"),
        ("deit_tiny", {"img_size": True}, "img_size must be an integer, got true"),
        ("deit_tiny", {"depths": [2]}, "unknown keys depths"),
        (
            "swin_tiny",
            {"img_size": 100},
            "images of 100 pixels do not fit: take a multiple of 32, .* as 96 or 128",
        ),
        ("swin_tiny", {"img_size": 256, "window_size": 7}, "stage 0 has 64 patches a side, which windows of 7 do not"),
    ],
)
def test_sizes_that_cannot_be(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BivitError, match=message):
        changed_shape(preset(name), changes)


def test_a_teacher_that_has_learnt_learns_other_images_faster() -> None:
    """Images twice as large, and the classes in another order."""
    teacher = train_teacher(TINY, quadrants(TINY, 192), quadrants(TINY, 90, 1), replace(QUICK, epochs=6)).model
    assert isinstance(teacher, RealViT)
    larger = replace(TINY, img_size=8)
    train, test = quadrants(larger, 64, 2), quadrants(larger, 90, 3)
    train, test = (replace(data, labels=(data.labels + 1) % 3) for data in (train, test))
    adapted = adapt(teacher, larger, new_head=True).model
    recipe = replace(QUICK, epochs=3)
    tuned = train_teacher(larger, train, test, recipe, first=adapted)
    scratch = train_teacher(larger, train, test, recipe)
    assert tuned.model is adapted
    assert tuned.metrics["top1"] > 0.9 > scratch.metrics["top1"]
