"""Scenarios: what to do on the engine's ports, step by step, and what came back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..sim.errors import BivitError, check
from ..sim.system.files import read_json, write_json
from .memory import BASE, BenchMemory
from .protocol import Violation, read_violations
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
    wait : bool
        Go on when it was taken or refused. Otherwise it is only offered, so that it comes during a run.
    """

    stream: bytes
    complete: bool = True
    wait: bool = True


@dataclass(frozen=True)
class Queue:
    """Offer frames on the pixel stream, behind those that are offered already, and go on at once.

    Parameters
    ----------
    frames : sequence of bytes
        Each with TLAST at its end, and a multiple of the stream's beat; one that is no image breaks the frame.
    """

    frames: Sequence[bytes]


@dataclass(frozen=True)
class Start:
    """Start a run, and go on at once.

    Parameters
    ----------
    images : int
        What IMAGES is set to.
    """

    images: int


@dataclass(frozen=True)
class Write:
    """Write a register.

    Parameters
    ----------
    register : str
        Its name.
    value : int
        32 bits.
    """

    register: str
    value: int


@dataclass(frozen=True)
class Cycles:
    """Let clock cycles pass.

    Parameters
    ----------
    count : int
        At least one.
    """

    count: int


@dataclass(frozen=True)
class Reader:
    """Stop or begin to take logits; at first they are taken.

    Parameters
    ----------
    reads : bool
        Whether they are taken.
    """

    reads: bool


@dataclass(frozen=True)
class Wait:
    """Wait until the engine stands still, and read every register.

    Parameters
    ----------
    max_cycles : int
        Cycles after which the engine counts as hanging.
    for_pixels : bool
        Wait until every queued pixel was taken, instead of for the interrupt.
    """

    max_cycles: int
    for_pixels: bool = False


@dataclass(frozen=True)
class Reset:
    """Reset the engine, and the bench with it: what was offered and not taken is forgotten."""


@dataclass(frozen=True)
class Run:
    """Queue images, start, and wait for the end.

    Parameters
    ----------
    images : sequence of bytes
        Pixels of each image, in the order of the pixel stream; a multiple of its beat. They queue behind what earlier
        steps left.
    max_cycles : int
        Cycles after which the engine counts as hanging.
    reset_after : int, optional
        Reset the engine this many cycles after the start was written, instead of waiting for it.
    count : int, optional
        What IMAGES is set to, where it is not the number of images that are queued here.
    """

    images: Sequence[bytes]
    max_cycles: int
    reset_after: int | None = None
    count: int | None = None


def weights_at(place: int = 0) -> list[Step]:
    """Return the steps that tell an engine where in the bench's memory its weights are.

    Parameters
    ----------
    place : int
        Byte of the memory's image.
    """
    address = BASE + place
    return [Write("WEIGHTS_HI", address >> 32), Write("WEIGHTS_LO", address & 0xFFFFFFFF)]


Step = Load | Queue | Start | Write | Cycles | Reader | Wait | Reset | Run


@dataclass(frozen=True)
class Outcome:
    """What the engine did in one step.

    Parameters
    ----------
    registers : dict[str, int]
        All registers after the step, 64-bit counters whole, without `_LO` and `_HI`; empty for a step that does not
        wait.
    finished : bool
        The interrupt came (`Run`, `Wait`), or the pixels were taken (`Wait`); always true for other steps.
    logits : tuple of (int, int, int)
        Value, tag and TLAST of every beat that was taken since the last outcome with registers.
    pixel_beats : int
        Beats of the pixel stream that were taken since the last reset.
    irq : int
        The interrupt pin.
    simulated_cycles, seconds : float
        From the start to the interrupt: clock cycles and time on this machine.
    """

    registers: dict[str, int]
    finished: bool = True
    logits: tuple[tuple[int, int, int], ...] = ()
    pixel_beats: int = 0
    irq: int = 0
    simulated_cycles: float = 0.0
    seconds: float = 0.0


