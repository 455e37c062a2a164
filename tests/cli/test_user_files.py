"""What users write, changed at random: engines, recipes and settings are taken, or refused with a message."""

from __future__ import annotations

import copy
import json
import random
import tomllib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from program import assert_refused, invoke

from bivit.cli.publish import _teacher_top1
from bivit.cli.runs.ablation_job import Measured, read_measured
from bivit.model.train.recipe import FOLDER, load_recipe
from bivit.sim.errors import BivitError
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.flow.presets import FLOW_ENGINES, load_engine
from bivit.sim.network.presets import preset

#: Values of every type, at the edges of what arithmetic takes.
VALUES: list[Any] = [None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 0.5, 8.0, -0.0, 1e308, "", "8", "x" * 9000]
VALUES += [[], [1], [[]], {}, {"a": 1}, {"epochs": 2}, "\x1b[31m", [None] * 3, [0.9, 0.99], 1e-320]
#: Names that tables get in addition.
NAMES = ["x", "rows", "epochs", "formats", "augmentation", "stages", "teacher", "\x1b", "é"]
#: What is put into text.
DAMAGE = ["", "}", "[", "\x00", "\ufeff", "NaN", "nan", "9" * 5000, "[" * 5000, "\udc80"]
SETTINGS = ["a", "=1", "all=1", "stages=1", "stages.0=1", "stages.x.lr=1", "stages.-1.lr=1", "stages.².lr=1"]
SETTINGS += ["teacher.epochs=", "teacher.epochs=1e400", "teacher.epochs=nan", "teacher.epochs=1\nx = 2"]
SETTINGS += ["teacher.epochs=" + "9" * 5000, "stages." + "9" * 5000 + ".lr=1", "teacher.lr=" + "[" * 9000]
SETTINGS += ["all.augmentation=1", "teacher.augmentation.flip=true", "teacher.a.b.c=1", "model.eps=nan"]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place below the top of a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield (*path, key)
        yield from places(part, (*path, key))


def mutate(value: Any, rng: random.Random) -> Any:
    """Change one to three places: another value, nothing, or one more."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 2, 3))):
        *path, last = rng.choice(list(places(value)) or [(0,)])
        table = value
        for key in path:
            table = table[key]
        if not isinstance(table, dict | list) or not table:
            return rng.choice(VALUES)
        what = rng.random()
        if what < 0.6:
            table[last] = copy.deepcopy(rng.choice(VALUES))
        elif what < 0.75:
            del table[last]
        elif isinstance(table, dict):
            table[rng.choice(NAMES)] = copy.deepcopy(rng.choice(VALUES))
        else:
            table.append(copy.deepcopy(rng.choice(VALUES)))
    return value


def damaged(text: str, rng: random.Random) -> bytes:
    """Put something into a fifth of all texts."""
    if rng.random() < 0.2:
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(DAMAGE) + text[at + rng.randrange(3) :]
    return text.encode("utf-8", "surrogateescape")


def as_toml(value: Any) -> str:
    """One value as TOML has it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {as_toml(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return '""' if value is None else json.dumps(value)


def refused(action: Any) -> bool:
    """Whether a call is refused with a message; any other error is one of the test."""
    try:
        action()
    except BivitError:
        return True
    return False


@pytest.mark.parametrize("seed", range(3))
def test_engines(seed: int, tmp_path: Path) -> None:
    rng, path = random.Random(seed), tmp_path / "engine.json"

    def load() -> None:
        engine = FlowMachine(load_engine(str(path)))
        assert engine.fingerprint() > 0
        assert len(engine.load_memories) > 0

    results = set()
    for _ in range(150):
        values = mutate(asdict(rng.choice(list(FLOW_ENGINES.values()))), rng)
        path.write_bytes(damaged(json.dumps(values), rng))
        results.add(refused(load))
    assert results == {True, False}


@pytest.mark.parametrize("seed", range(3))
def test_recipes_and_settings(seed: int, tmp_path: Path) -> None:
    rng, path = random.Random(seed), tmp_path / "recipe.toml"
    recipes = [tomllib.loads(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.toml"))]
    results = set()
    for _ in range(150):
        values = mutate(rng.choice(recipes), rng)
        tables = values if isinstance(values, dict) else {"all": values}
        text = "".join(f"{json.dumps(name)} = {as_toml(part)}\n" for name, part in tables.items())
        path.write_bytes(damaged(text, rng))
        settings = [rng.choice(SETTINGS)] if rng.random() < 0.3 else []
        results.add(refused(lambda settings=settings: load_recipe(str(path), settings).shape(preset("digits"))))
    assert results == {True, False}


@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_that_are_none(setting: str) -> None:
    with pytest.raises(BivitError):
        load_recipe("digits", [setting]).shape(preset("digits"))


def test_a_recipe_from_an_editor_of_windows(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    text = (FOLDER / "digits.toml").read_text(encoding="utf-8")
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert load_recipe(str(path)) == load_recipe("digits")
    path.write_bytes("# caf\xe9\n".encode("latin-1") + text.encode())
    with pytest.raises(BivitError, match=r"recipe.toml \(the recipe\) is not UTF-8 text: line 1 holds the byte 0xe9"):
        load_recipe(str(path))


@pytest.mark.parametrize(
    "text",
    ["{}", "[]", '{"agreement": 3}', '{"agreement": {"tensors": {"blocks.x.norm1": "q"}}}', "[" * 90_000, "NaN", ""],
)
def test_a_report_of_anything_else(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "report.json").write_text(text)
    assert_refused(invoke("report", tmp_path, cwd=tmp_path, monkeypatch=monkeypatch), "bivit demo --out")
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize(
    ("name", "what"),
    [("manifest.json", ", but of `bivit generate`: "), ("config.json", ", but of `bivit train`, or of a demo that")],
)
def test_a_report_of_another_folder(name: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gen").mkdir()
    (tmp_path / "gen" / name).write_text("{}")
    done = invoke("report", "gen", cwd=tmp_path, monkeypatch=monkeypatch)
    assert_refused(done, f"gen is no folder of a demo{what}")
    assert "demo --out gen" not in done.stderr
    assert_refused(invoke("report", "gone", cwd=tmp_path, monkeypatch=monkeypatch), "gone is no folder of a demo: ")


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"top1": "0.5", "seconds": 1, "images_per_s": 1}', '{"top1": true}', "{"]
)
def test_results_of_a_job_that_are_none(text: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text('{"top1": 0.5, "seconds": 1, "images_per_s": 2.0}')
    assert read_measured(path, seed=3) == Measured(seed=3, top1=0.5, seconds=1, images_per_s=2.0)
    with pytest.raises(BivitError, match=r"result\.json.*lacks ones"):
        read_measured(path, 3, ("ones",))
    path.write_text(text)
    with pytest.raises(BivitError, match=r"result\.json"):
        read_measured(path, seed=3)


@pytest.mark.parametrize("text", ["[]", '{"top1_teacher": "high"}', '{"top1_teacher": true}'])
def test_a_result_that_publish_cannot_use(text: str, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"top1_teacher": null}')
    assert _teacher_top1(tmp_path) is None
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(BivitError, match=r"result\.json"):
        _teacher_top1(tmp_path)
