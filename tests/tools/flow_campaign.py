"""Random dataflow engines, and random networks on each, one after the other without a reset: logits, cycles, registers.

``python tests/tools/flow_campaign.py --engines 10 --networks 200 --seed 1`` prints a line an engine, and the seed of
whatever is wrong; in the tests a few networks run on one engine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from extremes import ENDS, extreme_network, tied_network
from shapes import TINY, random_images

from bivit.cosim.monitor import BENCH_TOP, bench_top, ports_of
from bivit.cosim.runner import Build, build
from bivit.cosim.scenario import Load, Outcome, Run, Step, play
from bivit.hw.convert import verilog_text
from bivit.hw.engine import Engine
from bivit.hw.verilog_text import compact
from bivit.hw.verilog_top import ENGINE_TOP, lint_pragmas
from bivit.sim.engine.loadstream import build_stream
from bivit.sim.engine.presets import engine_for
from bivit.sim.errors import BivitError
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.flow.streams import Stream, TileShape
from bivit.sim.flow.table import GRAIN, Places, SlotTable, slot_table
from bivit.sim.mapping.program import FlowProgram
from bivit.sim.mapping.shipped import sought
from bivit.sim.network.config import ViTConfig
from bivit.sim.network.network import IntNetwork
from bivit.sim.network.random import random_network
from bivit.sim.reference.run import run_reference

#: Networks of one simulation.
TOGETHER = 25


def random_engine(chance: Random) -> FlowConfig:
    """A small engine: rows, columns, lanes and rings of any size."""
    columns = chance.choice((8, 8, 16))
    rows = chance.randint(1, 5)
    largest = replace(
        TINY, img_size=8, embed_dim=48, num_heads=3, depth=3, num_classes=11, class_token=True, dist_token=True,
        pool="token", in_chans=2,
    )  # fmt: skip
    engine = engine_for(
        largest,
        rows=rows,
        columns=columns,
        lanes=8,
        dense_lanes=8,
        program_words=256,
        pixel_bytes=chance.choice((1, 2)),
        fabric=chance.choice(("lut6", "lut4")),
    )
    drain = chance.randint(1, rows)
    sides = [side for side in range(1, drain + 1) if drain % side == 0]

    def lanes(most: int = 1 << 10) -> int:
        parts = [columns // part for part in (1, 2, 4)] + [columns * side for side in sides]
        return chance.choice([count for count in parts if count <= most])

    slots = {f"{name}_slots": chance.randint(2, 5) for name in ("residual", "head", "score", "attention", "norm")}
    slots |= {f"{name}_slots": chance.randint(2, 5) for name in ("context", "hidden", "staging")}
    return FlowConfig(
        engine=engine,
        drain_rows=drain,
        norm_lanes=lanes(),
        head_norm_lanes=lanes(64),
        softmax_lanes=lanes(),
        value_rows=chance.choice((1, 2)),
        images=chance.randint(1, 3),
        dense_patches=chance.randint(1, 3),
        **slots,
    )


def random_config(chance: Random) -> ViTConfig:
    """A network of any mode, with sizes that fill nothing evenly."""
    heads = chance.randint(1, 3)
    head = chance.choice([inner for inner in (8, 16, 24, 40) if heads * inner <= 48])
    prefix = chance.choice(({}, {"class_token": True}, {"class_token": True, "dist_token": True}))
    return replace(
        TINY,
        img_size=chance.choice((4, 6, 8)),
        in_chans=chance.choice((1, 2)),
        embed_dim=heads * head,
        num_heads=heads,
        depth=chance.randint(1, 3),
        num_classes=chance.choice((2, 3, 11)),
        mlp_ratio=chance.choice((1.0, 2.0)),
        norm_mode=chance.choice(("layernorm", "mean")),
        qk_mode=chance.choice(("layernorm", "threshold")),
        attn_mode=chance.choice(("softmax", "score")),
        pool="token" if prefix else "mean",
        **prefix,
    )


def random_parameters(config: ViTConfig, chance: Random) -> IntNetwork:
    """Parameters as of a trained network, with ties, or at the ends of their ranges."""
    seed, kind = chance.randrange(1 << 30), chance.randrange(4)
    if kind == 0:
        return extreme_network(config, chance.choice(ENDS), seed)
    found = random_network(config, seed=seed)
    return tied_network(found, seed) if kind == 1 else found


def spread_table(shape: TileShape, chance: Random) -> SlotTable:
    """A table in which streams begin one behind the other, at any distance that needs few slots."""
    tile = GRAIN * shape.tile_steps
    distance = chance.choice((2, 4, 5))  # tenths of a tile
    phase = {stream: number * tile * distance // 10 for number, stream in enumerate(Stream)}
    return slot_table(shape, Places(phase, dict.fromkeys(Stream, max(1, tile * (distance * 10 - 3) // 100)), {}))


@dataclass(frozen=True)
class Trial:
    """A network with its images and table, and what must come."""

    program: FlowProgram
    images: np.ndarray
    logits: np.ndarray
    cycles: int
    steps: int
    saturations: int


def trial(flow: FlowConfig, seed: int) -> Trial | None:
    """The trial of a seed, or none where the network does not fit or the table locks up with rings this small."""
    chance = Random(seed)
    config = random_config(chance)
    try:
        network = random_parameters(config, chance)
        shape = TileShape(config, flow.engine.rows, flow.engine.columns)
        # With one image in flight, scores wait for all tiles of a block: its table is a block long.
        table = spread_table(shape, chance) if flow.images > 1 else sought(config, flow, tries=0)
        program = FlowProgram(network, flow, table)
        images = random_images(config, chance.randint(1, 6))
        cycles = program.cycles(len(images))
        assert program.words
    except (BivitError, AssertionError):
        return None
    found = run_reference(network, images, threads=1)
    return Trial(program, images, found.logits, cycles.total, cycles.steps, found.saturations)


def engine_build(flow: FlowConfig, cache_dir: Path | None = None) -> Build:
    """The simulation of an engine."""
    verilog = lint_pragmas() + compact(verilog_text(Engine(flow), ENGINE_TOP, None))
    top = bench_top(ENGINE_TOP, ports_of(verilog, ENGINE_TOP), [])
    return build({f"{BENCH_TOP}.sv": top, f"{ENGINE_TOP}.v": verilog}, BENCH_TOP, cache_dir=cache_dir)


def run_trials(flow: FlowConfig, built: Build, trials: list[tuple[int, Trial]], *, stall: float) -> list[str]:
    """Run networks one after the other; return what is wrong, with the seed of each."""
    steps: list[Step] = []
    machine = FlowMachine(flow)
    for _, one in trials:
        patience = 30 * one.cycles + 50_000
        steps += [Load(build_stream(machine, one.program.words))]
        steps += [Run([image.tobytes() for image in one.images], patience)]
    with tempfile.TemporaryDirectory() as folder:
        outcomes = play(built, steps, Path(folder), stall=stall, seed=trials[0][0])
    wrong = []
    for (seed, one), outcome in zip(trials, outcomes[1::2], strict=True):
        wrong += [f"seed {seed}, stall {stall}: {what}" for what in _differences(one, outcome, stall)]
    return wrong


def _differences(one: Trial, outcome: Outcome, stall: float) -> list[str]:
    registers = outcome.registers
    expected: dict[str, Any] = {"DONE": len(one.images), "ARRAY_BUSY": one.steps, "SATURATIONS": one.saturations}
    if not stall:
        expected["CYCLES"] = one.cycles
    found = [f"{name} {registers[name]} != {value}" for name, value in expected.items() if registers[name] != value]
    logits = [value for value, _, _ in outcome.logits]
    if logits != one.logits.reshape(-1).tolist():
        found.append(f"logits {logits[:8]} != {one.logits.reshape(-1)[:8].tolist()}")
    return found if outcome.finished else [*found, "no interrupt"]


def campaign(flow: FlowConfig, seeds: range, *, cache_dir: Path | None = None) -> tuple[int, list[str]]:
    """Run the networks of these seeds on an engine; return how many there were, and what is wrong."""
    built = engine_build(flow, cache_dir)
    trials = [(seed, found) for seed in seeds if (found := trial(flow, seed)) is not None]
    wrong: list[str] = []
    for at in range(0, len(trials), TOGETHER):
        # Pauses of the ports, for two thirds of the networks.
        stall = (0.0, 0.2, 0.6)[at // TOGETHER % 3]
        wrong += run_trials(flow, built, trials[at : at + TOGETHER], stall=stall)
    return len(trials), wrong


def main() -> int:
    """Run campaigns as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", type=int, default=10)
    parser.add_argument("--networks", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cache", type=Path)
    asked = parser.parse_args()
    failed = False
    for number in range(asked.engines):
        seed = 1000 * asked.seed + number
        flow = random_engine(Random(seed))
        count, wrong = campaign(flow, range(1_000_000 * seed, 1_000_000 * seed + asked.networks), cache_dir=asked.cache)
        failed = failed or bool(wrong)
        print(f"engine of seed {seed}: {count} networks, {len(wrong)} differences", *wrong[:5], sep="\n  ", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
