"""Recipes: the TOML files of the package, what is refused and how, settings, shapes (model/train/recipe.py)."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from shapes import TINY
from training import EVERYTHING, QUICK, write_recipe

from bivit.cli.runs.training import FINETUNE
from bivit.model.train.recipe import FOLDER, load_recipe
from bivit.sim.errors import BivitError
from bivit.sim.network.presets import PRESETS

SHORT = "[teacher]\nepochs = 2\n[[stages]]\nepochs = 3\n"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_of_the_package_fit_their_presets(path: Path) -> None:
    recipes, shape = load_recipe(path.stem), PRESETS.get(path.stem, TINY)
    assert recipes.shape(shape) == shape
    assert json.loads(json.dumps(recipes.to_dict()))["stages"][-1]["kind"] == "binary"


def test_every_preset_has_a_recipe() -> None:
    """One more is for the student of a given teacher, whatever its shape."""
    names = {name.removesuffix("_cls").removesuffix("_lean") for name in PRESETS}
    assert {path.stem for path in FOLDER.glob("*.toml")} == names | {FINETUNE}
    assert load_recipe("deit_tiny_cls") == load_recipe("deit_tiny")
    assert load_recipe("digits_lean") == load_recipe("digits")


def test_a_recipe_survives_its_file(tmp_path: Path) -> None:
    path = write_recipe(tmp_path / "all.toml", EVERYTHING, {})
    assert load_recipe(str(path)) == EVERYTHING


def test_shared_keys_and_settings(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("[all]\nlr = 0.5\naugmentation = { flip = 0.5, shift = 1.0 }\n" + SHORT + "lr = 0.25\n")
    settings = ["stages.0.augmentation.shift=2", "stages.0.binarization.slope=tanh", "model.attn_mode = score"]
    recipes = load_recipe(str(path), [*settings, "teacher.compile=true", "all.betas=[0.9, 0.95]"])
    assert (recipes.teacher.lr, recipes.stages[0].lr) == (0.5, 0.25)
    limits = recipes.stages[0].augmentation
    assert (limits.flip, limits.shift, recipes.teacher.augmentation.shift) == (0.5, 2, 1.0)
    assert recipes.stages[0].binarization.slope == "tanh"
    assert (recipes.teacher.compile, recipes.teacher.betas) == (True, (0.9, 0.95))
    assert recipes.shape(TINY) == replace(TINY, attn_mode="score")
    assert recipes.with_epochs(7).teacher.epochs == recipes.with_epochs(7).stages[0].epochs == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = ", "own.toml is not TOML"),
        (SHORT + "[other]\n", "recipe own.toml has unknown tables other; allowed are all, model, teacher, stages"),
        (SHORT + "learning_rate = 1.0\n", "stages.0 in recipe own.toml has unknown keys learning_rate; allowed are"),
        (
            SHORT + "augmentation = { flop = 0.5 }\n",
            "augmentation of stages.0 in recipe own.toml has unknown keys flop",
        ),
        (
            SHORT + "augmentation = 0.5\n",
            "augmentation of stages.0 in recipe own.toml must be a table .*, got 0.5",
        ),
        (SHORT + "lr = 'fast'\n", "stages.0 in recipe own.toml: lr must be a finite number, got 'fast'"),
        (SHORT + "batch_size = true\n", "stages.0 in recipe own.toml: batch_size must be an integer, got true"),
        (SHORT + "betas = [0.9, 'a']\n", "betas\\[1\\] must be a finite number, got 'a'"),
        (SHORT + "kind = 'half'\n", "kind must be one of weights, binary, got 'half'"),
        (SHORT + "kind = 'weights'\n", "the last stage must be of the kind 'binary'"),
        (SHORT + "precision = 'fp8'\n", "precision must be one of fp32, tf32, bf16, got 'fp8'"),
        (SHORT + "binarization = { slope = 'flat' }\n", "no sign gradient 'flat'"),
        (
            SHORT + "distillation = { labels = 0, logits = 0 }\n",
            "a student needs a loss: one of its weights must be above 0",
        ),
        (
            SHORT + "distillation = { kind = 'medium' }\n",
            "distillation of stages.0 in .*: kind must be one of soft, hard",
        ),
        (SHORT + "distillation = { temperature = 0 }\n", "temperature must be above 0"),
        ("[teacher]\nepochs = 2\n", r"needs at least one table \[\[stages\]\]"),
        ("[[stages]]\nepochs = 2\n", r"lacks the table \[teacher\]"),
        ("teacher = 2\n", r"teacher in recipe own.toml must be a table \[teacher\]"),
        ("[teacher]\n[[stages]]\nepochs = 2\n", "teacher in recipe own.toml is incomplete"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(BivitError, match=message):
        load_recipe(str(path))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("lr", "a setting must be as teacher.lr=1e-3, got 'lr'"),
        ("stages.lr=1", r"must name a stage by its number, as stages.0.lr"),
        ("stages.3.lr=1", "names stage 3; the recipe has the stages 0 to 0"),
        ("teacher.epochs.x=1", "goes into epochs, which is a value and no table"),
        ("teacher.size=1", "has unknown keys size"),
    ],
)
def test_bad_settings_are_refused(setting: str, message: str) -> None:
    with pytest.raises(BivitError, match=message):
        load_recipe("digits", [setting])


def test_a_missing_recipe_is_refused() -> None:
    with pytest.raises(BivitError, match=r"there is no recipe 'nothing'; allowed are cifar, .* or the path"):
        load_recipe("nothing")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be a positive integer, got 0"),
        ({"batch_size": 2.5}, "batch_size must be a positive integer, got 2.5"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"warmup": 1.0}, "warmup is a share of the steps"),
        ({"weight_decay": -1.0}, "weight_decay must be 0 or more"),
        ({"ema": 1.0}, "ema must be 0 to below 1"),
        ({"betas": (0.9,)}, "betas are two numbers"),
        ({"threads": -1}, "threads must be 0 or more"),
    ],
)
def test_values_out_of_range_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BivitError, match=message):
        replace(QUICK, **change)