def simulate_steps(
    build: Build,
    steps: Sequence[Step],
    folder: Path,
    *,
    stall: float,
    seed: int,
    classes: int = 0,
    memory: BenchMemory | None = None,
    plusargs: Sequence[str] = (),
) -> Path:
    """Simulate the steps one after the other, after a reset; return where the results are, if it came to its end.

    Parameters
    ----------
    build : Build
        A simulation of `monitor.bench_top`.
    steps : sequence of Step
        What to do.
    folder : Path
        Where files go; the observed writes are in ``trace.txt``, broken bus rules in ``violations.txt``.
    stall : float
        Probability of a pause before each beat on every port, 0 to 0.9.
    seed : int
        Seed of the pauses.
    classes : int
        Beats of every packet of logits; 0 where packets differ.
    memory : BenchMemory, optional
        Of an engine whose weights are streamed.
    plusargs : sequence of str
        More arguments for the simulation.

    Raises
    ------
    BivitError
        When an argument is out of range, or the simulator fails.
    """
    check(0 <= stall <= 0.9, f"stall must be a probability of at most 0.9, got {stall}")
    data = bytearray()
    written = [{"op": type(step).__name__.lower(), **_values(step, data)} for step in steps]
    (folder / "steps.bin").write_bytes(data)
    write_json(
        folder / "scenario.json",
        {
            **{"seed": seed, "stall": stall, "steps": written, "data": str(folder / "steps.bin")},
            "streamed": memory is not None,
            "edge_streamed": memory is not None and memory.edge,
        },
    )
    results = folder / "results.json"
    results.unlink(missing_ok=True)
    files = {"scenario": folder / "scenario.json", "results": results}
    files |= {"trace_file": folder / "trace.txt", "violations_file": folder / "violations.txt"}
    arguments = [*(f"+{name}={path}" for name, path in files.items()), f"+classes={classes}", *plusargs]
    arguments += memory.plusargs(folder) if memory else []
    simulate(build, _TEST_MODULE, arguments, folder)
    return results


def observe(
    build: Build,
    steps: Sequence[Step],
    folder: Path,
    *,
    stall: float = 0.0,
    seed: int = 0,
    classes: int = 0,
    memory: BenchMemory | None = None,
) -> tuple[list[Outcome], list[Violation]]:
    """Simulate the steps; return the outcome of each, and every broken bus rule; arguments as `simulate_steps`.

    Raises
    ------
    BivitError
        When an argument is out of range, or the simulation ends without results: its last output.
    """
    results = simulate_steps(build, steps, folder, stall=stall, seed=seed, classes=classes, memory=memory)
    violations = read_violations(folder / "violations.txt")
    if not results.is_file():
        reasons = [str(violation) for violation in violations[:1]]
        tail = "\n".join([*reasons, log_tail(folder / "simulation.log")])
        raise BivitError(f"the simulation ended without results; its last output:\n{tail}")
    return [_outcome(values) for values in read_json(results, "results of the simulation")], violations


def play(
    build: Build,
    steps: Sequence[Step],
    folder: Path,
    *,
    stall: float = 0.0,
    seed: int = 0,
    classes: int = 0,
    memory: BenchMemory | None = None,
) -> list[Outcome]:
    """Simulate the steps and return the outcome of each; arguments as `simulate_steps`.

    Raises
    ------
    BivitError
        When an argument is out of range, the simulation ends without results, or a bus rule is broken: the first one
        and how many.
    """
    outcomes, violations = observe(build, steps, folder, stall=stall, seed=seed, classes=classes, memory=memory)
    check(not violations, f"{violations[0] if violations else ''}; {len(violations)} such reports in all")
    return outcomes


def _values(step: Step, data: bytearray) -> dict[str, Any]:
    """Return the fields of a step as JSON; bytes go into `data`, and their place [start, end] stands for them."""

    def placed(part: bytes) -> list[int]:
        data.extend(part)
        return [len(data) - len(part), len(data)]

    values: dict[str, Any] = {}
    for field in fields(step):
        value = getattr(step, field.name)
        if isinstance(value, bytes):
            value = placed(value)
        elif field.name in ("images", "frames") and not isinstance(value, int):
            value = [placed(part) for part in value]
        values[field.name] = value
    return values


def _outcome(values: Mapping[str, Any]) -> Outcome:
    logits = tuple((value, tag, last) for value, tag, last in values["logits"])
    return Outcome(**{**values, "logits": logits})
