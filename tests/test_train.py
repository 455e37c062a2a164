"""Training: recipes, schedule, decay, augmentation, start from the teacher, and that it learns (model/train.py)."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from models import random_images, random_model
from shapes import MODES, TINY, TOKENS
from torch import Tensor

from bivit.model import train as training
from bivit.model.augment import Augmentation, augment
from bivit.model.data import Dataset, load_dataset
from bivit.model.evaluate import evaluate, first_largest, predict
from bivit.model.export import export_network
from bivit.model.train import RECIPES, Recipe, start_from_teacher, train_student, train_teacher
from bivit.model.vit import BiViT, RealViT
from bivit.sim.config import PRESETS, ViTConfig
from bivit.sim.errors import BivitError

QUICK = Recipe(epochs=12, batch_size=32, lr=5e-3)


def quadrants(config: ViTConfig, count: int, seed: int = 0) -> Dataset:
    """Noise with one bright quadrant, whose number (0 to 2) is the label."""
    images = random_images(config, count, seed) // 4
    labels = np.arange(count) % 3
    half = config.img_size // 2
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[row * half : (row + 1) * half, column * half : (column + 1) * half] += 150
    return Dataset("quadrants", images, labels, ("0", "1", "2"))


@pytest.fixture(scope="module")
def teacher() -> RealViT:
    trained = train_teacher(TINY, quadrants(TINY, 256), quadrants(TINY, 90, 1), QUICK, progress=False)
    assert trained.metrics["top1"] == 1.0
    assert isinstance(trained.model, RealViT)
    return trained.model


@pytest.mark.parametrize("mode", ["softmax", "mean_norm", "threshold_qk", "score"])
def test_a_student_learns_and_folds_without_loss(teacher: RealViT, mode: str) -> None:
    model = RealViT(MODES[mode])
    model.load_state_dict(teacher.state_dict())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    test = quadrants(TINY, 90, 1)
    trained = train_student(model, quadrants(TINY, 256), test, QUICK, progress=False)
    assert isinstance(trained.model, BiViT)
    assert trained.losses[-1] < trained.losses[0] / 2
    assert trained.metrics["top1"] > 0.9
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    network = export_network(trained.model, test.images, test.labels)
    assert network.agreement["same_predictions"] == 1.0
    assert network.agreement["top1_integer"] == trained.metrics["top1"]


def test_the_same_seed_gives_the_same_model(teacher: RealViT) -> None:
    def weights(seed: int) -> dict[str, Tensor]:
        data = quadrants(TINY, 64)
        recipe = replace(QUICK, epochs=1, augmentation=Augmentation(shift=1.0))
        return train_student(teacher, data, data, recipe, seed, progress=False).model.state_dict()

    first, again, other = weights(0), weights(0), weights(1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_metrics_are_plain_numbers(teacher: RealViT) -> None:
    data = quadrants(TINY, 32)
    trained = train_teacher(TINY, data, data, replace(QUICK, epochs=2), progress=False)
    assert {name: type(value) for name, value in trained.metrics.items()} == {
        "top1": float,
        "seconds": float,
        "epochs": int,
    }
    assert len(trained.losses) == 2


def test_images_of_another_size_are_refused() -> None:
    data = quadrants(replace(TINY, img_size=8), 8)
    with pytest.raises(BivitError, match=r"images must have shape \[B, 4, 4, 1\], got \[8, 8, 8, 1\]"):
        train_teacher(TINY, data, data, QUICK, progress=False)


def test_the_student_starts_from_the_teachers_weights() -> None:
    torch.manual_seed(0)
    real, student = RealViT(TOKENS), BiViT(TOKENS)
    with torch.no_grad():
        for parameter in real.parameters():
            parameter.normal_()
    extras = {
        name: t.clone() for name, t in student.state_dict().items() if ".q_norm." in name or ".attn_sign." in name
    }
    start_from_teacher(student, real)
    source, result = real.state_dict(), student.state_dict()
    assert all(torch.equal(result[name], source[name]) for name in set(source) & set(result))
    assert torch.equal(result["blocks.1.attn.v_sign.bias"], source["blocks.1.attn.qkv.bias"][-TOKENS.embed_dim :])
    assert torch.equal(result["blocks.0.mlp.act.bias"], source["blocks.0.mlp.fc1.bias"])
    assert all(torch.equal(result[name], tensor) for name, tensor in extras.items())


def test_only_real_valued_matrices_decay() -> None:
    recipe = Recipe(epochs=1, weight_decay=0.1)
    for model, expected in (
        (random_model(TOKENS), {"patch_embed.proj.weight", "head.weight", "head_dist.weight"}),
        (RealViT(TINY), {n for n, p in RealViT(TINY).named_parameters() if n.endswith("weight") and "norm" not in n}),
    ):
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        decayed, plain = training.parameter_groups(model, recipe)
        assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
        assert {names[id(parameter)] for parameter in decayed["params"]} == expected
        assert len(decayed["params"]) + len(plain["params"]) == len(names)


def test_learning_rate_rises_and_falls() -> None:
    rates = [training.learning_rate(step, 100, 0.1) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[99] < 0.001
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
    assert training.learning_rate(0, 1, 0.0) == 1.0


def test_augmentation_of_whole_pixels_moves_them() -> None:
    images = torch.from_numpy(random_images(replace(TINY, img_size=6, in_chans=2), 40))
    generator = torch.Generator().manual_seed(0)
    assert augment(images, Augmentation(), generator) is images
    moved = augment(images, Augmentation(shift=1.0, rotation=20, zoom=0.2, shear=0.2), generator)
    assert (moved.dtype, moved.shape) == (images.dtype, images.shape)
    assert not torch.equal(moved, images)


def whole_pixel_draws(monkeypatch: pytest.MonkeyPatch, draws: list[float]) -> None:
    """Let the five draws (rotation, zoom, shear, right, down) of one image be these, -1 .. 1."""
    monkeypatch.setattr(torch, "rand", lambda *size, generator: (torch.tensor(draws)[:, None] + 1) / 2)


@pytest.mark.parametrize(
    ("limits", "draws", "expected"),
    [
        (Augmentation(shift=1.0), [0, 0, 0, 1, 0], lambda x: np.pad(x[:, 1:], ((0, 0), (0, 1)))),
        (Augmentation(shift=2.0), [0, 0, 0, 0, -1], lambda x: np.pad(x[:-2], ((2, 0), (0, 0)))),
        (Augmentation(rotation=90.0), [1, 0, 0, 0, 0], lambda x: np.rot90(x)),
        (Augmentation(zoom=1.0, shear=1.0, rotation=3.0), [0, 0, 0, 1, 1], lambda x: x),
    ],
    ids=["left", "down", "turn", "nothing"],
)
def test_augmentation_by_hand(
    monkeypatch: pytest.MonkeyPatch,
    limits: Augmentation,
    draws: list[float],
    expected: Callable[[Any], Any],
) -> None:
    image = np.arange(1, 17, dtype=np.uint8).reshape(4, 4)
    whole_pixel_draws(monkeypatch, draws)
    moved = augment(torch.from_numpy(image)[None, :, :, None], limits, torch.Generator())
    assert moved[0, :, :, 0].tolist() == expected(image).tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be a positive integer, got 0"),
        ({"batch_size": 2.5}, "batch_size must be a positive integer, got 2.5"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"warmup": 1.0}, "warmup is a share of the steps"),
        ({"distillation": 1.5}, "distillation is a weight of 0 to 1, got 1.5"),
    ],
)
def test_bad_recipes_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BivitError, match=message):
        replace(QUICK, **change)


def test_bad_augmentation_and_slope_are_refused(teacher: RealViT) -> None:
    with pytest.raises(BivitError, match="shear is a largest magnitude, 0 or more, got -1"):
        Augmentation(shear=-1)
    data = quadrants(TINY, 8)
    with pytest.raises(BivitError, match="no sign gradient 'flat'"):
        train_student(teacher, data, data, replace(QUICK, slope="flat"), progress=False)


def test_predictions_are_the_lowest_index_of_the_largest_logit() -> None:
    logits = torch.tensor([[0.0, 2.0, 2.0], [1.0, 1.0, 1.0], [-3.0, -2.0, -1.0]])
    assert first_largest(logits).tolist() == [1, 0, 2]
    with pytest.raises(BivitError, match="no images"):
        predict(random_model(TINY), random_images(TINY, 0))


def test_evaluate_is_the_share_of_right_predictions() -> None:
    model, images = random_model(TINY), random_images(TINY, 40)
    labels = predict(model, images, batch_size=7).numpy()
    labels[:10] = (labels[:10] + 1) % 3
    assert evaluate(model, Dataset("noise", images, labels, ("a", "b", "c"))) == 0.75


def test_recipes_fit_their_presets() -> None:
    assert set(RECIPES) <= set(PRESETS)
    assert PRESETS["digits"].num_tokens <= 17
    data = load_dataset("digits", "train").take(64)
    recipes = RECIPES["digits"]
    trained = train_teacher(PRESETS["digits"], data, data, replace(recipes.teacher, epochs=1), progress=False)
    assert isinstance(trained.model, RealViT)
    student = train_student(trained.model, data, data, replace(recipes.student, epochs=1), progress=False)
    assert np.isfinite(student.losses).all()
