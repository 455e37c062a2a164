"""One process owns an output folder; what it holds is free when it ends, however it ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bivit.sim.errors import BivitError
from bivit.sim.system import files, locks

OWN = """
import sys
from pathlib import Path
from bivit.sim.system.locks import owned_folder
with owned_folder(Path(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.read()
"""


def start_owner(folder: Path) -> subprocess.Popen[str]:
    """Start a process that owns a folder until its standard input ends."""
    command = [sys.executable, "-c", OWN, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "mine\n"
    return process


def own(folder: Path) -> list[str]:
    """Own a folder for a moment; return what stood in it then."""
    with locks.owned_folder(folder):
        return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("killed", [False, True])
def test_a_folder_has_one_owner_at_a_time(tmp_path: Path, killed: bool) -> None:
    folder = tmp_path / "new" / "out"
    process = start_owner(folder)
    with pytest.raises(BivitError, match=rf"out is being written by another bivit \(process {process.pid} on .*since"):
        own(folder)
    if killed:
        process.kill()
    process.communicate()
    (folder / "kept.txt").touch() if killed else None
    assert own(folder) == [locks.OWNER, *(["kept.txt"] if killed else [])]
    assert (folder / locks.OWNER).exists() is False
    assert folder.exists() == killed  # what was made and stays empty is removed, its parents too
    assert (tmp_path / "new").exists() == killed


def test_a_process_owns_a_folder_twice(tmp_path: Path) -> None:
    with locks.owned_folder(tmp_path / "out"):
        assert own(tmp_path / "out") == [locks.OWNER]
        assert (tmp_path / "out" / locks.OWNER).exists()


def test_an_owner_that_wrote_nonsense_still_owns(tmp_path: Path) -> None:
    process = start_owner(tmp_path / "out")
    (tmp_path / "out" / locks.OWNER).write_text("[" * 9)
    with pytest.raises(BivitError, match="by another bivit; wait"):
        own(tmp_path / "out")
    process.communicate()


def test_a_lock_file_whose_owner_removes_it_meanwhile_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[bool] = []

    def take_and_lose(handle: int, *, wait: bool) -> bool:
        if not taken:
            (tmp_path / locks.OWNER).unlink()
        taken.append(True)
        return True

    monkeypatch.setattr(locks, "take", take_and_lose)
    assert own(tmp_path) == [locks.OWNER]
    assert len(taken) == 2


def test_a_forked_process_does_not_keep_the_lock(tmp_path: Path) -> None:
    """As the workers that read images for a training that is killed."""
    reader, writer = os.pipe()
    with locks.owned_folder(tmp_path / "out"):
        child = os.fork()
        if child == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
    process = start_owner(tmp_path / "out")
    os.close(writer)
    os.close(reader)
    os.waitpid(child, 0)
    process.communicate()


def test_one_process_writes_a_whole_folder(tmp_path: Path) -> None:
    script = OWN.replace("owned_folder", "whole_folder").replace("locks", "files")
    command = [sys.executable, "-c", script, str(tmp_path / "out")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "mine\n"
    with pytest.raises(BivitError, match=re.escape(f"{tmp_path / 'out'} is being written")):
        files.whole_folder(tmp_path / "out").__enter__()
    process.communicate()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_system_without_locks_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    assert own(tmp_path) == [locks.OWNER]
    files.write_text(tmp_path / "a.txt", "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
