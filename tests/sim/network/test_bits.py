"""The bit order: packing, unpacking and padding (sim/bits.py)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import naive
from bivit.sim.bits import pack, padding_is_zero, unpack, word_count
from bivit.sim.errors import BivitError

BITS = st.lists(st.integers(0, 1), min_size=1, max_size=200)


@pytest.mark.parametrize(("length", "words"), [(1, 1), (63, 1), (64, 1), (65, 2), (128, 2), (192, 3)])
def test_word_count(length: int, words: int) -> None:
    assert word_count(length) == words


def test_element_k_is_bit_k_of_its_word() -> None:
    for k in range(130):
        bits = np.zeros(130, dtype=np.uint8)
        bits[k] = 1
        words = pack(bits)
        assert words.dtype == np.uint64
        assert [int(word) for word in words] == [1 << (k % 64) if k // 64 == i else 0 for i in range(3)]


@given(BITS)
def test_pack_equals_the_naive_twin(bits: list[int]) -> None:
    assert pack(np.array(bits, dtype=np.uint8)).tolist() == naive.pack(bits)


@given(BITS)
def test_unpack_is_the_inverse(bits: list[int]) -> None:
    assert unpack(pack(np.array(bits, dtype=np.uint8)), len(bits)).tolist() == bits


def test_only_the_last_axis_is_packed() -> None:
    bits = np.random.default_rng(0).integers(0, 2, (2, 3, 70), dtype=np.uint8)
    words = pack(bits)
    assert words.shape == (2, 3, 2)
    assert words[1, 2].tolist() == naive.pack(bits[1, 2].tolist())
    assert np.array_equal(unpack(words, 70), bits)


def test_arrays_that_are_not_contiguous() -> None:
    bits = np.random.default_rng(1).integers(0, 2, (70, 5), dtype=np.uint8)
    assert np.array_equal(pack(bits.T), pack(bits.T.copy()))
    words = pack(bits.T)
    assert np.array_equal(unpack(np.asfortranarray(words), 70), bits.T)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 127])
def test_padding_is_zero_finds_each_padding_bit(length: int) -> None:
    words = pack(np.ones((2, length), dtype=np.uint8))
    assert padding_is_zero(words, length)
    for bit in range(length, word_count(length) * 64):
        damaged = words.copy()
        damaged[1, -1] |= np.uint64(1 << (bit % 64))
        assert not padding_is_zero(damaged, length)


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        (np.zeros(3, dtype=np.int64), "must be uint8, got int64"),
        (np.zeros((2, 0), dtype=np.uint8), r"last axis of 1 or more, got shape \(2, 0\)"),
        (np.array(1, dtype=np.uint8), "last axis of 1 or more"),
        (np.array([0, 1, 2], dtype=np.uint8), "must be 0 or 1"),
    ],
)
def test_pack_refuses(bits: np.ndarray, message: str) -> None:
    with pytest.raises(BivitError, match=message):
        pack(bits)


@pytest.mark.parametrize(
    ("words", "length", "message"),
    [
        (np.zeros(1, dtype=np.int64), 64, "must be uint64, got int64"),
        (np.zeros(2, dtype=np.uint64), 64, r"64 bits need a last axis of 1 words, got shape \(2,\)"),
        (np.zeros(1, dtype=np.uint64), 65, "65 bits need a last axis of 2 words"),
        (np.zeros(1, dtype=np.uint64), 0, "0 bits need"),
    ],
)
def test_unpack_refuses(words: np.ndarray, length: int, message: str) -> None:
    with pytest.raises(BivitError, match=message):
        unpack(words, length)
