"""One verified run: a design in its bench is simulated, and all that it did is compared with what was expected."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..sim.engine.probe import Probe
from ..sim.engine.registers import ERROR_TEXTS, ErrorCode
from ..sim.errors import check
from ..sim.system.files import scratch_folder, whole_file
from .compare import Comparison, Mismatch, Writes
from .memory import BenchMemory
from .monitor import BENCH_TOP, ProbeTrace, read_trace
from .protocol import Violation
from .register_check import RegisterDifference, compare_counters, compare_registers
from .runner import Build, build
from .scenario import Outcome, Step, observe, simulate_steps

#: Cycles before and after a difference that a waveform shows.
WAVE_BEFORE, WAVE_AFTER = 400, 50
#: Seconds between words about a simulation.
_FOLLOW_S = 15.0
#: End of a trace that holds a whole line.
_TAIL_BYTES = 65536
#: The tag of the logits is the low bits of the image's number.
_TAG_MASK = 0xFFFF

#: What was observed, by the probe's name.
Traces = Mapping[str, ProbeTrace]


@dataclass(frozen=True)
class CosimResult:
    """What a co-simulation found.

    Parameters
    ----------
    images, mismatches : int
        Images that were run, and those of them with any difference.
    values : int
        Elements of tensors that were compared.
    first_mismatch : Mismatch or None
        The first difference in hardware order.
    cycles, array_busy, stall_pixels, stall_logits, saturations : int
        The engine's own counters.
    kcycles_per_s : float
        Speed of the simulation, in thousands of clock cycles a second.
    simulator : str
        Name and version.
    stall, seed : float, int
        Probability and seed of the pauses on every port.
    build_seconds, run_seconds : float
        Time for building (0 when it was in the cache), and for the images.
    waveform : Path or None
        Recorded around the first difference.
    registers : tuple of RegisterDifference
        Registers that do not hold what they must after the run, and the interrupt pin when it does not follow them.
    violations : tuple of Violation
        Bus rules that were broken at the ports.
    logits : int64 [B, classes]
        What the engine sent; 0 where nothing came, which `first_mismatch` then names.
    counters : mapping of str to int
        Counters of the engine that no register shows; ``cycles`` are those up to the array's last operation, all others
        count cycles without a step up to there, by cause.
    stall_edge : int, optional
        Cycles in which the edge waited for words of the memory; None where these are resident.
    """

    images: int
    mismatches: int
    values: int
    first_mismatch: Mismatch | None
    cycles: int
    array_busy: int
    stall_pixels: int
    stall_logits: int
    saturations: int
    kcycles_per_s: float
    simulator: str
    stall: float
    seed: int
    build_seconds: float
    run_seconds: float
    waveform: Path | None
    registers: tuple[RegisterDifference, ...]
    violations: tuple[Violation, ...]
    logits: NDArray[np.int64] = field(repr=False, compare=False)
    counters: Mapping[str, int] = field(default_factory=dict)
    stall_edge: int | None = None

    @property
    def stalls(self) -> dict[str, int]:
        """Cycles without a step of the array by cause."""
        return {name: count for name, count in self.counters.items() if name != "cycles"}

    @property
    def before(self) -> int:
        """Cycles up to the last operation that are neither steps nor stalls: those before the first slot."""
        return self.counters.get("cycles", 0) - self.array_busy - sum(self.stalls.values())

    @property
    def agrees(self) -> bool:
        """Whether every tensor, every register and every port was as it must be."""
        return self.mismatches == 0 and not self.registers and not self.violations


def no_counters(traces: Traces) -> Mapping[str, int]:
    """Return the counters of an engine all of whose counters are registers."""
    return {}


@dataclass(frozen=True)
class Expected:
    """What a run must do.

    Parameters
    ----------
    writes : callable
        From what was observed, the number of an image and what is written for it, in the order of the hardware.
    logits : int64 [B, classes]
        Logits of each image.
    registers : mapping of str to int
        What registers must hold after the run.
    axes : mapping of str to tuple of str
        Axes of the tensors that are written, as `Comparison`.
    guides : sequence of Probe
        What is observed beside the writes that are compared.
    counters : callable
        From what was observed, counters of the engine by name that no register shows.
    counted : mapping of str to int
        What these must be.
    """

    writes: Callable[[Traces], Iterable[tuple[int, Writes]]]
    logits: NDArray[np.int64]
    registers: Mapping[str, int]
    axes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    guides: Sequence[Probe] = ()
    counters: Callable[[Traces], Mapping[str, int]] = no_counters
    counted: Mapping[str, int] = field(default_factory=dict)


class Session:
    """A design in its bench with a scenario that loads a program and then runs images.

    Parameters
    ----------
    sources : dict of str to str
        Verilog files: the bench's top level and the engine.
    probes : sequence of Probe
        What the bench observes.
    steps : sequence of Step
        The last one is the run that is verified.
    simulator, stall, seed, cache_dir
        As `run_cosim`.
    memory : BenchMemory, optional
        Of an engine whose weights are streamed.
    """

    def __init__(
        self,
        sources: dict[str, str],
        probes: Sequence[Probe],
        steps: Sequence[Step],
        *,
        simulator: str,
        stall: float,
        seed: int,
        cache_dir: Path | None,
        memory: BenchMemory | None = None,
    ):
        self.sources, self.probes, self.steps = sources, probes, steps
        self.simulator, self.stall, self.seed, self.cache_dir = simulator, stall, seed, cache_dir
        self.memory = memory

    def verify(
        self, expected: Expected, *, out_dir: Path | None = None, progress: Callable[[str], None] = lambda what: None
    ) -> CosimResult:
        """Simulate, compare, and record a waveform around the first difference.

        Parameters
        ----------
        expected : Expected
            What the last step must do.
        out_dir, progress
            As `run_cosim`.
        """
        progress("building the simulation; the first time takes a minute or more")
        built = self._build(waves=False)
        with scratch_folder("bivit-cosim") as folder:
            progress("simulating")
            with _followed(folder / "trace.txt", progress):
                classes = expected.logits.shape[1]
                outcomes, violations = observe(built, self.steps, folder, **self._how, classes=classes)
            for outcome in outcomes:
                _check_accepted(outcome)
            progress("comparing")
            traces = read_trace(folder / "trace.txt", [*self.probes, *expected.guides])
            comparison = Comparison(self.probes, traces, expected.axes)
            mismatches = _mismatches(comparison, expected, outcome, traces)
            counters = dict(expected.counters(traces))
            stall_edge = outcome.registers.get("STALL_EDGE")
            # Where the memory was late, what else the array would have waited for is not known.
            counted = {} if counters.get("memory") or stall_edge else expected.counted
            cycles = [mismatch.cycle for mismatch in mismatches[:1]] + [violation.cycle for violation in violations[:1]]
            waveform = None
            if cycles and out_dir is not None:
                progress("recording a waveform around the first difference")
                waveform = self._record(min(cycles), folder, out_dir)
        return CosimResult(
            images=len(expected.logits),
            mismatches=len(mismatches),
            values=comparison.values + expected.logits.size,
            first_mismatch=mismatches[0] if mismatches else None,
            cycles=outcome.registers["CYCLES"],
            array_busy=outcome.registers["ARRAY_BUSY"],
            stall_pixels=outcome.registers["STALL_PIXELS"],
            stall_logits=outcome.registers["STALL_LOGITS"],
            stall_edge=stall_edge,
            saturations=outcome.registers["SATURATIONS"],
            kcycles_per_s=outcome.simulated_cycles / outcome.seconds / 1000,
            simulator=f"{built.simulator.name} {built.simulator.version}",
            stall=self.stall,
            seed=self.seed,
            build_seconds=built.seconds,
            run_seconds=outcome.seconds,
            waveform=waveform,
            registers=(*compare_registers(expected.registers, outcome), *compare_counters(counted, counters)),
            violations=tuple(violations),
            logits=_received(outcome, expected.logits.shape),
            counters=counters,
        )

    @property
    def _how(self) -> dict[str, Any]:
        """Pauses of the ports, and what is beside the engine."""
        return {"stall": self.stall, "seed": self.seed, "memory": self.memory}

    def _build(self, *, waves: bool) -> Build:
        return build(self.sources, BENCH_TOP, simulator=self.simulator, waves=waves, cache_dir=self.cache_dir)

    def _record(self, cycle: int, folder: Path, out_dir: Path) -> Path:
        """Simulate the same once more with waveforms, and put them into `out_dir` when they are whole."""
        built = self._build(waves=True)
        wave = folder / f"mismatch.{built.waves}"
        window = {"wave_file": wave, "wave_from": max(cycle - WAVE_BEFORE, 1)}
        window["wave_to"] = cycle + WAVE_AFTER
        plusargs = [f"+{name}={value}" for name, value in window.items()]
        simulate_steps(built, self.steps, folder, **self._how, plusargs=plusargs)
        check(wave.is_file(), f"the simulation wrote no waveform; {built.folder} may be damaged, remove it")
        with whole_file(out_dir / wave.name) as partial:
            shutil.copyfile(wave, partial)
        return out_dir / wave.name


def _mismatches(comparison: Comparison, expected: Expected, outcome: Outcome, traces: Traces) -> list[Mismatch]:
    """Return the first difference of each image that has one."""
    found = comparison.images(expected.writes(traces))
    last = len(expected.logits) - 1
    for i, row in enumerate(expected.logits):
        mismatch = _compare_logits(i, row, outcome, comparison.last_cycle) or (
            comparison.rest(i) if i == last else None
        )
        if mismatch is not None:
            found.setdefault(i, mismatch)
    mismatches = [*found.values()]
    check(outcome.finished or bool(mismatches), "the engine sent every logit but never raised its interrupt")
    return mismatches


@contextmanager
def _followed(trace: Path, progress: Callable[[str], None]) -> Iterator[None]:
    """Tell every so often how far a simulation is that writes `trace`."""
    ended = threading.Event()

    def follow() -> None:
        while not ended.wait(_FOLLOW_S):
            progress(_reached(trace))

    thread = threading.Thread(target=follow, name="progress of the simulation", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _reached(trace: Path) -> str:
    """Say how far a simulation is by the last write that its bench has put into the file."""
    try:
        with trace.open("rb") as file:
            file.seek(max(0, trace.stat().st_size - _TAIL_BYTES))
            cycle = int(file.read().splitlines()[-2].split()[1], 16)
    except (OSError, IndexError, ValueError):
        return "simulating, loading the network"
    return f"simulating, cycle {cycle:,}"


def _check_accepted(outcome: Outcome) -> None:
    """Raise when the engine reports an error."""
    code = ErrorCode(outcome.registers.get("ERROR", ErrorCode.NONE))
    check(code == ErrorCode.NONE, f"the engine reports error {code.name}: {ERROR_TEXTS[code]}")


def _received(outcome: Outcome, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the values that left the port of the logits, in `shape`."""
    received = np.zeros(shape, np.int64)
    values = [value for value, _, _ in outcome.logits[: received.size]]
    received.flat[: len(values)] = values
    return received


def _compare_logits(image: int, row: NDArray[np.int64], outcome: Outcome, cycle: int) -> Mismatch | None:
    """Compare what left the port of the logits: values, tags, TLAST."""
    port, axes = "m_axis_logits", ("class",)
    beats = outcome.logits[image * len(row) : (image + 1) * len(row)]
    for label, wanted in enumerate(row):
        expected = (int(wanted), image & _TAG_MASK, int(label == len(row) - 1))
        if label >= len(beats):
            return Mismatch(image, "logits", (label,), "missing", expected[0], None, port, cycle, axes)
        value, *frame = beats[label]
        if value != expected[0]:
            return Mismatch(image, "logits", (label,), "value", expected[0], value, port, cycle, axes)
        if tuple(frame) != expected[1:]:
            return Mismatch(image, "logits", (label,), "address", expected[1:], tuple(frame), port, cycle, axes)
    return None
