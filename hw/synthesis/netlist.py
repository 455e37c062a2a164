"""A mapped netlist, as Yosys writes it in JSON: its cells, and names, units and loads of its nets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from ...sim.errors import check, some
from ...sim.estimate.units import FOOTPRINTS

#: A bit of a net: a number, or a constant as text.
Bit = int | str
#: End of a name that Yosys made up from that of a neighbour: its cell type and port.
_MADE_UP = re.compile(r"_[A-Z]+\d*[A-Z]*\d*(?:_[A-Z]+\d*)?_[A-Z]+\d*")


class Netlist:
    """The top module of a netlist.

    Parameters
    ----------
    netlist : mapping
        What `write_json` wrote, parsed.
    default_unit : str
        Unit of all cells whose names lead to none.
    """

    def __init__(self, netlist: Mapping[str, Any], default_unit: str = ""):
        modules = netlist["modules"]
        flagged = [name for name, module in modules.items() if int(module.get("attributes", {}).get("top", "0"), 2)]
        self.module = modules[flagged[0] if flagged else next(iter(modules))]
        self.default_unit = default_unit

    @classmethod
    def chosen(cls, netlist: Mapping[str, Any], top: str | None = None) -> Netlist:
        """Return a module by its name, or without one as the constructor does.

        Parameters
        ----------
        netlist : mapping
        top : str, optional
        """
        modules = netlist["modules"]
        check(top is None or top in modules, f"the netlist has no module {top!r}; it has {some(list(modules))}")
        return cls(netlist if top is None else {"modules": {top: modules[top]}})

    @cached_property
    def cells(self) -> dict[str, int]:
        """Number of cells of each type."""
        return dict(Counter(cell["type"] for cell in self.module["cells"].values()))

    @cached_property
    def loads(self) -> Counter[Bit]:
        """Loads of each bit: input pins of cells, and output ports."""
        counts: Counter[Bit] = Counter()
        for cell in self.module["cells"].values():
            for port, bits in cell["connections"].items():
                if cell["port_directions"].get(port) == "input":
                    counts.update(bits)
        for port in self.module["ports"].values():
            if port["direction"] == "output":
                counts.update(port["bits"])
        return counts

    @cached_property
    def bits(self) -> dict[str, Bit]:
        """Bits by the name of each, with its index where its net has several."""
        return dict(self._named_bits())

    @cached_property
    def names(self) -> dict[Bit, list[str]]:
        """All names of each bit."""
        names: dict[Bit, list[str]] = {}
        for name, bit in self._named_bits():
            names.setdefault(bit, []).append(name)
        return names

    def _named_bits(self) -> Iterator[tuple[str, Bit]]:
        for name, net in self.module["netnames"].items():
            start = net.get("offset", 0)
            for index, bit in enumerate(net["bits"]):
                yield (f"{name}[{start + index}]" if len(net["bits"]) > 1 else name), bit

    def signal(self, bit: Bit, otherwise: str = "") -> str:
        """Return the name of a bit that says most: one of the description, in a unit, as short as may be.

        Parameters
        ----------
        bit : int or str
        otherwise : str
            Where it has no name.
        """
        names = self.names.get(bit, [])
        return min(names, key=_preference, default=otherwise)

    def unit(self, names: Iterable[str], otherwise: str = "") -> str:
        """Return the unit that the first of some names lies in.

        Parameters
        ----------
        names : iterable of str
        otherwise : str
            Where none lies in one, and there is no default unit.
        """
        return next((unit for name in names if (unit := unit_of(name))), otherwise or self.default_unit)

    def cell_type(self, name: str) -> str:
        """Return the type of a cell by its name here or in nextpnr, which adds to it what it made of the cell.

        Parameters
        ----------
        name : str
        """
        cell = self._cell(name)
        return cell["type"] if cell else ""

    def output(self, name: str) -> Bit | None:
        """Return the first output bit of a cell, by its name as of `cell_type`; None where it has none.

        Parameters
        ----------
        name : str
        """
        cell = self._cell(name) or {"connections": {}}
        driven = (bits for port, bits in cell["connections"].items() if cell["port_directions"].get(port) == "output")
        return next((bits[0] for bits in driven if bits), None)

    def _cell(self, name: str) -> Mapping[str, Any] | None:
        while name and name not in self.module["cells"]:
            name = name.rpartition("$")[0]
        return self.module["cells"].get(name)


def unit_of(name: str) -> str:
    """Return the unit that a flattened name lies in; empty where it is none.

    Parameters
    ----------
    name : str

    Examples
    --------
    >>> unit_of("core.array.matmul.active"), unit_of("chain[2]")
    ('matmul', '')
    """
    return next((part for part in name.split(".")[:-1] if part in FOOTPRINTS), "")


def _preference(name: str) -> tuple[bool, bool, bool, int, str]:
    return (name.startswith("$"), _MADE_UP.search(name) is not None, not unit_of(name), len(name), name)
