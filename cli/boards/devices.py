"""`bivit devices`: the FPGAs and boards that `--target` knows, with their resources, clocks and memories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...sim.system.result import Result
from ..shared.common import JsonFlag, output, print_json, rows_table


@dataclass(frozen=True, kw_only=True)
class DeviceRow(Result):
    """One FPGA, as `sim.estimate.devices.Device` has it; None is a number that is not known.

    Parameters
    ----------
    name, part, architecture : str
    family : str or None
        Whose constants estimates take; None where nothing is estimated.
    luts, ffs, dsps, brams, urams : int or None
    clock_mhz : float
        Of estimates.
    clock_kind, clock_source : str
        How it is known.
    source : str
        Of the numbers.
    """

    name: str
    part: str
    architecture: str
    family: str | None
    luts: int | None
    ffs: int | None
    dsps: int | None
    brams: int | None
    urams: int | None
    clock_mhz: float
    clock_kind: str
    clock_source: str
    source: str


@dataclass(frozen=True, kw_only=True)
class BoardRow(Result):
    """One board.

    Parameters
    ----------
    name : str
    also : tuple of str
        Other names of it.
    title, device : str
    memory : str or None
        Beside the FPGA.
    memory_gb_s : float or None
        What that gives at most, in 10^9 bytes a second.
    usable : float
        Part of the logic that a design is assumed to fill at most.
    price : str
        In US dollars, assumed.
    source : str
    """

    name: str
    also: tuple[str, ...]
    title: str
    device: str
    memory: str | None
    memory_gb_s: float | None
    usable: float
    price: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Listed(Result):
    """What `bivit devices` prints."""

    devices: tuple[DeviceRow, ...]
    boards: tuple[BoardRow, ...]


def devices(as_json: JsonFlag = False) -> None:
    """List the FPGAs and boards that --target knows: resources, clock, memory beside them.

    Example: bivit devices --json
    """
    found = listed()
    if as_json:
        print_json(found.to_dict())
        return
    out = output()
    out.print(rows_table([_shown(one) for one in found.devices], "devices; clocks are those of estimates"))
    boards = [
        {
            "board": one.title,
            "--target": ", ".join((one.name, *one.also)),
            "device": one.device,
            "memory": one.memory or "none",
            "GB/s": one.memory_gb_s if one.memory else "none",
            "price, US dollars": one.price,
        }
        for one in found.boards
    ]
    out.print(rows_table(boards, "boards; prices are assumed"))


def listed() -> Listed:
    """Return all devices and boards that are known."""
    from ...sim.estimate.boards import BOARDS
    from ...sim.estimate.devices import DEVICES
    from ...sim.estimate.resources import QUANTITIES

    return Listed(
        devices=tuple(
            DeviceRow(
                **{name: getattr(one, name) for name in ("name", "part", "architecture", "family", "source")},
                **{name: getattr(one, name) for name in QUANTITIES},
                clock_mhz=one.clock_mhz,
                clock_kind=one.clock_kind,
                clock_source=one.clock.source,
            )
            for one in DEVICES.values()
        ),
        boards=tuple(
            BoardRow(
                **{name: getattr(one, name) for name in ("name", "also", "title", "device")},
                **{name: getattr(one, name) for name in ("usable", "price", "source")},
                memory=one.memory.what if one.memory else None,
                memory_gb_s=one.memory.gb_s if one.memory else None,
            )
            for one in BOARDS.values()
        ),
    )


def _shown(one: DeviceRow) -> dict[str, Any]:
    """A row of the table."""
    from ...sim.estimate.resources import QUANTITIES, title_of

    return {
        "--target": one.name,
        "part": one.part,
        **{title_of(name): getattr(one, name) for name in QUANTITIES},
        "MHz": one.clock_mhz,
        "estimates": "yes" if one.family else "none",
    }
