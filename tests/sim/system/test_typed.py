"""A configuration is built from untrusted values only when each has its field's type."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from bivit.sim.errors import BivitError, check
from bivit.sim.system.typed import build


@dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...] = (1,)
    pair: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Outer:
    rows: int
    rate: float = 0.5
    on: bool = False
    name: str | None = None
    kind: Literal["a", "b"] = "a"
    more: dict[str, Any] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        check(self.rows < 10, f"rows must be below 10, got {self.rows}")


def test_values_of_the_right_types() -> None:
    values = {"rows": 2, "rate": 1, "on": True, "name": None, "kind": "b", "more": {"x": [1]}}
    got = build(Outer, values | {"inner": {"sizes": [1, 2], "pair": [0, 0.5]}}, "it")
    assert got == Outer(2, 1, True, None, "b", {"x": [1]}, Inner((1, 2), (0, 0.5)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rows": 8.0}, r"it: rows must be an integer, got 8\.0"),
        ({"rows": True}, "it: rows must be an integer, got true"),
        ({"rows": None}, "it: rows must be an integer, got null"),
        ({"rows": "2"}, "it: rows must be an integer, got '2'"),
        ({"rows": 10**30}, "it: rows must be an integer, got 1000"),
        ({"rows": 10**5000}, "it: rows must be an integer, got a int too large to show"),
        ({"rows": 11}, "it: rows must be below 10, got 11"),
        ({"rows": 1, "rate": float("inf")}, "rate must be a finite number, got Infinity"),
        ({"rows": 1, "rate": True}, "rate must be a finite number, got true"),
        ({"rows": 1, "on": 1}, "on must be true or false, got 1"),
        ({"rows": 1, "name": 3}, "name must be a text, got 3"),
        ({"rows": 1, "kind": ["a"]}, r"kind must be one of a, b, got \[\"a\"\]"),
        ({"rows": 1, "more": []}, r"more must be a table, got \[\]"),
        ({"rows": 1, "inner": []}, r"inner of it must be a table of names and values, got \[\]"),
        ({"rows": 1, "inner": {"sizes": 3}}, "inner of it: sizes must be a list, got 3"),
        ({"rows": 1, "inner": {"sizes": [1, 2.0]}}, r"sizes\[1\] must be an integer, got 2\.0"),
        ({"rows": 1, "inner": {"pair": [1]}}, r"pair must be a list of 2 values, got \[1\]"),
        ({"rows": 1, "inner": {"pair": [[[[]]], 1]}}, r"pair\[0\] must be a finite number"),
        ({"rows": 1, "cols": 2}, "it has unknown keys cols; allowed are rows, rate"),
        ({}, "it is incomplete: it lacks rows"),
        ([1], "it must be a table of names and values, got "),
    ],
)
def test_other_types_are_refused_by_name(values: Any, message: str) -> None:
    with pytest.raises(BivitError, match=message):
        build(Outer, values, "it")
