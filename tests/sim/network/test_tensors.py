"""Keys, shapes, dtypes and ranges of a network's tensors (sim/network/tensors.py)."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bivit.sim.bits import pack
from bivit.sim.errors import BivitError
from bivit.sim.network.config import ModelConfig, SwinConfig, ViTConfig
from bivit.sim.network.formats import Formats
from bivit.sim.network.network import IntNetwork
from bivit.sim.network.random import random_network
from bivit.sim.network.tensors import check_formats, tensor_specs

SOFTMAX = ViTConfig(img_size=8, patch_size=4, num_classes=5, embed_dim=24, depth=1, num_heads=3, mlp_ratio=3.0)
SCORE = replace(SOFTMAX, norm_mode="mean", qk_mode="threshold", attn_mode="score")
SWIN = SwinConfig(
    img_size=8, patch_size=2, num_classes=5, embed_dim=16, depths=(1, 1), num_heads=(2, 2), window_size=2, mlp_ratio=1.0
)
SWIN_SCORE = replace(SWIN, norm_mode="mean", qk_mode="threshold", attn_mode="score")
EPS_LIMIT = 2**48 - 1


def with_value(config: ModelConfig, name: str, value: int, index: int = -1) -> IntNetwork:
    """A network with one element of one tensor replaced."""
    network = random_network(config)
    tensor = network.tensors[name].copy()
    tensor.flat[index] = value
    return replace(network, tensors=network.tensors | {name: tensor})


# Lowest and highest allowed value of every numeric tensor, as semantics.md and the formats state them.
RANGES = [
    (SOFTMAX, "patch_embed.proj.scale", 1, 2**15 - 1),
    (SOFTMAX, "patch_embed.proj.bias", -(2**47), 2**47 - 1),
    (SOFTMAX, "patch_embed.proj.shift", 1, 40),
    (SOFTMAX, "pos_embed", -(2**19), 2**19 - 1),
    (SOFTMAX, "blocks.0.norm1.theta", -(2**15), 2**15 - 1),
    (SOFTMAX, "blocks.0.norm1.eps", 1, EPS_LIMIT),
    (SOFTMAX, "blocks.0.attn.q_norm.theta", -(2**15), 2**15 - 1),
    (SOFTMAX, "blocks.0.attn.q_norm.scale", 1, 255),
    (SOFTMAX, "blocks.0.attn.q_norm.eps", 1, EPS_LIMIT),
    (SCORE, "blocks.0.attn.k_norm.theta", -24, 26),
    (SOFTMAX, "blocks.0.attn.v_sign.theta", -24, 26),
    (SOFTMAX, "blocks.0.attn.attn_sign.tau", 0, 2**16),
    (SCORE, "blocks.0.attn.attn_sign.theta", 0, 9),
    (SOFTMAX, "blocks.0.attn.proj.scale", -(2**15), 2**15 - 1),
    (SOFTMAX, "blocks.0.mlp.fc2.bias", -(2**19), 2**19 - 1),
    (SOFTMAX, "blocks.0.mlp.act.theta", -24, 26),
    (SOFTMAX, "norm.eps", 1, EPS_LIMIT),
    (SWIN, "patch_embed.norm.scale", -(2**15), 2**15 - 1),
    (SWIN, "patch_embed.norm.bias", -(2**19), 2**19 - 1),
    (SWIN, "patch_embed.norm.eps", 1, EPS_LIMIT),
    (SWIN, "layers.0.blocks.0.attn.relative_position_bias_table", 0, 8),
    (SWIN, "layers.1.blocks.0.attn.relative_position_bias_table", 0, 16),
    (SWIN, "layers.1.blocks.0.attn.attn_sign.tau", 0, 2**16),
    (SWIN_SCORE, "layers.1.blocks.0.attn.attn_sign.theta", 0, 33),
    (SWIN, "layers.1.downsample.norm.theta", -(2**15), 2**15 - 1),
    (SWIN, "layers.1.downsample.norm.eps", 1, EPS_LIMIT),
    (SWIN, "layers.1.downsample.reduction.scale", -(2**15), 2**15 - 1),
    (SWIN, "layers.1.downsample.reduction.bias", -(2**19), 2**19 - 1),
]


@pytest.mark.parametrize(("config", "name", "low", "high"), RANGES)
def test_ranges(config: ModelConfig, name: str, low: int, high: int) -> None:
    for value in (low, high):
        assert with_value(config, name, value).tensors[name].flat[-1] == value
    for value in (low - 1, high + 1):
        with pytest.raises(BivitError, match=rf"{name} must be {low} to {high}, got .*{value}"):
            with_value(config, name, value)


def test_exp_starts_at_one_and_does_not_rise() -> None:
    name = "blocks.0.attn.attn_sign.exp"
    with pytest.raises(BivitError, match=rf"{name}\[:, 0\] must be 32768, got \[32767, 32768\]"):
        with_value(SOFTMAX, name, 2**15 - 1, index=9)
    with pytest.raises(BivitError, match=rf"{name} must not rise along a row, got a rise after .* \[\[2, 7\]\]"):
        with_value(SOFTMAX, name, 2**15)
    with pytest.raises(BivitError, match=rf"{name} must be 0 to 32768, got -1"):
        with_value(SOFTMAX, name, -1)


def test_a_constant_exp_and_one_that_falls_to_zero_are_allowed() -> None:
    network = random_network(SOFTMAX)
    table = np.full((3, 9), 2**15, dtype=np.int32)
    table[1, 1:] = 0
    replace(network, tensors=network.tensors | {"blocks.0.attn.attn_sign.exp": table})


@pytest.mark.parametrize("name", ["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"])
def test_padding_bits_of_weights_are_zero(name: str) -> None:
    name = f"blocks.0.{name}.weight"
    network = random_network(SOFTMAX)
    tensor = network.tensors[name].copy()
    used = (72 if "fc2" in name else 24) % 64
    tensor[-1, -1] |= np.uint64(1) << np.uint64(used)
    with pytest.raises(BivitError, match=rf"{name} has ones in the padding"):
        replace(network, tensors=network.tensors | {name: tensor})


def test_padding_bits_of_merged_neighbours_are_zero() -> None:
    name, config = "layers.1.downsample.reduction.weight", replace(SWIN, embed_dim=24, num_heads=(3, 3))
    network = random_network(config)
    assert network.tensors[name].shape == (48, 2)
    tensor = network.tensors[name].copy()
    tensor[0, 1] |= np.uint64(1) << np.uint64(96 - 64)
    with pytest.raises(BivitError, match=rf"{name} has ones in the padding beyond bit 95"):
        replace(network, tensors=network.tensors | {name: tensor})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.astype(np.int64), r"pos_embed must be int32, got int64"),
        (lambda t: t[:-1], r"pos_embed must have shape \[5, 24\], got \[4, 24\]"),
        (lambda t: t[0], r"pos_embed must have shape \[5, 24\], got \[24\]"),
    ],
)
def test_wrong_dtype_and_shape(change: Callable[[np.ndarray], np.ndarray], message: str) -> None:
    network = random_network(SOFTMAX)
    with pytest.raises(BivitError, match=message):
        replace(network, tensors=network.tensors | {"pos_embed": change(network.tensors["pos_embed"])})


def test_missing_and_unexpected_tensors_are_named() -> None:
    network = random_network(SOFTMAX)
    tensors = dict(network.tensors)
    del tensors["norm.eps"], tensors["head.bias"]
    with pytest.raises(BivitError, match=r"lacks the tensors head\.bias, norm\.eps"):
        replace(network, tensors=tensors)
    with pytest.raises(BivitError, match=r"unexpected tensors head\.scale"):
        replace(network, tensors=network.tensors | {"head.scale": pack(np.ones(8, dtype=np.uint8))})


def test_modes_decide_which_tensors_exist() -> None:
    softmax, score = set(tensor_specs(SOFTMAX, Formats())), set(tensor_specs(SCORE, Formats()))
    attn = "blocks.0.attn"
    assert softmax - score == {
        "blocks.0.norm1.eps", "blocks.0.norm2.eps", f"{attn}.attn_sign.exp", f"{attn}.attn_sign.tau",
        *(f"{attn}.{norm}.{part}" for norm in ("q_norm", "k_norm") for part in ("scale", "eps")),
    }  # fmt: skip
    assert score - softmax == {f"{attn}.attn_sign.theta"}


def test_tensors_of_a_swin() -> None:
    specs = tensor_specs(SWIN, Formats())
    assert "pos_embed" not in specs
    assert specs["layers.0.blocks.0.attn.relative_position_bias_table"].shape == (9, 2)
    assert specs["layers.0.blocks.0.attn.attn_sign.exp"].shape == (2, 17)  # 2 * 8 + 1 scores
    assert specs["layers.1.blocks.0.attn.attn_sign.exp"].shape == (2, 33)
    assert specs["layers.1.downsample.norm.theta"].shape == (64,)
    assert specs["layers.1.downsample.reduction.weight"].shape == (32, 1)
    assert specs["head.weight"].shape == (5, 32)
    score = tensor_specs(SWIN_SCORE, Formats())
    assert "layers.1.downsample.norm.eps" not in score
    # Its values are numbers, not signs: the norm of the patches always takes the root.
    assert "patch_embed.norm.eps" in score


def test_a_change_in_place_is_refused() -> None:
    """What was prepared for a network once holds as long as the network."""
    network = random_network(SOFTMAX)
    with pytest.raises(ValueError, match="read-only"):
        network.tensors["norm.eps"][0] = 0


@pytest.mark.parametrize(
    ("formats", "message"),
    [
        (Formats(residual_bits=24, norm_shift=0), "variance of SignNorm needs 6[0-9] bits.*residual_bits - norm_shift"),
        (Formats(theta_frac_bits=40), "comparison of SignNorm .*lower theta_frac_bits"),
        (Formats(qk_scale_bits=20), "variance of HeadNorm .*lower qk_scale_bits"),
        (Formats(mean_shift=50), "threshold of SignNorm .*lower mean_shift"),
        (Formats(head_m=60), "normalisation of the head .*lower head_m"),
        (Formats(head_m=50, head_frac_bits=40), "a logit .*lower head_frac_bits"),
        (Formats(theta_bits=33), "theta_bits must be 2 to 32, got 33"),
        (replace(Formats(), mean_shift=-1), "mean_shift must be an integer of 0 or more, got -1"),
        (replace(Formats(), scale_bits=16.5), "scale_bits must be an integer of 0 or more, got 16.5"),
    ],
)
def test_formats_that_could_leave_int64_are_refused(formats: Formats, message: str) -> None:
    config = replace(SOFTMAX, embed_dim=768, num_heads=12)
    with pytest.raises(BivitError, match=message):
        check_formats(config, formats)


def test_patches_whose_sum_could_leave_int32_are_refused() -> None:
    with pytest.raises(BivitError, match=r"a patch has 196,608 pixels and at most 65,793 are allowed"):
        check_formats(replace(SOFTMAX, img_size=512, patch_size=256), Formats())


def test_formats_of_a_swin_that_could_leave_int64_are_refused() -> None:
    with pytest.raises(BivitError, match=r"residual_frac_bits must be 1 or more in a swin, .* got 0"):
        check_formats(SWIN, Formats(residual_frac_bits=0))
    check_formats(SOFTMAX, Formats(residual_frac_bits=0))
    # The four neighbours of a merging are wider than any block.
    formats = Formats(residual_bits=21, norm_shift=0)
    check_formats(replace(SOFTMAX, embed_dim=1024, num_heads=16), formats)
    with pytest.raises(BivitError, match="variance of SignNorm"):
        check_formats(replace(SWIN, embed_dim=512, num_heads=(8, 16)), formats)


def test_the_widest_heads_may_be_those_of_an_early_stage() -> None:
    few = replace(SWIN, embed_dim=64, num_heads=(1, 16))
    with pytest.raises(BivitError, match=r"variance of HeadNorm .*lower qk_scale_bits"):
        check_formats(few, Formats(qk_scale_bits=19))
    check_formats(replace(few, num_heads=(8, 16)), Formats(qk_scale_bits=19))


def test_the_default_formats_fit_every_preset_and_the_widest_residual() -> None:
    check_formats(replace(SOFTMAX, embed_dim=1024, num_heads=16), Formats())
    check_formats(replace(SOFTMAX, embed_dim=192), Formats(residual_bits=24))
