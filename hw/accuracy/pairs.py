"""Cycles of networks on engines that were drawn at random: predicted before, and simulated in RTL (docs/pairs.json)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...sim.system.files import read_json
from ...sim.system.typed import build

#: What is kept, in the repository; `tests/tools/pair_campaign.py` writes it.
KEPT_PAIRS = Path(__file__).resolve().parents[2] / "docs" / "pairs.json"


@dataclass(frozen=True)
class Pair:
    """A network on an engine.

    Parameters
    ----------
    seed : int
        That both are drawn from.
    kind : str
        ``drawn``: any engine, and a network that fits it; ``sized``: any network, and an engine for it as a search for
        engines makes them.
    network, engine : str
        In words.
    images : int
        Of the run.
    predicted, simulated : int
        Cycles of the run.
    values : int
        Of tensors that were compared.
    wrong : int
        Images with a difference in any tensor, registers and bus rules that were not as they must be.
    """

    seed: int
    kind: str
    network: str
    engine: str
    images: int
    predicted: int
    simulated: int
    values: int
    wrong: int

    @property
    def agrees(self) -> bool:
        """Whether cycles are those predicted, and all else is right."""
        return self.predicted == self.simulated and not self.wrong


@dataclass(frozen=True)
class Campaign:
    """Pairs, when and by what they were simulated."""

    made: str
    command: str
    tools: dict[str, str]
    pairs: tuple[Pair, ...]


def load_campaign() -> Campaign:
    """Return what is kept.

    Raises
    ------
    BivitError
        When the file is not what it must be.
    """
    values = read_json(KEPT_PAIRS, "pairs of networks and engines")
    pairs = tuple(build(Pair, one, f"a pair of {KEPT_PAIRS.name}") for one in values.pop("pairs"))
    return Campaign(pairs=pairs, **values)
