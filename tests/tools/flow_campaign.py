"""Random dataflow engines, and random networks on each, one after the other without a reset: logits, cycles, registers.

``python tests/tools/flow_campaign.py --engines 25 --networks 80 --seed 1`` prints a line an engine, and the seed of
whatever is wrong: of an engine for `flow_random.random_engine`, of a network for `flow_random.trial`. Two networks
of every other engine are compared tensor by tensor as well, with their stalls by cause. With ``--streamed`` the
engines are the same, but for their weights, and in half of them what the edge reads. With ``--fewer`` they lack a
unit or two, and networks have the modes that do without. With ``--little-memory`` most embed no image before one has
left, and have a ring of pixels as small as can be, and one of streamed weights. With ``--windows`` engines have
windows, and run Swins and DeiTs (`flow_windows`).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from flow_random import Trial, random_engine, trials, with_fewer_units, with_little_memory, with_streamed_weights
from flow_windows import random_windowed, windowed_trials

from bivit.cosim import runner
from bivit.cosim.memory import BenchMemory
from bivit.cosim.monitor import BENCH_TOP, bench_top, read_trace
from bivit.cosim.run import READ_AHEAD, Case
from bivit.cosim.runner import Build, build
from bivit.cosim.scenario import Cycles, Load, Outcome, Run, Step, play, weights_at
from bivit.cosim.session import Expected
from bivit.hw.emit import engine_verilog
from bivit.hw.probes import TURN_PROBE, probes, stalls_probe
from bivit.hw.verilog_ports import ports_of
from bivit.hw.verilog_top import ENGINE_TOP
from bivit.sim.engine.loadstream import build_stream
from bivit.sim.engine.probe import Probe
from bivit.sim.errors import BivitError
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.flow.weight_stream import IMAGE_ALIGNMENT
from bivit.sim.mapping.compiled import Program
from bivit.sim.mapping.weight_image import weight_image

#: Networks of one simulation, and the pauses of the ports in one simulation after the other.
TOGETHER, PAUSES = 20, (0.0, 0.2, 0.0, 0.6)
#: Words of the memory of streamed weights, for all networks of a simulation; cycles that it is late, in one simulation
#: after the other.
MEMORY_WORDS, LATE = 1 << 18, ((1, 1), (1, 20), (20, 60), (100, 900))
#: When the last logit of each image goes into the queue.
ANSWERS = Probe("answers", "edge.done", (), "edge.done", 1, 1, False)


@dataclass(frozen=True)
class Bench:
    """An engine that is ready to be simulated, and what is observed; `ANSWERS` is the last one."""

    flow: FlowConfig
    probes: Sequence[Probe]
    build: Build


def bench_of(flow: FlowConfig, verilog: str, *, tensors: bool = False, cache_dir: Path | None = None) -> Bench:
    """The simulation of an engine; with `tensors` that of `_TracedCase`."""
    seen = [*probes(flow), TURN_PROBE, stalls_probe(flow), ANSWERS] if tensors else [ANSWERS]
    words = MEMORY_WORDS if flow.streamed else 0
    sources = {f"{BENCH_TOP}.sv": bench_top(ENGINE_TOP, ports_of(verilog, ENGINE_TOP), seen, memory_words=words)}
    return Bench(flow, seen, build(sources | {f"{ENGINE_TOP}.v": verilog}, BENCH_TOP, cache_dir=cache_dir))


@contextmanager
def quick_builds() -> Iterator[None]:
    """Have simulations compiled without optimisation: such a build takes as long as its runs, and others longer."""
    before = runner.VERILATOR_COMPILES
    runner.VERILATOR_COMPILES = (*before, "-CFLAGS", "-O0")
    try:
        yield
    finally:
        runner.VERILATOR_COMPILES = before


def steps_of(flow: FlowConfig, trials: Sequence[Trial]) -> list[Step]:
    """Load and run networks one after the other."""
    machine, steps, place = FlowMachine(flow), list[Step](), 0
    for one in trials:
        patience = 30 * one.cycles.total + 50_000
        steps += [Load(build_stream(machine, one.program.words))]
        if flow.streamed:
            steps += [*weights_at(place), *([Cycles(READ_AHEAD)] if flow.edge_streamed else [])]
            (image,) = weights_of([one])
            # Whatever the memory does, a pass takes no longer than this.
            patience += 200 * len(image) * len(one.images)
            place += len(image)
        steps += [Run([image.tobytes() for image in one.images], patience)]
    return steps


def weights_of(trials: Sequence[Trial]) -> list[bytes]:
    """The memory image of each network, as long as to where the next one may begin."""
    images = [weight_image(one.program) for one in trials]
    return [image.ljust(-(-len(image) // IMAGE_ALIGNMENT) * IMAGE_ALIGNMENT, b"\0") for image in images]


def memory_of(flow: FlowConfig, trials: Sequence[Trial], late: tuple[int, int], seed: int) -> BenchMemory | None:
    """The memory images of all networks, one behind the other."""
    if not flow.streamed:
        return None
    return BenchMemory(b"".join(weights_of(trials)), flow.memory_bits, *late, seed, edge=flow.edge_streamed)


def run_trials(bench: Bench, trials: Sequence[Trial], *, stall: float, late: tuple[int, int] = (1, 1)) -> list[str]:
    """Run networks one after the other; return what is wrong, with the seed of each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        memory = memory_of(bench.flow, trials, late, trials[0].seed)
        steps, seed = steps_of(bench.flow, trials), trials[0].seed
        outcomes = play(bench.build, steps, folder, stall=stall, seed=seed, memory=memory)
        answers = read_trace(folder / "trace.txt", bench.probes)[ANSWERS.name].cycles.tolist()
    wrong, at = [], 0
    each = len(outcomes) // len(trials)
    for one, outcome in zip(trials, outcomes[each - 1 :: each], strict=True):
        found = differences(one, outcome, stall)
        cycles, at = answers[at : at + len(one.images)], at + len(one.images)
        if not stall and not late_by(outcome) and distances(cycles) != distances(one.cycles.answered):
            found.append(f"answers {cycles}, at distances of {one.cycles.answered}")
        wrong += [f"seed {one.seed}, stall {stall}: {what}" for what in found]
    return wrong


