"""The timeline of a tile in docs/accelerator.md: what the cycle model gives, and whole."""

from __future__ import annotations

import re

import pytest

from bivit.cli.pages.tile import TILE_BEGIN, TILE_END, made, page_with
from bivit.sim.errors import BivitError
from bivit.sim.flow.presets import FLOW_ENGINES
from bivit.sim.flow.streams import TileShape
from bivit.sim.network.presets import vit_preset
from helpers import ROOT


def test_the_page_has_what_the_model_gives() -> None:
    page, timeline = (ROOT / "docs" / "accelerator.md").read_text(encoding="utf-8"), made()
    assert page_with(page, timeline) == page
    shape = TileShape(vit_preset("digits"), FLOW_ENGINES["sim"].engine.rows, FLOW_ENGINES["sim"].engine.columns)
    steps = [int(row) for row in re.findall(r"^array, \w+ +\d+ +\d+ +(\d+)", timeline, re.M)]
    assert sum(steps) == shape.tile_steps


def test_a_page_without_a_place_is_refused() -> None:
    assert page_with(f"a\n{TILE_BEGIN}\nold\n{TILE_END}\nb", "new").splitlines()[2] == "new"
    with pytest.raises(BivitError, match="the page needs the lines"):
        page_with("a", "new")
