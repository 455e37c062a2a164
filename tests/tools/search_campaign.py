"""Engines at random against `bivit explore`: is one that fits the device faster than the one that it chose?

``python tests/tools/search_campaign.py --points 10000 --seed 1 --out docs/searches.json`` prints a line a network and
target, and keeps all of them for docs/accuracy.md. Every width of an engine is drawn from all that are legal, not from
those that the search considers. Loads are a bound of the speed; the engines whose loads allow more than the engine that
was chosen has are compiled, the fastest by its loads first, and their exact interval compared.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from bivit.hw.accuracy.searches import Search
from bivit.sim.errors import BivitError
from bivit.sim.estimate.choice import too_small
from bivit.sim.estimate.devices import Device
from bivit.sim.estimate.devices import device as device_of
from bivit.sim.explore.aim import Aim
from bivit.sim.explore.exact import tried
from bivit.sim.explore.points import Point, could_spread, point_of, spread
from bivit.sim.explore.search import explore
from bivit.sim.explore.sizing import COLUMNS, MOST_ROWS, Wish, dense_choices, lane_choices, smallest
from bivit.sim.flow.config import MEMORY_BITS, FlowConfig
from bivit.sim.mapping.loads import loads_of, with_memory
from bivit.sim.network.config import ViTConfig
from bivit.sim.network.formats import Formats
from bivit.sim.network.presets import vit_preset
from bivit.sim.system.files import write_json

#: Networks and targets that are explored.
PAIRS = (
    ("digits", "lfe5u-45f"),
    ("digits", "xc7a100t"),
    ("deit_tiny", "xck26"),
    ("deit_tiny", "zu9eg"),
    ("deit_tiny", "xcvc1902"),
    ("deit_base", "zu9eg"),
)
#: Depths of rings.
_SLOTS = {"residual_slots": 8, "head_slots": 8, "score_slots": 8, "attention_slots": 8, "norm_slots": 8}
_SLOTS |= {"context_slots": 4, "hidden_slots": 4, "staging_slots": 8}
#: Engines that are compiled at most; more would be said to be open.
_MOST_COMPILED = 40


def drawn(chance: Random, config: ViTConfig, target: Device, best: FlowConfig) -> FlowConfig | None:
    """An engine that holds the network, of any shape or near the chosen one; none where what is drawn is not legal."""
    near = chance.random() < 0.5
    shape = best.engine.rows, best.engine.columns, best.images
    if not near or chance.random() < 0.5:
        shape = chance.randint(1, MOST_ROWS), chance.choice(COLUMNS), chance.choice((1, 2, 2, 3, 4))
    wish = Wish(*shape, 1.0)
    flow = smallest([config], Formats(), wish, target.fabric)
    if flow is None:
        return None
    fields = dict(_fields(chance, config, flow))
    if near:  # of the chosen engine, but for a few
        kept = chance.sample(sorted(fields), len(fields) - chance.randint(1, 4))
        fields |= {name: getattr(best, name) for name in kept}
    try:
        changed = replace(flow, **fields)
    except BivitError:
        return None
    return None if too_small(config, Formats(), changed) else changed


def _fields(chance: Random, config: ViTConfig, flow: FlowConfig) -> Iterator[tuple[str, Any]]:
    """Every width, depth and option, drawn."""
    yield from ((field, chance.choice(values)) for _, field, values in lane_choices(flow))
    yield from ((name, chance.randint(2, most)) for name, most in _SLOTS.items())
    yield from zip(
        ("dense_patches", "dense_channels"), chance.choice(dense_choices([config], flow.engine.lanes)), strict=True
    )
    streamed = chance.random() < 0.3
    yield "drain_rows", chance.randint(1, flow.engine.rows)
    yield "edge_banks", max(2, flow.images) if streamed else chance.choice((1, 2))
    yield "weights", "streamed" if streamed else "resident"
    yield "memory_bits", chance.choice(MEMORY_BITS)
    edge = chance.choice(("resident", "streamed")) if streamed else "resident"
    yield from (("edge_weights", edge), ("patch_weights", chance.choice(("resident", edge))))


def interval(aim: Aim, point: Point) -> float | None:
    """Exact cycles from image to image, with what the memory allows; None where every table locks up."""
    return next((one.interval_cycles for one in tried(aim, point, None)), None)


def searched(net: str, target: str, points: int, seed: int) -> Search:
    """Explore, draw engines, and compare."""
    config, device = vit_preset(net), device_of(target)
    aim = Aim((config,), Formats())
    begun = time.process_time()
    best = explore(device, aim).best
    seconds = time.process_time() - begun
    chance = Random(f"{seed} {net} {target}")
    legal = bounded = fit = 0
    rivals: list[Point] = []
    for _ in range(points):
        flow = drawn(chance, config, device, best.point.flow)
        if flow is None:
            continue
        legal += 1
        clock = best.point.clock_mhz
        if with_memory(loads_of(config, flow), config, flow, None, clock).bound >= best.interval_cycles:
            bounded += 1
            continue
        point = point_of([config], flow, device, clock)
        if not point.fits:
            point = spread(point) if could_spread(point) else None
        if point is not None:
            fit += 1
            rivals.append(point)
    rivals.sort(key=lambda one: one.loads.bound)
    found = [(interval(aim, one), one) for one in rivals[:_MOST_COMPILED]]
    nearest = min(
        ((cycles, one) for cycles, one in found if cycles is not None), key=lambda pair: pair[0], default=None
    )
    return Search(
        net=net,
        target=device.part,
        chosen=best.name or best.point.shape,
        chosen_interval=best.interval_cycles,
        seconds=round(seconds, 1),
        drawn=points,
        legal=legal,
        slower=bounded,
        fit=fit,
        compiled=len(found),
        best_interval=nearest and nearest[0],
        best_engine=nearest and nearest[1].shape,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Explore and draw as the command line says; 1 when an engine that was drawn is faster."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=10_000, help="engines drawn for each network and target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="networks and targets, such as deit_tiny/zu9eg")
    parser.add_argument("--out", type=Path, help="file for docs/accuracy.md")
    asked = parser.parse_args(arguments)
    found: list[Search] = []
    for net, target in PAIRS:
        if not asked.only or f"{net}/{target}" in asked.only:
            found.append(searched(net, target, asked.points, asked.seed))
            print(found[-1], flush=True)
    if asked.out is not None:
        command = f"python tests/tools/search_campaign.py --points {asked.points} --seed {asked.seed}"
        made = datetime.now(UTC).strftime("%Y-%m-%d")
        write_json(asked.out, {"made": made, "command": command, "searches": [asdict(one) for one in found]})
    return int(any(one.beaten for one in found))


if __name__ == "__main__":
    sys.exit(main())
