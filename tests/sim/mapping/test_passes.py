"""Passes of networks with windows: places of tokens, limits that are refused by name, and times that are verified."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from windowed import tiny_swin, windowed_for

from bivit.sim.errors import BivitError
from bivit.sim.flow.softmax import SoftmaxUnit
from bivit.sim.flow.windows import WindowLimits
from bivit.sim.mapping.layout import token_words
from bivit.sim.mapping.pass_limits import check_merging, check_windows, with_windows
from bivit.sim.mapping.pass_program import compile_passes
from bivit.sim.network.config import ViTConfig
from bivit.sim.network.formats import Formats
from bivit.sim.network.random import random_network
from bivit.sim.network.stage_view import stage_views, token_places, window_places

SWIN = tiny_swin(depths=(2, 1, 2))
DEIT = ViTConfig(img_size=8, patch_size=2, in_chans=1, num_classes=3, embed_dim=16, depth=2, num_heads=2)
FLOW = windowed_for([SWIN], rows=2, columns=8, norm_lanes=4)
#: All that a network needs.
LIMITS = [field.name for field in fields(WindowLimits) if field.name != "images"]


def test_a_swin_goes_through_stages_and_mergings() -> None:
    views = stage_views(SWIN)
    assert [view.merge is not None for view in views] == [False, True, False, True, False]
    assert [(view.windows, view.num_tokens) for view in views] == [(16, 4), (4, 4), (4, 4), (1, 4), (1, 4)]
    assert [(view.embed_dim, view.out_dim) for view in views] == [(8, 8), (32, 16), (16, 16), (64, 32), (32, 32)]
    assert [view.depth for view in views if view.of] == [2, 1, 2]
    assert [view.chained for view in views] == [False, False, False, True, True]
    assert [block.name for view in views for block in view.stages[0].blocks if view.of] == [
        block.name for block in SWIN.blocks
    ]


def test_a_deit_is_one_pass_of_one_window() -> None:
    (view,) = stage_views(DEIT)
    assert (view.windows, view.num_tokens, view.depth, view.chained) == (1, DEIT.num_tokens, 2, True)


@pytest.mark.parametrize("stage", [0, 1])
def test_neighbours_lie_one_behind_the_other_where_they_are_merged(stage: int) -> None:
    """In the order (0, 0), (1, 0), (0, 1), (1, 1), at four times the place of what they become."""
    grid = SWIN.stages[stage].blocks[0].grid
    before, after = token_places(SWIN, stage).reshape(grid, grid), token_places(SWIN, stage + 1)
    assert sorted(before.ravel()) == list(range(grid**2))
    squares = [before[0::2, 0::2], before[1::2, 0::2], before[0::2, 1::2], before[1::2, 1::2]]
    for number, square in enumerate(squares):
        assert np.array_equal(square.ravel(), 4 * after + number)


def test_windows_have_every_place_once() -> None:
    for shifted in (False, True):
        assert sorted(window_places(SWIN, 0, shifted).ravel()) == list(range(64))
    with pytest.raises(BivitError, match="no block of stage 1 has shifted windows"):
        window_places(SWIN, 1, True)


@pytest.mark.parametrize("norm_lanes", [1, 8, 16])
def test_what_a_merging_makes_never_lies_on_what_is_still_to_be_read(norm_lanes: int) -> None:
    """Tile by tile, whatever the words of a token: checked here without `check_merging`, which agrees."""
    flow = windowed_for([SWIN], rows=2, columns=8, norm_lanes=norm_lanes)
    check_merging(SWIN, flow)
    rows = flow.engine.rows
    for stage in (1, 2):
        read, made = token_words(SWIN, flow, stage - 1), token_words(SWIN, flow, stage)
        parts = max(1, flow.engine.columns // norm_lanes)
        wide = [SWIN.stages[number].blocks[0].embed_dim // flow.engine.columns * parts for number in (stage - 1, stage)]
        for first in range(0, len(made), rows):
            written = {int(place) + word for place in made[first : first + rows] for word in range(wide[1])}
            later = {int(place) + word for place in read[4 * (first + rows) :] for word in range(wide[0])}
            assert not written & later, (stage, first)


@pytest.mark.parametrize("name", [name for name in LIMITS if name not in ("ring_words", "bias_window")])
def test_every_limit_that_is_one_too_small_is_refused_by_name(name: str) -> None:
    assert FLOW.windows is not None
    check_windows(SWIN, Formats(), FLOW)
    most = getattr(FLOW.windows, name)
    small = replace(FLOW, windows=replace(FLOW.windows, **{name: most - 1}))
    with pytest.raises(BivitError, match=rf"windows\.{name} is {most - 1}, the network needs {most}"):
        check_windows(SWIN, Formats(), small)


def test_a_deit_overwrites_the_bias_that_a_swin_left() -> None:
    """Its scores get the bias of word 0."""
    flow = with_windows(FLOW, SWIN, DEIT, images=2)
    (deit,), swin = (
        compile_passes(random_network(config, seed=1), flow).words["bias"].values() for config in (DEIT, SWIN)
    )
    assert deit == [0]
    assert any(next(iter(swin)))


def test_an_engine_without_windows_is_refused() -> None:
    with pytest.raises(BivitError, match="the engine has no windows"):
        check_windows(SWIN, Formats(), replace(FLOW, windows=None))


@pytest.mark.parametrize("images", [1, 2, 3])
@pytest.mark.parametrize("config", [SWIN, DEIT], ids=["swin", "deit"])
def test_times_of_every_pass_are_verified(config: ViTConfig, images: int) -> None:
    flow = with_windows(replace(FLOW, images=images), SWIN, DEIT, images=2)
    program = compile_passes(random_network(config, seed=1), flow)
    program.verify()
    assert len(program.times(3).passes) == 2 * len(program.passes)  # a group of two images, and one more


def test_an_engine_for_several_networks_holds_each() -> None:
    """One of many narrow tokens, and one of few wide ones."""
    wide = tiny_swin(img_size=8, embed_dim=32, depths=(2,), num_heads=(2,))
    flow = with_windows(FLOW, SWIN, wide, DEIT, images=2)
    for config in (SWIN, wide, DEIT):
        check_windows(config, Formats(), flow)
        assert compile_passes(random_network(config, seed=1), flow).words


def test_limits_hold_tokens_that_lie_in_parts_of_a_bank() -> None:
    """Rows side by side lie in parts, which are as long as the longest."""
    flow = windowed_for([SWIN], rows=4, columns=8, norm_lanes=16)
    assert flow.windows is not None
    words = [
        int(token_words(SWIN, flow, stage).max()) + SWIN.stages[stage].blocks[0].embed_dim // 8 for stage in range(3)
    ]
    assert max(words) <= flow.windows.x_words


def test_a_table_of_biases_is_one_word_a_head_and_the_place_is_behind_the_masks() -> None:
    """In every block and stage; of windows of another side there is none."""
    assert FLOW.windows is not None
    side = SWIN.blocks[0].window
    held = replace(FLOW, windows=replace(FLOW.windows, bias_window=side))
    flow = with_windows(held, SWIN, DEIT, images=2)
    network = random_network(SWIN, seed=1)
    program, unit = compile_passes(network, flow), SoftmaxUnit(flow)
    assert unit.bias_table is not None
    names = [f"{block.name}.attn.relative_position_bias_table" for block in SWIN.blocks]
    tables = np.concatenate([network.tensors[name].T for name in names])
    words = program.words["bias"][0]
    assert [[word >> 6 * entry & 63 for entry in range(unit.bias_table.entries)] for word in words] == tables.tolist()
    assert len(words) == flow.windows.bias_words if flow.windows else 0
    places = [word >> 2 * unit.word_scores for word in program.words["masks"][0]]
    assert places == [*range(unit.bias_table.places)] * len(SWIN.stages)
    plain = compile_passes(network, with_windows(FLOW, SWIN, DEIT, images=2)).words["masks"][0]
    assert [word & (1 << 2 * unit.word_scores) - 1 for word in program.words["masks"][0]] == plain
    other = replace(flow, windows=replace(flow.windows, bias_window=side + 1))
    with pytest.raises(BivitError, match=rf"biases of windows of {side + 1} x {side + 1} .* got windows of {side}"):
        check_windows(SWIN, Formats(), other)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"edge_banks": 3}, "edge_banks must be 0 to 2, got 3"),
        ({"windows": {"merged_dim": 65}}, r"windows\.merged_dim must be at most twice max_embed_dim \(64\), got 65"),
    ],
)
def test_engines_out_of_range_are_refused(fields: dict[str, Any], message: str) -> None:
    assert FLOW.windows is not None
    assert replace(FLOW, edge_banks=0).edge_banks == 0
    with pytest.raises(BivitError, match=message):
        replace(FLOW, **{k: replace(FLOW.windows, **v) if k == "windows" else v for k, v in fields.items()})
