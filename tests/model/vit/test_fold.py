"""Roundings of parameters, against hand-computed values and against exhaustive comparison (model/vit/fold.py)."""

import pytest
import torch

from bivit.model.vit import fold
from bivit.sim.network.formats import Formats

FORMATS = Formats()


def test_layernorm_theta() -> None:
    weight = torch.tensor([1.0, 2.0, -1.0, 0.0, 0.0, 1e-6])
    bias = torch.tensor([0.5, 0.5, 0.5, 0.1, -0.1, 1.0])
    # -beta/gamma * 2^8; a gamma of 0 is a constant of beta's sign; 16 bits saturate.
    assert fold.layernorm_theta(weight, bias, FORMATS).tolist() == [-128, -64, 128, -32768, 32767, -32768]
    assert fold.flips(weight).tolist() == [1, 1, -1, 1, 1, 1]


def test_mean_theta_is_in_units_of_the_centred_sum() -> None:
    # C * x counts C * 2^(12 - 2) a unit, theta has 2^8 of them a step: 4 * 1024 / 256 = 16 steps a unit.
    theta = fold.mean_theta(torch.tensor([1.0, 1.0, 2.0, 4.0]), torch.tensor([-1.0, 0.5, 1.0, -1.0]), FORMATS)
    assert theta.tolist() == [16, -8, -8, 4]


def test_eps() -> None:
    # 128^2 * 1e-6 * 2^20 = 17179.87
    assert fold.block_norm_eps(128, 1e-6, FORMATS) == 17180
    assert fold.block_norm_eps(8, 1e-12, FORMATS) == 1
    # 64^2 * 1e-6 / 0.001^2 = 4096; never below 1
    assert fold.head_norm_eps(torch.tensor([0.001, 1.0], dtype=torch.float64), 64, 1e-6).tolist() == [4096, 1]


@pytest.mark.parametrize("length", [8, 64])
def test_sign_theta_equals_the_scaled_comparison(length: int) -> None:
    torch.manual_seed(0)
    scale = torch.cat([torch.rand(200), torch.full((2,), 0.5), torch.zeros(3)]).double()
    bias = torch.cat(
        [torch.randn(200) * length / 2, torch.tensor([1.0, -1.0]), torch.tensor([0.0, 1.0, -1.0])]
    ).double()
    theta = fold.sign_theta(scale, bias, length)
    assert int(theta.min()) >= -length
    assert int(theta.max()) <= length + 2
    acc = torch.arange(-length, length + 1, 2)[:, None]
    assert torch.equal(acc >= theta, scale * acc + bias >= 0)


def test_head_scale() -> None:
    scale, unit = fold.head_scale(torch.tensor([[0.51, 0.255, 1e-9], [0.0, 0.0, 0.0]]), FORMATS)
    assert scale.tolist() == [[255, 128, 1], [1, 1, 1]]
    assert unit.tolist() == pytest.approx([0.002, 1 / 255])


def test_exp_table_and_tau() -> None:
    table = fold.exp_table(torch.tensor([0.125, 10.0]), 8)
    # 2^15 * exp(-k / 4)
    assert table[0].tolist() == [32768, 25520, 19875, 15479, 12055, 9388, 7312, 5694, 4435]
    assert table[1].tolist() == [32768] + [0] * 8
    assert fold.attention_tau(torch.tensor([0.0, 0.0625, 1.0, 2.0])).tolist() == [0, 4096, 65536, 65536]


def test_score_theta_equals_the_scaled_comparison() -> None:
    torch.manual_seed(0)
    sharpness, threshold = torch.rand(100).double() + 0.01, torch.randn(100).double() * 4
    theta = fold.score_theta(threshold, sharpness, 16, 16)
    assert int(theta.min()) >= 0
    assert int(theta.max()) <= 17
    p = torch.arange(17)[:, None]
    assert torch.equal(p >= theta, sharpness * (2 * p - 16) >= threshold)


def test_patch_integers_are_near_the_real_embedding() -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(6, 12), torch.randn(6)
    weight[5] = 0
    mean, std = torch.rand(12), torch.rand(12) + 0.5
    folded = fold.patch_integers(weight, bias, mean, std, FORMATS)
    assert int(folded.weight.abs().max()) == 127
    assert int(folded.scale.min()) >= 1
    assert int(folded.scale.max()) < 2**15
    assert 1 <= folded.shift <= 40
    pixels = torch.randint(0, 256, (50, 12))
    half = 1 << (folded.shift - 1)
    x = ((pixels @ folded.weight.T) * folded.scale + folded.bias + half) >> folded.shift
    real = ((pixels / 255 - mean) / std) @ weight.T + bias
    # Half a step of an int8 weight for each of 12 pixels at most, and the multiplier's own rounding.
    bound = 12 * float((weight / std).abs().max()) / 254 + 0.01
    assert float((x / 2**12 - real).abs().max()) < bound
    assert (x[:, 5] == torch.round(bias[5] * 2**12)).all()


def test_a_patch_of_the_mean_contributes_only_the_bias() -> None:
    mean = torch.full((4,), 102 / 255)
    folded = fold.patch_integers(torch.randn(3, 4), torch.tensor([0.0, 1.0, -0.5]), mean, torch.ones(4), FORMATS)
    acc = (torch.full((1, 4), 102) @ folded.weight.T) * folded.scale + folded.bias + (1 << (folded.shift - 1))
    assert (acc >> folded.shift).tolist() == [[0, 4096, -2048]]


def test_head_integers() -> None:
    folded = fold.head_integers(torch.tensor([[1.27, -0.635], [0.01, 0.004]]), torch.tensor([0.5, -0.25]), FORMATS)
    assert folded.weight.tolist() == [[127, -64], [1, 0]]
    # One step of a logit is 0.01 / 256.
    assert folded.unit == pytest.approx(0.01 / 256)
    assert folded.bias.tolist() == [12800, -6400]
    assert fold.head_integers(torch.zeros(2, 3), torch.zeros(2), FORMATS).weight.tolist() == [[0, 0, 0]] * 2
