"""The tools that synthesise, place and route: those from PyPI, or native ones on the path where these are newer."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from pathlib import Path

from ...sim.errors import BivitError, check
from ...sim.system.children import run_program

#: Seconds in which a native tool says its version.
_ASKING_S = 20
#: Characters of what a failed tool wrote that a message quotes.
_QUOTED = 500
#: Programs that are in the package of another one.
_HOMES = {"ecppack": "nextpnr-ecp5"}
_NUMBER = re.compile(r"\d+(?:\.\d+)+")


@dataclass(frozen=True)
class Tool:
    """A program that is installed.

    Parameters
    ----------
    name : str
        Of the native program: ``"yosys"``.
    command : tuple of str
        Begins its command line.
    version : str
        As its package or the program itself says.
    """

    name: str
    command: tuple[str, ...]
    version: str

    def __str__(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}"

    def run(self, arguments: Sequence[str], folder: Path, timeout_s: float) -> str:
        """Run it in `folder` and return what it wrote.

        It runs in a process of its own: it can be stopped, and keeps its memory to itself.

        Parameters
        ----------
        arguments : sequence of str
        folder : Path
        timeout_s : float
            End it after so many seconds.

        Raises
        ------
        ToolTimeout
            When it did not end in time.
        ToolFailed
            When it failed: its own words.
        """
        try:
            result = run_program([*self.command, *arguments], cwd=folder, timeout_s=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise ToolTimeout(self, timeout_s, str(error.stderr)) from error
        written = result.stdout + result.stderr
        if result.returncode:
            raise ToolFailed(self, result.returncode, written)
        return written


class ToolFailed(BivitError):
    """A tool ended with an error, which the message quotes; `written` is all of what it wrote."""

    def __init__(self, tool: Tool, code: int, written: str):
        self.written = written
        errors = [line.strip() for line in written.splitlines() if "ERROR" in line]
        words = " ".join(errors) or written.strip() or f"exit code {code}, without a word"
        super().__init__(f"{tool.name} failed: {words[-_QUOTED:]}")


class ToolTimeout(BivitError):
    """A tool did not end in time; `written` is what it wrote until then."""

    def __init__(self, tool: Tool, timeout_s: float, written: str):
        self.written = written
        super().__init__(
            f"{tool.name} did not finish in {timeout_s:g} s; take a smaller engine or a single unit, or give more time"
        )


@cache
def find_tool(name: str) -> Tool:
    """Return an installed tool: the one from PyPI, or a native one on the path that is newer.

    Parameters
    ----------
    name : str
        Of the native program: ``"yosys"``, ``"nextpnr-ecp5"``. The package on PyPI has ``yowasp-`` in front,
        or is that of `_HOMES`.

    Raises
    ------
    BivitError
        When there is neither: what to install.
    """
    packaged, native = _packaged(name), _native(name)
    found = native if native and (packaged is None or _newer(native.version, packaged.version)) else packaged
    check(
        found is not None,
        f"this needs {name}: install it with `pip install yowasp-{_HOMES.get(name, name)}`, or a native one",
    )
    assert found is not None
    return found


def _packaged(name: str) -> Tool | None:
    """The tool from PyPI."""
    home = _HOMES.get(name, name)
    package = f"yowasp_{home.replace('-', '_')}"
    if importlib.util.find_spec(package) is None:
        return None
    runner = f"import sys, {package} as tool; sys.exit(tool.run_{name.replace('-', '_')}(sys.argv[1:]))"
    version = importlib.metadata.version(f"yowasp-{home}")
    return Tool(name, (sys.executable, "-c", runner), version)


def _native(name: str) -> Tool | None:
    """The program on the path; None where there is none, or it does not say its version."""
    path = shutil.which(name)
    if path is None:
        return None
    try:
        said = run_program([path, "--version"], timeout_s=_ASKING_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    number = _NUMBER.search(said.stdout + said.stderr)
    return Tool(name, (path,), number[0]) if number and said.returncode == 0 else None


def _newer(one: str, other: str) -> bool:
    """Whether a native version is above that of a package, which counts its builds behind the tool's own numbers.

    >>> _newer("0.71", "0.70.0.0.post1259"), _newer("0.70", "0.70.0.0.post1259")
    (True, False)
    """
    numbers = [[int(part) for part in re.findall(r"\d+", text.partition(".post")[0])] for text in (one, other)]
    pairs = list(zip_longest(*numbers, fillvalue=0))
    return [a for a, _ in pairs] > [b for _, b in pairs]
