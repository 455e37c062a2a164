"""Random networks one after the other, resets, stops and hostile traffic on one dataflow engine: a short campaign."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random

import load_streams
import pytest
from flow_campaign import Bench, bench_of, quick_builds, run_trials
from flow_random import Trial, of_network, spread_table, trials
from flow_resets import KINDS, play_cuts, random_cuts
from load_streams import code_of, play_loads, refused_streams, streams_beyond
from scenarios import random_story
from shapes import TINY

from bivit.cosim.scenario import play
from bivit.hw.emit import engine_verilog
from bivit.sim.engine.loadstream import LoadError, build_stream
from bivit.sim.engine.presets import engine_for
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.flow.streams import TileShape
from bivit.sim.network.network import IntNetwork
from bivit.sim.network.random import random_network

#: Networks of one image size; in that of one column group a tile's only slot of fc2 decides and passes.
CONFIGS = [
    replace(TINY, embed_dim=8, num_heads=1),
    replace(TINY, depth=1, num_classes=2, attn_mode="score", norm_mode="mean"),
    replace(TINY, qk_mode="threshold", class_token=True, pool="token"),
]
NETWORKS = [random_network(config, seed=seed) for seed, config in enumerate(CONFIGS)]
ARRAY = engine_for(
    replace(TINY, class_token=True), rows=2, columns=8, lanes=8, dense_lanes=8, program_words=64, pixel_bytes=1
)
FLOW = FlowConfig(engine=ARRAY, drain_rows=1, norm_lanes=8, head_norm_lanes=8, softmax_lanes=8)


@cache
def built() -> Bench:
    with quick_builds():
        return bench_of(FLOW, engine_verilog(FLOW))


def trial_of(network: IntNetwork, images: int) -> Trial:
    table = spread_table(TileShape(network.config, FLOW.engine.rows, FLOW.engine.columns), Random(1))
    return of_network(network, FLOW, table, images)


def stream_of(network: IntNetwork) -> bytes:
    return build_stream(FlowMachine(FLOW), trial_of(network, 1).program.words)


@pytest.mark.parametrize("stall", [0.0, pytest.param(0.4, marks=pytest.mark.slow)])
def test_networks_one_after_the_other(stall: float) -> None:
    """Every number of images from one on, then random networks with ties and at the ends of their ranges."""
    fixed = [trial_of(network, images) for network in NETWORKS for images in (1, 5)]
    some = [*fixed, *trials(FLOW, 1, 5)]
    assert run_trials(built(), some, stall=stall) == []


def test_a_wrong_weight_is_found() -> None:
    """The comparison itself: of three networks the one in which a bit is not as in the reference."""
    right, wrong = trial_of(NETWORKS[0], 2), trial_of(NETWORKS[1], 2)
    words = {name: {first: list(run) for first, run in runs.items()} for name, runs in wrong.program.words.items()}
    words["head_bias"][0][0] ^= 1
    wrong.program.__dict__["words"] = words
    found = run_trials(built(), [right, wrong, right], stall=0.0)
    assert len(found) == 1
    assert "logits" in found[0]


def test_resets_and_stops_at_any_cycle() -> None:
    some = [trial_of(network, 3) for network in NETWORKS]
    cuts = random_cuts(FLOW, some, Random(1), 9)
    assert {cut.kind for cut in cuts} == set(KINDS)
    assert play_cuts(built(), cuts, seed=1) == []


def test_refused_streams_between_right_ones() -> None:
    """A network is taken after any number of streams that are not, also with a section without words at its end."""
    some = [trial_of(network, 2) for network in NETWORKS[:2]]
    machine = FlowMachine(FLOW)
    codes = {code_of(machine, load) for load in refused_streams(machine, Random(1), 30)}
    assert codes == set(LoadError) - {LoadError.NONE}
    beyond = streams_beyond(machine)
    assert {code_of(machine, load) for load in beyond} == {LoadError.SECTION}
    assert len(beyond) == len(machine.load_memories)
    assert play_loads(built(), some, seed=1, count=15) == []


def test_a_stream_that_is_taken_and_should_not_be_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check itself: the reader of streams says that they are right, which the engine refuses."""
    monkeypatch.setattr(load_streams, "code_of", lambda engine, load: LoadError.NONE)
    wrong = play_loads(built(), [trial_of(NETWORKS[0], 1)], seed=1, count=2)
    assert len(wrong) == len(FlowMachine(FLOW).load_memories) + 3
    assert "'LOADS_BAD': 1" in wrong[0]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_random_stories(seed: int, tmp_path: Path) -> None:
    """Senders that queue ahead and break frames, late readers, stops, loads during runs."""
    networks = [random_network(replace(config, class_token=False, pool="mean"), seed=1) for config in CONFIGS]
    story = random_story(networks, ARRAY.pixel_bytes, seed, stream_of)
    happened = Counter(story.check(play(built().build, story.steps, tmp_path, stall=0.2 * (seed - 1), seed=seed)))
    assert happened["run"] > 0
