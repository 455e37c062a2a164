"""The timeline of a tile in docs/accelerator.md: what the cycle model gives, and whole."""

from __future__ import annotations

import re

import pytest

from bivit.cli.pages.tile import made
from bivit.cli.shared.markers import markers, replace_between_markers
from bivit.sim.errors import BivitError
from bivit.sim.flow.presets import FLOW_ENGINES
from bivit.sim.flow.streams import TileShape
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
