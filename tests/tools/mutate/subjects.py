"""Engines whose mutants are sought, the networks that run on each, and the checks in the order of what they cost."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

from engines import LARGEST, Apart, tiny_flow
from extremes import ENDS, extreme_network, lonely_network, loud_network, tied_network
from flow_campaign import Bench, bench_of, compare_tensors, run_trials
from flow_random import Trial, of_network, random_config, random_engine, random_table, spread_table, trials
from flow_resets import play_cuts, random_cuts
from flow_windows import windowed_trials
from load_streams import play_loads
from scenarios import Story, full_queue_story, random_story
from shapes import MODES, TOKENS, bright_images
from windowed import tiny_swin, windowed_for

from bivit.cosim.scenario import play
from bivit.sim.engine.loadstream import build_stream
from bivit.sim.engine.presets import engine_for
from bivit.sim.errors import BivitError, check
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.flow.streams import TileShape
from bivit.sim.network.config import ModelConfig, ViTConfig
from bivit.sim.network.formats import Formats
from bivit.sim.network.network import IntNetwork
from bivit.sim.network.random import random_network

#: Heads of 24 channels on 16 columns, rows of 72 and 144 bits, two products a multiplier block, a last tile of one row.
WIDE = replace(TOKENS, img_size=6, in_chans=1, embed_dim=72, num_heads=3, depth=2, num_classes=19, dist_token=False)
#: Seeds of `flow_random.random_engine`. One row, one image in flight; five rows, rings with hardly a slot, three images
#: in flight, three patches side by side. Both are of fabric lut4.
SINGLE_SEED, TIGHT_SEED = 23007, 1373
#: Networks of one tile, whose scores wait for its queries.
_ONE_TILE: tuple[dict[str, Any], ...] = ({}, {"qk_mode": "threshold", "attn_mode": "score"})
#: Distances of streams in tables, in tenths of a tile: near, far, and as far as possible.
_DISTANCES = (range(9, -1, -1), (2, 1, 0), range(5, -1, -1))
#: Networks of a random engine, the shortest of so many; and configurations among which the largest are sought.
_RUN, _DRAWN, _CONFIGS = 8, 16, 300

_NETWORKS, _PAUSES = "networks", "networks, pauses"

#: What a check found wrong.
Findings = list[str]


@dataclass(frozen=True)
class Check:
    """Something that is compared between an engine and what it must do.

    Parameters
    ----------
    name : str
        What is compared.
    run : callable
        Returns what is wrong.
    within : str
        A check whose simulation shows all that this one compares: where it did the same as without a mutant, cycle by
        cycle, this one has nothing to find.
    """

    name: str
    run: Callable[[], Findings]
    within: str = ""


@dataclass(frozen=True)
class Subject:
    """An engine with networks of all modes on it.

    Parameters
    ----------
    flow : FlowConfig
        The engine.
    some : sequence of Trial
        Run one after the other without a reset; the first alone, with all its tensors, at the beginning.
    told : sequence of IntNetwork
        Networks of one image size, for stories on the ports.
    """

    flow: FlowConfig
    some: Sequence[Trial]
    told: Sequence[IntNetwork]

    def checks(self, verilog: str, cache_dir: Path | None) -> list[Check]:
        """All checks of a text of Verilog, the cheapest first."""
        return _Checks(self, verilog, cache_dir).all()


@dataclass
class _Checks:
    """The checks of one text of Verilog."""

    subject: Subject
    verilog: str
    cache_dir: Path | None

    @cached_property
    def bench(self) -> Bench:
        return bench_of(self.subject.flow, self.verilog, tensors=True, cache_dir=self.cache_dir)

    def all(self) -> list[Check]:
        some, told = self.subject.some, self.subject.told
        found = [self._tensors(some[0], 0.0), Check(_NETWORKS, lambda: run_trials(self.bench, some, stall=0.0))]
        found += [self._tensors(one, 0.0, _NETWORKS) for one in some[1:]]
        found += [Check(_PAUSES, lambda: run_trials(self.bench, some, stall=0.4))]
        found += [self._tensors(one, 0.3, _PAUSES) for one in some[1:3]]
        found += [Check("load streams", lambda: play_loads(self.bench, some[:2], seed=1, count=20))]
        found += [self._story(seed) for seed in (1, 2, 3, 4)] if told else []
        found += [Check("a full queue", self._full)] if told else []
        return [*found, Check("resets and stops", self._cuts)]

    def _tensors(self, one: Trial, stall: float, within: str = "") -> Check:
        name = f"tensors of {one.seed}{', pauses' if stall else ''}"
        return Check(name, lambda: compare_tensors(one, self.verilog, stall=stall, cache_dir=self.cache_dir), within)

    def _story(self, seed: int) -> Check:
        """Senders that queue ahead and break frames, late readers, stops, loads while it works, refused streams."""
        return Check(f"story {seed}", lambda: self._told(seed))

    def _told(self, seed: int) -> Findings:
        flow = self.subject.flow
        story = random_story(self.subject.told, flow.engine.pixel_bytes, seed, lambda one: stream_of(flow, one))
        return self._played(story, f"story {seed}", seed)

    def _full(self) -> Findings:
        flow, told = self.subject.flow, self.subject.told
        room, width = flow.engine.queue_logits, flow.engine.pixel_bytes
        cycles = _trial(flow, told[0], 1).cycles.total
        story = full_queue_story(told, room, width, lambda one: stream_of(flow, one), cycles)
        return self._played(story, "a full queue", 2)

    def _played(self, story: Story, name: str, seed: int) -> Findings:
        with tempfile.TemporaryDirectory() as folder:
            outcomes = play(self.bench.build, story.steps, Path(folder), stall=0.2 * (seed % 2), seed=seed)
        try:
            story.check(outcomes)
        except AssertionError as error:
            return [f"{name}: {error}"]
        return []

    def _cuts(self) -> Findings:
        some = self.subject.some[:3]
        return play_cuts(self.bench, random_cuts(self.subject.flow, some, Random(1), 30), seed=1)


def stream_of(flow: FlowConfig, network: IntNetwork) -> bytes:
    """The load stream of a network on an engine."""
    return build_stream(FlowMachine(flow), _trial(flow, network, 1).program.words)


def _trial(flow: FlowConfig, network: IntNetwork, images: int, number: int = 0, **more: Any) -> Trial:
    """The trial of a network with a table that waits for operands, for room, or as far apart as it does not lock up."""
    shape = TileShape(network.config, flow.engine.rows, flow.engine.columns)
    for distance in _DISTANCES[number % len(_DISTANCES)]:
        with suppress(BivitError):
            return of_network(network, flow, spread_table(shape, Apart(distance)), images, number, **more)
    raise BivitError(f"no table of {network.config} runs on this engine")


def _trials(flow: FlowConfig, configs: Sequence[ViTConfig]) -> list[Trial]:
    """Networks of trained magnitudes in all modes, then with ties and at the ends of all ranges in some.

    They have 1, 2 or 3 images, and their places as their seeds.
    """
    largest = max(configs, key=lambda config: (config.embed_dim, config.patch_dim))
    one_tile = [replace(largest, img_size=largest.patch_size, **more) for more in _ONE_TILE]
    networks = [random_network(config, seed=seed) for seed, config in enumerate([*configs, *one_tile])]
    for config in (configs[0], configs[-1]):
        networks.append(tied_network(random_network(config, seed=1)))
        networks += [extreme_network(config, ends, seed=3) for ends in ("mixed", "high")]
    networks.append(lonely_network(random_network(largest, seed=3)))
    some = [_trial(flow, network, 1 + k % 3, k) for k, network in enumerate(networks)]
    loud = loud_network(random_network(largest, seed=2))
    return [*some, _trial(flow, loud, 2, len(some), draw=bright_images)]


def _tiny() -> Subject:
    flow = tiny_flow()
    told = [
        replace(TOKENS, depth=1),
        replace(TOKENS, depth=1, num_classes=4, attn_mode="score", class_token=False, dist_token=False, pool="mean"),
        replace(TOKENS, depth=2, embed_dim=8, num_heads=1, norm_mode="mean", dist_token=False),
    ]
    one_head = [replace(MODES["odd"], num_heads=1), replace(MODES["threshold_qk"], num_heads=1, attn_mode="score")]
    modes = [MODES["odd"], LARGEST, *one_head, *(MODES[name] for name in ("mean_norm", "threshold_qk", "score"))]
    modes += [MODES["class_token"], MODES["all_cheap"]]
    return Subject(flow, _trials(flow, modes), [random_network(one, seed=1) for one in told])


def _wide() -> Subject:
    front = {"program_words": 4096, "pixel_bytes": 1, "queue_logits": 128}
    array = engine_for(WIDE, rows=2, columns=16, lanes=8, dense_lanes=16, **front)
    widths = {"norm_lanes": 8, "head_norm_lanes": 16, "softmax_lanes": 32, "dense_patches": 3}
    flow = FlowConfig(engine=array, drain_rows=2, value_rows=2, products_per_dsp=2, **widths)
    configs = [
        replace(WIDE, depth=1),
        replace(WIDE, attn_mode="score", qk_mode="threshold"),
        replace(WIDE, norm_mode="mean", class_token=False, pool="mean"),
        replace(WIDE, depth=1, embed_dim=24, num_heads=1, img_size=4),
    ]
    told = [replace(one, depth=1) for one in configs[:3]]
    return Subject(flow, _trials(flow, configs), [random_network(one, seed=1) for one in told])


def _random(seed: int, **rings: int) -> Subject:
    """A random engine, with some rings of another size, and networks that are drawn for it."""
    flow = replace(random_engine(Random(seed)), **rings)
    drawn = sorted(trials(flow, 1_000_000 * seed, _DRAWN), key=lambda one: one.cycles.total)
    check(len(drawn) > 1, f"hardly any network runs on the random engine {seed}; choose another")
    shortest = drawn[0].program.layout.config
    told = [random_network(shortest, flow.engine.formats, seed=seed) for seed in (1, 2, 3)]
    return Subject(flow, [*drawn[:_RUN], *_filling(flow)], told)


def _windows() -> Subject:
    """Two rows of x side by side, two windows and two images together; Swins of one and two stages, and a DeiT."""
    small: dict[str, Any] = {"img_size": 8, "num_heads": (1, 2)}
    configs = [
        tiny_swin(**small, depths=(2, 1)),
        tiny_swin(img_size=8, embed_dim=16, depths=(2,), num_heads=(2,), qk_mode="threshold"),
        tiny_swin(**small, depths=(2, 1), norm_mode="mean", attn_mode="score"),
        # Windows of sixteen tokens: a second group of keys.
        tiny_swin(img_size=8, patch_size=1, window_size=4, embed_dim=16, depths=(2,), num_heads=(1,)),
        tiny_swin(img_size=8, patch_size=1, window_size=4, depths=(2,), num_heads=(1,), attn_mode="score"),
        replace(TOKENS, img_size=4, embed_dim=16, num_heads=2, depth=2, num_classes=4, dist_token=False),
    ]
    flow = windowed_for(configs, rows=4, columns=8, norm_lanes=16, together=2)
    # Most random tables lock up.
    drawn = [windowed_trials([config], flow, 100 * seed, _DRAWN) for seed, config in enumerate(configs)]
    drawn += [
        windowed_trials(configs[:3], flow, 1000 + 100 * seed, _DRAWN, partial(_extreme, ends))
        for seed, ends in enumerate(ENDS)
    ]
    some = [one for of in drawn for one in sorted(of, key=lambda one: one.cycles.total)[:2]]
    return Subject(flow, some, [])


def _extreme(ends: str, config: ModelConfig, formats: Formats, chance: Random) -> IntNetwork:
    return extreme_network(config, ends, chance.randrange(100), formats)


def _filling(flow: FlowConfig) -> list[Trial]:
    """Networks with as many tokens, and channels, as the engine takes; and of each mode one with blocks and tiles."""
    configs = [random_config(Random(seed), lanes=flow.engine.lanes, within=flow.engine) for seed in range(_CONFIGS)]
    chosen = [max(configs, key=lambda one: (one.num_tokens, one.head_dim))]
    chosen += [max(configs, key=lambda one: (one.embed_dim, one.num_heads))]
    chosen = [replace(one, depth=1, qk_mode="layernorm", attn_mode="softmax") for one in chosen]
    for mode in product(("softmax", "score"), ("layernorm", "threshold")):
        some = [one for one in configs if (one.attn_mode, one.qk_mode) == mode and one.depth > 1]
        some = [one for one in some if one.num_tokens > flow.engine.rows]
        chosen += sorted(some, key=lambda one: (one.num_heads == 1, one.num_tokens * one.embed_dim * one.depth))[:1]
    found = []
    for number, config in enumerate(chosen):
        network = random_network(config, flow.engine.formats, seed=number)
        found.append(of_network(network, flow, random_table(config, flow, Random(1)), 1 + number % 2, number))
    return found


ENGINES: dict[str, Callable[[], Subject]] = {
    "tiny": _tiny,
    "wide": _wide,
    "single": lambda: _random(SINGLE_SEED),
    "tight": lambda: _random(TIGHT_SEED, residual_slots=2, context_slots=1),
    "windows": _windows,
}


def subject_of(name: str) -> Subject:
    """The engine of a name: one of `ENGINES`, or ``random:SEED``.

    Raises
    ------
    BivitError
        When there is none of that name.
    """
    kind, _, seed = name.partition(":")
    if kind == "random" and seed.isdigit():
        return _random(int(seed))
    check(name in ENGINES, f"there is no engine {name!r}; choose one of {', '.join(ENGINES)} or random:SEED")
    return ENGINES[name]()
