"""A data set and recipes that a tiny model learns in a second, for tests of the training."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from models import random_images

from bivit.model.data.open import Dataset
from bivit.model.train.augment import Augmentation
from bivit.model.train.distill import Distillation
from bivit.model.train.recipe import Recipe, Recipes, Stage
from bivit.sim.network.config import ModelConfig

QUICK = Recipe(epochs=12, batch_size=32, lr=5e-3)
QUICK_STAGE = Stage(epochs=12, batch_size=32, lr=5e-3)
#: Every random choice of a training at once, in both stages and with both kinds of average.
EVERYTHING = Recipes(
    teacher=replace(
        QUICK,
        epochs=3,
        ema=0.9,
        label_smoothing=0.1,
        augmentation=Augmentation(flip=0.5, shift=1.0, operations=1, erase=0.5, mixup=0.5, cutmix=0.5),
    ),
    stages=(
        replace(QUICK_STAGE, epochs=2, kind="weights", distillation=Distillation(kind="hard")),
        replace(QUICK_STAGE, epochs=3, ema=0.9, distillation=Distillation(ranking=0.1, temperature=2.0)),
    ),
)


def quadrants(config: ModelConfig, count: int, seed: int = 0) -> Dataset:
    """Noise with one bright quadrant, whose number (0 to 2) is the label."""
    images = random_images(config, count, seed) // 4
    labels = np.arange(count) % 3
    half = config.img_size // 2
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[row * half : (row + 1) * half, column * half : (column + 1) * half] += 150
    return Dataset("quadrants", images, labels, ("0", "1", "2"))


def write_quadrants(path: Path, config: ModelConfig, count: int = 96) -> Path:
    """The same as an .npz file with a test split of a third of it."""
    train, test = quadrants(config, count), quadrants(config, count // 3, 1)
    np.savez(path, images=train.images, labels=train.labels, test_images=test.images, test_labels=test.labels)
    return path


def write_recipe(path: Path, recipes: Recipes, model: dict[str, object]) -> Path:
    """A TOML file of these recipes."""
    values = recipes.to_dict() | {"model": model}
    lines = [_table("model", values["model"]), _table("teacher", values["teacher"])]
    lines += [_table("[stages]", stage) for stage in values["stages"]]
    path.write_text("\n".join(lines))
    return path


def _table(name: str, values: dict[str, object]) -> str:
    def text(value: object) -> str:
        if isinstance(value, dict):
            return "{ " + ", ".join(f"{key} = {text(one)}" for key, one in value.items()) + " }"
        return json.dumps(value)

    return "\n".join([f"[{name}]", *(f"{key} = {text(value)}" for key, value in values.items())])
