"""The command line: help, JSON, exit codes and messages, on real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from pictures import write_folder
from program import assert_refused, bivit, invoke
from safetensors import safe_open
from safetensors.numpy import save_file
from typer.core import TyperGroup
from typer.main import get_command

from bivit import __version__
from bivit.cli import doctor
from bivit.cli.main import app
from bivit.model.data.dataset import take
from bivit.model.data.open import load_dataset
from bivit.sim.network.file import load_network, save_network
from bivit.sim.network.presets import preset
from bivit.sim.network.random import random_network
from bivit.sim.reference.run import run_reference

COMMANDS = tuple(cast(TyperGroup, get_command(app)).commands)


def test_help_lists_every_command() -> None:
    done = bivit("--help")
    assert done.returncode == 0
    assert [name for name in COMMANDS if name not in done.stdout] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example_and_json(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = invoke(command, "--help", cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.returncode == 0
    assert f"Example: bivit {command}" in done.stdout
    assert "--json" in done.stdout


def test_the_help_of_json_says_what_becomes_of_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = invoke("doctor", "--help", cwd=tmp_path, monkeypatch=monkeypatch)
    assert "An error is text on standard error" in " ".join(done.stdout.replace("│", " ").split())


@pytest.mark.parametrize("module", ["bivit", "bivit.cli"])
def test_python_runs_the_package(module: str) -> None:
    command = [sys.executable, "-m", module]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"bivit {__version__}\n"), done.stderr
    assert subprocess.run([*command, "trian"], capture_output=True, check=False).returncode == 2


def test_doctor_finds_all_that_the_tests_need() -> None:
    done = bivit("doctor", "--json")
    assert done.returncode == 0
    result = json.loads(done.stdout)
    assert result["complete"] is True
    states = {check["name"]: check["state"] for check in result["checks"]}
    assert states["g++"] == states["Verilator"] == "ok"


def test_doctor_says_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    done = bivit("doctor", "--json", path=str(tmp_path))
    assert done.returncode == 2
    result = json.loads(done.stdout)
    assert result["complete"] is False
    missing = {check["name"]: check["hint"] for check in result["checks"] if check["state"] == "MISSING"}
    assert set(missing) == {"g++", "make", "perl"}
    assert "apt-get install g++" in missing["g++"]


def test_doctor_does_not_trust_a_program_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\necho 12.2.0\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert doctor.program_version(["g++", "--version"]) is None


def test_an_unknown_command_is_refused() -> None:
    done = bivit("trian")
    assert done.returncode == 2
    assert "No such command" in done.stderr
    assert done.stdout == ""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network file of the demo's shape with random tensors."""
    path = tmp_path_factory.mktemp("net") / "random.safetensors"
    save_network(random_network(preset("digits"), seed=3), path)
    return path


def test_run_prints_what_the_reference_predicts(net: Path) -> None:
    done = bivit("run", net, "--data", "digits", "--images", "24", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    test = take(load_dataset("digits", "test"), 24)
    assert result["images"] == 24
    assert result["top1"] == (run_reference(load_network(net), test.images).predictions == test.labels).mean()
    assert result["images_per_s"] > 0


def test_run_streams_and_writes_predictions(net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "new" / "predictions.csv"
    base = ("run", net, "--data", "digits", "--images", "20", "--json")
    done = invoke(*base, "--out", table, "--batch", "7", cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.returncode == 0, done.stderr
    test = take(load_dataset("digits", "test"), 20)
    head, *rows = table.read_text().splitlines()
    assert head == "image,label,prediction"
    predictions = run_reference(load_network(net), test.images).predictions
    assert rows == [f"{i},{test.labels[i]},{predictions[i]}" for i in range(20)]
    assert [path.name for path in table.parent.iterdir()] == [table.name]
    whole = json.loads(invoke(*base, cwd=tmp_path, monkeypatch=monkeypatch).stdout)
    streamed = json.loads(done.stdout)
    assert streamed.pop("predictions") == str(table)
    assert {k: v for k, v in whole.items() if k != "images_per_s"} == {
        k: v for k, v in streamed.items() if k != "images_per_s"
    }


def test_run_starts_without_torch(net: Path, tmp_path: Path) -> None:
    images, labels = np.zeros((10, 8, 8), np.uint8), np.arange(10)
    np.savez(tmp_path / "data.npz", images=images, labels=labels, test_images=images, test_labels=labels)
    script = (
        "import sys; from bivit.cli.main import app; app(sys.argv[1:], standalone_mode=False); "
        "assert not {'torch', 'sklearn', 'distributed'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", script, "run", net, "--data", tmp_path / "data.npz", "--json"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["top1"] == 0.1


@pytest.mark.parametrize(("bad", "kept"), [("1_00.png", 3), ("0_00.png", 0)])
def test_run_keeps_what_came_before_a_broken_image(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str, kept: int
) -> None:
    classes = tuple("0123456789")
    folder = write_folder(tmp_path / "images", {"train": 1, "val": 3}, classes)
    broken = folder / "val" / bad[0] / bad
    broken.write_bytes(broken.read_bytes()[:40])
    table = tmp_path / "predictions.csv"
    arguments = ("--data", folder, "--out", table, "--batch", "3")
    done = invoke("run", net, *arguments, cwd=tmp_path, monkeypatch=monkeypatch)
    assert_refused(done, bad)
    assert ("the predictions of the 3 images before it are in" in done.stderr.replace("\n", " ")) == (kept > 0)
    assert table.exists() == (kept > 0)
    if kept:
        assert len(table.read_text().splitlines()) == 1 + kept
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.safetensors"], "there is no network file missing.safetensors"),
        (["{net}", "--images", "0"], "can give 1 to 355 images, got 0"),
        (["{net}", "--data", "nothing"], "there is no data set 'nothing'"),
        (["{cut}"], "truncated or not a safetensors file"),
        (["{other}"], "other.safetensors is of version 2, this bivit reads version 1; export it again"),
        (["{net}", "--data", "{folder}/large.npz"], "images must have shape [B, 8, 8, 1], got [4, 9, 9, 1]"),
        (["{net}", "--data", "{folder}/float.npz"], "must be uint8 pixels of 0 to 255, got float64 with 256 NaN"),
        (["{net}", "--data", "{folder}/empty.npz"], "has no images; give at least one"),
    ],
)
def test_run_refuses_bad_input(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    with safe_open(net, framework="numpy") as file:
        header = json.loads(file.metadata()["bivit"]) | {"version": 2}
        save_file({"a": np.zeros(1)}, tmp_path / "other.safetensors", {"bivit": json.dumps(header)})
    kinds = {
        "large": np.zeros((4, 9, 9), np.uint8),
        "float": np.full((4, 8, 8), np.nan),
        "empty": np.zeros((0, 8, 8), np.uint8),
    }
    for name, images in kinds.items():
        arrays = {"images": images, "labels": np.arange(len(images)) % 10}
        np.savez(tmp_path / f"{name}.npz", **arrays, test_images=images, test_labels=arrays["labels"])
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(net.read_bytes()[:-100])
    names = {"net": net, "cut": cut, "folder": tmp_path, "other": tmp_path / "other.safetensors"}
    filled = [argument.format(**names) for argument in arguments]
    assert_refused(invoke("run", *filled, "--json", cwd=tmp_path, monkeypatch=monkeypatch), message)
