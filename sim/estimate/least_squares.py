"""Least squares in fractions: the same digits on every machine, whatever its vector units and BLAS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction


def least_squares(columns: Sequence[Sequence[Fraction]], target: Sequence[Fraction]) -> list[Fraction]:
    """Return the weights of `columns` whose sum is nearest to `target`, of several the shortest vector of weights.

    Parameters
    ----------
    columns : sequence of sequences of Fraction
        A column for each weight, as long as `target`. They may depend on each other.
    target : sequence of Fraction
        What to come near to.

    Examples
    --------
    >>> least_squares([[Fraction(1), Fraction(1)], [Fraction(1), Fraction(1)]], [Fraction(2), Fraction(4)])
    [Fraction(3, 2), Fraction(3, 2)]
    """
    gram = [[_dot(a, b) for b in columns] for a in columns]
    # The shortest solution of gram * x = c lies in the space of gram's columns: x = gram * z with gram * gram * z = c.
    twice = [[_dot(a, b) for b in gram] for a in gram]
    z = _solve(twice, [_dot(column, target) for column in columns])
    return [_dot(row, z) for row in gram]


def positive_weights(
    columns: Mapping[str, Sequence[Fraction]], target: Sequence[Fraction], sizes: Mapping[str, Fraction]
) -> dict[str, Fraction]:
    """Return weights as of `least_squares`; a column whose weight comes out negative is dropped, the worst first.

    Parameters
    ----------
    columns : mapping of str to sequence of Fraction
        By name. If only one is left, its weight may be negative.
    target : sequence of Fraction
    sizes : mapping of str to Fraction
        What a weight counts by, where the worst is sought.

    Examples
    --------
    >>> positive_weights({"a": [Fraction(1), 0], "b": [0, Fraction(1)]}, [Fraction(2), Fraction(-1)], {"a": 1, "b": 1})
    {'a': Fraction(2, 1)}
    """
    left = dict(columns)
    while left:
        found = dict(zip(left, least_squares(list(left.values()), target), strict=True))
        worst = min(left, key=lambda name: found[name] * sizes[name])
        if len(left) == 1 or found[worst] >= 0:
            return found
        del left[worst]
    return {}


def _solve(matrix: list[list[Fraction]], right: list[Fraction]) -> list[Fraction]:
    """Return a solution of a system that has one; unknowns that are free are 0."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    pivots: list[int] = []
    for column in range(len(right)):
        rank = len(pivots)
        found = next((k for k in range(rank, len(rows)) if rows[k][column]), None)
        if found is None:
            continue
        rows[rank], rows[found] = rows[found], rows[rank]
        head = rows[rank] = [value / rows[rank][column] for value in rows[rank]]
        for k, row in enumerate(rows):
            if k != rank and row[column]:
                rows[k] = [a - row[column] * b for a, b in zip(row, head, strict=True)]
        pivots.append(column)
    solution = [Fraction(0)] * len(right)
    for rank, column in enumerate(pivots):
        solution[column] = rows[rank][-1]
    return solution


def _dot(a: Sequence[Fraction], b: Sequence[Fraction]) -> Fraction:
    return sum((x * y for x, y in zip(a, b, strict=True)), Fraction(0))
