"""The norm of patches: words of a network in its memories, widths, and multiplications."""

from math import isqrt

import numpy as np
import pytest
from windowed import tiny_swin, windowed_flow, windowed_for

from bivit.sim.engine.fields import pack_field
from bivit.sim.flow.edge import EdgeUnit
from bivit.sim.flow.machine import all_settings, load_memories
from bivit.sim.flow.patch_norm import PatchNormUnit
from bivit.sim.mapping.edge_words import edge_words, network_settings
from bivit.sim.network.config import ModelConfig
from bivit.sim.network.presets import preset
from bivit.sim.network.random import random_network
from bivit.sim.network.stage_view import token_places

#: Of a token 3 words with channels, and one that has none.
SWIN = tiny_swin(embed_dim=24, num_heads=(3, 6, 12))


def test_words_fill_the_memories_that_they_are_for() -> None:
    flow = windowed_for([SWIN], columns=16, norm_lanes=8)
    words, memories = edge_words(random_network(SWIN), flow), EdgeUnit(flow).load_memories
    assert set(memories) - set(words) == {"positions"}
    assert {name: len(words[name]) for name in ("patch_norm", "patch_eps", "patch_places")} == {
        "patch_norm": 4,
        "patch_eps": 1,
        "patch_places": 64,
    }
    assert all(len(found) <= memories[name].depth for name, found in words.items())
    assert all(max(found) < 1 << memories[name].width for name, found in words.items())
    assert words["patch_norm"][3] == 0
    assert words["patch_places"] == [4 * place for place in token_places(SWIN, 0)]
    assert set(memories) <= set(load_memories(flow))


def test_words_of_a_deit_are_those_of_other_engines_and_places_in_order() -> None:
    deit = preset("digits")
    flow = windowed_for([deit, SWIN], columns=16, norm_lanes=8)
    words = edge_words(random_network(deit), flow)
    assert words["patch_places"] == list(range(0, 16 * 16, 16))
    assert "patch_norm" not in words
    assert len(words["positions"]) == 16 * 128 // 8


@pytest.mark.parametrize("name", ["swin_fashion", "swin_cifar", "swin_tiny", "digits", "deit_tiny"])
def test_settings_of_named_networks_fit(name: str) -> None:
    config: ModelConfig = preset(name)
    flow = windowed_for(
        [config], columns=32, norm_lanes=32, pixel_bytes=8, dense_patches=4, queue_logits=4096, lanes=32
    )
    bits, found = all_settings(flow), network_settings(random_network(config), flow)
    assert all(pack_field(value, bits[setting], setting) == value for setting, value in found.items())
    assert found["channels"] == config.num_features
    assert found["row_stride"] == config.num_features // 32


def test_the_sum_of_all_tokens_fits_where_these_are_more_than_those_of_a_window() -> None:
    flow = windowed_for([tiny_swin(img_size=64)])
    assert EdgeUnit(flow).pool_bits == 20 + 10


@pytest.mark.parametrize(("tokens", "words"), [(3136, 3), (196, 8), (4, 1)])
def test_the_largest_y_fits(tokens: int, words: int) -> None:
    """One channel apart from all others, by the least and by the most, and the least Eps."""
    unit = PatchNormUnit(windowed_flow(tokens, words, columns=32, norm_lanes=32, lanes=32))
    formats, channels, most = unit.flow.engine.formats, unit.most_channels, (1 << unit.widths.x_bits - 1) - 1
    found = []
    for high, low in ((1, 0), (most, ~most), (~most, most), (2, 1)):
        x = np.full(channels, low, object)
        x[0] = high
        s1 = int(x.sum())
        q = (1 << formats.head_m) // isqrt(channels * int((x * x).sum()) - s1 * s1 + 1)
        y = [(channels * int(value) - s1) * q >> unit.drop_bits for value in x]
        found += [max(map(abs, y)), *y]
    assert max(found) < 1 << unit.y_bits - 1
    assert min(found) >= -(1 << unit.y_bits - 1)
    # A bit fewer would not be enough for sqrt(2 * (D - 1)), of which these are sqrt(D - 1).
    assert max(found) >= 1 << unit.y_bits - 3


def test_a_lane_has_as_many_multiplications_as_its_products_are_cut_in() -> None:
    unit = PatchNormUnit(windowed_flow(3136, 3, columns=32, norm_lanes=32, lanes=32))
    lane = [(18, 18), (18, 8), (17, 16), (26, 18), (24, 18)]
    assert unit.products()[: len(lane)] == lane
    assert len(unit.products()) == 32 * len(lane) + len(unit.widths.row_products)
