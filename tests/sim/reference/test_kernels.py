"""Binary products and thresholds against their plain-Python twins (sim/reference/products.py)."""

import numpy as np
import packed
import pytest

import naive
from bivit.sim.reference import products as kernels
from bivit.sim.reference.prepare import acc_type, grouped

LENGTHS = [1, 8, 63, 64, 65, 128, 192, 200]


def random_bits(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, shape, dtype=np.uint8)


def integers(seed: int, low: int, high: int, *shape: int) -> np.ndarray:
    """Random int64 of `low` to `high`, both included."""
    return np.random.default_rng(seed).integers(low, high + 1, shape)


def test_popcount_of_single_bits_and_extremes() -> None:
    # One weight row of zeros: what differs from it are the ones of the activations.
    words = [0, 2**64 - 1, *(1 << bit for bit in range(64)), *((1 << bit) - 1 for bit in range(64))]
    acc = np.empty((len(words), 1), dtype=np.int16)
    weights = grouped(np.zeros((1, 1), dtype=np.uint64))
    kernels.binary_linear(np.array(words, dtype=np.uint64)[:, None], weights, 64, acc)
    assert acc[:, 0].tolist() == [64 - 2 * word.bit_count() for word in words]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(("rows", "outputs"), [(1, 1), (5, 3), (8, 70), (3, 72)])
def test_binary_linear(length: int, rows: int, outputs: int) -> None:
    a, w = random_bits(length, rows, length), random_bits(length + 1, outputs, length)
    acc = packed.binary_linear(a, w)
    assert acc.dtype == acc_type(length) == np.int16
    assert acc.tolist() == [naive.binary_linear(row, w.tolist()) for row in a.tolist()]


@pytest.mark.parametrize("length", LENGTHS)
def test_binary_linear_at_its_extremes(length: int) -> None:
    ones, zeros = np.ones((1, length), dtype=np.uint8), np.zeros((1, length), dtype=np.uint8)
    both = np.concatenate([ones, zeros, ones, zeros])
    assert packed.binary_linear(both, both).tolist() == [[length, -length] * 2, [-length, length] * 2] * 2


def test_binary_linear_of_more_outputs_than_a_block() -> None:
    a, w = random_bits(1, 3, 70), random_bits(2, 4 * 1024 + 5, 70)
    signs_a, signs_w = 2 * a.astype(np.int64) - 1, 2 * w.astype(np.int64) - 1
    assert np.array_equal(packed.binary_linear(a, w), signs_a @ signs_w.T)


def test_binary_linear_counts_to_the_longest_row() -> None:
    length = (1 << 16) - 8
    ones, zeros = np.ones((1, length), dtype=np.uint8), np.zeros((5, length), dtype=np.uint8)
    acc = packed.binary_linear(ones, zeros)
    assert acc.dtype == np.int32
    assert acc.tolist() == [[-length] * 5]


def test_threshold_sign_with_ties_and_extremes() -> None:
    acc = np.array([[-8, -2, 0, 2, 8]] * 2, dtype=np.int64)
    for theta in ([-8, -2, 0, 2, 8], [-7, -1, 1, 3, 10], [-8, 10, -8, 10, -8]):
        bits = packed.threshold_sign(acc, np.array(theta))
        assert bits.tolist() == [naive.threshold_sign(row, theta) for row in acc.tolist()]
    assert packed.threshold_sign(acc, np.array([-8, -2, 0, 2, 8])).all()


@pytest.mark.parametrize(("tokens", "channels"), [(1, 1), (4, 65)])
def test_threshold_sign(tokens: int, channels: int) -> None:
    acc = integers(0, -channels, channels, tokens, channels)
    theta = integers(1, -channels, channels + 2, channels).astype(np.int32)
    expected = [naive.threshold_sign(row, theta.tolist()) for row in acc.tolist()]
    assert packed.threshold_sign(acc, theta).tolist() == expected


