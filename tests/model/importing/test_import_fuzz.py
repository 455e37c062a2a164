"""Mutated checkpoints are imported or refused: nothing else, and in bounded time."""

import pytest
from fuzz_import import families, outcomes


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_mutated_checkpoints_are_imported_or_refused() -> None:
    found = outcomes(60 * len(families()), seed=7)
    assert (found["failed"], found["slow"]) == (0, 0)
    assert found["refused"] > 100
    assert found["imported"] > 10
