"""Norms and operators on the residual stream against their plain-Python twins."""

from dataclasses import replace

import numpy as np
import packed
import pytest
from hypothesis import given
from hypothesis import strategies as st

import naive
from bivit.sim.network.formats import Formats
from bivit.sim.reference import numbers as norms
from bivit.sim.reference.patches import patch_embed

FORMATS = Formats()
LOW, HIGH = -(2**19), 2**19 - 1


def integers(seed: int, low: int, high: int, *shape: int) -> np.ndarray:
    """Random int64 of `low` to `high`, both included."""
    return np.random.default_rng(seed).integers(low, high + 1, shape)


def int32(values: np.ndarray) -> np.ndarray:
    return values.astype(np.int32)


def embedded(
    patches: np.ndarray, weight: np.ndarray, scale: np.ndarray, bias: np.ndarray, shift: int, position: np.ndarray
) -> tuple[list, int]:
    """The residual stream and how many of its elements were clamped."""
    x = np.empty((len(patches), *position.shape), dtype=np.int32)
    count = patch_embed(patches, weight, scale, bias, shift, position, LOW, HIGH, x)
    return x.tolist(), count


def saturated(exact: list) -> tuple[list, int]:
    """Images of rows, clamped to 20 bits, and how many elements were."""
    rows = [[naive.saturate_row(row, 20) for row in image] for image in exact]
    return [[row for row, _ in image] for image in rows], sum(count for image in rows for _, count in image)


@pytest.mark.parametrize("shift", [1, 17, 40])
def test_patch_embed(shift: int) -> None:
    patches = integers(0, 0, 255, 2, 3, 7).astype(np.uint8)
    weight = integers(1, -128, 127, 5, 7).astype(np.int8)
    scale, bias = int32(integers(2, 1, 2**15 - 1, 5)), integers(3, -(2**47), 2**47 - 1, 5)
    exact = [
        [naive.patch_embed(patch, weight.tolist(), scale.tolist(), bias.tolist(), shift) for patch in image]
        for image in patches.tolist()
    ]
    nothing = np.zeros((3, 5), dtype=np.int32)
    assert embedded(patches, weight, scale, bias, shift, nothing) == saturated(exact)


def test_patch_embed_with_extreme_pixels_and_weights() -> None:
    weight = np.array([[-128] * 768, [127] * 768] * 3, dtype=np.int8)
    scale, bias = np.full(6, 2**15 - 1, dtype=np.int32), np.array([-(2**47), 2**47 - 1] * 3)
    for value in (0, 255):
        patch = np.full((1, 1, 768), value, dtype=np.uint8)
        exact = naive.patch_embed([value] * 768, weight.tolist(), scale.tolist(), bias.tolist(), 40)
        nothing = np.zeros((1, 6), dtype=np.int32)
        assert embedded(patch, weight, scale, bias, 40, nothing) == saturated([[exact]])


@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_positions_are_added_to_patches_and_prefix_tokens_are_constants(prefix: int) -> None:
    patches, weight = integers(0, 0, 255, 2, 3, 4).astype(np.uint8), integers(1, -128, 127, 5, 4).astype(np.int8)
    scale, bias = int32(integers(2, 1, 64, 5)), integers(3, -(2**20), 2**20, 5)
    position = int32(integers(4, LOW, HIGH, prefix + 3, 5))
    arguments = (weight.tolist(), scale.tolist(), bias.tolist(), 3)
    places = position.tolist()
    exact = [
        places[:prefix]
        + [
            [a + b for a, b in zip(naive.patch_embed(patch, *arguments), place, strict=True)]
            for patch, place in zip(image, places[prefix:], strict=True)
        ]
        for image in patches.tolist()
    ]
    x, saturations = embedded(patches, weight, scale, bias, 3, position)
    assert (x, saturations) == saturated(exact)
    assert saturations > 0


@pytest.mark.parametrize("channels", [1, 8, 72])
@pytest.mark.parametrize("limit", [4, 3000, HIGH])
def test_sign_norm(channels: int, limit: int) -> None:
    x = integers(channels, -limit, limit, 2, 3, channels)
    x[0, 0], x[0, 1] = limit, -limit - 1
    theta = int32(integers(channels + 1, -700, 700, channels))
    for eps in (1, 38654, 2**40):
        expected = [[naive.sign_norm(row, theta.tolist(), eps, 2, 8) for row in rows] for rows in x.tolist()]
        for position, got in enumerate(packed.sign_norm(x, theta, eps, FORMATS)):
            assert got.tolist() == [[row[position] for row in rows] for rows in expected]


