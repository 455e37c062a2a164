"""The parts that place and route tools are told to make designs fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...sim.errors import check, some
from .floorplan import Sites
from .wrapper import PINS


@dataclass(frozen=True)
class Part:
    """What a place and route tool is to make a design fit.

    Parameters
    ----------
    name : str
        The vendor's name, with the speed grade.
    tool : str
        The program.
    arguments : tuple of str
        What tells it the part.
    target_mhz : float
        Clock that it is to try for: more than a whole engine reaches, so that it tries hard, and not far from that.
    files : mapping of str to str
        Files of constraints that the arguments name, and what is in them: where the four pins are.
    large : tuple of str
        Further arguments for designs of more than `LARGE` cells.
    sites : Sites, optional
        Where blocks may lie; those of a large design are placed before the tool begins.
    """

    name: str
    tool: str
    arguments: tuple[str, ...]
    target_mhz: float = 150.0
    files: Mapping[str, str] = field(default_factory=dict)
    large: tuple[str, ...] = ()
    sites: Sites | None = None


#: Cells of a netlist above which a design is large.
LARGE = 20_000


def _ecp5(name: str, size: str, package: str, sites: Sites) -> Part:
    arguments = (f"--{size}", "--speed", "6", "--package", package, "--lpf-allow-unconstrained")
    return Part(f"{name}-6", "nextpnr-ecp5", arguments, 125.0, large=_CRITICAL, sites=sites)


#: What is critical counts for more: without it ways of a whole engine are short on the average, and a few are long.
_CRITICAL = ("--placer-heap-timingweight", "60", "--placer-heap-critexp", "5")
#: ECP5 parts by name.
ECP5_PARTS: dict[str, Part] = {
    "lfe5u-25f": _ecp5(
        *("LFE5U-25F", "25k", "CABGA381"),
        Sites((4, 13, 22, 33, 42, 51, 60), {"EBR": (25, 37), "MULT18": (13,)}),
    ),
    "lfe5u-45f": _ecp5(
        *("LFE5U-45F", "45k", "CABGA554"),
        Sites((4, 13, 22, 31, 42, 51, 60, 69, 78), {"EBR": (10, 34, 58), "MULT18": (22, 46)}),
    ),
    "lfe5u-85f": _ecp5(
        *("LFE5U-85F", "85k", "CABGA756"),
        Sites(
            (4, 13, 22, 31, 40, 49, 58, 69, 78, 87, 96, 105, 114),
            {"EBR": (22, 46, 70, 82), "MULT18": (10, 34, 58)},
        ),
    ),
}
#: Part that a family is placed on, where none is named. The packages are those with most pins; four are used.
PARTS: dict[str, Part] = {
    "ecp5": ECP5_PARTS["lfe5u-85f"],
    "nexus": Part(
        "LIFCL-40-9BG400C",
        "nextpnr-nexus",
        ("--device", "LIFCL-40-9BG400C", "--pdc", "pins.pdc"),
        files={
            "pins.pdc": "".join(
                f"ldc_set_location -site {{{site}}} [get_ports {{{pin}}}]\n"
                for pin, site in zip(PINS, ("L13", "G19", "E17", "F13"), strict=True)
            )
        },
    ),
    "gowin": Part(
        "GW2A-LV18PG256C8/I7",
        "nextpnr-himbaechel-gowin",
        ("--device", "GW2A-LV18PG256C8/I7", "--vopt", "family=GW2A-18", "--vopt", "cst=pins.cst"),
        files={
            "pins.cst": "".join(
                f'IO_LOC "{pin}" {site};\n' for pin, site in zip(PINS, ("H11", "T3", "T2", "L14"), strict=True)
            )
        },
    ),
}


def find_part(family: str, name: str | None = None) -> Part:
    """Return the part that a family is placed on.

    Parameters
    ----------
    family : str
        One of `PARTS`.
    name : str, optional
        Of a part of ECP5, in any case; the family's own without it.

    Raises
    ------
    BivitError
        When there is no such part: those that there are.
    """
    if name is None:
        return PARTS[family]
    check(family == "ecp5", f"a part can be chosen for ecp5 only, got {name!r} for {family}")
    check(name.lower() in ECP5_PARTS, f"part must be one of {some(list(ECP5_PARTS))}, got {name!r}")
    return ECP5_PARTS[name.lower()]
