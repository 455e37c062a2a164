"""Co-simulation of whole images: an engine's Verilog behind its bus ports against the reference, tap by tap."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..hw.emit import engine_verilog
from ..hw.probes import Probe, probes
from ..hw.verilog_top import ENGINE_TOP
from ..sim.engine.config import EngineConfig
from ..sim.engine.loadstream import Sections, build_stream
from ..sim.engine.target import Target
from ..sim.errors import check
from ..sim.network.network import IntNetwork
from ..sim.network.run_result import check_images
from ..sim.network.taps import taps_of
from ..sim.program.compiler import Program, compile_network
from ..sim.program.cycles import CycleEstimate, estimate_cycles
from ..sim.program.expected import Writes, expected_writes
from ..sim.program.load_words import load_words
from ..sim.reference.run import run_reference
from .bench import MAX_STALL_CYCLES
from .monitor import BENCH_TOP, bench_top, ports_of
from .register_check import expected_registers
from .scenario import Load, Run, Step
from .session import CosimResult, Expected, Session, Traces

#: Patience on top of what the program and the longest stalls take.
_MARGIN_CYCLES = 20_000


def _quiet(what: str) -> None:
    """Say nothing."""


class BaseCase(ABC):
    """A network, an engine and images, with all that does not depend on how the ports stall: made once, run often.

    A subclass is a kind of engine.

    Parameters
    ----------
    network : IntNetwork
        The reference; also what is loaded.
    target : Target
        Engine to simulate.
    images : uint8 [B, img_size, img_size, in_chans]
        At least one.
    verilog, stream : str, bytes, optional
        Verilog and load stream in place of those of the engine and `network`, for tests that plant faults.
    progress : callable
        Told in a few words what is being done.

    Attributes
    ----------
    reference : RunResult
        Of the images, with all taps.
    words : Words
        What each memory holds.
    stream : bytes
        What is loaded.
    verilog : str
    generate_seconds : float
        Time for the Verilog, which is short where it was in the cache.

    Raises
    ------
    BivitError
        When an input does not fit.
    """

    #: Images that the engine works on at a time.
    in_flight = 1

    def __init__(
        self,
        network: IntNetwork,
        target: Target,
        images: NDArray[np.uint8],
        *,
        verilog: str | None,
        stream: bytes | None,
        progress: Callable[[str], None],
    ):
        check(len(images) > 0, "co-simulation needs at least one image, got 0; choose a positive number of images")
        check_images(images, network.config)
        self.network, self.target, self.images = network, target, images
        progress("compiling the network")
        self.words = self._compile()
        self.stream = stream or build_stream(target, self.words)
        progress("converting the engine to Verilog; the first time takes a while")
        begun = time.perf_counter()
        self.verilog = verilog or self._convert()
        self.generate_seconds = time.perf_counter() - begun
        progress("running the reference; the first time its kernels are compiled")
        self.reference = run_reference(network, images, taps="all")

    @property
    @abstractmethod
    def estimate(self) -> CycleEstimate:
        """Cycles that the run takes with streams that never stall."""

    @property
    @abstractmethod
    def probes(self) -> list[Probe]:
        """What is compared."""

    @abstractmethod
    def _compile(self) -> Sections:
        """Return what each memory holds."""

    @abstractmethod
    def _convert(self) -> str:
        """Return the engine's Verilog."""

    @abstractmethod
    def _expected(self, *, stalls: bool) -> Expected:
        """Return what a run must do whose ports stall, or never do."""

    @abstractmethod
    def _image_cycles(self) -> int:
        """Return the cycles that an image takes at most."""

    def run(
        self,
        *,
        simulator: str = "verilator",
        stall: float = 0.2,
        seed: int = 0,
        out_dir: Path | None = None,
        cache_dir: Path | None = None,
        progress: Callable[[str], None] = _quiet,
    ) -> CosimResult:
        """Simulate the images once and compare everything; parameters are those of `run_cosim`.

        Parameters
        ----------
        simulator : {"verilator", "icarus"}
        stall, seed : float, int
        out_dir, cache_dir : Path, optional
        progress : callable

        Raises
        ------
        BivitError
            When the simulator is missing, or the engine refuses to load or to start.
        """
        expected, ports = self._expected(stalls=stall > 0), ports_of(self.verilog, ENGINE_TOP)
        top = bench_top(ENGINE_TOP, ports, [*self.probes, *expected.guides])
        sources = {f"{BENCH_TOP}.sv": top, f"{ENGINE_TOP}.v": self.verilog}
        steps: list[Step] = [Load(self.stream), Run([image.tobytes() for image in self.images], self._patience())]
        session = Session(sources, self.probes, steps, simulator=simulator, stall=stall, seed=seed, cache_dir=cache_dir)
        return session.verify(expected, out_dir=out_dir, progress=progress)

    @property
    def _registers(self) -> dict[str, int]:
        """What registers must hold after the run."""
        return expected_registers(self.target, self.network, len(self.images), self.reference.saturations)

    @property
    def _axes(self) -> dict[str, tuple[str, ...]]:
        """Axes of the taps."""
        return {tap.name: tap.axes for tap in taps_of(self.network.config)}

    def _patience(self) -> int:
        """Return cycles after which an engine that still works on the images hangs."""
        classes = self.reference.logits.shape[1]
        beats = self.images[0].size // self.target.pixel_bytes + classes
        an_image = self._image_cycles() + beats * (MAX_STALL_CYCLES + 1)
        return 2 * (len(self.images) + 1) * an_image + _MARGIN_CYCLES


class Case(BaseCase):
    """A case on an engine that goes through a program.

    Parameters
    ----------
    network : IntNetwork
    engine : EngineConfig
        Engine to simulate.
    images : uint8 [B, img_size, img_size, in_chans]
    verilog, stream, progress
        As of `BaseCase`.

    Attributes
    ----------
    program : Program
    """

    program: Program

    def __init__(
        self,
        network: IntNetwork,
        engine: EngineConfig,
        images: NDArray[np.uint8],
        *,
        verilog: str | None = None,
        stream: bytes | None = None,
        progress: Callable[[str], None] = _quiet,
    ):
        self.engine = engine
        super().__init__(network, engine, images, verilog=verilog, stream=stream, progress=progress)

    @cached_property
    def estimate(self) -> CycleEstimate:
        """Cycles that the run takes with streams that never stall."""
        return estimate_cycles(self.program, len(self.images))

    @property
    def probes(self) -> list[Probe]:
        """What is compared."""
        return probes(self.engine)

    def _compile(self) -> Sections:
        self.program = compile_network(self.network, self.engine)
        return load_words(self.network, self.program)

    def _convert(self) -> str:
        return engine_verilog(self.engine)

    def _expected(self, *, stalls: bool) -> Expected:
        def writes(traces: Traces) -> Iterator[tuple[int, Writes]]:
            for image in range(len(self.images)):
                for each in expected_writes(self.network, self.program, self.reference.taps, image):
                    yield image, each

        return Expected(writes, self.reference.logits, self._registers, self._axes)

    def _image_cycles(self) -> int:
        return self.program.image_cycles


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
    progress: Callable[[str], None] = _quiet,
) -> CosimResult:
    """Run images through an engine's Verilog and compare every tap, logit and register with the reference.

    Several runs of the same images are faster as a `Case`.

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
    case = Case(network, engine, images, verilog=verilog, stream=stream, progress=progress)
    return case.run(
        simulator=simulator, stall=stall, seed=seed, out_dir=out_dir, cache_dir=cache_dir, progress=progress
    )
