"""Places of blocks: where they may lie, how ties between them are found, and that ties become short."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from played import cell, module

from bivit.hw.synthesis.floorplan import Sites, block_ties, floorplan
from bivit.hw.synthesis.netlist import Netlist
from bivit.hw.synthesis.parts import ECP5_PARTS, PARTS, find_part
from bivit.hw.synthesis.place import with_places
from bivit.sim.errors import BivitError

SITES = Sites((0, 20, 40), {"EBR": (10, 50), "MULT18": (30,)})


def block(kind: str, *nets: int) -> dict[str, Any]:
    return {"type": kind, "port_directions": {"A": "input"}, "connections": {"A": list(nets)}}


def pairs(count: int) -> dict[str, Any]:
    """Memories, each tied to one multiplier by many registers, and to the next memory by one."""
    cells: dict[str, Any] = {}
    for number in range(count):
        nets = [1000 * number + 2 * wire + 10 for wire in range(8)]
        cells[f"memory{number}"] = block("DP16KD", *nets, 5 + number)
        cells[f"multiplier{number}"] = block("MULT18X18D", *(net + 1 for net in nets))
        cells |= {f"register{net}": cell("TRELLIS_FF", DI=[net], Q=[net + 1]) for net in nets}
        cells[f"chain{number}"] = cell("LUT4", A=[5 + number], Z=[6 + number])
    return cells


def test_places_are_those_of_the_parts_by_their_number() -> None:
    counts = {name: [len(part.sites.places(kind)) for kind in ("EBR", "MULT18")] for name, part in ECP5_PARTS.items()}
    assert counts == {"lfe5u-25f": [56, 28], "lfe5u-45f": [108, 72], "lfe5u-85f": [208, 156]}  # of Lattice's table


def test_a_tie_is_a_conductance_through_free_cells() -> None:
    """Two springs of 1 in a row are one of 1/2; three blocks on a net of four are a star with a free end."""
    row = {"a": block("DP16KD", 2), "x": cell("LUT4", A=[2], Z=[3]), "b": block("DP16KD", 3)}
    assert block_ties(row, ["a", "b"]) == pytest.approx(np.array([[0, 0.5], [0.5, 0]]), rel=1e-3)
    star = {**{name: block("DP16KD", 2) for name in "abc"}, "x": cell("LUT4", A=[2])}
    each = (4 / 3) ** 2 / (3 * 4 / 3)
    expected = each * (1 - np.eye(3))
    assert block_ties(star, list("abc")) == pytest.approx(expected, rel=1e-3)


def test_tied_blocks_lie_close_and_none_on_another() -> None:
    cells = pairs(9)
    found = floorplan(module(cells, {}), SITES, 1)
    spots = {name: spot for kind in ("EBR", "MULT18") for name, spot in SITES.places(kind).items()}
    assert len(set(found.values())) == len(found) == 18
    assert all(("EBR" in place) == name.startswith("memory") for name, place in found.items())
    at = {name: np.array(spots[place]) for name, place in found.items()}
    own = [np.abs(at[f"memory{n}"] - at[f"multiplier{n}"]).sum() for n in range(9)]
    others = [np.abs(at[f"memory{n}"] - at[f"multiplier{k}"]).sum() for n, k in combinations(range(9), 2)]
    assert np.mean(own) < 0.75 * np.mean(others)
    assert floorplan(module(cells, {}), SITES, 1) == found
    assert floorplan(module(cells, {}), SITES, 2) != found


def test_too_many_blocks_are_left_to_the_tool() -> None:
    assert floorplan(module(pairs(13), {}), SITES, 1) == {}


def test_a_netlist_says_where_its_cells_lie_and_is_otherwise_the_same() -> None:
    netlist = module(pairs(1), {})
    found = Netlist(with_places(netlist, {"memory0": "X4/Y10/EBR0"})).module
    assert found["cells"]["memory0"]["attributes"]["BEL"] == "X4/Y10/EBR0"
    assert {name: one for name, one in found["cells"].items() if name != "memory0"} == {
        name: one for name, one in Netlist(netlist).module["cells"].items() if name != "memory0"
    }


def test_a_part_is_found_by_its_name() -> None:
    assert find_part("ecp5") is PARTS["ecp5"]
    assert find_part("ecp5", "LFE5U-45F").arguments[0] == "--45k"
    with pytest.raises(BivitError, match="part must be one of lfe5u-25f, lfe5u-45f, lfe5u-85f, got 'lfe5u-12f'"):
        find_part("ecp5", "lfe5u-12f")
    with pytest.raises(BivitError, match="a part can be chosen for ecp5 only, got 'lifcl-40' for nexus"):
        find_part("nexus", "lifcl-40")
