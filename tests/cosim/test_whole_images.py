"""Whole images of the presets on the named dataflow engines: every tensor, cycle and stall; one command each.

`pytest tests/cosim/test_whole_images.py -m whole -k "zcu102 and deit_tiny"`, or for the figures alone
`bivit cosim deit_tiny --engine zcu102 --images 4 --json`. Building zcu102 and running it take minutes.
"""

from __future__ import annotations

import pytest
from shapes import random_images

from bivit.cosim.run import Case
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.head_norm import HeadNormUnit
from bivit.sim.flow.presets import FLOW_ENGINES
from bivit.sim.flow.sign_norm import SignNormUnit
from bivit.sim.flow.streams import TileShape
from bivit.sim.mapping.cycles import peak_macs, useful_macs
from bivit.sim.mapping.program import flow_cycles
from bivit.sim.mapping.shipped import shipped_cycles, table_of
from bivit.sim.network.config import ViTConfig
from bivit.sim.network.presets import vit_preset
from bivit.sim.network.random import random_network
from bivit.sim.network.taps import taps_of
from helpers import ROOT

#: Engine, network, images.
QUICK = [("sim", "digits", 2)]
LONG = [
    ("sim", "fashion", 2),
    ("sim", "deit_tiny", 3),
    ("zcu102", "deit_tiny", 4),
    ("kv260", "deit_tiny", 2),
    ("vck190", "deit_small", 2),
    ("zcu102", "digits", 2),
    ("zcu102", "fashion", 2),
    ("latency", "deit_tiny", 1),
    ("latency", "digits", 2),
    ("latency", "fashion", 2),
]
#: What is inside a unit, and comes out of it as something else.
INNER = (".s1", ".r", ".m", ".z", ".c", "mlp.fc1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "net", "images"), [*QUICK, *(pytest.param(*case, marks=pytest.mark.whole) for case in LONG)]
)
def test_every_tensor_cycle_and_stall_of_whole_images(engine: str, net: str, images: int) -> None:
    config = vit_preset(net)
    case = Case(random_network(config, seed=3), FLOW_ENGINES[engine], random_images(config, images))
    result = case.run(stall=0.0)
    assert (result.mismatches, result.first_mismatch, result.registers, result.violations) == (0, None, (), ())
    assert (result.cycles, result.array_busy) == (case.estimate.cycles, case.estimate.array_busy)
    assert {cause: result.counters[cause] for cause in case.estimate.stalls} == case.estimate.stalls
    compared = [tap for tap in taps_of(config) if tap.name.startswith("blocks.") and not tap.name.endswith(INNER)]
    elements = sum(case.reference.taps[tap.name].size for tap in compared)
    # Of v the bits are compared, not the sums.
    sums = sum(case.reference.taps[tap.name].size for tap in compared if tap.name.endswith("attn.qkv")) // 3
    embedded, logits = case.reference.taps["patch_embed"].size, case.reference.logits.size
    beyond = images * config.depth * _beyond(config, FLOW_ENGINES[engine])
    assert result.values == elements - sums + embedded + logits + beyond


def page_rows() -> list[list[str]]:
    """Rows of the page's table of whole images."""
    text = (ROOT / "docs" / "accelerator.md").read_text().split("## Whole images")[1].split("## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("row", page_rows()[2:], ids=lambda row: "-".join(row[:3]))
def test_the_page_says_what_is_predicted(row: list[str]) -> None:
    net, engine, images = row[0], row[1], int(row[2])
    config, flow = vit_preset(net), FLOW_ENGINES[engine]
    total = flow_cycles(config, flow, table_of(config, flow), images).total
    more = shipped_cycles(config, flow)
    assert more is not None
    useful = useful_macs(config) / peak_macs(flow)
    used = [f"{100 * part:.1f} %" for part in (images * useful / total, useful / more[1])]
    assert row[3:] == [f"{total:,}", used[0], f"{more[1]:,.0f}", used[1]]


def test_the_page_has_all_that_the_tests_run() -> None:
    rows = {(engine, net, int(images)) for net, engine, images, *_ in page_rows()[2:]}
    assert {*QUICK, *LONG} <= rows


def _beyond(config: ViTConfig, flow: FlowConfig) -> int:
    """Elements of a block that are no part of a tensor, and compared all the same.

    Scores and attention of the columns that fill the last column group; bits of both norms, and of q and k, of the rows
    that fill the units' last words.
    """
    shape = TileShape(config, flow.engine.rows, flow.engine.columns)
    columns = shape.key_groups * flow.engine.columns - config.num_tokens
    rows = sum(-rows % unit.side for unit in (SignNormUnit(flow), HeadNormUnit(flow)) for rows in shape.tile_rows)
    return 2 * config.num_heads * config.num_tokens * columns + 2 * rows * config.embed_dim
