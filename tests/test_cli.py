"""The command line: help, JSON, exit codes and messages, on real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bivit.cli import doctor

COMMANDS = ("doctor",)


def bivit(*arguments: str | Path, cwd: Path | None = None, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the program as a user would; `path` replaces the PATH."""
    environment = dict(os.environ, COLUMNS="200", TERM="dumb")
    if path is not None:
        environment["PATH"] = path
    command = [sys.executable, "-m", "bivit.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False, timeout=120)


def test_help_lists_every_command() -> None:
    done = bivit("--help")
    assert done.returncode == 0
    assert [name for name in COMMANDS if name not in done.stdout] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example_and_json(command: str) -> None:
    done = bivit(command, "--help")
    assert done.returncode == 0
    assert f"Example: bivit {command}" in done.stdout
    assert "--json" in done.stdout


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
