"""Runs the installed program as a user would, for tests of the command line."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bivit.cli.main import app

COMMAND = [sys.executable, "-m", "bivit.cli.main"]


def bivit(*arguments: str | Path, cwd: Path | None = None, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the program as a user would; `path` replaces the PATH."""
    environment = dict(os.environ, COLUMNS="200", TERM="dumb")
    if path is not None:
        environment["PATH"] = path
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False, timeout=600)


@dataclass(frozen=True)
class Done:
    """What a command left, when it ran inside this process."""

    returncode: int
    stdout: str
    stderr: str


def invoke(*arguments: str | Path, cwd: Path, monkeypatch: pytest.MonkeyPatch) -> Done:
    """Run a command inside this process: the same code without the seconds that imports take."""
    monkeypatch.chdir(cwd)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return Done(result.exit_code, result.stdout, result.stderr)


def assert_refused(done: Done | subprocess.CompletedProcess[str], message: str) -> None:
    """One message on standard error, exit code 2, no traceback, nothing on standard output."""
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.startswith("bivit: ")
    assert "Traceback" not in done.stderr