def test_sign_norm_of_the_widest_rows() -> None:
    x = np.full((1, 1, 768), LOW, dtype=np.int64)
    x[..., ::2] = HIGH
    theta = np.array([-(2**15), 2**15 - 1] * 384, dtype=np.int32)
    bits, s1, r = packed.sign_norm(x, theta, 1, FORMATS)
    expected = naive.sign_norm(x[0, 0].tolist(), theta.tolist(), 1, 2, 8)
    assert (bits[0, 0].tolist(), s1.item(), r.item()) == expected


def test_sign_norm_at_a_tie_is_plus_one() -> None:
    # x = (a, -a) and Eps = 3 * (2a)^2 give R = 4a, so Theta = 128 of 256 is met exactly by the first channel.
    formats = replace(FORMATS, norm_shift=0)
    x = np.array([[[100, -100]]], dtype=np.int64)
    for theta, bit in ((127, 1), (128, 1), (129, 0)):
        bits, _, r = packed.sign_norm(x, np.array([theta, -theta], dtype=np.int32), 3 * 200**2, formats)
        assert r.item() == 400
        assert bits.tolist() == [[[bit, int(theta >= 128)]]]


@given(st.lists(st.integers(LOW, HIGH), min_size=1, max_size=12), st.data())
def test_sign_norm_in_mode_mean(x: list[int], data: st.DataObject) -> None:
    theta = data.draw(st.lists(st.integers(-(2**15), 2**15 - 1), min_size=len(x), max_size=len(x)))
    bits, s1, r = packed.sign_norm(np.array([[x]]), np.array(theta, dtype=np.int32), None, FORMATS)
    assert (bits[0, 0].tolist(), s1.item()) == naive.sign_norm_mean(x, theta, 2, 8)
    assert r.item() == 2**16


def test_mode_mean_at_a_tie_is_plus_one() -> None:
    x = np.array([[[512, -512]]], dtype=np.int64)  # N_c * x - S1 is +-256 after norm_shift
    assert packed.sign_norm(x, np.array([1, -1], dtype=np.int32), None, FORMATS)[0].tolist() == [[[1, 1]]]
    assert packed.sign_norm(x, np.array([2, 0], dtype=np.int32), None, FORMATS)[0].tolist() == [[[0, 0]]]


@pytest.mark.parametrize(
    ("largest_acc", "largest_scale", "kind"),
    [
        (64, 2**15, np.int16),
        (2**15 - 1, 2**15, np.int16),
        (2**15 - 1, 2**16, np.int16),
        (64, 2**31 - 1, np.int16),
        (2**16, 2**15, np.int32),
    ],
)
def test_residual_add_saturates_and_counts(largest_acc: int, largest_scale: int, kind: type) -> None:
    x, acc = int32(integers(0, LOW, HIGH, 6, 5)), integers(1, -largest_acc, largest_acc, 6, 5)
    scale, bias = int32(integers(2, -largest_scale, largest_scale, 5)), int32(integers(3, LOW, HIGH, 5))
    acc[0], scale[0], scale[1] = largest_acc, largest_scale, -largest_scale
    expected = [
        naive.residual_add(row, a, scale.tolist(), bias.tolist(), 20)
        for row, a in zip(x.tolist(), acc.tolist(), strict=True)
    ]
    saturations = norms.residual_add(x, acc.astype(kind), scale, bias, LOW, HIGH)
    assert x.tolist() == [row for row, _ in expected]
    assert saturations == sum(count for _, count in expected) > 0


def test_residual_add_reaches_the_limits_without_a_count() -> None:
    scale, acc = np.array([2, -2], dtype=np.int32), np.array([[3, 3]], dtype=np.int16)
    for bias, count in ((0, 0), (1, 2)):
        x = np.array([[HIGH - 6, LOW + 6]], dtype=np.int32)
        saturations = norms.residual_add(x, acc, scale, np.array([bias, -bias], dtype=np.int32), LOW, HIGH)
        assert (x.tolist(), saturations) == ([[HIGH, LOW]], count)


