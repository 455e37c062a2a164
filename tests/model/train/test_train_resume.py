"""A run that is stopped or killed continues to the same bits; what may not is refused (model/train/run_folder.py)."""

import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from program import COMMAND, Done, assert_refused, invoke
from shapes import TINY
from torch import Tensor
from training import EVERYTHING, quadrants, write_quadrants, write_recipe

from bivit.model.files.checkpoint import load_checkpoint
from bivit.model.train.fit import Fit, Session
from bivit.model.train.run_folder import RunFolder
from bivit.model.train.train import Run
from bivit.sim.errors import BivitError

MODEL = {name: value for name, value in TINY.to_dict().items() if name not in ("family", "qk_mode", "norm_mode")}


class Stop(Exception):
    """Stands for whatever ends a process."""


def run(path: Path, resume: bool = False, seed: int = 0) -> dict[str, Tensor]:
    """Train with every random choice into a folder; return all tensors of both models."""
    folder = RunFolder(path, {"seed": seed}, resume)
    session = Session(folder=folder, save_steps=2)
    models = Run(TINY, quadrants(TINY, 100), quadrants(TINY, 30, 1), EVERYTHING, seed, session).run()
    folder.finish({})
    tensors = [(f"{name}.{key}", t) for name, done in models.items() for key, t in done.model.state_dict().items()]
    return dict(tensors)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    """A run that nothing stopped."""
    path = tmp_path_factory.mktemp("whole") / "run"
    return path, run(path)


def metrics(path: Path) -> list[dict[str, object]]:
    """Lines of metrics.jsonl without the times."""
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in ("seconds", "images_per_s")} for row in rows]


