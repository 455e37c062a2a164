"""The edge's settings and its cycle model."""

import random
from dataclasses import replace

import numpy as np
import pytest
from flow_edge import flow_of, tiny

from bivit.sim.engine.pipeline import SHARED_BITS
from bivit.sim.engine.presets import engine_for
from bivit.sim.errors import BivitError
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.edge import EdgeUnit
from bivit.sim.flow.edge_settings import EDGE_SETTINGS, edge_settings
from bivit.sim.mapping.edge_words import edge_words
from bivit.sim.network.config import ViTConfig
from bivit.sim.network.presets import vit_preset
from bivit.sim.network.random import random_network
from bivit.sim.timing.edge_times import FIRST_PIECE, UNKNOWN, EdgePlan, edge_plan, edge_state, edge_until


def tiny_deit(patches: int) -> FlowConfig:
    engine = engine_for(vit_preset("deit_tiny"), rows=33, columns=32, lanes=32, dense_lanes=192, program_words=2048)
    return FlowConfig(
        engine=engine, drain_rows=3, norm_lanes=32, head_norm_lanes=32, softmax_lanes=32, dense_patches=patches
    )


def times(plan: EdgePlan, delays: list[int], steps: int = 1) -> tuple[list[int], list[int]]:
    """Cycles of `embedded` and `done`, when each image is finished so long after it is embedded, in order."""
    images = len(delays)
    state = edge_state(plan, images)
    finished, embedded, done = (np.full(images, UNKNOWN, np.int64) for _ in range(3))
    now = number = 0
    while done[-1] == UNKNOWN:
        if number < images and embedded[number] != UNKNOWN:
            finished[number] = max(now, embedded[number] + delays[number], finished[number - 1] + 1 if number else 0)
            number += 1
        edge_until(state, plan, finished, embedded, done, now)
        now += steps
    return list(map(int, embedded)), list(map(int, done))


@pytest.mark.parametrize("name", ["digits", "fashion_cls", "cifar", "deit_tiny", "deit_base"])
def test_settings_of_named_networks_fit(name: str) -> None:
    config = vit_preset(name)
    flow = flow_of(config, columns=16, pixel_bytes=4, softmax_lanes=8, dense_patches=3)
    values = edge_settings(config, flow, 40)
    assert set(values) == {setting for setting, _ in EDGE_SETTINGS}
    assert all(0 <= values[setting] < 1 << bits for setting, bits in EDGE_SETTINGS)
    assert values["pass_slots"] > EdgeUnit(flow).strip_passes(config.grid_size)


def test_a_ring_that_a_row_of_patches_does_not_fit_is_refused() -> None:
    small = flow_of(tiny(img_size=4, patch_size=1), pixel_bytes=1)
    with pytest.raises(
        BivitError, match="the ring of patches holds 3 x 1 patches of 4 bytes, a row of 9 patches takes 9"
    ):
        edge_settings(tiny(img_size=18), small, 1)


def test_a_row_of_patches_lies_in_as_many_passes_as_it_can() -> None:
    assert [EdgeUnit(tiny_deit(patches)).strip_passes(14) for patches in (1, 7, 10, 14, 20)] == [14, 2, 3, 1, 2]


def test_words_fill_the_memories_that_they_are_for() -> None:
    config = tiny(num_classes=19, embed_dim=24)
    flow = flow_of(config, dense_patches=3, dense_lanes=16)
    words = edge_words(random_network(config), flow)
    memories = EdgeUnit(flow).load_memories
    assert {name: len(found) for name, found in words.items()} == {
        "dense_weights": 2 * 4 + 2 * 24,
        "patch_params": 3,
        "positions": 17 * 3,
        "head_bias": 19,
        "last_eps": 1,
    }
    assert all(len(words[name]) <= memory.depth for name, memory in memories.items())
    assert all(max(words[name]) < 1 << memory.width for name, memory in memories.items())


def test_pixels_are_the_limit_where_passes_are_shorter() -> None:
    # 20 patches a pass: 10 x 889 cycles of passes and 3,457 of classes; a beat of 8 bytes a cycle takes 18,816.
    plan = edge_plan(vit_preset("deit_tiny"), tiny_deit(20))
    embedded, _ = times(plan, [30_000] * 6, 100)
    # Classes are first asked for when the third image is embedded, and take longer than pixels can wait in the ring.
    assert np.diff(embedded).tolist() == [18_816, 19_165, 18_816, 19_165, 18_816]
    assert (10 * plan.pass_cycles, plan.class_cycles) == (8890, 3457)
    assert plan.pieces == 18_816