def late_by(outcome: Outcome) -> int:
    """Cycles that a run waited for its reader, or for the memory."""
    return sum(outcome.registers.get(name, 0) for name in ("STALL_LOGITS", "STALL_MEMORY", "STALL_EDGE"))


def distances(cycles: Sequence[int]) -> list[int]:
    """Cycles between one answer and the next."""
    return [after - before for before, after in pairwise(cycles)]


def differences(one: Trial, outcome: Outcome, stall: float = 0.0) -> list[str]:
    """What a run of a trial's images answers wrongly."""
    registers = outcome.registers
    expected: dict[str, Any] = {
        "DONE": len(one.images),
        "ARRAY_BUSY": one.cycles.steps,
        "SATURATIONS": one.saturations,
        "NETWORK": one.program.settings["network"],
        "ERROR": 0,
    }
    if not stall and not late_by(outcome):
        expected["CYCLES"] = one.cycles.total
    found = [f"{name} {registers[name]} != {value}" for name, value in expected.items() if registers[name] != value]
    logits = list(outcome.logits)
    classes = one.logits.shape[1]
    right = [
        (int(logit), image, int(label == classes - 1))
        for image, row in enumerate(one.logits)
        for label, logit in enumerate(row)
    ]
    if logits != right:
        found.append(f"logits {logits[:8]} != {right[:8]}")
    return found if outcome.finished else [*found, "no interrupt"]


class _TracedCase(Case):
    """A case of a program, whose bench is the campaign's."""

    def __init__(self, program: Program, images: np.ndarray, verilog: str):
        super().__init__(program.network, program.flow, images, program=program, verilog=verilog)

    def _expected(self, *, stalls: bool) -> Expected:
        found = super()._expected(stalls=stalls)
        return replace(found, guides=(*found.guides, ANSWERS))


