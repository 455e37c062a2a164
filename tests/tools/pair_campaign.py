"""Networks and engines that nobody has seen: cycles predicted, simulated in RTL, and every tensor compared.

``python tests/tools/pair_campaign.py --pairs 30 --seed 1 --out docs/pairs.json`` prints a line a pair and keeps all of
them for docs/accuracy.md. Each takes the way of `bivit cosim`: the slot table is sought, and nothing is tuned. Of odd
seeds the engine is sized for the network, as `bivit explore` sizes engines; of even ones it is any engine.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from random import Random

from flow_campaign import quick_builds
from flow_random import random_config, random_engine
from shapes import random_images

from bivit.cosim.run import Case
from bivit.hw.accuracy.pairs import Pair
from bivit.sim.errors import BivitError
from bivit.sim.explore.sizing import sized, wishes
from bivit.sim.flow.config import FlowConfig
from bivit.sim.mapping.cycles import estimate_cycles
from bivit.sim.mapping.shipped import sought
from bivit.sim.network.config import ViTConfig
from bivit.sim.network.formats import Formats
from bivit.sim.network.random import random_network
from bivit.sim.system.files import write_json

#: Dot units of the largest array: what Verilator builds in half a minute. Cycles of the longest run.
_MOST_DOTS, _MOST_CYCLES = 64, 60_000
#: Tries of the search for a table, of which few are enough for what is small.
_TRIES = 5


def drawn(seed: int) -> tuple[ViTConfig, FlowConfig] | None:
    """The network and the engine of a seed, or none where no engine is small enough and holds it."""
    chance = Random(seed)
    if seed % 2 == 0:
        flow = random_engine(chance)
        return random_config(chance, lanes=flow.engine.lanes, within=flow.engine), flow
    config = random_config(chance)
    found = [wish for wish in wishes([config], (1, 2, 3), (0.7, 0.95, 1.25)) if wish.rows * wish.columns <= _MOST_DOTS]
    engine = sized([config], Formats(), chance.choice(found), chance.choice(("lut6", "lut4"))) if found else None
    return engine and (config, engine)


def simulated(seed: int, cache_dir: Path | None = None) -> Pair | None:
    """The pair of a seed, or none: the network does not fit, every table locks up, or it takes too long."""
    both = drawn(seed)
    if both is None:
        return None
    config, flow = both
    network, images = random_network(config, flow.engine.formats, seed=seed), flow.images + 2
    try:
        table = sought(config, flow, tries=_TRIES)
        case = Case(network, flow, random_images(config, images, seed), table=table)
    except BivitError:
        return None
    predicted = estimate_cycles(case.program, images).cycles
    if predicted > _MOST_CYCLES:
        return None
    result = case.run(stall=0.0, seed=seed, cache_dir=cache_dir)
    return Pair(
        seed=seed,
        kind="sized" if seed % 2 else "drawn",
        network=network_text(config),
        engine=f"{flow.engine.rows} x {flow.engine.columns}, {flow.images} in flight, {flow.engine.fabric}",
        images=images,
        predicted=predicted,
        simulated=result.cycles,
        values=result.values,
        wrong=result.mismatches + len(result.registers) + len(result.violations),
    )


def network_text(config: ViTConfig) -> str:
    """A network in words."""
    sizes = (
        f"{config.num_tokens} tokens, {config.depth} x ({config.embed_dim} / {config.num_heads}, {config.hidden_dim})"
    )
    return f"{sizes}, {config.norm_mode}, {config.qk_mode}, {config.attn_mode}"


def pairs(count: int, seed: int) -> Iterator[Pair]:
    """So many pairs, from a seed on."""
    found = 0
    while found < count:
        with quick_builds():
            one = simulated(seed)
        seed += 1
        if one is not None:
            found += 1
            yield one


def main() -> int:
    """Simulate pairs as the command line says; 1 when one of them is not as predicted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1, help="of the first pair; seeds that give none are passed over")
    parser.add_argument("--out", type=Path, help="file for docs/accuracy.md")
    asked = parser.parse_args()
    found: list[Pair] = []
    begun = time.perf_counter()
    for one in pairs(asked.pairs, asked.seed):
        found.append(one)
        took = f"{time.perf_counter() - begun:.0f} s"
        cycles = f"{one.predicted:,} predicted, {one.simulated:,} simulated, {one.values:,} values, {one.wrong} wrong"
        print(f"{one.seed} ({one.kind}): {one.network} on {one.engine}: {cycles}; {took}", flush=True)
    agree = sum(one.agrees for one in found)
    print(f"{agree} of {len(found)} pairs are as predicted")
    if asked.out is not None:
        command = f"python tests/tools/pair_campaign.py --pairs {asked.pairs} --seed {asked.seed}"
        tools = {name: metadata.version(name) for name in ("amaranth", "verilator", "cocotb")}
        made = datetime.now(UTC).strftime("%Y-%m-%d")
        write_json(asked.out, {"made": made, "command": command, "tools": tools, "pairs": [asdict(p) for p in found]})
    return int(agree < len(found))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
