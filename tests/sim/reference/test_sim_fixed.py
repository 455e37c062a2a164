"""Saturation, rounding and the square root (sim/reference/fixed.py)."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import naive
from bivit.sim.bits import signed_range
from bivit.sim.reference.fixed import isqrt, round_half_up_shift, saturate_signed

INT48 = st.integers(-(2**47), 2**47 - 1)


def array(values: list[int] | list[list[int]]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


@pytest.mark.parametrize(("bits", "expected"), [(1, (-1, 0)), (8, (-128, 127)), (63, (-(2**62), 2**62 - 1))])
def test_signed_range(bits: int, expected: tuple[int, int]) -> None:
    assert signed_range(bits) == expected


def test_saturate_signed_at_the_edges() -> None:
    values = [-(2**40), -129, -128, -127, 0, 126, 127, 128, 2**40]
    clamped, saturations = saturate_signed(array(values), 8)
    assert clamped.tolist() == [-128, -128, -128, -127, 0, 126, 127, 127, 127]
    assert saturations == 4


@given(st.lists(INT48, min_size=1), st.integers(1, 48))
def test_saturate_signed_equals_the_naive_twin(values: list[int], bits: int) -> None:
    clamped, saturations = saturate_signed(array(values), bits)
    expected = [naive.saturate_signed(value, bits) for value in values]
    assert clamped.tolist() == expected
    assert saturations == sum(a != b for a, b in zip(values, expected, strict=True))


def test_round_half_up_shift_rounds_ties_up() -> None:
    assert round_half_up_shift(array([-6, -5, -3, -2, -1, 0, 1, 2, 3, 6]), 2).tolist() == [
        -1, -1, -1, 0, 0, 0, 0, 1, 1, 2,
    ]  # fmt: skip


@given(st.lists(INT48, min_size=1), st.integers(1, 40))
def test_round_half_up_shift_equals_the_naive_twin(values: list[int], shift: int) -> None:
    expected = [naive.round_half_up_shift(value, shift) for value in values]
    assert round_half_up_shift(array(values), shift).tolist() == expected


def test_isqrt_of_small_numbers() -> None:
    assert isqrt(np.arange(5000)).tolist() == [math.isqrt(value) for value in range(5000)]


@given(st.lists(st.integers(1, 2**31 - 1), min_size=1))
def test_isqrt_around_squares(roots: list[int]) -> None:
    values = [root * root + offset for root in roots for offset in (-1, 0, 1)]
    assert isqrt(array(values)).tolist() == [math.isqrt(value) for value in values]


@given(st.lists(st.integers(0, 2**62 - 1), min_size=1))
def test_isqrt_of_large_numbers(values: list[int]) -> None:
    assert isqrt(array(values)).tolist() == [math.isqrt(value) for value in values]


def test_isqrt_at_the_limit_keeps_the_shape() -> None:
    roots = isqrt(array([[2**62 - 1, 0], [(2**31 - 1) ** 2, (2**31 - 1) ** 2 - 1]]))
    assert roots.tolist() == [[2**31 - 1, 0], [2**31 - 1, 2**31 - 2]]
