"""Co-simulation of whole images: an engine's Verilog behind its bus ports against the reference, tap by tap."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..hw.emit import ENGINE_TOP, engine_verilog
from ..hw.probes import Probe, probes
from ..sim.engine.config import EngineConfig
from ..sim.engine.loadstream import build_stream
from ..sim.engine.registers import ERROR_TEXTS, ErrorCode
from ..sim.errors import check
from ..sim.network.network import IntNetwork
from ..sim.program.compiler import Program, compile_network
from ..sim.program.expected import Writes, expected_writes
from ..sim.program.load_words import load_words
from ..sim.reference.run import run_reference
from ..sim.system.files import scratch_folder, whole_file
from .bench import MAX_STALL_CYCLES
from .compare import Comparison, Mismatch
from .monitor import BENCH_TOP, bench_top, ports_of, read_trace
from .protocol import Violation
from .register_check import RegisterDifference, compare_registers, expected_registers
from .runner import Build, build
from .scenario import Load, Outcome, Run, Step, observe, simulate_steps

#: Cycles before and after a difference that a waveform shows.
WAVE_BEFORE, WAVE_AFTER = 400, 50
#: Patience on top of what the program and the longest stalls take.
_MARGIN_CYCLES = 20_000
#: Seconds between words about a simulation.
_FOLLOW_S = 15.0
#: End of a trace that holds a whole line.
_TAIL_BYTES = 65536
#: The tag of the logits is the low bits of the image's number.
_TAG_MASK = 0xFFFF


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

    @property
    def agrees(self) -> bool:
        """Whether every tensor, every register and every port was as it must be."""
        return self.mismatches == 0 and not self.registers and not self.violations


def run_cosim(
    network: IntNetwork,
    engine: EngineConfig,
    images: NDArray[np.uint8],
    *,
    simulator: str = "verilator",
    stall: float = 0.2,
    seed: int = 0,
    out_dir: Path | None = None,
    cache_dir: Path | None = None,
    verilog: str | None = None,
    stream: bytes | None = None,
    progress: Callable[[str], None] = lambda what: None,
) -> CosimResult:
    """Run images through an engine's Verilog and compare every tap, logit and register with the reference.

    Parameters
    ----------
    network : IntNetwork
        The reference; also what is loaded.
    engine : EngineConfig
        Engine to simulate.
    images : uint8 [B, img_size, img_size, in_chans]
        At least one.
    simulator : {"verilator", "icarus"}
        Which simulator.
    stall, seed : float, int
        Probability of a pause before each beat on every port, 0 to 0.9, and the seed of the pauses.
    out_dir : Path, optional
        Where a waveform goes when there is a difference; without it none is recorded.
    cache_dir : Path, optional
        Folder of built simulations instead of `runner.default_cache_dir`.
    verilog, stream : str, bytes, optional
        Verilog and load stream in place of those of `engine` and `network`, for tests that plant faults.
    progress : callable
        Told in a few words what is being done, during a long simulation by another thread.

    Raises
    ------
    BivitError
        When an input does not fit, the simulator is missing, or the engine refuses to load or to start.
    """
    check(len(images) > 0, "co-simulation needs at least one image, got 0; choose a positive number of images")
    progress("running the reference; the first time its kernels are compiled")
    reference = run_reference(network, images, taps="all")
    program = compile_network(network, engine)
    observed = probes(engine)
    text = verilog or engine_verilog(engine)
    sources = {f"{BENCH_TOP}.sv": bench_top(ENGINE_TOP, ports_of(text, ENGINE_TOP), observed), f"{ENGINE_TOP}.v": text}
    steps: list[Step] = [
        Load(stream or build_stream(engine, load_words(network, program))),
        Run([image.tobytes() for image in images], _patience(program, images)),
    ]

    def expected(image: int) -> Iterator[Writes]:
        return expected_writes(network, program, reference.taps, image)

    session = Session(sources, observed, steps, simulator=simulator, stall=stall, seed=seed, cache_dir=cache_dir)
    registers = expected_registers(engine, network, len(images), reference.saturations)
    return session.verify(expected, reference.logits, registers=registers, out_dir=out_dir, progress=progress)


def _patience(program: Program, images: NDArray[np.uint8]) -> int:
    """Return cycles after which an engine that still works on `images` hangs."""
    config = program.layout.config
    beats = images[0].size // program.layout.engine.pixel_bytes + config.num_classes
    return 2 * (len(images) + 1) * (program.image_cycles + beats * (MAX_STALL_CYCLES + 1)) + _MARGIN_CYCLES


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
    ):
        self.sources, self.probes, self.steps = sources, probes, steps
        self.simulator, self.stall, self.seed, self.cache_dir = simulator, stall, seed, cache_dir

    def verify(
        self,
        expected: Callable[[int], Iterable[Writes]],
        logits: NDArray[np.int64],
        *,
        registers: Mapping[str, int],
        out_dir: Path | None = None,
        progress: Callable[[str], None] = lambda what: None,
    ) -> CosimResult:
        """Simulate, compare, and record a waveform around the first difference.

        Parameters
        ----------
        expected : callable
            Writes of the image of a number, in the order of the hardware.
        logits : int64 [B, classes]
            Logits of each image.
        registers : mapping of str to int
            What registers must hold after the run.
        out_dir, progress
            As `run_cosim`.
        """
        progress("building the simulation; the first time takes a minute or more")
        built = self._build(waves=False)
        with scratch_folder("bivit-cosim") as folder:
            progress("simulating")
            with _followed(folder / "trace.txt", progress):
                outcomes, violations = observe(
                    built, self.steps, folder, stall=self.stall, seed=self.seed, classes=logits.shape[1]
                )
            for outcome in outcomes:
                _check_accepted(outcome)
            progress("comparing")
            comparison = Comparison(self.probes, read_trace(folder / "trace.txt", self.probes))
            found = [
                comparison.image(i, expected(i)) or _compare_logits(i, row, outcome, comparison.last_cycle)
                for i, row in enumerate(logits)
            ]
            found[-1] = found[-1] or comparison.rest(len(logits) - 1)
            mismatches = [mismatch for mismatch in found if mismatch is not None]
            check(outcome.finished or bool(mismatches), "the engine sent every logit but never raised its interrupt")
            cycles = [mismatch.cycle for mismatch in mismatches[:1]] + [violation.cycle for violation in violations[:1]]
            waveform = None
            if cycles and out_dir is not None:
                progress("recording a waveform around the first difference")
                waveform = self._record(min(cycles), folder, out_dir)
        counted = outcome.registers
        return CosimResult(
            images=len(logits),
            mismatches=len(mismatches),
            values=comparison.values + logits.size,
            first_mismatch=mismatches[0] if mismatches else None,
            cycles=counted["CYCLES"],
            array_busy=counted["ARRAY_BUSY"],
            stall_pixels=counted["STALL_PIXELS"],
            stall_logits=counted["STALL_LOGITS"],
            saturations=counted["SATURATIONS"],
            kcycles_per_s=outcome.simulated_cycles / outcome.seconds / 1000,
            simulator=f"{built.simulator.name} {built.simulator.version}",
            stall=self.stall,
            seed=self.seed,
            build_seconds=built.seconds,
            run_seconds=outcome.seconds,
            waveform=waveform,
            registers=tuple(compare_registers(registers, outcome)),
            violations=tuple(violations),
            logits=_received(outcome, logits.shape),
        )

    def _build(self, *, waves: bool) -> Build:
        return build(self.sources, BENCH_TOP, simulator=self.simulator, waves=waves, cache_dir=self.cache_dir)

    def _record(self, cycle: int, folder: Path, out_dir: Path) -> Path:
        """Simulate the same once more with waveforms, and put them into `out_dir` when they are whole."""
        built = self._build(waves=True)
        wave = folder / f"mismatch.{built.waves}"
        window = {"wave_file": wave, "wave_from": max(cycle - WAVE_BEFORE, 1)}
        window["wave_to"] = cycle + WAVE_AFTER
        plusargs = [f"+{name}={value}" for name, value in window.items()]
        simulate_steps(built, self.steps, folder, stall=self.stall, seed=self.seed, plusargs=plusargs)
        check(wave.is_file(), f"the simulation wrote no waveform; {built.folder} may be damaged, remove it")
        with whole_file(out_dir / wave.name) as partial:
            shutil.copyfile(wave, partial)
        return out_dir / wave.name


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
    beats = outcome.logits[image * len(row) : (image + 1) * len(row)]
    for label, wanted in enumerate(row):
        expected = (int(wanted), image & _TAG_MASK, int(label == len(row) - 1))
        if label >= len(beats):
            return Mismatch(image, "logits", (label,), "missing", expected[0], None, "m_axis_logits", cycle)
        value, *frame = beats[label]
        if value != expected[0]:
            return Mismatch(image, "logits", (label,), "value", expected[0], value, "m_axis_logits", cycle)
        if tuple(frame) != expected[1:]:
            return Mismatch(image, "logits", (label,), "address", expected[1:], tuple(frame), "m_axis_logits", cycle)
    return None