@pytest.mark.parametrize("stop", [0, 1, 3, 6, 12, 15, 21, 31], ids=lambda step: f"step{step}")
def test_a_stopped_run_continues_to_the_same_bits(
    whole: tuple[Path, dict[str, Tensor]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    step, count = Fit._run_step, iter(range(1000))

    def stopping(self: Fit, *arguments: object) -> None:
        if next(count) == stop:
            raise Stop
        step(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Fit, "_run_step", stopping)
    with pytest.raises(Stop):
        run(tmp_path / "run")
    monkeypatch.setattr(Fit, "_run_step", step)
    torch.rand(7)  # no state of torch's own generator is needed
    again, (path, expected) = run(tmp_path / "run", resume=True), whole
    assert set(again) == set(expected)
    assert [name for name in again if not torch.equal(again[name], expected[name])] == []
    assert metrics(tmp_path / "run") == metrics(path)


def test_the_folder_tells_the_run(whole: tuple[Path, dict[str, Tensor]]) -> None:
    path, _ = whole
    rows = metrics(path)
    phases = ["teacher"] * 3 + ["stages.0"] * 2 + ["stages.1"] * 3
    assert [row["phase"] for row in rows] == phases
    assert {"epoch", "step", "lr", "loss", "top1"} <= set(rows[0])
    assert {"labels", "logits", "ranking", "agreement"} <= set(rows[-1])
    picture = ElementTree.fromstring((path / "curves.svg").read_text())
    assert picture.tag.endswith("svg")
    assert len(list((path / "tensorboard").iterdir())) == 1
    names = {"config.json", "metrics.jsonl", "curves.svg", "tensorboard", "last.pt", "result.json"}
    assert {p.name for p in path.iterdir()} == names | {f"{n}.safetensors" for n in ("teacher", "stages.0", "student")}
    assert load_checkpoint(path / "stages.0.safetensors", kind="weights").metrics["epochs"] == 2


def test_tensorboard_holds_the_metrics(whole: tuple[Path, dict[str, Tensor]]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path, _ = whole
    events = EventAccumulator(str(path / "tensorboard"))
    events.Reload()
    points = {event.step: event.value for event in events.Scalars("stages.1/top1")}
    assert points == pytest.approx({row["epoch"]: row["top1"] for row in metrics(path)[-3:]})


def test_what_cannot_be_continued_is_refused(whole: tuple[Path, dict[str, Tensor]], tmp_path: Path) -> None:
    path, _ = whole
    before = {p.name: p.read_bytes() for p in path.iterdir() if p.is_file()}
    with pytest.raises(BivitError, match="was started with other values: seed was 0, now 1; give the same"):
        RunFolder(path, {"seed": 1}, resume=True)
    with pytest.raises(BivitError, match=r"seed was 0, now None; recipe was None, now {'lr': 1}"):
        RunFolder(path, {"recipe": {"lr": 1}}, resume=True)
    with pytest.raises(BivitError, match="holds no run to continue"):
        RunFolder(tmp_path / "nothing", {}, resume=True)
    assert {p.name: p.read_bytes() for p in path.iterdir() if p.is_file()} == before
    unfinished = RunFolder(tmp_path / "run", {"seed": 0})
    unfinished.save_state({"phase": "teacher"})
    with pytest.raises(BivitError, match="holds a run that is not finished; continue it with --resume, choose another"):
        RunFolder(tmp_path / "run", {"seed": 0})
    (tmp_path / "run" / "last.pt").write_bytes(b"nothing")
    with pytest.raises(BivitError, match=r"last.pt is damaged"):
        RunFolder(tmp_path / "run", {"seed": 0}, resume=True)
    RunFolder(tmp_path / "run", {"seed": 1}, overwrite=True)
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["config.json"]


def test_a_finished_run_is_lost_only_when_that_is_said(whole: tuple[Path, dict[str, Tensor]], tmp_path: Path) -> None:
    path = Path(shutil.copytree(whole[0], tmp_path / "run"))
    (path / "network.safetensors").write_text("of the user")
    before = {p.name: p.read_bytes() for p in path.iterdir() if p.is_file()}
    with pytest.raises(BivitError, match=r"holds a finished run of other values: seed was 0, now 1; .*--overwrite"):
        RunFolder(path, {"seed": 1})
    assert RunFolder(path, {"seed": 0}).result == {}
    assert {p.name: p.read_bytes() for p in path.iterdir() if p.is_file()} == before
    RunFolder(path, {"seed": 1}, overwrite=True, keep=path / "teacher.safetensors")
    assert {p.name for p in path.iterdir()} == {"config.json", "network.safetensors", "teacher.safetensors"}
    RunFolder(path, {"seed": 2})
    assert {p.name for p in path.iterdir()} == {"config.json", "network.safetensors"}


def test_ctrl_c_leaves_no_folder_of_two_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, recipe = write_quadrants(tmp_path / "data.npz", TINY), write_recipe(tmp_path / "r.toml", EVERYTHING, MODEL)

    def train(*more: str) -> Done:
        common = ("train", "--recipe", recipe, "--data", data, "--out", tmp_path / "run", "--json")
        return invoke(*common, *more, cwd=tmp_path, monkeypatch=monkeypatch)

    first = train()
    assert first.returncode == 0, first.stderr
    again = train()
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert "is finished in" in again.stderr
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()}
    assert_refused(train("--seed", "1"), "holds a finished run of other values: seed was 0, now 1")
    assert_refused(train("--seed", "1", "--overwrite", "--resume"), "give one")
    assert {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()} == before
    step, count = Fit._run_step, iter(range(1000))

    def stopping(self: Fit, *arguments: object) -> None:
        if next(count) == 13:  # in the first stage of the student
            raise KeyboardInterrupt
        step(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Fit, "_run_step", stopping)
    assert train("--seed", "1", "--overwrite").returncode == 130
    left = {p.name for p in (tmp_path / "run").iterdir()}
    assert "teacher.safetensors" in left
    assert not {"student.safetensors", "stages.0.safetensors", "result.json"} & left
    done = invoke("publish", "run", "--data", data, "--out", "zoo", cwd=tmp_path, monkeypatch=monkeypatch)
    assert_refused(done, "the training in run is not finished")


def test_a_killed_run_continues_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_quadrants(tmp_path / "data.npz", TINY)
    long = replace(EVERYTHING, teacher=replace(EVERYTHING.teacher, epochs=40, threads=1))
    recipe = write_recipe(tmp_path / "recipe.toml", long, MODEL)
    common = ["train", "--recipe", recipe, "--data", data, "--json", "--save-steps", "2"]
    killed = subprocess.Popen([*COMMAND, *map(str, common), "--out", str(tmp_path / "killed")], start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "killed" / "metrics.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "teacher.safetensors").exists()
    for name, more in (("killed", ["--resume"]), ("whole", [])):
        done = invoke(*common, "--out", tmp_path / name, *more, cwd=tmp_path, monkeypatch=monkeypatch)
        assert done.returncode == 0, done.stderr
    for name in ("teacher", "stages.0", "student"):
        first, second = (load_checkpoint(tmp_path / run / f"{name}.safetensors").model for run in ("killed", "whole"))
        expected = second.state_dict()
        assert [key for key, t in first.state_dict().items() if not torch.equal(t, expected[key])] == []
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "whole")
    for more, message in (
        (["--resume", "--seed", "3"], "seed was 0, now 3"),
        (["--resume", "--set", "teacher.lr=1.0"], "recipe.teacher.lr was 0.005, now 1.0"),
        (["--resume", "--epochs", "9"], "recipe.teacher.epochs was 40, now 9"),
    ):
        refused = invoke(*common, "--out", tmp_path / "whole", *more, cwd=tmp_path, monkeypatch=monkeypatch)
        assert_refused(refused, message)
    again = invoke(*common, "--out", tmp_path / "whole", "--resume", cwd=tmp_path, monkeypatch=monkeypatch)
    assert json.loads(again.stdout) == json.loads((tmp_path / "whole" / "result.json").read_text())
