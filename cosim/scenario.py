"""Scenarios: what to do on the engine's ports, step by step, and what came back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..sim.errors import BivitError, check
from ..sim.files import read_json, write_json
from .runner import Build, log_tail, simulate

_TEST_MODULE = "bivit.cosim.tb_engine"


@dataclass(frozen=True)
class Load:
    """Send a load stream.

    Parameters
    ----------
    stream : bytes
        Beats, right or broken.
    complete : bool
        End it with TLAST. Otherwise it stops without an end, and is given up through the CONTROL register.
    """

    stream: bytes
    complete: bool = True


@dataclass(frozen=True)
class Run:
    """Run images.

    Parameters
    ----------
    images : sequence of bytes
        Pixels of each image, in the order of the pixel stream; a multiple of its beat, all of one length.
    max_cycles : int
        Cycles after which the engine counts as hanging.
    reset_after : int, optional
        Reset the engine this many cycles after the start was written, instead of waiting for it.
    """

    images: Sequence[bytes]
    max_cycles: int
    reset_after: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What the engine did in one step.

    Parameters
    ----------
    registers : dict[str, int]
        All registers after the step, 64-bit counters whole, without `_LO` and `_HI`.
    finished : bool
        The interrupt came; always true for `Load`.
    logits : tuple of (int, int, int)
        Value, tag and TLAST of every beat.
    simulated_cycles, seconds : float
        From the start to the interrupt: clock cycles and time on this machine.
    """

    registers: dict[str, int]
    finished: bool = True
    logits: tuple[tuple[int, int, int], ...] = ()
    simulated_cycles: float = 0.0
    seconds: float = 0.0


def simulate_steps(
    build: Build, steps: Sequence[Load | Run], folder: Path, *, stall: float, seed: int, plusargs: Sequence[str] = ()
) -> Path:
    """Simulate the steps one after the other, after a reset; return where the results are, if it came to its end.

    Parameters
    ----------
    build : Build
        A simulation of `monitor.bench_top`.
    steps : sequence of Load or Run
        What to do.
    folder : Path
        Where files go; the observed writes are in ``trace.txt``.
    stall : float
        Probability of a pause before each beat on every port, 0 to 0.9.
    seed : int
        Seed of the pauses.
    plusargs : sequence of str
        More arguments for the simulation.

    Raises
    ------
    BivitError
        When an argument is out of range, or the simulator fails.
    """
    check(0 <= stall <= 0.9, f"stall must be a probability of at most 0.9, got {stall}")
    scenario = {"seed": seed, "stall": stall, "steps": [_write(step, i, folder) for i, step in enumerate(steps)]}
    write_json(folder / "scenario.json", scenario)
    results = folder / "results.json"
    results.unlink(missing_ok=True)
    files = {"scenario": folder / "scenario.json", "results": results, "trace_file": folder / "trace.txt"}
    simulate(build, _TEST_MODULE, [*(f"+{name}={path}" for name, path in files.items()), *plusargs], folder)
    return results


def play(
    build: Build, steps: Sequence[Load | Run], folder: Path, *, stall: float = 0.0, seed: int = 0
) -> list[Outcome]:
    """Simulate the steps and return the outcome of each; arguments as `simulate_steps`.

    Raises
    ------
    BivitError
        When an argument is out of range, or the simulation ends without results: its last output.
    """
    results = simulate_steps(build, steps, folder, stall=stall, seed=seed)
    if not results.is_file():
        tail = log_tail(folder / "simulation.log")
        raise BivitError(f"the simulation ended without results; its last output:\n{tail}")
    return [_outcome(values) for values in read_json(results, "results of the simulation")]


def _write(step: Load | Run, number: int, folder: Path) -> dict[str, Any]:
    """Write the data of a step to a file; return the step as JSON."""
    path = folder / f"step_{number}.bin"
    if isinstance(step, Load):
        path.write_bytes(step.stream)
        return {"op": "load", "file": str(path), "complete": step.complete}
    sizes = {len(image) for image in step.images}
    check(len(sizes) == 1, f"a run needs images of one length, got {len(step.images)} of lengths {sorted(sizes)}")
    path.write_bytes(b"".join(step.images))
    values = {name: value for name, value in asdict(step).items() if name != "images"}
    return {"op": "run", "file": str(path), "images": len(step.images), "image_bytes": sizes.pop(), **values}


def _outcome(values: Mapping[str, Any]) -> Outcome:
    logits = tuple((value, tag, last) for value, tag, last in values["logits"])
    return Outcome(values["registers"], values["finished"], logits, values["simulated_cycles"], values["seconds"])
