"""Co-simulation of whole images: an engine's Verilog behind its bus ports against the reference, tap by tap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..hw.emit import engine_verilog
from ..hw.probes import probes
from ..hw.verilog_top import ENGINE_TOP
from ..sim.engine.config import EngineConfig
from ..sim.engine.loadstream import build_stream
from ..sim.errors import check
from ..sim.network.network import IntNetwork
from ..sim.network.run_result import check_images
from ..sim.network.taps import taps_of
from ..sim.program.compiler import compile_network
from ..sim.program.cycles import CycleEstimate, estimate_cycles
from ..sim.program.expected import Writes, expected_writes
from ..sim.program.load_words import load_words
from ..sim.reference.run import run_reference
from .bench import MAX_STALL_CYCLES
from .monitor import BENCH_TOP, bench_top, ports_of
from .register_check import expected_registers
from .scenario import Load, Run, Step
from .session import CosimResult, Expected, Session

#: Patience on top of what the program and the longest stalls take.
_MARGIN_CYCLES = 20_000


def _quiet(what: str) -> None:
    """Say nothing."""


class Case:
    """A network, an engine and images, with all that does not depend on how the ports stall: made once, run often.

    Parameters
    ----------
    network : IntNetwork
        The reference; also what is loaded.
    engine : EngineConfig
        Engine to simulate.
    images : uint8 [B, img_size, img_size, in_chans]
        At least one.
    verilog, stream : str, bytes, optional
        Verilog and load stream in place of those of `engine` and `network`, for tests that plant faults.
    progress : callable
        Told in a few words what is being done.

    Attributes
    ----------
    reference : RunResult
        Of the images, with all taps.
    program : Program
    words : Words
        What each memory holds.
    stream : bytes
        What is loaded.
    verilog : str

    Raises
    ------
    BivitError
        When an input does not fit.
    """

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
        check(len(images) > 0, "co-simulation needs at least one image, got 0; choose a positive number of images")
        check_images(images, network.config)
        self.network, self.engine, self.images = network, engine, images
        progress("compiling the network")
        self.program = compile_network(network, engine)
        self.words = load_words(network, self.program)
        self.stream = stream or build_stream(engine, self.words)
        progress("converting the engine to Verilog; the first time takes a while")
        self.verilog = verilog or engine_verilog(engine)
        progress("running the reference; the first time its kernels are compiled")
        self.reference = run_reference(network, images, taps="all")

    @cached_property
    def estimate(self) -> CycleEstimate:
        """Cycles that the run takes with streams that never stall."""
        return estimate_cycles(self.program, len(self.images))

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
        observed = probes(self.engine)
        ports = ports_of(self.verilog, ENGINE_TOP)
        sources = {f"{BENCH_TOP}.sv": bench_top(ENGINE_TOP, ports, observed), f"{ENGINE_TOP}.v": self.verilog}
        steps: list[Step] = [Load(self.stream), Run([image.tobytes() for image in self.images], self._patience())]
        session = Session(sources, observed, steps, simulator=simulator, stall=stall, seed=seed, cache_dir=cache_dir)
        return session.verify(self._expected(), out_dir=out_dir, progress=progress)

    def _expected(self) -> Expected:
        def writes(image: int) -> Iterator[Writes]:
            return expected_writes(self.network, self.program, self.reference.taps, image)

        registers = expected_registers(self.engine, self.network, len(self.images), self.reference.saturations)
        axes = {tap.name: tap.axes for tap in taps_of(self.network.config)}
        return Expected(writes, self.reference.logits, registers, axes)

    def _patience(self) -> int:
        """Return cycles after which an engine that still works on the images hangs."""
        layout = self.program.layout
        beats = self.images[0].size // layout.engine.pixel_bytes + layout.config.num_classes
        an_image = self.program.image_cycles + beats * (MAX_STALL_CYCLES + 1)
        return 2 * (len(self.images) + 1) * an_image + _MARGIN_CYCLES


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
