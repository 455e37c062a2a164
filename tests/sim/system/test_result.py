"""Results as dataclasses, and what JSON they become."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bivit.sim.system.result import INLINE, OPTIONAL, Result


@dataclass(frozen=True)
class Row(Result):
    name: str
    share: float | None
    more: str | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class Whole(Result):
    first: Row = field(metadata=INLINE)
    names: dict[str, int] = field(metadata=INLINE)
    last: Row | None = field(metadata=INLINE)
    path: Path
    rows: tuple[Row, ...]
    by_name: dict[str, Row]


def test_fields_are_written_in_their_order_and_results_within() -> None:
    row = Row("a", None)
    whole = Whole(row, {"x": 1}, None, Path("out/file"), (row, Row("b", 0.5, "more")), {"c": row})
    plain = {"name": "a", "share": None}
    expected = {
        **plain,
        "x": 1,
        "path": "out/file",
        "rows": [plain, {"name": "b", "share": 0.5, "more": "more"}],
        "by_name": {"c": plain},
    }
    assert json.dumps(whole.to_dict()) == json.dumps(expected)


def test_a_field_that_is_missing_is_an_error() -> None:
    with pytest.raises(TypeError, match="share"):
        Row("a")  # type: ignore[call-arg]


def test_a_name_of_an_inner_result_keeps_its_place() -> None:
    """As in a dictionary: a later field of the same name gives the value, the earlier one the place."""

    @dataclass(frozen=True)
    class Outer(Result):
        row: Row = field(metadata=INLINE)
        other: int
        name: str

    assert list(Outer(Row("a", 1.0), 2, "b").to_dict().items()) == [("name", "b"), ("share", 1.0), ("other", 2)]
