"""Random networks: reproducible, valid and alive in every mode (sim/network/random.py)."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from shapes import random_images

from bivit.sim.network.config import SwinConfig, ViTConfig
from bivit.sim.network.file import network_hash
from bivit.sim.network.formats import Formats
from bivit.sim.network.presets import preset
from bivit.sim.network.random import random_network
from bivit.sim.reference.run import run_reference

SMALL = ViTConfig(img_size=16, patch_size=4, num_classes=7, embed_dim=64, depth=2, num_heads=2, mlp_ratio=2.0)
TOKENS = [{"pool": "mean", "class_token": False}, {"pool": "mean"}, {}, {"dist_token": True}]
SWIN = SwinConfig(
    img_size=32,
    patch_size=4,
    num_classes=7,
    embed_dim=64,
    depths=(2, 1),
    num_heads=(2, 4),
    window_size=4,
    mlp_ratio=2.0,
)
MODES = list(product(("layernorm", "mean"), ("layernorm", "threshold"), ("softmax", "score")))
SIGNS = ("norm1", "attn.q_norm", "attn.k_norm", "attn.v_sign", "attn.attn_sign", "attn.context", "norm2", "mlp.act")


def test_the_same_seed_gives_the_same_network_and_another_seed_another() -> None:
    first, again, other = (random_network(SMALL, seed=seed) for seed in (3, 3, 4))
    assert network_hash(first) == network_hash(again)
    for name, tensor in first.tensors.items():
        varies = tensor.size > 4 or name.endswith(".tau")
        assert not varies or not np.array_equal(tensor, other.tensors[name]), name


@pytest.mark.parametrize("tokens", TOKENS, ids=str)
@pytest.mark.parametrize(("norm_mode", "qk_mode", "attn_mode"), MODES)
def test_every_stage_is_alive(tokens: dict, norm_mode: str, qk_mode: str, attn_mode: str) -> None:
    config = replace(SMALL, norm_mode=norm_mode, qk_mode=qk_mode, attn_mode=attn_mode, **tokens)
    result = run_reference(random_network(config), random_images(config, 6, seed=7), taps="all")
    assert result.saturations == 0
    for block in range(config.depth):
        for sign in SIGNS:
            share = result.taps[f"blocks.{block}.{sign}"].mean()
            assert 0.15 < share < 0.85, f"blocks.{block}.{sign}"
        ones = result.taps[f"blocks.{block}.attn.attn_sign"].sum(axis=-1)
        assert ((ones > 0) & (ones < config.num_tokens)).mean() > 0.8
    assert len(np.unique(result.logits, axis=0)) == 6


@pytest.mark.parametrize(("norm_mode", "qk_mode", "attn_mode"), MODES)
def test_every_stage_of_a_swin_is_alive(norm_mode: str, qk_mode: str, attn_mode: str) -> None:
    config = replace(SWIN, norm_mode=norm_mode, qk_mode=qk_mode, attn_mode=attn_mode)
    result = run_reference(random_network(config), random_images(config, 6, seed=7), taps="all")
    assert result.saturations == 0
    for block in config.blocks:
        for sign in SIGNS:
            share = result.taps[f"{block.name}.{sign}"].mean()
            assert 0.1 < share < 0.85, f"{block.name}.{sign}"
        ones = result.taps[f"{block.name}.attn.attn_sign"].sum(axis=-1)
        assert ((ones > 0) & (ones < block.window_tokens)).mean() > 0.7, block.name
    assert 0.15 < result.taps["layers.1.downsample.norm"].mean() < 0.85
    assert len(np.unique(result.logits, axis=0)) == 6


@pytest.mark.parametrize("pixel", [0, 255])
def test_flat_images_do_not_saturate(pixel: int) -> None:
    images = np.full((1, 8, 8, 1), pixel, dtype=np.uint8)
    assert run_reference(random_network(preset("digits")), images).saturations == 0


@pytest.mark.parametrize(
    "formats", [Formats(residual_bits=12, residual_frac_bits=4, norm_shift=0), Formats(residual_bits=24)]
)
def test_other_formats_do_not_saturate(formats: Formats) -> None:
    network = random_network(preset("digits"), formats)
    assert network.formats == formats
    assert run_reference(network, random_images(network.config, 8, seed=7)).saturations == 0
