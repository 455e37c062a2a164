"""Engines without HeadNorm or softmax, with few lanes at the edge and its products in look-up tables."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from flow_campaign import campaign, quick_builds
from flow_random import of_network, spread_table
from shapes import TINY

from bivit.hw.engine import Engine
from bivit.sim.engine.presets import engine_for
from bivit.sim.flow.config import LEFT_OUT, FlowConfig
from bivit.sim.flow.streams import TileShape
from bivit.sim.network.random import random_network

pytestmark = pytest.mark.slow

SCORE = replace(TINY, attn_mode="score")
ARRAY = engine_for(SCORE, rows=2, columns=8, lanes=8, dense_lanes=8, program_words=64, pixel_bytes=1)
FLOW = FlowConfig(engine=ARRAY, drain_rows=1, norm_lanes=8, head_norm_lanes=8, softmax_lanes=8)
#: Engines by what they do without.
ENGINES: dict[str, FlowConfig] = {
    "both": replace(
        FLOW,
        **dict.fromkeys(LEFT_OUT, 0),
        engine=replace(ARRAY, lanes=2, dense_lanes=2),
        dense_channels=4,
        dense_patches=2,
        products_per_dsp=0,
    ),
    "head_norm_lanes": replace(FLOW, head_norm_lanes=0, products_per_dsp=0),
    "softmax_lanes": replace(FLOW, softmax_lanes=0, engine=replace(ARRAY, lanes=4, dense_lanes=4), dense_channels=4),
}


@pytest.mark.parametrize("name", ENGINES)
def test_networks_that_need_none_are_computed_as_ever(name: str) -> None:
    """Logits, registers and cycles of some networks; of the last two every tensor and the stalls as well."""
    flow = ENGINES[name]
    assert any(getattr(flow, lanes) == 0 for lanes in LEFT_OUT)
    with quick_builds():
        networks, images, wrong = campaign(flow, 1_000, 4, tensors=True)
    assert (networks, wrong) == (4, [])
    assert images >= 4


def test_the_units_are_not_there() -> None:
    units = Engine(ENGINES["both"])._core.units
    assert not {"head_norm", "softmax", "tables"} & set(units)
    assert {"softmax", "tables"} <= set(Engine(ENGINES["head_norm_lanes"])._core.units)


def test_cycles_are_those_of_the_whole_engine() -> None:
    """A unit that a network does not use costs no cycle, there or not."""
    network, table = random_network(SCORE, seed=1), spread_table(TileShape(SCORE, 2, 8), Random(1))
    whole, bare = (of_network(network, flow, table, 3) for flow in (FLOW, replace(FLOW, softmax_lanes=0)))
    assert bare.cycles == whole.cycles
