"""Engines drawn at random beside those that `bivit explore` chose (docs/searches.json)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...sim.system.files import read_json
from ...sim.system.typed import build

#: What is kept, in the repository; `tests/tools/search_campaign.py` writes it.
KEPT_SEARCHES = Path(__file__).resolve().parents[2] / "docs" / "searches.json"


@dataclass(frozen=True, kw_only=True)
class Search:
    """What was chosen for a network on a device, and what random engines give there.

    Parameters
    ----------
    net : str
        Preset.
    target : str
        Part.
    chosen : str
        The engine: a name, or rows x columns x bits of a dot product.
    chosen_interval : float
        Its cycles from image to image in a long run, exact.
    seconds : float
        Processor time of the exploration, of whatever machine it was.
    drawn, legal : int
        Engines that were drawn; those of them that can be built and hold the network.
    slower : int
        Of the legal ones: engines whose loads alone take as many cycles as the chosen engine.
    fit : int
        Of the others: engines that fit the device by estimate.
    compiled : int
        Of those: engines whose exact cycles were found, the fastest by their loads first.
    best_interval : float or None
        The fewest cycles from image to image among them; None where there is none.
    best_engine : str or None
        Its array.
    """

    net: str
    target: str
    chosen: str
    chosen_interval: float
    seconds: float
    drawn: int
    legal: int
    slower: int
    fit: int
    compiled: int
    best_interval: float | None
    best_engine: str | None

    @property
    def beaten(self) -> bool:
        """Whether an engine that was drawn is faster than the one that was chosen."""
        return self.gain > 0

    @property
    def gain(self) -> float:
        """By which share of its cycles the chosen engine is slower; 0 where no engine is faster."""
        return max(0.0, 1 - (self.best_interval or self.chosen_interval) / self.chosen_interval)


@dataclass(frozen=True)
class Searches:
    """Searches, when and by what they were made."""

    made: str
    command: str
    searches: tuple[Search, ...]


def load_searches() -> Searches:
    """Return what is kept.

    Raises
    ------
    BivitError
        When the file is not what it must be.
    """
    values = read_json(KEPT_SEARCHES, "searches for engines")
    found = tuple(build(Search, one, f"a search of {KEPT_SEARCHES.name}") for one in values.pop("searches"))
    return Searches(searches=found, **values)