def test_passes_are_the_limit_where_they_are_longer() -> None:
    config = replace(vit_preset("deit_tiny"), num_classes=10)
    plan = edge_plan(config, tiny_deit(7))
    assert plan.passes == 28
    embedded, _ = times(plan, [80_000] * 4, 500)
    # The last pass is followed at once by none: the next image waits until all is quiet.
    quiet = plan.captured + plan.quiet
    assert np.diff(embedded[:3]).tolist() == [28 * plan.pass_cycles + plan.prefix + quiet + plan.quiet + 1] * 2


def test_a_digit_takes_as_many_cycles_as_its_parts() -> None:
    config = vit_preset("digits")
    engine = engine_for(config, rows=4, columns=16, lanes=16, dense_lanes=64, program_words=512)
    flow = FlowConfig(engine=engine, drain_rows=4, norm_lanes=16, head_norm_lanes=16, softmax_lanes=16)
    plan, unit = edge_plan(config, flow), EdgeUnit(flow)
    (embedded,), (done,) = times(plan, [1000])
    whole = FIRST_PIECE + 4  # a row of four patches, a piece each, and the first piece of the second row
    begun = whole + 1
    assert embedded == begun + 1 + 15 * (2 * (4 + 4) + 1) + (4 + 4) + 4 + unit.captured_stage + 4 + unit.x_stage
    answered = embedded + 1000 + 1 + 8 * 16 + unit.norm_cycles(128) + 1 + 128 + unit.captured_stage + 10
    assert done == answered + unit.logit_stage


@pytest.mark.parametrize("seed", range(4))
def test_it_does_not_matter_how_often_it_is_asked(seed: int) -> None:
    rng = random.Random(seed)
    config = tiny(img_size=rng.choice([4, 6]), num_classes=rng.choice([5, 30]))
    plan = edge_plan(config, flow_of(config, pixel_bytes=1, dense_patches=rng.choice([1, 2, 5]), images=1))
    delays = [rng.choice([400, 1200]) for _ in range(7)]
    assert times(plan, delays) == times(plan, delays, 97)


def test_an_image_waits_for_the_bank_of_the_one_before_it() -> None:
    config = tiny(img_size=4)
    plan = edge_plan(config, flow_of(config, images=1))
    embedded, done = times(plan, [5000, 1, 1, 1])
    assert plan.banks == 3
    assert embedded[2] < 1000
    assert embedded[0] + 5000 + 1 + plan.pool < embedded[3] < done[0]


def test_dense_widths_are_checked() -> None:
    config: ViTConfig = tiny()
    assert flow_of(config).dense_channels == 8
    for changes, message in (
        ({"dense_patches": 0}, "dense_patches must be 1 to 64, got 0"),
        ({"dense_channels": 12}, r"dense_channels must be a multiple of lanes \(8\) up to 512, got 12"),
        ({"products_per_dsp": 3}, "products_per_dsp must be 0, 1 or 2, got 3"),
        (
            {"products_per_dsp": 2, "fabric": "lut4"},
            "products_per_dsp must be 0 or 1 in fabric lut4, got 2: two products share a multiplier block of 25 x 9 "
            "bits or more, those of lut4 have 18 x 18",
        ),
    ):
        with pytest.raises(BivitError, match=message):
            flow_of(config, **changes)


def test_two_channels_share_a_multiplier_in_all_patches_but_the_first() -> None:
    plain = flow_of(tiny(), dense_patches=3, dense_lanes=16)
    paired = replace(plain, products_per_dsp=2)
    assert EdgeUnit(plain).lane_products == [(16, 8)] * 16 + [(9, 8)] * 32
    assert EdgeUnit(paired).lane_products == [(16, 8)] * 16 + [(25, 9)] * 16
    assert EdgeUnit(paired).chunk_stage == EdgeUnit(plain).chunk_stage + 2
    # With one patch, there is nothing to share.
    one = replace(paired, dense_patches=1)
    assert (EdgeUnit(one).paired, len(EdgeUnit(one).lane_products)) == (False, 16)


@pytest.mark.parametrize("patch_dim", [1, 2, 3, 16, 768, 1023])
def test_sums_of_pairs_fit_their_places(patch_dim: int) -> None:
    flow = flow_of(tiny(), dense_patches=2)
    unit = EdgeUnit(replace(flow, engine=replace(flow.engine, max_patch_dim=patch_dim)))
    assert 255 * patch_dim < 1 << unit.pixels_bits
    assert (
        255 * 255 * patch_dim
        < 1 << SHARED_BITS + unit.overflow_bits
        <= 1 << EdgeUnit(replace(unit.flow, products_per_dsp=2)).acc_bits
    )
    upper = 255 * 127 * patch_dim + (255 * 255 * patch_dim >> SHARED_BITS)
    assert max(upper, 255 * 128 * patch_dim) < 1 << unit.patch_bits - 1 <= 1 << unit.acc_bits - 1
    assert SHARED_BITS + unit.patch_bits <= 48  # of the adder in a multiplier block
