"""Runs the installed program as a user would, for tests of the command line."""

import os
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-m", "bivit.cli.main"]


def bivit(*arguments: str | Path, cwd: Path | None = None, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the program as a user would; `path` replaces the PATH."""
    environment = dict(os.environ, COLUMNS="200", TERM="dumb")
    if path is not None:
        environment["PATH"] = path
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False, timeout=600)


def assert_refused(done: subprocess.CompletedProcess[str], message: str) -> None:
    """One message on standard error, exit code 2, no traceback, nothing on standard output."""
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.startswith("bivit: ")
    assert "Traceback" not in done.stderr
