"""The edge of engines with windows: Swins of several stages, and DeiTs on the same engine."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flow_edge import Bench, tiny
from windowed import tiny_swin, windowed_for

from bivit.sim.errors import BivitError
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.edge_settings import edge_setting_bits, edge_settings
from bivit.sim.network.config import ModelConfig
from bivit.sim.network.presets import preset
from bivit.sim.reference.run import run_reference

#: Changes of the network, of the engine, and images.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "three stages": ({}, {"dense_patches": 3}, 3),
    "several parts of a token, several images that wait": (
        {"embed_dim": 24, "img_size": 8, "depths": (1, 1), "num_heads": (3, 6), "num_classes": 19},
        {"dense_patches": 2, "dense_lanes": 16},
        4,
    ),
    "one stage of several windows, two groups of channels, chunks of half a word": (
        {"embed_dim": 32, "img_size": 8, "depths": (1,), "num_heads": (1,), "in_chans": 3},
        {"norm_lanes": 16, "dense_patches": 4, "dense_lanes": 16},
        3,
    ),
    "two channels a multiplier, other multipliers of all else": (
        {"embed_dim": 16, "img_size": 8, "depths": (1, 1), "num_heads": (2, 4)},
        {"dense_patches": 2, "products_per_dsp": 2, "rows": 5},
        2,
    ),
    "words of two channels": ({"img_size": 8}, {"columns": 8, "norm_lanes": 2, "dense_patches": 2}, 2),
    "words of one channel": ({"img_size": 4, "depths": (1,), "num_heads": (1,)}, {"columns": 8, "norm_lanes": 1}, 3),
    "narrow multipliers": ({"embed_dim": 16, "img_size": 8}, {"fabric": "lut4", "norm_lanes": 16}, 2),
}
#: A DeiT that fits an engine for `tiny_swin`, with prefix tokens and without.
DEITS: dict[str, dict[str, Any]] = {
    "class and distillation tokens": {"dist_token": True, "embed_dim": 24, "img_size": 4},
    "mean": {"class_token": False, "pool": "mean", "img_size": 6},
}


def run(config: ModelConfig, flow: FlowConfig, images: int, **more: Any) -> Bench:
    bench = Bench(config, flow, images, most=60_000, **more)
    bench.run()
    bench.check_values()
    return bench


@pytest.mark.parametrize("case", CASES)
def test_every_value_and_every_cycle(case: str) -> None:
    network, engine, images = CASES[case]
    config = tiny_swin(**network)
    bench = run(config, windowed_for([config], **engine), images, seed=images)
    bench.check_cycles()
    assert bench.flow.windows
    assert bench.flow.windows.image_tokens == config.num_tokens


def test_a_whole_swin_is_embedded_and_answered() -> None:
    """X in front of the first block, and logits of the x behind the last one, as the reference has them."""
    config = preset("swin_fashion")
    flow = windowed_for([config], columns=32, norm_lanes=32, dense_patches=4, dense_lanes=32, lanes=16)
    bench = Bench(config, flow, 1, most=60_000)
    last = config.blocks[-1].name
    reference = run_reference(bench.network, bench.pixels, taps=["patch_embed", f"{last}.add2"])
    bench.final = reference.taps[f"{last}.add2"]
    bench.run()
    bench.check_values()
    bench.check_cycles()
    assert (bench.taken[0] == reference.taps["patch_embed"][0]).all()
    assert [logit for _, logit, _ in bench.logits] == reference.logits[0].tolist()


@pytest.mark.parametrize("case", DEITS)
def test_a_deit_on_an_engine_with_windows(case: str) -> None:
    """Its patches have positions, and are not normalised; its tokens lie in their order."""
    config = tiny(**DEITS[case])
    bench = run(config, windowed_for([tiny_swin(embed_dim=24), config], dense_patches=2), 3, seed=7)
    bench.check_cycles()
    assert bench.settings["patch_norm"] == 0
    assert bench.flow.windows
    assert bench.flow.windows.image_tokens > config.num_tokens


def test_an_image_is_normalised_behind_the_one_before_it() -> None:
    """Where patches are embedded faster than they are normalised, x is complete as fast as it is normalised."""
    config = tiny_swin(patch_size=1, img_size=8)
    flow = windowed_for([config], columns=8, dense_patches=8, pixel_bytes=8)
    # Classes do not take the multipliers meanwhile.
    bench = run(config, flow, 3, least_delay=1000, most_delay=1000)
    bench.check_cycles()
    norm = bench.unit.patch_norm
    assert norm is not None
    assert np.diff(bench.embedded).tolist() == [norm.image_cycles(64, 1)] * 2


def test_what_saturates_is_counted() -> None:
    config = tiny_swin(img_size=8)
    assert run(config, windowed_for([config]), 1, saturates=True).saturations > 10


@pytest.mark.parametrize("planted", [("patch_norm", 0, 40), ("patch_places", 5, 1), ("patch_eps", 0, 40)])
def test_a_wrong_bit_is_noticed(planted: tuple[str, int, int]) -> None:
    config = tiny_swin(img_size=8)
    with pytest.raises(AssertionError):
        run(config, windowed_for([config]), 1, planted=planted)


@pytest.mark.parametrize("cycles", [20, 200, 330])
def test_a_run_that_is_cut_leaves_nothing_to_the_next(cycles: int) -> None:
    """Cut while patches are summed, while they are normalised, and before any."""
    config = tiny_swin(img_size=8)
    run(config, windowed_for([config]), 2, abandoned=cycles).check_cycles()


def test_settings_fit_and_others_are_refused() -> None:
    config = tiny_swin()
    flow = windowed_for([config])
    bits = edge_setting_bits(flow)
    values = edge_settings(config, flow, 40)
    assert set(values) == set(bits)
    assert all(0 <= values[name] < 1 << bits[name] for name in bits)
    with pytest.raises(BivitError, match="takes an engine with windows; got one without"):
        edge_settings(config, replace(flow, windows=None), 1)
    with pytest.raises(BivitError, match=r"at most 64 \(windows.image_tokens\), the network has 256"):
        edge_settings(tiny_swin(img_size=32), flow, 1)
    with pytest.raises(BivitError, match=r"at most 2 \(windows.x_words over windows.image_tokens\), the network has 8"):
        edge_settings(tiny_swin(embed_dim=64, num_heads=(8, 8, 8)), flow, 1)
