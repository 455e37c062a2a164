"""`bivit engines`: the named engines or one of a file, what each is for, and what it takes of its device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ..sim.system.result import Result
from .shared.common import JsonFlag, output, print_json, rows_table

if TYPE_CHECKING:
    from ..sim.estimate.devices import Device
    from ..sim.flow.config import FlowConfig


@dataclass(frozen=True, kw_only=True)
class NetworkRow(Result):
    """A preset on an engine: cycles of an image among others, images a second, which part of the array is in use.

    Cycles are None where no table of slots is shipped: `bivit estimate` seeks one.
    """

    network: str
    interval_cycles: int | None
    images_per_s: float | None
    array_utilisation: float | None


@dataclass(frozen=True, kw_only=True)
class EngineRow(Result):
    """One engine; resources are estimated, in percent of the device, None where they are unknown.

    Parameters
    ----------
    name, text, why : str
        Its name or file, what it is for, how its shape was found.
    shape : str
        Rows x columns x bits of a dot product, each cycle.
    images : int
        In flight.
    fabric : str
        Logic that it is written in.
    target, part : str
        Device that it is estimated for: the one that it is made for, or the one that was asked for.
    clock_mhz : float
    clock_kind : str
    fits : bool or None
    utilisation_percent : dict
    holds : tuple of str
        Presets that it runs.
    networks : tuple of NetworkRow
        Presets that it is made for.
    """

    name: str
    text: str
    shape: str
    images: int
    fabric: str
    target: str
    part: str
    clock_mhz: float
    clock_kind: str
    fits: bool | None
    utilisation_percent: dict[str, float | None]
    holds: tuple[str, ...]
    networks: tuple[NetworkRow, ...]
    why: str


def engines(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="One of them, or a JSON file of an engine, or its folder; all when left out."
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="FPGA or board to estimate for, in place of the one each is made for.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the named engines: shape, device, what fits, and images a second.

    Example: bivit engines

    Example: bivit engines ulx3s --json

    Example: bivit engines out/engine

    Example: bivit engines --target kv260
    """
    from ..sim.estimate.devices import device
    from ..sim.flow.presets import FLOW_ENGINES

    found = None if target is None else device(target)
    rows = [_row(one, found) for one in ([name] if name else FLOW_ENGINES)]
    if as_json:
        print_json({"engines": [row.to_dict() for row in rows]})
    else:
        _print(rows, details=name is not None)


def _row(name: str, target: Device | None) -> EngineRow:
    from ..sim.engine.words import WORD
    from ..sim.estimate.devices import device
    from ..sim.estimate.resources import estimate_resources
    from ..sim.flow.presets import ABOUT, About, fabric_for, load_engine

    plain = load_engine(name)
    about = ABOUT.get(name) or About(text="An engine of a file.", target=None, networks=(), why="")
    found = target or device(about.target or ANY_TARGET)
    flow = fabric_for(plain, name, found.fabric)
    report = estimate_resources(flow, found)
    engine = flow.engine
    return EngineRow(
        name=name,
        text=about.text,
        shape=f"{engine.rows}x{engine.columns}x{WORD}",
        images=flow.images,
        fabric=engine.fabric,
        target=found.name,
        part=found.part,
        clock_mhz=found.clock_mhz,
        clock_kind=found.clock_kind,
        fits=report.fits,
        utilisation_percent=report.utilisation,
        holds=tuple(_holds(plain)),
        networks=tuple(_network(flow, net, found) for net in about.networks),
        why=about.why,
    )


#: Device that an engine is estimated for which is made for none.
ANY_TARGET = "zu9eg"


def _holds(flow: FlowConfig) -> list[str]:
    """Presets that an engine runs."""
    from ..sim.estimate.choice import too_small
    from ..sim.network.formats import Formats
    from ..sim.network.presets import PRESETS

    return [net for net, config in PRESETS.items() if not too_small(config, Formats(), flow)]


def _network(flow: FlowConfig, net: str, target: Device) -> NetworkRow:
    from ..sim.mapping.shipped import shipped_cycles
    from ..sim.network.formats import Formats
    from ..sim.network.presets import preset
    from .runs.estimates import flow_timing

    config = preset(net)
    # In other logic than its tables were made for, which takes a moment; with windows it would take long.
    if shipped_cycles(config, flow) is None and flow.windows is not None:
        return NetworkRow(network=net, interval_cycles=None, images_per_s=None, array_utilisation=None)
    found = flow_timing(config, Formats(), flow, target.clock_mhz)
    return NetworkRow(
        network=net,
        interval_cycles=found.interval_cycles,
        images_per_s=found.images_per_s,
        array_utilisation=found.array_utilisation,
    )


def _print(rows: list[EngineRow], *, details: bool) -> None:
    from ..sim.estimate.resources import QUANTITIES, title_of

    out = output()
    shown = [what for what in QUANTITIES if any(what in row.utilisation_percent for row in rows)]
    table = [
        {
            "engine": row.name,
            "shape": row.shape,
            "images": row.images,
            "made for": row.part,
            **{f"{title_of(what)} %": row.utilisation_percent.get(what, "") for what in shown},
            "fits": row.fits,
            "images/s": ", ".join(
                f"{one.network} {one.images_per_s:,.0f}" for one in row.networks if one.images_per_s is not None
            ),
            "MHz": row.clock_mhz,
        }
        for row in rows
    ]
    out.print(rows_table(table, "engines; resources and images/s are estimated"))
    if not details:
        out.print("`bivit engines NAME` says more of one; `bivit generate NET --engine NAME` writes its Verilog.")
    for row in rows if details else ():
        out.print(f"\n{row.text} {row.why}".rstrip(), soft_wrap=True, markup=False)
        out.print(f"Clock: {row.clock_mhz:g} MHz, {row.clock_kind}. Holds {', '.join(row.holds)}.", soft_wrap=True)
