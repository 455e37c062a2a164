"""Where the block memories and multipliers of a design lie, found before a place and route tool begins.

nextpnr pulls cells together first and then looks for places for blocks, of which there are few: they end up far from
what they belong to. Here all other cells are springs between blocks: what is left when they are eliminated says how
strongly any two blocks are tied together, and blocks change places until ties are short.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .netlist import Netlist

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Nets of more cells than that say nothing of where these belong.
_MOST_CELLS = 600
#: Nets of more cells are a star, whose middle is one more cell.
_STAR = 3
#: Where the solver stops: residual of what it began with, steps, and blocks solved for at a time.
_CLOSE, _STEPS, _SIDE = 1e-3, 400, 32
#: Tie of every cell to nowhere, so that one without a block has a place.
_NOWHERE = 1e-6
#: Changes of places tried for each block; how hot that begins, in a block's ties times columns; how far it cools.
_TRIES, _HOT, _COLD = 6000, 40.0, 1e-4
#: Columns and rows that a block may move at last.
_NEAR = 8.0, 25.0


@dataclass(frozen=True)
class Sites:
    """Places for blocks of a part: groups of them, at the same columns in all rows.

    Parameters
    ----------
    columns : tuple of int
        Column where each group begins.
    rows : mapping of str to tuple of int
        Rows of groups, by the kind of block.
    """

    columns: tuple[int, ...]
    rows: Mapping[str, tuple[int, ...]]

    def places(self, kind: str) -> dict[str, tuple[int, int]]:
        """Return column and row of each place of a kind of block, by its name in nextpnr.

        Parameters
        ----------
        kind : {"EBR", "MULT18"}

        Examples
        --------
        >>> Sites((4,), {"EBR": (22,), "MULT18": (10,)}).places("MULT18")["X9/Y10/MULT18_5"]
        (9, 10)
        """
        offsets = _OFFSETS[kind]
        return {
            f"X{column + offset}/Y{row}/{name}": (column + offset, row)
            for row in self.rows[kind]
            for column in self.columns
            for name, offset in offsets.items()
        }


#: Names of the blocks of a group, and their columns from its first.
_OFFSETS: dict[str, dict[str, int]] = {
    "EBR": {f"EBR{k}": 2 * k for k in range(4)},
    "MULT18": {f"MULT18_{k}": k for k in (0, 1, 4, 5)},
}
#: Kinds of blocks by the types of cells.
_KINDS = {"DP16KD": "EBR", "PDPW16KD": "EBR", "MULT18X18D": "MULT18"}


def floorplan(netlist: Mapping[str, Any], sites: Sites, seed: int) -> dict[str, str]:
    """Return the place of each block of a design, by the name of its cell; empty where a kind has too few places.

    Parameters
    ----------
    netlist : mapping
        What Yosys wrote, flat, parsed.
    sites : Sites
        Places of the part.
    seed : int
        Where the search begins: each gives another one.
    """
    cells = Netlist(netlist).module["cells"]
    kinds = {name: _KINDS[cell["type"]] for name, cell in cells.items() if cell["type"] in _KINDS}
    places = {kind: sites.places(kind) for kind in _OFFSETS}
    if len(kinds) < 2 or any(list(kinds.values()).count(kind) > len(places[kind]) for kind in _OFFSETS):
        return {}
    ties = block_ties(cells, list(kinds))
    names = [name for kind in places.values() for name in kind]
    spots = np.array([spot for kind in places.values() for spot in kind.values()], float)
    first = dict(zip(_OFFSETS, (0, len(places["EBR"])), strict=True))
    ranges = np.array([(first[kind], first[kind] + len(places[kind])) for kind in kinds.values()])
    found = _shortest(ties, spots, ranges, np.random.default_rng(seed))
    return {block: names[place] for block, place in zip(kinds, found, strict=True)}


def block_ties(cells: Mapping[str, Any], blocks: list[str]) -> Floats:
    """Return how strongly every two blocks are tied, by nets and by all cells between them.

    Parameters
    ----------
    cells : mapping
        Cells of a module, as Yosys writes them.
    blocks : list of str
        Names of blocks.

    Returns
    -------
    ndarray of float, shape (blocks, blocks)
        Symmetric, nothing on its diagonal: the conductance between two blocks, where every net of n cells is one of
        1 / (n - 1) between any two of them, and all other cells are free.
    """
    order = {name: number for number, name in enumerate(dict.fromkeys([*blocks, *cells]))}
    heads, tails, weights, nodes = _springs(cells, order)
    n = len(blocks)
    own = np.asarray(np.bincount(heads, weights, nodes) + _NOWHERE, np.float64)
    free = (heads >= n) & (tails >= n)
    middle = _Springs(heads[free] - n, tails[free] - n, weights[free], own[n:])
    direct, outward = np.zeros((n, n)), np.zeros((nodes - n, n))
    inside, out = (heads < n) & (tails < n), (heads >= n) & (tails < n)
    np.add.at(direct, (heads[inside], tails[inside]), weights[inside])
    np.add.at(outward, (heads[out] - n, tails[out]), weights[out])
    for begin in range(0, n, _SIDE):
        side = slice(begin, begin + _SIDE)
        direct[:, side] += outward.T @ middle.solve(outward[:, side])
    ties = np.maximum((direct + direct.T) / 2, 0)
    np.fill_diagonal(ties, 0)
    return ties


def _springs(cells: Mapping[str, Any], order: Mapping[str, int]) -> tuple[Ints, Ints, Floats, int]:
    """Springs between cells, both ways, and how many ends there are: cells, then middles of stars."""
    nets: dict[int, set[int]] = defaultdict(set)
    for name, cell in cells.items():
        for bits in cell["connections"].values():
            for bit in bits:
                if isinstance(bit, int):
                    nets[bit].add(order[name])
    nodes = len(order)
    found: list[tuple[int, int, float]] = []
    for ends in nets.values():
        k = len(ends)
        if not 2 <= k <= _MOST_CELLS:
            continue
        if k > _STAR:
            found += [(end, nodes, k / (k - 1)) for end in ends]
            nodes += 1
        else:
            found += [(a, b, 1 / (k - 1)) for a in ends for b in ends if a < b]
    one, other, weights = (np.array(column) for column in zip(*found, strict=True))
    return np.concatenate([one, other]), np.concatenate([other, one]), np.concatenate([weights, weights]), nodes


class _Springs:
    """The equations of free cells: what each is pulled to, less what it is tied with in all."""

    def __init__(self, heads: Ints, tails: Ints, weights: Floats, own: Floats):
        order = np.argsort(heads, kind="stable")
        self.tails, self.weights, self.own = tails[order], weights[order, None], own[:, None]
        self.rows, self.starts = np.unique(heads[order], return_index=True)

    def apply(self, values: Floats) -> Floats:
        """Return what is left of each value when its neighbours' share is taken."""
        result = self.own * values
        result[self.rows] -= np.add.reduceat(values[self.tails] * self.weights, self.starts)
        return result

    def solve(self, pulls: Floats) -> Floats:
        """Return the values that `apply` makes these pulls of: conjugate gradients, a column each."""
        values, rest = np.zeros_like(pulls), pulls.copy()
        goal = _CLOSE * np.sqrt((pulls * pulls).sum(0)) + 1e-12
        way = rest / self.own
        size = (rest * way).sum(0)
        for _ in range(_STEPS):
            moved = self.apply(way)
            step = size / ((way * moved).sum(0) + 1e-300)
            values += step * way
            rest -= step * moved
            if bool((np.sqrt((rest * rest).sum(0)) < goal).all()):
                break
            scaled = rest / self.own
            before, size = size, (rest * scaled).sum(0)
            way = scaled + way * (size / (before + 1e-300))
        return values


