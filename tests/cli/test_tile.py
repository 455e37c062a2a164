"""The timeline of a tile in docs/accelerator.md: what the cycle model gives, and whole."""

from __future__ import annotations

import re

import pytest

from bivit.cli.pages.tile import made
from bivit.cli.shared.markers import markers, replace_between_markers
from bivit.sim.errors import BivitError
from bivit.sim.flow.presets import FLOW_ENGINES
from bivit.sim.flow.streams import TileShape
from bivit.sim.mapping.shipped import table_of
from bivit.sim.mapping.spans import tile_spans
from bivit.sim.network.presets import vit_preset
from helpers import ROOT


def test_the_page_has_what_the_model_gives() -> None:
    page, timeline = (ROOT / "docs" / "accelerator.md").read_text(encoding="utf-8"), made()
    assert replace_between_markers(page, timeline, "tile", "timeline") == page
    shape = TileShape(vit_preset("digits"), FLOW_ENGINES["sim"].engine.rows, FLOW_ENGINES["sim"].engine.columns)
    steps = [int(row) for row in re.findall(r"^array, \w+ +\d+ +\d+ +(\d+)", timeline, re.M)]
    assert sum(steps) == shape.tile_steps


def test_a_page_without_a_place_is_refused() -> None:
    begin, end = markers("tile")
    assert replace_between_markers(f"a\n{begin}\nold\n{end}\nb", "new", "tile").splitlines()[2] == "new"
    with pytest.raises(BivitError, match="the page needs the lines"):
        replace_between_markers("a", "new", "tile")


def test_a_tile_of_a_large_network_among_others_is_whole() -> None:
    """As many steps of the array as a tile has; one image alone has no others before and behind."""
    config, flow = vit_preset("deit_tiny"), FLOW_ENGINES["kv260"]
    spans = tile_spans(config, flow, table_of(config, flow), 4)
    steps = sum(span.end - span.start for span in spans if span.row.startswith("array"))
    assert steps == TileShape(config, flow.engine.rows, flow.engine.columns).tile_steps
    assert {(span.image, span.block, span.tile) for span in spans} == {(2, 6, 9)}
    with pytest.raises(BivitError, match="2 images or more, got 1"):
        tile_spans(config, flow, table_of(config, flow), 1)
