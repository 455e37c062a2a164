"""`bivit train` refuses what does not fit, by name and before it writes anything; broken images stop it, or not."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pictures import write_folder
from program import Done, assert_refused, invoke
from shapes import SWIN, TINY
from training import QUICK, QUICK_STAGE, write_quadrants, write_recipe

from bivit.model.files.checkpoint import Checkpoint, save_checkpoint
from bivit.model.train.recipe import Recipes
from bivit.model.vit.vit import BiViT, RealViT
from bivit.sim.network.config import ModelConfig

MODEL = {name: value for name, value in TINY.to_dict().items() if name != "family"}
SHORT = Recipes(teacher=replace(QUICK, epochs=1), stages=(replace(QUICK_STAGE, epochs=1),))

Train = Callable[..., Done]


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Run the command on small images with a short recipe; options that are given again win."""
    data = write_quadrants(tmp_path / "data.npz", TINY)
    recipe = write_recipe(tmp_path / "recipe.toml", SHORT, MODEL)

    def run(*arguments: str | Path) -> Done:
        common = (
            "train",
            "--preset",
            "digits",
            "--recipe",
            recipe,
            "--data",
            data,
            "--out",
            tmp_path / "out",
            "--json",
        )
        return invoke(*common, *arguments, cwd=tmp_path, monkeypatch=monkeypatch)

    return run


def teacher(path: Path, config: ModelConfig = TINY, poison: float | None = None, kind: type = RealViT) -> Path:
    """A checkpoint as `bivit train` leaves it, with one value that a diverged run may have left."""
    model = kind(config)
    save_checkpoint(Checkpoint(model, seed=0), path)
    if poison is not None:
        content = path.read_bytes()
        at = content.index(model.state_dict()["blocks.1.mlp.fc2.weight"].numpy().tobytes())
        spoilt = torch.tensor([poison]).numpy().tobytes()
        path.write_bytes(content[:at] + spoilt + content[at + len(spoilt) :])
    return path


def test_what_fits_trains(train: Train, tmp_path: Path) -> None:
    """The other tests change one thing in this."""
    done = train("--teacher", teacher(tmp_path / "teacher.safetensors"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == 32


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_checkpoint_that_is_not_finite(
    train: Train, tmp_path: Path, poison: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, message = (
        tmp_path / "teacher.safetensors",
        "holds values that are NaN or infinite: blocks.1.mlp.fc2.weight (1)",
    )
    assert_refused(train("--teacher", teacher(path, poison=poison)), f"{path} {message}")
    data = ("--data", tmp_path / "data.npz")
    assert_refused(invoke("eval", path, *data, cwd=tmp_path, monkeypatch=monkeypatch), message)
    student = teacher(tmp_path / "student.safetensors", poison=poison, kind=BiViT)
    assert_refused(invoke("export", student, *data, cwd=tmp_path, monkeypatch=monkeypatch), message)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path, "there is no checkpoint"),
        (lambda path: teacher(path, kind=BiViT), "holds a model of kind 'binary', but 'float' is needed"),
        (
            lambda path: teacher(path, replace(TINY, in_chans=3)),
            "the teacher has in_chans 3, the student 1; take a teacher of the same in_chans, or a student: without a",
        ),
        (lambda path: teacher(path, replace(TINY, num_heads=1)), "they differ in num_heads; num_heads is 1 in the"),
        (lambda path: teacher(path, replace(TINY, patch_size=1)), "patch_size is 1 in the teacher, 2 in the student"),
        (lambda path: teacher(path, SWIN), "family is swin in the teacher, vit in the student"),
        (lambda path: teacher(path, replace(TINY, embed_dim=32)), "embed_dim is 32 in the teacher, 16 in the student"),
    ],
    ids=["missing", "student", "channels", "heads", "patches", "family", "shape"],
)
def test_a_teacher_that_does_not_fit(train: Train, tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    assert_refused(train("--teacher", make(tmp_path / "teacher.safetensors")), message)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "model.num_classes=5",
            "data.npz (train) has 3 classes, the model 5; set model.num_classes to 3 in the recipe",
        ),
        ("model.img_size=8", "images must have shape [B, 8, 8, 1], got [96, 4, 4, 1] in"),
        ("model.in_chans=3", "images must have shape [B, 4, 4, 3], got [96, 4, 4, 1] in"),
    ],
)
def test_images_that_do_not_fit(train: Train, tmp_path: Path, setting: str, message: str) -> None:
    assert_refused(train("--set", setting), message)
    assert not (tmp_path / "out").exists()


# --- broken images --------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """An image folder of which one training and one evaluation picture are cut short."""
    folder = write_folder(tmp_path / "pictures", {"train": 12, "val": 4}, ("a", "b", "c"))
    for name in ("train/a/a_03.png", "val/b/b_01.png"):
        (folder / name).write_bytes((folder / name).read_bytes()[:60])
    return folder


def test_a_broken_image_stops_the_training_and_is_named(train: Train, pictures: Path) -> None:
    done = train("--data", pictures)
    assert_refused(done, "train/a/a_03.png cannot be read as an image")
    assert "--on-broken skip" in done.stderr


def test_broken_images_can_be_left_out(
    train: Train, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bivit(*arguments: str | Path) -> Done:
        more = ("--data", pictures, "--on-broken", "skip", "--json")
        return invoke(*arguments, *more, cwd=tmp_path, monkeypatch=monkeypatch)

    out = tmp_path / "out"
    done = train("--data", pictures, "--on-broken", "skip")
    assert done.returncode == 0, done.stderr
    for split, name in (("train", "train/a/a_03.png"), ("test", "val/b/b_01.png")):
        assert f"warning: {pictures} ({split}): 1 images could not be read and were left out, the first:" in done.stderr
        assert name in done.stderr
    assert json.loads((out / "config.json").read_text())["data"]["on_broken"] == "skip"
    evaluated = bivit("eval", out / "student.safetensors")
    assert json.loads(evaluated.stdout) == {
        "kind": "binary",
        "top1": json.loads(done.stdout)["top1_student"],
        "images": 11,
    }
    exported = bivit("export", out / "student.safetensors", "--out", tmp_path / "net")
    assert (exported.returncode, "a_03.png" in exported.stderr) == (0, True)
    integer = bivit("eval", tmp_path / "net")
    assert json.loads(integer.stdout)["images"] == 11
    assert "b_01.png" in integer.stderr


def test_an_unknown_choice_is_refused(train: Train) -> None:
    assert_refused(train("--on-broken", "ignore"), "on_broken must be one of stop, skip, got 'ignore'")


def test_nothing_but_broken_images(train: Train, pictures: Path) -> None:
    for path in pictures.glob("train/*/*.png"):
        path.write_bytes(b"")
    done = train("--data", pictures, "--on-broken", "skip")
    assert (done.returncode, done.stdout) == (2, "")
    assert "warning: " in done.stderr
    assert f"bivit: none of the 36 images of {pictures} (train) can be read" in done.stderr
