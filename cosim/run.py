"""Co-simulation of whole images: an engine's Verilog behind its bus ports against the reference, tap by tap."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..hw.emit import engine_verilog
from ..hw.probes import TURN_PROBE, pass_probe, probes, stalls_probe
from ..hw.verilog_ports import ports_of
from ..hw.verilog_top import ENGINE_TOP
from ..sim.engine.loadstream import build_stream
from ..sim.engine.probe import Probe
from ..sim.errors import check
from ..sim.flow.config import FlowConfig
from ..sim.flow.machine import FlowMachine
from ..sim.flow.table import SlotTable
from ..sim.mapping import expected as made_by
from ..sim.mapping.compiled import Program, compile_for
from ..sim.mapping.cycles import CycleEstimate, estimate_cycles, interval_of
from ..sim.mapping.loads import memory_bytes
from ..sim.mapping.pass_program import PassProgram
from ..sim.mapping.weight_image import weight_image
from ..sim.network.network import IntNetwork
from ..sim.network.run_result import check_images
from ..sim.network.taps import taps_of
from ..sim.reference.run import run_reference
from ..sim.timing.replay_state import causes_of
from .bench import MAX_STALL_CYCLES
from .compare import Writes
from .memory import BenchMemory
from .monitor import BENCH_TOP, bench_top
from .order import order
from .pass_writes import pass_writes
from .register_check import expected_registers
from .scenario import Cycles, Load, Run, weights_at
from .session import CosimResult, Expected, Session, Traces
from .stalls import counted_stalls, stalls_of_passes
from .writes import FlowWrites

#: Patience on top of what the program and the longest stalls take.
_MARGIN_CYCLES = 20_000
#: Cycles that a memory has before a run for what the edge takes at once, as in most systems.
READ_AHEAD = 5_000


def _quiet(what: str) -> None:
    """Say nothing."""


class Case:
    """A network, an engine and images, with all that does not depend on how the ports stall: made once, run often.

    Every named tensor is compared with stalls of the ports as well: operations come in the order of the slot table, and
    which turn of a lane takes the next image, the only thing that depends on when pixels come, is read off the engine.
    Cycles and stalls by cause are compared where no port stalls.

    Parameters
    ----------
    network : IntNetwork
        The reference; also what is loaded.
    engine : FlowConfig
        Engine to simulate.
    images : uint8 [B, img_size, img_size, in_chans]
        At least one.
    table : SlotTable, optional
        In place of the one that is shipped, or sought.
    program : Program, optional
        In place of what the network is compiled to.
    verilog, stream : str, bytes, optional
        Verilog and load stream in place of those of the engine and `network`, for tests that plant faults.
    memory_latency : (int, int)
        Of streamed weights: cycles from a request to its first beat, least and most; see `BenchMemory`.
    progress : callable
        Told in a few words what is being done.

    Attributes
    ----------
    program : Program
    reference : RunResult
        Of the images, with all taps.
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

    def __init__(
        self,
        network: IntNetwork,
        engine: FlowConfig,
        images: NDArray[np.uint8],
        *,
        table: SlotTable | None = None,
        program: Program | None = None,
        verilog: str | None = None,
        stream: bytes | None = None,
        memory_latency: tuple[int, int] = (1, 1),
        progress: Callable[[str], None] = _quiet,
    ):
        check(len(images) > 0, "co-simulation needs at least one image, got 0; choose a positive number of images")
        check_images(images, network.config)
        self.network, self.engine, self.images = network, engine, images
        self.machine = FlowMachine(engine)
        progress("compiling the network")
        self.program: Program = program or compile_for(network, engine, table)
        self.stream = stream or build_stream(self.machine, self.program.words)
        self.memory = self._memory(memory_latency)
        progress("converting the engine to Verilog; the first time takes a while")
        begun = time.perf_counter()
        self.verilog = verilog or engine_verilog(engine)
        self.generate_seconds = time.perf_counter() - begun
        progress("running the reference; the first time its kernels are compiled")
        self.reference = run_reference(network, images, taps="all")

    def _memory(self, latency: tuple[int, int]) -> BenchMemory | None:
        """Return the memory of the weights, where these are streamed."""
        if not self.engine.streamed:
            return None
        edge = self.engine.edge_streamed
        return BenchMemory(weight_image(self.program), self.engine.memory_bits, *latency, edge=edge)

    @property
    def memory_bytes(self) -> float | None:
        """Bytes a cycle that streamed weights take of the memory in a long run; None where they are resident."""
        if self.memory is None:
            return None
        return memory_bytes(self.network.config, self.engine) / interval_of(self.program)

    @property
    def in_flight(self) -> int:
        """Images that the engine works on at a time."""
        return self.engine.together

    @cached_property
    def estimate(self) -> CycleEstimate:
        """Cycles that the run takes with streams that never stall, and what the array waits for."""
        return estimate_cycles(self.program, len(self.images))

    @property
    def probes(self) -> list[Probe]:
        """What is compared."""
        return probes(self.engine)

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
        words = self.memory.words if self.memory else 0
        top = bench_top(ENGINE_TOP, ports, [*self.probes, *expected.guides], memory_words=words)
        sources = {f"{BENCH_TOP}.sv": top, f"{ENGINE_TOP}.v": self.verilog}
        base = weights_at() if self.memory else []
        base += [Cycles(READ_AHEAD)] if self.engine.edge_streamed else []
        run = Run([image.tobytes() for image in self.images], self._patience())
        session = Session(
            *(sources, self.probes, [Load(self.stream), *base, run]),
            simulator=simulator,
            stall=stall,
            seed=seed,
            cache_dir=cache_dir,
            memory=replace(self.memory, seed=seed) if self.memory else None,
        )
        return session.verify(expected, out_dir=out_dir, progress=progress)

    def _expected(self, *, stalls: bool) -> Expected:
        """Return what a run must do whose ports stall, or never do."""
        guide = stalls_probe(self.engine)
        registers = expected_registers(self.machine, self.network, len(self.images), self.reference.saturations)
        return Expected(
            self._writes,
            self.reference.logits,
            {**registers, "ARRAY_BUSY": self.estimate.array_busy},
            {tap.name: tap.axes for tap in taps_of(self.network.config)},
            guides=(TURN_PROBE, guide, *((pass_probe(self.engine),) if self.engine.windows else ())),
            counters=self._counters(guide),
            counted={} if stalls else self.estimate.stalls,
        )

    def _counters(self, guide: Probe) -> Callable[[Traces], Mapping[str, int]]:
        """Return what counts cycles without a step."""
        causes = causes_of(self.engine.streamed)
        if self.engine.windows:
            return partial(stalls_of_passes, guide, pass_probe(self.engine), causes)
        return partial(counted_stalls, guide, causes)

    def _writes(self, traces: Traces) -> Iterator[tuple[int, Writes]]:
        """Yield what is written for which image, by what lanes took when."""
        if isinstance(self.program, PassProgram):
            return pass_writes(self.program, len(self.images), self.reference.taps, traces)
        made = made_by.Expected.of(self.network, self.engine, self.reference.taps)
        taken = [bool(follows) for follows in traces[TURN_PROBE.name].keys[:, 0]]
        return FlowWrites(made).all(order(self.program, len(self.images), taken))

    def _patience(self) -> int:
        """Return cycles after which an engine that still works on the images hangs."""
        classes = self.reference.logits.shape[1]
        beats = self.images[0].size // self.engine.engine.pixel_bytes + classes
        an_image = self.estimate.cycles + beats * (MAX_STALL_CYCLES + 1)
        return 2 * (len(self.images) + 1) * an_image + _MARGIN_CYCLES


def run_cosim(
    network: IntNetwork,
    engine: FlowConfig,
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
    engine : FlowConfig
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
