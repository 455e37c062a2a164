"""The array with its memories: every sum and every bit against numpy, every cycle predicted."""

import random
from typing import Any

import pytest
from array_bench import Bench
from array_model import array_unit

from bivit.sim.flow.matmul import MatmulUnit

#: Shapes of arrays, and whether queries, keys and attention come from units: parts of a row, whole rows, several of
#: them, more than the tile has; rows that the drain does not divide; one bank, some, one a key.
SHAPES: list[tuple[dict[str, int], bool, bool]] = [
    ({"rows": 3, "norm_lanes": 4, "head_norm_lanes": 4, "softmax_lanes": 4}, True, True),
    ({"rows": 3, "drain_rows": 2, "norm_lanes": 16, "head_norm_lanes": 16, "softmax_lanes": 16}, True, False),
    ({"rows": 3, "drain_rows": 3, "head_norm_lanes": 24, "softmax_lanes": 24, "value_rows": 2}, True, True),
    ({"rows": 5, "drain_rows": 2, "norm_lanes": 8, "value_rows": 4}, False, True),
    ({"rows": 2, "columns": 16, "norm_lanes": 8, "head_norm_lanes": 8, "value_rows": 2}, False, False),
    ({"rows": 1, "columns": 32, "head_norm_lanes": 16, "softmax_lanes": 8}, True, True),
]


def run(shape: dict[str, Any], heads: bool, softmax: bool, counts: tuple[int, ...] = (40, 15), **more: Any) -> Bench:
    bench = Bench(array_unit(**shape), random.Random(1), heads, softmax, **more)
    bench.run(counts)
    return bench


@pytest.mark.parametrize(("shape", "heads", "softmax"), SHAPES)
def test_random_operations(shape: dict[str, int], heads: bool, softmax: bool) -> None:
    bench = run(shape, heads, softmax)
    bench.check()
    assert all(len(seen) > 10 for seen in bench.seen.values())


@pytest.mark.slow
def test_random_operations_of_64_columns() -> None:
    run({"rows": 1, "columns": 64, "softmax_lanes": 32}, False, False).check()


def test_without_gaps_and_with_small_tables() -> None:
    run({"rows": 3, "drain_rows": 3, "fabric": "lut4"}, False, True, gaps=0.0).check()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("preload_stage", 1), ("first_stage", -1), ("sum_stage", -1), ("sign_stage", 1), ("key_write_cycles", -1)],
)
def test_a_wrong_stage_is_seen(monkeypatch: pytest.MonkeyPatch, name: str, wrong: int) -> None:
    monkeypatch.setattr(MatmulUnit, name, getattr(array_unit(rows=1), name) + wrong)
    with pytest.raises(AssertionError, match=r"sums|done"):
        run({"rows": 1}, True, True, (30,), gaps=0.0).check()


@pytest.mark.parametrize("name", ["drain_gap", "writer_gap"])
def test_operations_that_come_too_close_are_seen(name: str) -> None:
    bench = Bench(array_unit(rows=2, tokens=66), random.Random(2), heads=True, softmax=True, gaps=0.0)
    setattr(bench, name, getattr(bench, name) - 1)
    bench.run((50,))
    with pytest.raises(AssertionError, match=r"sums|done"):
        bench.check()
