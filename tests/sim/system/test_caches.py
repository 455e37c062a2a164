"""Any user of any machine: no home, a home that cannot be written, no entry in the list of users, a full disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bivit.cosim.runner import default_cache_dir
from bivit.sim.errors import BivitError
from bivit.sim.system import caches, children

HOMES = {"unset": None, "missing": "/nonexistent", "no folder": "/dev/null", "empty": ""}


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Temporary files of a test, and an environment without what decides."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    for name in ("XDG_CACHE_HOME", "MPLCONFIGDIR", "TRITON_CACHE_DIR", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    return folder


def nobody(uid: int) -> None:
    raise KeyError(uid)


def set_home(monkeypatch: pytest.MonkeyPatch, home: str | None) -> None:
    """Set a home as it is for a user who is in no list."""
    monkeypatch.setattr("pwd.getpwuid", nobody)
    if home is None:
        monkeypatch.delenv("HOME")
    else:
        monkeypatch.setenv("HOME", home)


@pytest.mark.parametrize("home", sorted(HOMES))
def test_without_a_home_there_is_a_cache(home: str, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_home(monkeypatch, HOMES[home])
    own = temporary / f"bivit-{os.getuid()}"
    assert caches.cache_folder("kernels") == own / "bivit" / "kernels"
    assert own.stat().st_mode & 0o777 == 0o700
    environment = children.child_environment()
    assert environment["XDG_CACHE_HOME"] == environment["HOME"] == str(own)
    assert environment["MPLCONFIGDIR"] == str(own / "matplotlib")
    assert environment["USER"] == f"user{os.getuid()}"


def test_what_works_stays(tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USER", "me")
    before = dict(os.environ)
    assert children.child_environment() == before | {"PYTHONSAFEPATH": "1"}
    assert caches.cache_folder("cosim") == tmp_path / ".cache" / "bivit" / "cosim"
    assert list(temporary.iterdir()) == []


def test_a_cache_of_another_name_in_a_home_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_home(monkeypatch, "/nonexistent")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    environment = children.child_environment()
    assert environment["XDG_CACHE_HOME"] == str(tmp_path / "cache")
    assert environment["HOME"] != "/nonexistent"


@pytest.mark.parametrize("name", ["a b", "a#b", "a'b", "käse", "a$b", "a:b"])
def test_simulations_are_built_where_make_can(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
    assert caches.cache_folder("kernels") == tmp_path / name / "bivit" / "kernels"
    assert default_cache_dir() == tmp_path / "tmp" / f"bivit-{os.getuid()}" / "bivit" / "cosim"
    monkeypatch.setattr(caches, "private_folder", lambda temporary=None: None)
    with pytest.raises(BivitError, match="name one in XDG_CACHE_HOME"):
        default_cache_dir()


def test_a_folder_that_others_may_write_holds_no_cache(temporary: Path) -> None:
    own = temporary / f"bivit-{os.getuid()}"
    own.mkdir()
    own.chmod(0o777)
    assert caches.private_folder() is None
    own.rmdir()
    own.symlink_to(temporary)
    assert caches.private_folder() is None


WITHOUT_ROOM = """
import resource, sys
from pathlib import Path
import numpy as np
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from bivit.sim.reference.fixed import isqrt
assert isqrt(np.array([17]))[0] == 4
"""


@pytest.mark.parametrize("room", [0, 3000])
def test_a_full_cache_costs_time_only(room: int, tmp_path: Path) -> None:
    """Compiled code that cannot be kept is compiled anew; none of it is left half-written."""
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, "-c", WITHOUT_ROOM, str(room)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [path for path in tmp_path.rglob("*") if path.suffix == ".nbc"] == []
