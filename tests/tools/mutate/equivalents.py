"""Mutants that no check can see, and why: what a person found by looking at each that survived."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from bivit.hw.verilog_top import ENGINE_TOP

from .sites import Mutant

LISTED = Path(__file__).parent / "equivalents.json"
#: What stands in a listed line for the number of any signal without a name, and for any text.
_ANY_NUMBER, _ANY_TEXT = re.escape("$#"), re.escape("...")


@dataclass(frozen=True)
class Entry:
    """One reason, and the mutants that it holds for.

    Parameters
    ----------
    engine : str
        Where it holds; ``any`` for all.
    unit, signal : str
        Module, without the name of the engine's, and what the line sets; as patterns.
    reason : str
        Why nothing can be seen.
    mutants : list of [str, str]
        Lines before and after, as patterns: ``$#`` is the number of any signal without a name, ``...`` any text.
    """

    engine: str
    unit: str
    reason: str
    mutants: list[list[str]]
    signal: str = "..."

    def holds_for(self, mutant: Mutant) -> bool:
        """Whether a mutant is one of these."""
        unit = mutant.unit.removeprefix(f"{ENGINE_TOP}_")
        return (
            _matches(self.unit, unit)
            and _matches(self.signal, mutant.signal)
            and any(_matches(before, mutant.before) and _matches(after, mutant.after) for before, after in self.mutants)
        )


def _matches(pattern: str, line: str) -> bool:
    """Whether a text is as a pattern says, however many spaces the writer put."""
    expected, got = ("".join(text.split()) for text in (pattern, line))
    form = re.escape(expected).replace(_ANY_NUMBER, r"\$\d+").replace(_ANY_TEXT, ".*")
    return re.fullmatch(form, got) is not None


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