@pytest.mark.parametrize("tokens", [1, 63, 66])
@pytest.mark.parametrize(("head_dim", "start"), [(8, 0), (24, 5), (64, 64)])
def test_signs_of_heads(tokens: int, head_dim: int, start: int) -> None:
    acc, theta = integers(0, -9, 9, 2, 3, tokens, head_dim), integers(1, -9, 11, 3, head_dim)
    expected = [[[naive.threshold_sign(row, t) for row in head] for head, t in zip(image, theta.tolist(), strict=True)]
                for image in acc.tolist()]  # fmt: skip
    assert packed.head_signs(acc, theta, start).tolist() == expected
    assert packed.value_signs(acc, theta, start).tolist() == expected


def test_a_row_longer_than_int16_holds() -> None:
    length = 2**15 - 2
    ones = np.ones((1, length), dtype=np.uint8)
    assert (acc_type(length - 1), acc_type(length)) == (np.int16, np.int32)
    assert packed.binary_linear(ones, 1 - ones).tolist() == [[-length]]


@pytest.mark.parametrize("head_dim", [1, 8, 40, 64])
@pytest.mark.parametrize("tokens", [1, 5, 66])
def test_scores(head_dim: int, tokens: int) -> None:
    q, k = random_bits(head_dim, 2, 3, tokens, head_dim), random_bits(head_dim + 1, 2, 3, tokens, head_dim)
    assert packed.scores(q, k).tolist() == [
        [naive.scores(a, b) for a, b in zip(*pair, strict=True)] for pair in zip(q.tolist(), k.tolist(), strict=True)
    ]


def test_scores_of_equal_and_opposite_rows() -> None:
    q = random_bits(3, 1, 1, 1, 64)
    keys = np.concatenate([q, 1 - q], axis=2)
    assert packed.scores(np.repeat(q, 2, axis=2), keys).tolist() == [[[[64, 0], [64, 0]]]]


def attention_by_rows(p: np.ndarray, exp: np.ndarray, tau: np.ndarray) -> tuple[list, list, list]:
    """Bits, m and Z of the naive twin in the kernel's layout."""
    rows = [
        [[naive.attention_threshold(row, exp[h].tolist(), int(tau[h])) for row in head] for h, head in enumerate(image)]
        for image in p.tolist()
    ]
    bits, m, z = ([[[row[part] for row in head] for head in image] for image in rows] for part in range(3))
    return bits, m, z


def exp_table(decay: float, head_dim: int) -> list[int]:
    return [round(2**15 * float(np.exp(-decay * k))) for k in range(head_dim + 1)]


@pytest.mark.parametrize("tokens", [1, 7, 66])
def test_attention_threshold(tokens: int) -> None:
    head_dim = 16
    p = integers(tokens, 0, head_dim, 2, 3, tokens, tokens)
    exp = np.array([exp_table(decay, head_dim) for decay in (0.0, 0.2, 3.0)], dtype=np.int32)
    for share in (0.0, 0.5, 1.0, 1.5, tokens):
        tau = np.full(3, round(2**16 * share / tokens), dtype=np.int32).clip(0, 2**16)
        bits, m, z = packed.attention_of(p, exp, tau)
        assert (bits.tolist(), m.tolist(), z.tolist()) == attention_by_rows(p, exp, tau)


def test_attention_threshold_at_a_tie_and_with_empty_rows() -> None:
    p = np.full((1, 1, 4, 4), 5, dtype=np.int64)
    exp = np.array([exp_table(0.5, 8)], dtype=np.int32)
    tie = np.array([2**14], dtype=np.int32)  # 2^15 << 16 is 2^14 * 4 * 2^15
    assert packed.attention_of(p, exp, tie)[0].all()
    bits, m, z = packed.attention_of(p, exp, tie + np.int32(1))
    assert not bits.any()
    assert (np.unique(m).tolist(), np.unique(z).tolist()) == ([5], [4 * 2**15])


