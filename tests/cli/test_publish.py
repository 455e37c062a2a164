"""Publishing a training, and measuring what was published."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from bivit.cli.main import app
from bivit.model.files.checkpoint import Checkpoint, save_checkpoint
from bivit.model.vit.vit import BiViT, RealViT
from bivit.sim.network.file import load_network, save_network
from bivit.sim.network.presets import preset


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder as `bivit train` leaves it, its student with random weights."""
    torch.manual_seed(0)
    folder = tmp_path / "run"
    folder.mkdir()
    student = Checkpoint(BiViT(preset("digits")), 3, {"top1": 0.1}, {"command": "bivit train --seed 3"})
    save_checkpoint(student, folder / "student.safetensors")
    save_checkpoint(Checkpoint(RealViT(preset("digits")), 3), folder / "teacher.safetensors")
    (folder / "result.json").write_text(json.dumps({"top1_teacher": 0.25}))
    return folder


def invoke(*arguments: object) -> dict:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_card_holds_what_eval_repeats(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "zoo" / "mine"
    metrics = invoke("publish", run, "--out", out)
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert metrics["same_predictions"] == metrics["lowest_equal_bits"] == 1.0
    again = invoke("eval", out / "network.safetensors")
    assert again == {"kind": "integer", "top1": metrics["top1"], "images": metrics["images"]}
    assert invoke("eval", run / "student.safetensors") == again | {"kind": "binary"}
    assert invoke("eval", run / "teacher.safetensors")["kind"] == "float"
    card = (out / "README.md").read_text()
    assert f"{100 * metrics['top1']:.2f}% of {metrics['images']} test images" in card
    assert "25.00%" in card
    assert "bivit train --seed 3" in card


def test_eval_sees_a_changed_network(run: Path, tmp_path: Path) -> None:
    """Another classifier gives another Top-1: the number comes from the file."""
    before = invoke("publish", run, "--out", tmp_path / "out")["top1"]
    network = load_network(tmp_path / "out" / "network.safetensors")
    bias = np.zeros_like(network.tensors["head.bias"])
    bias[4] = 1 << 28
    changed = replace(network, tensors=network.tensors | {"head.bias": bias})
    save_network(changed, tmp_path / "out" / "network.safetensors")
    only_fours = invoke("eval", tmp_path / "out" / "network.safetensors")["top1"]
    assert only_fours != before
    assert only_fours == pytest.approx(0.1, abs=0.01)


def test_a_folder_without_a_training_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["publish", str(tmp_path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "holds no finished training" in result.output
    assert not (tmp_path / "out").exists()


def test_a_training_that_is_not_finished_is_refused(run: Path, tmp_path: Path) -> None:
    (run / "result.json").unlink()
    for message in (
        f"there is no {run / 'result.json'}; `bivit train --out` makes one",
        "repeat its `bivit train` with",
    ):
        result = CliRunner().invoke(app, ["publish", str(run), "--out", str(tmp_path / "out")])
        assert result.exit_code == 2
        assert message in result.output
        (run / "config.json").write_text("{}")
    assert not (tmp_path / "out").exists()


def test_eval_of_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    for name, message in (("file", "not a safetensors file"), ("none", "there is no file")):
        result = CliRunner().invoke(app, ["eval", str(tmp_path / name)])
        assert result.exit_code == 2
        assert message in result.output