@pytest.mark.parametrize("head_dim", [8, 64])
def test_head_norm(head_dim: int) -> None:
    acc = integers(head_dim, -192, 192, 2, 3, 4, head_dim)
    acc[0, 0, 0], acc[0, 1, 1] = 0, 192
    theta, scale = int32(integers(1, -400, 400, 3, head_dim)), int32(integers(2, 1, 255, 3, head_dim))
    eps = np.array([1, 77, 2**30])
    expected = [
        [
            [naive.head_norm(row, theta[h].tolist(), scale[h].tolist(), int(eps[h]), 8) for row in head]
            for h, head in enumerate(image)
        ]
        for image in acc.tolist()
    ]
    for start in (0, 7):
        for position, got in enumerate(packed.head_norm(acc, theta, scale, eps, 8, start)):
            assert got.tolist() == [[[row[position] for row in head] for head in image] for image in expected]


def test_pool_takes_the_first_rows_or_the_floor_of_the_mean() -> None:
    x = integers(0, LOW, HIGH, 2, 5, 6)
    assert np.array_equal(norms.pool(x, 2, None), x[:, :2])
    assert norms.pool(x, 1, 3).tolist() == [[naive.pool_mean(image, 3)] for image in x.tolist()]
    assert norms.pool(np.array([[[-1], [0]]]), 1, 1).tolist() == [[[-1]]]


@pytest.mark.parametrize("frac_bits", [8, 12])
@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("limit", [0, 3, HIGH])
def test_normalise(rows: int, limit: int, frac_bits: int) -> None:
    x = integers(rows, -limit, limit, 3, rows, 16)
    for eps in (1, 5000):
        result = norms.normalise(x, eps, frac_bits, FORMATS)
        expected = [[naive.normalise(row, eps, 2, 36, frac_bits) for row in image] for image in x.tolist()]
        for position, got in enumerate((result.s1, result.r, result.q, result.y)):
            assert got.dtype == np.int64
            assert got.tolist() == [[row[position] for row in image] for image in expected]


def test_normalise_and_affine_are_a_layernorm() -> None:
    """Within 3 steps of the residual's grid for gammas up to 2: y is floored to a step, and R and Q are floored."""
    x = integers(0, -(2**14), 2**14, 2, 4, 96)
    gamma, beta = integers(1, -(2**13), 2**13, 96), integers(2, -(2**13), 2**13, 96)
    y = norms.normalise(x, 1, 12, FORMATS).y
    got = np.empty((8, 96), dtype=np.int32)
    assert norms.affine(y.reshape(8, 96), int32(gamma), int32(beta), 12, LOW, HIGH, got) == 0
    got = got.reshape(x.shape)
    floored = (x >> 2).astype(float)
    centred = floored - floored.mean(-1, keepdims=True)
    exact = centred / np.sqrt((centred**2).mean(-1, keepdims=True)) * gamma + beta
    assert np.abs(got - exact).max() < 3


@given(st.lists(st.integers(-(2**24), 2**24), min_size=1, max_size=12), st.integers(1, 16), st.data())
def test_affine(y: list[int], frac_bits: int, data: st.DataObject) -> None:
    def draw(low: int, high: int) -> list[int]:
        return data.draw(st.lists(st.integers(low, high), min_size=len(y), max_size=len(y)))

    scale, bias = draw(-(2**15), 2**15 - 1), draw(LOW, HIGH)
    x = np.empty((1, len(y)), dtype=np.int32)
    saturations = norms.affine(np.array([y]), int32(np.array(scale)), int32(np.array(bias)), frac_bits, LOW, HIGH, x)
    expected = naive.affine(y, scale, bias, frac_bits)
    assert x[0].tolist() == [min(max(value, LOW), HIGH) for value in expected]
    assert saturations == sum(not LOW <= value <= HIGH for value in expected)


@pytest.mark.parametrize("rows", [1, 2])
def test_classify(rows: int) -> None:
    y = integers(rows, -(2**12), 2**12, 3, rows, 16)
    weight, bias = integers(1, -128, 127, 4, rows * 16).astype(np.int8), int32(integers(2, -(2**31), 2**31 - 1, 4))
    flat = [[value for row in image for value in row] for image in y.tolist()]
    assert norms.classify(y, weight, bias).tolist() == [
        naive.classify(row, weight.tolist(), bias.tolist()) for row in flat
    ]
