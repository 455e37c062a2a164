"""Several processes train as one with the same global batch, and write once (model/train/distributed.py)."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from shapes import SWIN, TINY
from training import EVERYTHING, write_quadrants, write_recipe

from bivit.model.files.checkpoint import load_checkpoint
from bivit.model.train.distributed import World
from bivit.model.train.recipe import Recipes
from bivit.model.vit.vit import VisionTransformer
from bivit.sim.network.config import ModelConfig


def test_a_world_of_one_changes_nothing() -> None:
    world, module = World(), torch.nn.Linear(2, 2)
    assert world.is_main
    assert world.place(5) == (0, 5)
    assert world.sum([1.5]) == [1.5]
    assert world.parallel(module) is module


def train(path: Path, processes: int, *arguments: str | Path) -> dict[str, object]:
    """Run `bivit train` by itself or under torchrun; return what it prints."""
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [*launcher, "-m", "bivit.cli.main", "train", "--out", path, "--json", *arguments]
    environment = dict(os.environ, OMP_NUM_THREADS="1", COLUMNS="200")
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


#: Few steps, so that the order of float sums does not yet flip signs; every random choice is made. The batches of 32
#: images leave a last one with a single image, of which one process gets none.
SHORT = replace(
    EVERYTHING,
    teacher=replace(EVERYTHING.teacher, epochs=1),
    stages=(replace(EVERYTHING.stages[0], epochs=1), replace(EVERYTHING.stages[1], epochs=1, lr=1e-3)),
)


def far_apart(got: VisionTransformer, expected: VisionTransformer) -> dict[str, float]:
    """Largest difference of each tensor that differs by more than the order of sums explains: a tenth of a step."""
    found, tensors = {}, got.state_dict()
    for key, tensor in expected.state_dict().items():
        other = tensors[key]
        if key.endswith("qkv.bias"):
            # A softmax does not change with the bias of k: its gradient is rounding noise, which AdamW makes steps of.
            tensor, other = (torch.cat([b[: len(b) // 3], b[2 * len(b) // 3 :]]) for b in (tensor, other))
        if not torch.allclose(other, tensor, rtol=1e-4, atol=1e-4):
            found[key] = float((other.float() - tensor.float()).abs().max())
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("config", "recipes"), [(TINY, SHORT), (SWIN, SHORT)], ids=["vit", "swin"])
def test_two_processes_equal_one(tmp_path: Path, config: ModelConfig, recipes: Recipes) -> None:
    data = write_quadrants(tmp_path / "data.npz", config, 97)
    changes = {name: value for name, value in config.to_dict().items() if name != "family"}
    recipe = write_recipe(tmp_path / "recipe.toml", recipes, changes)
    preset = "digits" if config is TINY else "swin_fashion"
    common = ["--preset", preset, "--recipe", recipe, "--data", data]
    one, two = train(tmp_path / "one", 1, *common), train(tmp_path / "two", 2, *common)
    assert one["images"] == two["images"] == 32
    for name in ("teacher", "stages.0", "student"):
        expected, got = (load_checkpoint(tmp_path / run / f"{name}.safetensors").model for run in ("one", "two"))
        assert far_apart(got, expected) == {}
    texts = [(tmp_path / run / "metrics.jsonl").read_text() for run in ("one", "two")]
    rows = [[json.loads(line) for line in text.splitlines()] for text in texts]
    assert [row["phase"] for row in rows[1]] == ["teacher", "stages.0", "stages.1"]
    for first, second in zip(*rows, strict=True):
        for key in ("loss", "lr", "step"):
            assert second[key] == pytest.approx(first[key], rel=1e-5), key


@pytest.mark.slow
def test_two_processes_refuse_bad_input_without_a_hang(tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"")
    with pytest.raises(AssertionError, match="holds a run that is not finished"):
        train(tmp_path, 2, "--epochs", "1")
