"""Mutants that no check can see, and why: what a person found by looking at each that survived."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from .sites import Mutant

LISTED = Path(__file__).parent / "equivalents.json"
#: Stands in a listed line for the number of any signal without a name.
_ANY_NUMBER = re.escape("$#")


@dataclass(frozen=True)
class Entry:
    """One reason, and the mutants that it holds for.

    Parameters
    ----------
    engine : str
        Where it holds; ``any`` for all.
    unit : str
        End of the module's name.
    reason : str
        Why nothing can be seen.
    mutants : list of [str, str]
        Lines before and after; ``$#`` stands for the number of any signal without a name.
    """

    engine: str
    unit: str
    reason: str
    mutants: list[list[str]]

    def holds_for(self, mutant: Mutant) -> bool:
        """Whether a mutant is one of these."""
        lines = (mutant.before, mutant.after)
        return mutant.unit.endswith(self.unit) and any(
            all(_matches(pattern, line) for pattern, line in zip(pair, lines, strict=True)) for pair in self.mutants
        )


def _matches(pattern: str, line: str) -> bool:
    """Whether a line is the listed one, however many spaces the writer put."""
    expected, got = ("".join(text.split()) for text in (pattern, line))
    return re.fullmatch(re.escape(expected).replace(_ANY_NUMBER, r"\$\d+"), got) is not None


@dataclass(frozen=True)
class Listed:
    """All entries of an engine."""

    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, engine: str) -> Listed:
        """Those of the file that hold for an engine."""
        return cls(tuple(entry for entry in all_entries() if entry.engine in (engine, "any")))

    def reason(self, mutant: Mutant) -> str | None:
        """Why a mutant cannot be seen; none where nothing is listed."""
        return next((entry.reason for entry in self.entries if entry.holds_for(mutant)), None)


def all_entries() -> list[Entry]:
    """What is listed for any engine."""
    return [Entry(**entry) for entry in json.loads(LISTED.read_text(encoding="utf-8"))]
