"""`bivit estimate`: cycles, latency and resources of a network on an engine, before any synthesis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .shared.common import JsonFlag, show
from .shared.net import EngineOption, NetArgument, SeedOption, find_engine, find_net

if TYPE_CHECKING:
    from ..sim.estimate.resources import ResourceReport
    from ..sim.program.compiler import Program

#: Device whose units the report lists one by one.
UNIT_TARGET = "zu9eg"
#: Quantities of `bivit.sim.estimate.cost.Cost` and their names in tables.
_QUANTITIES = {"luts": "LUT", "ffs": "FF", "dsps": "DSP", "brams": "BRAM"}


def timing_of(program: Program, clock_mhz: float) -> dict[str, Any]:
    """Cycles, latency and throughput at a clock.

    Parameters
    ----------
    program : Program
    clock_mhz : float
        Above 0.

    Returns
    -------
    dict
        `cycles` of one image, start to last logit; `interval_cycles` from image to image; `array_utilisation`;
        `latency_us`, `images_per_s` (one after the other, without a pause) and `clock_mhz`.
    """
    from ..sim.estimate.resources import images_per_s, latency_us
    from ..sim.program.cycles import estimate_cycles

    single = estimate_cycles(program, 1)
    return {
        "cycles": single.cycles,
        "interval_cycles": program.image_cycles,
        "array_utilisation": single.array_utilisation,
        "clock_mhz": clock_mhz,
        "latency_us": latency_us(single.cycles, clock_mhz),
        "images_per_s": images_per_s(program.image_cycles, clock_mhz),
    }


def resource_rows(resources: ResourceReport) -> list[dict[str, Any]]:
    """One row a resource: used, available, share and kind; None is unknown.

    Parameters
    ----------
    resources : ResourceReport

    Returns
    -------
    list[dict]
        A total is `assumed` as soon as one unit's number is.
    """
    rows = []
    for name, title in _QUANTITIES.items():
        percent = resources.utilisation[name]
        rows.append(
            {
                "resource": title,
                "used": resources.total_of(name),
                "available": getattr(resources.available, name),
                "share": None if percent is None else percent / 100,
                "kind": _kind({row.kind for row in resources.rows if row.quantity == name}),
            }
        )
    return rows


def unit_rows(resources: ResourceReport) -> list[dict[str, Any]]:
    """One row a unit: its quantities and their kind.

    Parameters
    ----------
    resources : ResourceReport

    Returns
    -------
    list[dict]
        `unit`, `luts`, `ffs`, `dsps`, `brams` and `kind`; a kind of `unknown` where a quantity is None.
    """
    rows = []
    for unit, cost in resources.units.items():
        kind = _kind({row.kind for row in resources.rows if row.unit == unit})
        quantities = {name: getattr(cost, name) for name in _QUANTITIES}
        rows.append({"unit": unit, **quantities, "kind": "unknown" if cost.unknown else kind})
    return rows


def _kind(kinds: set[str]) -> str:
    """The weakest of some kinds."""
    return next(kind for kind in ("assumed", "estimated", "synthesised") if kind in kinds)


def estimate_tables(program: Program) -> dict[str, Any]:
    """Tables of the report: the units of one device, and every device.

    Parameters
    ----------
    program : Program

    Returns
    -------
    dict
        `unit_target`, `units`, `unit_columns`, `devices`, `device_columns`.
    """
    from ..sim.estimate.devices import DEVICES
    from ..sim.estimate.resources import estimate_resources

    engine = program.layout.engine
    devices = []
    for name, device in DEVICES.items():
        timing = timing_of(program, device.clock_mhz)
        resources = estimate_resources(engine, device)
        shares = {row["resource"]: row["share"] for row in resource_rows(resources)}
        devices.append(
            {
                "target": name,
                "part": device.part,
                **{title: _percent(shares[title]) for title in _QUANTITIES.values()},
                "fits": resources.fits,
                "kind": _kind({row.kind for row in resources.rows}),
                "clock": f"{device.clock_mhz:g} MHz, {device.clock_kind}",
                "latency_us": round(timing["latency_us"], 1),
                "images_per_s": round(timing["images_per_s"]),
            }
        )
    return {
        "unit_target": DEVICES[UNIT_TARGET].part,
        "units": unit_rows(estimate_resources(engine, UNIT_TARGET)),
        "unit_columns": [("unit", "unit"), *_QUANTITIES.items(), ("kind", "kind")],
        "devices": devices,
        "device_columns": [
            ("part", "device"),
            *((title, title) for title in _QUANTITIES.values()),
            ("fits", "fits"),
            ("kind", "resources"),
            ("clock", "clock"),
            ("latency_us", "latency, µs"),
            ("images_per_s", "images/s"),
        ],
    }


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%}"


def estimate(
    net: NetArgument,
    engine: EngineOption = None,
    target: Annotated[str, typer.Option(help="FPGA or board, such as zu9eg or ZCU102, in any case.")] = "ZCU102",
    clock: Annotated[float | None, typer.Option(help="MHz; the device's assumed clock by default.")] = None,
    seed: SeedOption = 0,
    as_json: JsonFlag = False,
) -> None:
    """Print cycles (exact, from the program), latency at a clock, and resources with where each number comes from.

    Neither cycles nor resources depend on the weights. Without --engine, the smallest shipped engine that holds the
    network and fits the target is taken.

    Example: bivit estimate deit_tiny --target zcu102

    Example: bivit estimate zoo/digits/network.safetensors --engine digits --target ZCU102
    """
    from ..sim.estimate.devices import device
    from ..sim.estimate.resources import estimate_resources
    from ..sim.program.compiler import compile_program

    found, chosen = device(target), find_net(net, seed)
    name, shape = find_engine(engine, chosen, found)
    program = compile_program(chosen.config, chosen.formats, shape)
    resources = estimate_resources(shape, found)
    result = {
        **chosen.facts,
        "engine": name,
        "target": found.name,
        "part": found.part,
        **timing_of(program, found.clock_mhz if clock is None else clock),
        "clock_kind": found.clock_kind if clock is None else "given",
        "fits": resources.fits,
        "resources": resource_rows(resources),
        "units": unit_rows(resources),
    }
    show(result, as_json, f"{net} on engine {name}, {found.part}")
