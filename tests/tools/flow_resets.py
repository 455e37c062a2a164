"""Resets and stops at random cycles of a dataflow engine's runs, each followed by a correct image.

``python tests/tools/flow_resets.py --seed 1 --count 100`` plays them on one random engine that is built for them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from random import Random

from flow_campaign import Bench, bench_of, differences, memory_of, quick_builds, weights_of
from flow_random import Trial, random_engine, trials, with_streamed_weights
from flow_windows import random_windowed, windowed_trials

from bivit.cosim.memory import BenchMemory
from bivit.cosim.scenario import Cycles, Load, Outcome, Queue, Reset, Run, Start, Step, Wait, Write, play, weights_at
from bivit.hw.emit import engine_verilog
from bivit.sim.engine.loadstream import build_stream
from bivit.sim.engine.registers import BY_NAME
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.reference.run import run_reference

_STOP, _IRQ_ENABLE = (BY_NAME["CONTROL"].field(name).mask for name in ("stop", "irq_enable"))
#: What is cut off: a load, a run by a reset, a run by CONTROL.stop, behind which the network is still there.
KINDS = ("load", "run", "stop")


@dataclass(frozen=True)
class Cut:
    """One trial that is cut off at a cycle: the steps of it, then of the image behind it; `place` of its weights."""

    kind: str
    trial: Trial
    stream: bytes
    cycle: int
    place: int = 0

    @property
    def steps(self) -> list[Step]:
        """Steps; those that answer are the last one and, of a stop, the one before."""
        images = [image.tobytes() for image in self.trial.images]
        patience = 30 * self.trial.cycles.total + 50_000
        load: list[Step] = [Load(self.stream)]
        load += weights_at(self.place) if self.trial.program.flow.streamed else []
        last = Run([images[0]], patience)
        if self.kind == "load":
            return [Load(self.stream, wait=False), Cycles(self.cycle), Reset(), *load, last]
        if self.kind == "run":
            return [*load, Run(images, patience, reset_after=self.cycle), *load, last]
        stop = Write("CONTROL", _STOP | _IRQ_ENABLE)
        wait = Wait(patience)
        return [
            Reset(),
            *load,
            Queue(images),
            Start(len(images) + 1),  # so that nothing but the stop ends it
            Cycles(self.cycle),
            stop,
            wait,
            replace(last, count=1),
        ]

    def wrong(self, outcomes: Sequence[Outcome]) -> list[str]:
        """What is wrong with the answers to the steps."""
        *_, before, after = outcomes
        if self.kind != "stop":
            return differences(of_images(self.trial, [0]), after)
        size = self.trial.images[0].size // self.trial.program.flow.engine.pixel_bytes
        done, taken = before.registers["DONE"], -(-before.pixel_beats // size)
        found = [f"error {before.registers['ERROR']}"] * (before.registers["ERROR"] != 0)
        found += ["no interrupt"] * (not before.finished) + ["taken images are lost"] * (not taken - 1 <= done <= taken)
        whole = [int(logit) for row in self.trial.logits[:done] for logit in row]
        found += ["logits before the stop"] * ([value for value, _, _ in before.logits] != whole)
        # The next image is the first one that the stop left in the queue, and behind all of them comes image 0.
        return found + differences(of_images(self.trial, [taken % len(self.trial.images)]), after)


def of_images(one: Trial, numbers: Sequence[int]) -> Trial:
    """The trial with some of its images only."""
    images = one.images[list(numbers)]
    found = run_reference(one.program.network, images, threads=1)
    cycles = one.program.cycles(len(images))
    return replace(one, images=images, logits=found.logits, cycles=cycles, saturations=found.saturations)


def random_cuts(flow: FlowConfig, some: Sequence[Trial], chance: Random, count: int) -> list[Cut]:
    """So many cuts of every kind, each at a cycle that is anywhere in what it cuts off."""
    cuts, machine = [], FlowMachine(flow)
    sizes = [len(image) for image in weights_of(some)] if flow.streamed else []
    places = dict(zip((one.seed for one in some), accumulate(sizes, initial=0), strict=False))
    for number in range(count):
        one, kind = chance.choice(some), KINDS[number % len(KINDS)]
        stream = build_stream(machine, one.program.words)
        place = places[one.seed] if flow.streamed else 0
        most = len(stream) // 8 if kind == "load" else one.cycles.total
        cuts.append(Cut(kind, one, stream, chance.randint(1, most), place))
    return cuts


def play_cuts(bench: Bench, cuts: Sequence[Cut], *, seed: int, memory: BenchMemory | None = None) -> list[str]:
    """Play cuts one after the other; return what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        steps = [step for cut in cuts for step in cut.steps]
        outcomes = iter(play(bench.build, steps, Path(folder), seed=seed, memory=memory))
    wrong = []
    for number, cut in enumerate(cuts):
        found = cut.wrong([next(outcomes) for _ in cut.steps])
        wrong += [f"{number}: {cut.kind} of {cut.trial.seed} cut at {cut.cycle}: {what}" for what in found]
    return wrong


def main() -> int:
    """Play as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the engine and of all cuts")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--streamed", action="store_true", help="weights come from a memory that is late at random")
    parser.add_argument("--windows", action="store_true", help="an engine with windows: runs are cut off in mid-pass")
    asked = parser.parse_args()
    if asked.windows:
        flow, configs = random_windowed(Random(asked.seed))
        draw = partial(windowed_trials, configs)
    else:
        flow, draw, configs = random_engine(Random(asked.seed)), trials, ()
    flow = with_streamed_weights(flow, Random(-asked.seed), configs) if asked.streamed else flow
    some = draw(flow, 1_000_000 * asked.seed, 10)
    cuts = random_cuts(flow, some, Random(asked.seed), asked.count)
    with quick_builds():
        bench = bench_of(flow, engine_verilog(flow), cache_dir=asked.cache)
    memory = memory_of(flow, some, (20, 200), asked.seed)
    wrong = play_cuts(bench, cuts, seed=asked.seed, memory=memory)
    print(f"engine of seed {asked.seed}: {dict(Counter(cut.kind for cut in cuts))}, {len(wrong)} differences", *wrong)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
