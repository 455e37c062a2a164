"""Builds in folders of any name and beside any files: what the runner tells make, Verilator and the simulator."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from bivit.cosim import runner
from bivit.cosim.runner import Build
from bivit.cosim.toolchain import Simulator
from bivit.sim.errors import BivitError


def of(root: Path | None, cache: Path) -> runner._Verilator:
    program = Path("verilator") if root is None else root / "bin" / "verilator"
    return runner._Verilator(Simulator("verilator", "5", program, root), cache)


def test_the_simulator_does_not_import_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # as `python -m` does
    monkeypatch.setattr("sys.path", ["", *sys.path])
    verilator = of(None, tmp_path)
    verilator._set_env_common()
    entries = verilator.env["PYTHONPATH"].split(os.pathsep)
    assert not {"", str(tmp_path)} & set(entries)
    assert verilator.env["PYTHONSAFEPATH"] == "1"


@pytest.mark.parametrize("name", ["my clone", "a#b", "a$b"])
def test_packages_in_folders_that_make_cannot_use_are_linked(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, libs, root = tmp_path / "cache", tmp_path / name / "libs", tmp_path / name / "verilator"
    for folder in (cache, libs, root):
        folder.mkdir(parents=True)
    monkeypatch.setattr("cocotb_tools.config.libs_dir", libs)
    verilator = of(root, cache)
    verilator._set_env_build()
    link = Path(verilator.env["VERILATOR_ROOT"])
    assert link.parent == cache
    assert link.resolve() == root
    words = verilator._plain(f"-Wl,-rpath,{libs} -L{libs}")
    assert name not in words
    assert verilator._plain(f"-L{libs}").removeprefix("-L") in words
    verilator._simulator_in_path_build_only()
    assert verilator.executable == str(root / "bin" / "verilator_bin")


def test_packages_in_plain_folders_are_named_as_they_are(tmp_path: Path) -> None:
    root = tmp_path / "verilator"
    verilator = of(root, tmp_path)
    assert verilator._plain(f"-I{root}") == f"-I{root}"
    assert list(tmp_path.iterdir()) == []


def test_builds_of_killed_processes_are_swept(tmp_path: Path) -> None:
    (tmp_path / ".0123.4567.partial" / "work").mkdir(parents=True)
    (tmp_path / "89ab").mkdir()
    assert runner._cache(tmp_path) == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["89ab"]
    with pytest.raises(BivitError, match=r"make builds in folders of letters, digits and /\._-\+@, only, got .*a b"):
        runner._cache(tmp_path / "a b")


def test_a_simulation_without_room_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    build = Build(Simulator("verilator", "5", Path("verilator")), "top", tmp_path, "", 0.0)
    monkeypatch.setattr(runner._Verilator, "test", lambda self, **arguments: None)
    runner.simulate(build, "module", [], tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage._replace(free=4096))
    with pytest.raises(BivitError, match=r"no space left on device in .*make room"):
        runner.simulate(build, "module", [], tmp_path)
