"""Which mutants are tried: a sample that stays the same for all modules that do not change."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from bivit.sim.errors import check

from .sites import Mutant, units


def sample(verilog: str, count: int, seed: int, unit: str = "") -> list[Mutant]:
    """Draw mutants of an engine, from large modules more, but not as many more as they are larger.

    Every draw depends on a hash of the mutant itself, so that a module that changes moves no other's mutants.

    Parameters
    ----------
    verilog : str
        Of the engine.
    count : int
        How many; fewer where there are no more.
    seed : int
        Of the draw.
    unit : str
        Only modules in whose name this is.

    Raises
    ------
    BivitError
        When no module has such a name.
    """
    some = [one for one in units(verilog) if unit in one.name]
    check(bool(some), f"the engine has no unit {unit!r} in which something could be wrong")
    ranked: list[tuple[float, float, Mutant]] = []
    for one in some:
        mutants = _by_lines(one.mutants(), seed)
        weight = len({mutant.place.number for mutant in mutants}) ** 0.5
        ranked += [((number + 0.5) / weight, _chance(mutant, seed), mutant) for number, mutant in enumerate(mutants)]
    return [mutant for *_, mutant in sorted(ranked, key=lambda entry: entry[:2])[:count]]


def _by_lines(mutants: Sequence[Mutant], seed: int) -> list[Mutant]:
    """Mutants in an order of chance, one of every line before a second of any."""
    of_line = defaultdict[int, list[Mutant]](list)
    for mutant in sorted(mutants, key=lambda mutant: _chance(mutant, seed)):
        of_line[mutant.place.number].append(mutant)
    rounds = sorted((number, _chance(one, seed), k) for k, line in of_line.items() for number, one in enumerate(line))
    return [of_line[line][number] for number, _, line in rounds]


def _chance(mutant: Mutant, seed: int) -> float:
    """A number from 0 on and below 1 that belongs to a mutant."""
    digest = hashlib.sha256(f"{seed}|{mutant.key}".encode()).digest()
    return int.from_bytes(digest[:7], "little") / 2**56