def compare_tensors(one: Trial, verilog: str, *, stall: float, cache_dir: Path | None = None) -> list[str]:
    """Run a trial once more, and compare every tensor and, without pauses, the stalls by cause."""
    program = one.program
    case = _TracedCase(program, one.images, verilog)
    result = case.run(stall=stall, seed=one.seed, cache_dir=cache_dir)
    found = [what for what in (result.first_mismatch, *result.registers, *result.violations) if what]
    return [f"seed {one.seed}, stall {stall}: {what}" for what in found]


def campaign(
    flow: FlowConfig,
    seed: int,
    networks: int,
    *,
    tensors: bool,
    cache_dir: Path | None = None,
    draw: Callable[[FlowConfig, int, int], Sequence[Trial]] = trials,
) -> tuple[int, int, list[str]]:
    """Run networks of these seeds on an engine; return how many there were, their images, and what is wrong."""
    found = draw(flow, seed, networks)
    if not found:
        return 0, 0, []
    verilog = engine_verilog(flow)
    bench = bench_of(flow, verilog, tensors=tensors, cache_dir=cache_dir)
    wrong: list[str] = []
    for number, at in enumerate(range(0, len(found), TOGETHER)):
        some = found[at : at + TOGETHER]
        try:
            wrong += run_trials(bench, some, stall=PAUSES[number % len(PAUSES)], late=LATE[number % len(LATE)])
        except BivitError as error:
            wrong.append(f"seeds {some[0].seed} to {some[-1].seed}: {error}")
    for one, stall in zip(found[-2:] if tensors else [], (0.0, 0.4), strict=False):
        wrong += compare_tensors(one, verilog, stall=stall, cache_dir=cache_dir)
    return len(found), sum(len(one.images) for one in found), wrong


def main() -> int:
    """Run campaigns as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", type=int, default=25)
    parser.add_argument("--networks", type=int, default=80, help="of each engine")
    parser.add_argument("--seed", type=int, default=1, help="engines have the seeds 1000 * SEED and on")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--streamed", action="store_true", help="weights come from a memory that is late at random")
    parser.add_argument("--fewer", action="store_true", help="engines without HeadNorm, softmax, or both")
    parser.add_argument("--little-memory", action="store_true", help="engines with fewer banks of x, and of pixels")
    parser.add_argument("--windows", action="store_true", help="engines with windows, and Swins and DeiTs on them")
    asked = parser.parse_args()
    totals = [0, 0, 0]
    for seed in range(1000 * asked.seed, 1000 * asked.seed + asked.engines):
        began, draw = time.perf_counter(), trials
        if asked.windows:
            flow, configs = random_windowed(Random(seed))
            draw = partial(windowed_trials, configs)
        else:
            flow, configs = random_engine(Random(seed)), ()
            flow = with_fewer_units(flow, Random(-seed)) if asked.fewer else flow
        if asked.streamed:
            flow = with_streamed_weights(flow, Random(-seed), configs)
        if asked.little_memory:
            flow = with_little_memory(flow, Random(-seed))
        with quick_builds():
            *counts, wrong = campaign(
                flow, 1_000_000 * seed, asked.networks, tensors=seed % 2 == 0, cache_dir=asked.cache, draw=draw
            )
        totals = [total + more for total, more in zip(totals, [*counts, len(wrong)], strict=True)]
        shape = f"{flow.engine.rows} x {flow.engine.columns}, {flow.images} in flight"
        took = f"{time.perf_counter() - began:.0f} s"
        line = f"engine {seed} ({shape}): {counts[0]} networks, {counts[1]} images, {len(wrong)} differences, {took}"
        print(line, *wrong[:5], sep="\n  ", flush=True)
    print(f"{totals[0]} networks, {totals[1]} images, {totals[2]} differences")
    return int(totals[2] > 0)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
