"""How many look-up tables of AMD's parts are left once pairs share one: an estimate, as no open tool packs them.

A LUT6 has a second output: two functions fit into it that have five inputs or fewer between them. Pairs are taken
greedily among functions with an input in common, those with the fewest partners first. A function that feeds a carry
chain is only paired with the one that feeds the same stage. Placement is not looked at, so a vendor's tool packs less.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations

from .netlist import Bit, Netlist

#: Inputs of two functions that share a LUT6.
_INPUTS = 5
#: Loads above which a net, as a select or a reset, says nothing about who belongs together.
_WIDE_NET = 64


def pairs_sharing_a_lut(netlist: Netlist) -> int:
    """Return how many look-up tables pairing saves.

    Parameters
    ----------
    netlist : Netlist
        Of UltraScale+ or 7-series.
    """
    inputs = {name: found for name, found in _functions(netlist) if len(found) <= _INPUTS}
    chains = list(_stages(netlist, inputs))
    in_chains = {name for stage in chains for name in stage}
    pairs = sum(len(inputs[a] | inputs[b]) <= _INPUTS for a, b in (stage for stage in chains if len(stage) == 2))
    return pairs + len(_matched(_partners({name: ins for name, ins in inputs.items() if name not in in_chains})))


def _functions(netlist: Netlist) -> Iterator[tuple[str, frozenset[Bit]]]:
    """Look-up tables and their inputs, without constants."""
    for name, cell in netlist.module["cells"].items():
        if cell["type"].startswith("LUT") or cell["type"] == "INV":
            bits = (bit for port, found in cell["connections"].items() if port != "O" for bit in found)
            yield name, frozenset(bit for bit in bits if isinstance(bit, int))


def _stages(netlist: Netlist, inputs: dict[str, frozenset[Bit]]) -> Iterator[tuple[str, ...]]:
    """Functions that feed one stage of a carry chain, each named once."""
    cells = netlist.module["cells"]
    drivers = {cells[name]["connections"]["O"][0]: name for name in inputs}
    taken: set[str] = set()
    for cell in cells.values():
        if cell["type"].startswith("CARRY"):
            for select, data in zip(cell["connections"]["S"], cell["connections"]["DI"], strict=True):
                found = tuple(dict.fromkeys(drivers[bit] for bit in (select, data) if bit in drivers))
                # Data that other stages or logic use too stays where it is.
                stage = tuple(name for name in found if name not in taken)
                taken.update(stage)
                if stage:
                    yield stage


def _partners(inputs: dict[str, frozenset[Bit]]) -> dict[str, set[str]]:
    """For each function those that it can share a LUT6 with."""
    by_net = defaultdict(list)
    for name, bits in inputs.items():
        for bit in bits:
            by_net[bit].append(name)
    partners: dict[str, set[str]] = {name: set() for name in inputs}
    for names in by_net.values():
        if len(names) <= _WIDE_NET:
            for a, b in combinations(names, 2):
                if len(inputs[a] | inputs[b]) <= _INPUTS:
                    partners[a].add(b)
                    partners[b].add(a)
    return partners


def _matched(partners: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Pairs of partners, none in two of them: always one with the fewest partners that are left, with its like."""
    by_count: dict[int, list[str]] = defaultdict(list)
    for name, others in partners.items():
        by_count[len(others)].append(name)
    pairs, free = [], set(partners)
    while by_count:
        fewest = min(by_count)
        name = by_count[fewest].pop()
        if not by_count[fewest]:
            del by_count[fewest]
        if name not in free or len(partners[name]) != fewest or not partners[name]:
            continue  # counted anew since
        other = min(partners[name], key=lambda one: (len(partners[one]), one))
        pairs.append((name, other))
        free -= {name, other}
        for one in (name, other):
            for neighbour in partners[one] & free:
                partners[neighbour].discard(one)
                by_count[len(partners[neighbour])].append(neighbour)
    return pairs
