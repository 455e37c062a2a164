"""Least squares in fractions gives what numpy gives up to rounding, and the shortest of several solutions."""

from fractions import Fraction

import numpy as np
import pytest

from bivit.sim.estimate.least_squares import least_squares


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_against_numpy(rank: int) -> None:
    rng = np.random.default_rng(rank)
    matrix = rng.integers(-9, 10, (7, rank)) @ rng.integers(-9, 10, (rank, 4))  # columns that depend on each other
    target = rng.integers(-9, 10, 7)
    columns = [[Fraction(int(value)) for value in column] for column in matrix.T]
    weights = least_squares(columns, [Fraction(int(value)) for value in target])
    expected = np.linalg.lstsq(matrix.astype(float), target.astype(float), rcond=None)[0]
    np.testing.assert_allclose([float(weight) for weight in weights], expected, rtol=1e-9, atol=1e-12)


def test_the_last_digit_is_exact() -> None:
    third = Fraction(1, 3)
    assert least_squares([[Fraction(3), Fraction(0)]], [Fraction(1), Fraction(5)]) == [third]
