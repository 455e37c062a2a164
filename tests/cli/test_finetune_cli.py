"""From timm's checkpoint to an integer network of one's own classes, by the commands of docs/training.md."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pictures import write_folder
from program import Done, assert_refused, invoke
from safetensors.torch import save_file
from shapes import TINY
from training import QUICK, QUICK_STAGE, write_quadrants, write_recipe

from bivit.model.files.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from bivit.model.train.fit import Fit
from bivit.model.train.recipe import Recipes
from bivit.model.vit.vit import RealViT
from bivit.sim.network.config import ViTConfig
from bivit.sim.network.file import load_network

SHORT = Recipes(
    teacher=replace(QUICK, epochs=2), stages=(replace(QUICK_STAGE, epochs=1), replace(QUICK_STAGE, epochs=1))
)
CLASSES = ("cat", "dog", "fox")

Command = Callable[..., Done]


@pytest.fixture
def bivit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command; curves, which take half of the time, are not drawn."""
    monkeypatch.setattr("bivit.model.train.run_folder.draw_curves", lambda rows: "")
    return lambda *arguments: invoke(*arguments, cwd=tmp_path, monkeypatch=monkeypatch)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Pictures of three classes that are no squares."""
    return write_folder(tmp_path / "photos", {"train": 6, "val": 3}, CLASSES, width=40, height=30)


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_checkpoint(Checkpoint(RealViT(TINY), seed=0), tmp_path / "teacher.safetensors")
    return tmp_path / "teacher.safetensors"


def test_the_documented_path(bivit: Command, photos: Path, tmp_path: Path, timm: Any) -> None:
    """Import, train, export and run, as docs/training.md writes it, at a small size and for one epoch."""
    sizes: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 1, "num_heads": 1}
    model = timm.create_model("deit_tiny_patch16_224", num_classes=10, **sizes)
    save_file(model.state_dict(), tmp_path / "deit_tiny.safetensors")
    done = bivit("import", "deit_tiny.safetensors", "--out", "teacher.safetensors")
    assert done.returncode == 0, done.stderr
    done = bivit(
        *("train", "--teacher", "teacher.safetensors", "--data", "photos", "--image-size", "48", "--epochs", "1"),
        *("--out", "out/photos", "--json"),
    )
    assert done.returncode == 0, done.stderr
    said = (
        "a new classifier for 3 classes (before: 10); images of 48 pixels (before: 32); position embeddings resized to "
        "6 x 6 patches (before: 4 x 4)"
    )
    assert (
        f"teacher teacher.safetensors: {said}; it first learns photos, by [teacher] of the recipe finetune"
        in done.stderr
    )
    result = json.loads(done.stdout)
    assert (result["fine_tuned"], result["teacher"]) == (said, "out/photos/teacher.safetensors")
    learnt = load_checkpoint(tmp_path / result["teacher"], kind="float")
    assert learnt.metrics["top1"] == result["top1_teacher"]
    assert isinstance(learnt.model.config, ViTConfig)
    assert learnt.model.config == ViTConfig(num_classes=3, **sizes | {"img_size": 48})
    done = bivit(
        "export", "out/photos/student.safetensors", "--data", "photos", "--out", "network.safetensors", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["same_predictions"] == 1.0
    assert load_network(tmp_path / "network.safetensors").config == learnt.model.config
    done = bivit("run", "network.safetensors", "--data", "photos", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == 9


@pytest.fixture
def short(tmp_path: Path) -> tuple[str | Path, ...]:
    """Options of a training that lasts a second; the recipe leaves the shape alone."""
    recipe = write_recipe(tmp_path / "recipe.toml", SHORT, {})
    data = write_quadrants(tmp_path / "data.npz", TINY, 48)
    return ("train", "--recipe", recipe, "--data", data, "--out", tmp_path / "out", "--json")


def test_a_teacher_that_fits_is_taken_as_it_is(bivit: Command, short: tuple[str, ...], teacher: Path) -> None:
    """Even where the checkpoints go, where one that is fine-tuned would be overwritten."""
    before, folder = teacher.read_bytes(), ("--out", teacher.parent)
    refused = bivit(*short, "--teacher", teacher, "--new-head", *folder)
    assert_refused(refused, f"{teacher} is where the fine-tuned teacher would be written; choose another folder with")
    settings = ("--set", "model.attn_mode=score", "--set", "model.num_classes=5")
    refused = bivit(*short, "--teacher", teacher, *settings)
    assert_refused(refused, "has 3 classes, the model 5; set model.num_classes to 3")
    done = bivit(*short, "--teacher", teacher, *settings[:2], *folder)
    assert done.returncode == 0, done.stderr
    assert f"teacher {teacher}: taken as it is, with its 3 classes; --new-head would begin them anew" in done.stderr
    assert json.loads(done.stdout)["teacher"] == str(teacher)
    assert "fine_tuned" not in json.loads(done.stdout)
    assert teacher.read_bytes() == before
    assert load_checkpoint(teacher.parent / "student.safetensors").model.config == replace(TINY, attn_mode="score")


def test_fine_tuning_that_is_stopped_continues_to_the_same_bits(
    bivit: Command, short: tuple[str, ...], teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two steps an epoch: it is stopped in the teacher's second."""
    command = (*short, "--teacher", teacher, "--new-head", "--save-steps", "1")
    whole = bivit(*command, "--out", teacher.parent / "whole")
    assert whole.returncode == 0, whole.stderr
    assert json.loads(whole.stdout)["fine_tuned"] == "a new classifier for 3 classes (before: 3)"
    step, count = Fit._run_step, iter(range(1000))

    def stopping(self: Fit, *arguments: Any) -> None:
        if next(count) == 3:
            raise KeyboardInterrupt
        step(self, *arguments)

    monkeypatch.setattr(Fit, "_run_step", stopping)
    assert bivit(*command).returncode == 130
    monkeypatch.setattr(Fit, "_run_step", step)
    assert_refused(bivit(*short, "--teacher", teacher, "--resume"), "new_head was True, now None")
    assert bivit(*command, "--resume").returncode == 0
    for name in ("teacher", "student"):
        first, second = (load_checkpoint(teacher.parent / run / f"{name}.safetensors") for run in ("out", "whole"))
        expected = second.model.state_dict()
        assert [key for key, t in first.model.state_dict().items() if not torch.equal(t, expected[key])] == []
        assert "--new-head" in first.provenance["command"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--image-size", "5"],
            "images of 5 pixels do not fit: take a multiple of 2, the size of a patch in the last block, as 4 or 6",
        ),
        (["--image-size", "8"], "images must have shape [B, 8, 8, 1], got [48, 4, 4, 1] in"),
        (
            ["--preset", "deit_tiny", "--set", "model.img_size=4"],
            "images of 4 pixels do not fit: take a multiple of 16",
        ),
        (["--preset", "digits", "--set", "model.img_size=4"], "embed_dim is 16 in the teacher, 128 in the student"),
        (
            ["--set", "model.patch_size=1"],
            "patch_size is 2 in the teacher, 1 in the student; take a teacher of the same",
        ),
        (["--set", "model.in_chans=3"], "images must have shape [B, 4, 4, 3], got [48, 4, 4, 1] in"),
        (["--data", "photos", "--set", "model.in_chans=3"], "the teacher has in_chans 1, the student 3"),
        (
            ["--set", "stages.1.batch_size=60", "--set", "stages.1.compile=true"],
            "set stages.1.batch_size to 48 or less",
        ),
        (["--teacher", "model.pth"], "by `bivit import model.pth --out teacher.safetensors`"),
        (["--teacher", "timm.safetensors"], "by `bivit import timm.safetensors --out teacher.safetensors`"),
        (["--teacher", "missing.safetensors"], "there is no checkpoint missing.safetensors"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    bivit: Command, short: tuple[str, ...], teacher: Path, photos: Path, arguments: list[str], message: str
) -> None:
    torch.save({"model": RealViT(TINY).state_dict()}, teacher.parent / "model.pth")
    save_file(RealViT(TINY).state_dict(), teacher.parent / "timm.safetensors")
    assert_refused(bivit(*short, "--teacher", teacher, *arguments), message)
    assert not (teacher.parent / "out").exists()


def test_a_new_head_needs_a_teacher(bivit: Command, short: tuple[str, ...]) -> None:
    assert_refused(
        bivit(*short, "--new-head"), "--new-head begins the classifier of a --teacher anew, and none is given"
    )