def test_attention_threshold_with_the_widest_values() -> None:
    p = np.zeros((1, 1, 300, 300), dtype=np.int64)
    p[..., 0] = 64
    exp = np.full((1, 65), 2**15, dtype=np.int32)
    bits, _, z = packed.attention_of(p, exp, np.array([2**16], dtype=np.int32))
    assert not bits.any()
    assert np.unique(z).tolist() == [300 * 2**15]


def test_score_threshold() -> None:
    p = integers(9, 0, 8, 2, 3, 5, 5)
    for theta in ([0, 4, 9], [8, 1, 5]):
        bits, _, _ = packed.attention_of(p, None, np.array(theta, dtype=np.int32))
        assert bits.tolist() == [
            [[naive.score_threshold(row, theta[h]) for row in head] for h, head in enumerate(image)]
            for image in p.tolist()
        ]


@pytest.mark.parametrize("tau", [0, 1, 2**13, 2**16])
def test_pairs_that_may_not_attend_have_no_weight_and_no_bit(tau: int) -> None:
    p = integers(10, -1, 8, 2, 2, 6, 6)
    p[..., range(6), range(6)] = 3  # a token may always attend to itself
    p[0, 0, 0, 1:] = -1
    exp = np.array([exp_table(decay, 8) for decay in (0.0, 0.7)], dtype=np.int32)
    taus = np.full(2, tau, dtype=np.int32)
    bits, m, z = packed.attention_of(p, exp, taus)
    assert (bits.tolist(), m.tolist(), z.tolist()) == attention_by_rows(p, exp, taus)
    assert not bits[p < 0].any()
    assert (m[0, 0, 0], z[0, 0, 0]) == (3, 2**15)
    for theta in (0, 4):
        bits, _, _ = packed.attention_of(p, None, np.full(2, theta, dtype=np.int32))
        assert np.array_equal(bits, (p >= theta) & (p >= 0))
        assert bits.tolist() == [
            [[naive.score_threshold(row, theta) for row in head] for head in i] for i in p.tolist()
        ]


@pytest.mark.parametrize("tokens", [1, 5, 63, 64, 65])
@pytest.mark.parametrize("channels", [1, 8, 70])
def test_context(tokens: int, channels: int) -> None:
    a, v = random_bits(tokens, 2, 3, tokens, tokens), random_bits(tokens + 1, 2, 3, tokens, channels)
    a[0, 0, 0] = 0
    a[1, 2, -1] = 1
    c, bits = packed.context(a, v)
    expected = [
        [[naive.context(row, values) for row in rows] for rows, values in zip(*pair, strict=True)]
        for pair in zip(a.tolist(), v.tolist(), strict=True)
    ]
    assert c.tolist() == [[[row[0] for row in rows] for rows in image] for image in expected]
    assert bits.tolist() == [[[row[1] for row in rows] for rows in image] for image in expected]


@pytest.mark.parametrize("tokens", [200, 330, 600])
def test_context_of_several_words(tokens: int) -> None:
    a, v = random_bits(tokens, 1, 2, tokens, tokens), random_bits(tokens + 1, 1, 2, tokens, 5)
    c, bits = packed.context(a, v)
    expected = a.astype(np.int64) @ (2 * v.astype(np.int64) - 1)
    assert np.array_equal(c, expected)
    assert np.array_equal(bits, expected >= 0)


def test_context_of_an_empty_row_and_of_a_tie_is_plus_one() -> None:
    a = np.array([[[[0, 0], [1, 1]]]], dtype=np.uint8)
    v = np.array([[[[1, 0], [0, 0]]]], dtype=np.uint8)
    c, bits = packed.context(a, v)
    assert c.tolist() == [[[[0, 0], [0, -2]]]]
    assert bits.tolist() == [[[[1, 1], [1, 0]]]]