def _shortest(ties: Floats, spots: Floats, ranges: Ints, rng: np.random.Generator) -> Ints:
    """Return a place for each block: simulated annealing on columns and rows between blocks, times their ties."""
    n, tries = len(ties), _TRIES * len(ties)
    at = np.empty(n, int)
    for low, high in np.unique(ranges, axis=0):
        mine = np.flatnonzero(ranges[:, 0] == low)
        at[mine] = low + rng.permutation(high - low)[: len(mine)]
    holder = np.full(len(spots), -1)
    holder[at] = np.arange(n)
    here = spots[at]
    hot, far = _HOT * ties.sum(1).mean(), float(np.ptp(spots))
    blocks, luck = rng.integers(n, size=tries), np.log(rng.random(tries))
    targets = rng.integers(ranges[blocks, 0], ranges[blocks, 1])
    left = 1 - np.arange(tries) / tries
    reach = np.maximum(_NEAR[0], far * left**1.5)
    heat = hot * _COLD ** (1 - left)
    for block, target, near, warm, chance in zip(blocks, targets, reach, heat, luck, strict=True):
        old, new, other = here[block].copy(), spots[target], holder[target]
        if abs(old[0] - new[0]) > near or abs(old[1] - new[1]) > max(near, _NEAR[1]) or other == block:
            continue
        change = np.abs(here - new).sum(1) - np.abs(here - old).sum(1)
        change[block] = 0
        more = ties[block] @ change
        if other >= 0:
            change[other] = 0
            more = (ties[block] - ties[other]) @ change
        if more <= 0 or chance < -more / warm:
            holder[at[block]], holder[target] = other, block
            if other >= 0:
                at[other], here[other] = at[block], old
            at[block], here[block] = target, new
    return at
