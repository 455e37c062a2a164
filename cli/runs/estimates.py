"""Cycles, latency and resources of a compiled network: one device's numbers, and the tables of all devices."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...sim.system.result import INLINE, OPTIONAL, Result

if TYPE_CHECKING:
    from ...sim.estimate.devices import Device
    from ...sim.estimate.resources import ResourceReport
    from ...sim.flow.config import FlowConfig
    from ...sim.network.config import ModelConfig
    from ...sim.network.formats import Formats
    from ...sim.network.network import IntNetwork

#: Device whose units the report lists one by one.
UNIT_TARGET = "zu9eg"
#: Quantities of `bivit.sim.estimate.cost.Cost` and their names in tables.
QUANTITY_TITLES = {"luts": "LUT", "ffs": "FF", "dsps": "DSP", "brams": "BRAM", "urams": "URAM"}

#: Keys of rows and the headings of their columns, in order.
Columns = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Timing(Result):
    """Cycles, latency and throughput at a clock.

    Parameters
    ----------
    cycles : int
        Of one image, start to last logit.
    interval_cycles : int
        From image to image.
    array_utilisation : float
        Useful products over those that the array could do in `interval_cycles`.
    packing : float
        The most that it can be, if the array never waits: what padding leaves of it.
    clock_mhz, latency_us : float
    images_per_s : float
        One after the other, without a pause.
    binds : str
        Part of the engine that is busy longest with an image (`sim.mapping.loads`).
    loads : dict of str to float
        How long the others are busy beside it, 0 to 1, the largest first: what would bind next.
    memory_gb_s : float, optional
        What streamed weights take of the memory at this speed, in 10^9 bytes a second; None where they are resident.
    """

    cycles: int
    interval_cycles: int
    array_utilisation: float
    packing: float
    clock_mhz: float
    latency_us: float
    images_per_s: float
    binds: str
    loads: dict[str, float]
    memory_gb_s: float | None


@dataclass(frozen=True, kw_only=True)
class ResourceRow(Result):
    """One resource of a device; None is unknown. A total is `assumed` as soon as one unit's number is."""

    resource: str
    used: float | None
    available: float | None
    share: float | None
    kind: str


@dataclass(frozen=True, kw_only=True)
class UnitRow(Result):
    """What one unit takes; `kind` is `unknown` where a quantity is None; `urams` only where the device has any."""

    unit: str
    luts: float | None
    ffs: float | None
    dsps: float | None
    brams: float | None
    urams: float | None = field(default=None, metadata=OPTIONAL)
    kind: str


@dataclass(frozen=True, kw_only=True)
class DeviceRow(Result):
    """An engine with its network on one device, numbers as text where they are read only; `shares` by resource."""

    target: str
    part: str
    shares: dict[str, str] = field(metadata=INLINE)
    fits: bool | None
    kind: str
    clock: str
    latency_us: float
    images_per_s: int


@dataclass(frozen=True, kw_only=True)
class EstimateTables(Result):
    """Tables of the report: the units on one device, and every device."""

    unit_target: str
    units: tuple[UnitRow, ...]
    unit_columns: Columns
    devices: tuple[DeviceRow, ...]
    device_columns: Columns


def flow_timing(
    config: ModelConfig, formats: Formats, flow: FlowConfig, clock_mhz: float, *, most_gb_s: float | None = None
) -> Timing:
    """Estimate the times of one image and of many on a dataflow engine.

    The array is used as in the steady state, with images before and behind.

    Parameters
    ----------
    config : ModelConfig
    formats : Formats
    flow : FlowConfig
    clock_mhz : float
        Above 0.
    most_gb_s : float, optional
        What the memory of streamed weights gives at most; no bound where it is left out.

    Raises
    ------
    BivitError
        When the network does not fit the engine.
    """
    from ...sim.estimate.resources import images_per_s, latency_us
    from ...sim.mapping.compiled import check_runs
    from ...sim.mapping.cycles import peak_macs, speed_of, useful_macs
    from ...sim.mapping.loads import loads_of, memory_gb_s, with_memory, with_waits

    check_runs(config, formats, flow)
    loads = with_memory(loads_of(config, flow), config, flow, most_gb_s, clock_mhz)
    single, interval = with_waits(config, flow, *speed_of(config, formats, flow), loads)
    speed = images_per_s(interval, clock_mhz)
    return Timing(
        cycles=single,
        interval_cycles=round(interval),
        array_utilisation=useful_macs(config) / (interval * peak_macs(flow)),
        packing=useful_macs(config) / (loads.cycles["array"] * peak_macs(flow)),
        clock_mhz=clock_mhz,
        latency_us=latency_us(single, clock_mhz),
        images_per_s=speed,
        binds=loads.binds,
        loads=loads.shares,
        memory_gb_s=memory_gb_s(config, flow, speed) if flow.streamed else None,
    )


def resource_rows(resources: ResourceReport) -> tuple[ResourceRow, ...]:
    """One row a resource: used, available, share and kind."""
    rows = []
    for name in resources.quantities:
        percent = resources.utilisation[name]
        rows.append(
            ResourceRow(
                resource=QUANTITY_TITLES[name],
                used=resources.total_of(name),
                available=getattr(resources.available, name),
                share=None if percent is None else percent / 100,
                kind=_kind({row.kind for row in resources.rows if row.quantity == name}),
            )
        )
    return tuple(rows)


def unit_rows(resources: ResourceReport) -> tuple[UnitRow, ...]:
    """One row a unit: its quantities and their kind."""
    rows = []
    for unit, cost in resources.units.items():
        kind = "unknown" if cost.unknown else _kind({row.kind for row in resources.rows if row.unit == unit})
        rows.append(UnitRow(unit=unit, **{name: getattr(cost, name) for name in resources.quantities}, kind=kind))
    return tuple(rows)


def _kind(kinds: set[str]) -> str:
    """The weakest of some kinds."""
    return next(kind for kind in ("assumed", "estimated", "synthesised") if kind in kinds)


def estimate_tables(network: IntNetwork, flow: FlowConfig) -> EstimateTables:
    """Tables of the report: the units of one device, and every device."""
    from ...sim.estimate.devices import DEVICES
    from ...sim.estimate.resources import estimate_resources

    of_units = estimate_resources(flow, UNIT_TARGET)
    return EstimateTables(
        unit_target=DEVICES[UNIT_TARGET].part,
        units=unit_rows(of_units),
        unit_columns=(
            ("unit", "unit"),
            *((name, QUANTITY_TITLES[name]) for name in of_units.quantities),
            ("kind", "kind"),
        ),
        devices=tuple(_device_row(network, flow, name, device) for name, device in DEVICES.items()),
        device_columns=(
            ("part", "device"),
            *((title, title) for title in QUANTITY_TITLES.values()),
            ("fits", "fits"),
            ("kind", "resources"),
            ("clock", "clock"),
            ("latency_us", "latency, µs"),
            ("images_per_s", "images/s"),
        ),
    )


def _device_row(network: IntNetwork, flow: FlowConfig, name: str, device: Device) -> DeviceRow:
    from ...sim.estimate.resources import estimate_resources

    timing = flow_timing(network.config, network.formats, flow, device.clock_mhz)
    resources = estimate_resources(flow, device)
    return DeviceRow(
        target=name,
        part=device.part,
        shares=dict.fromkeys(QUANTITY_TITLES.values(), "none")
        | {row.resource: _percent(row.share) for row in resource_rows(resources)},
        fits=resources.fits,
        kind=_kind({row.kind for row in resources.rows}),
        clock=f"{device.clock_mhz:g} MHz, {device.clock_kind}",
        latency_us=round(timing.latency_us, 1),
        images_per_s=round(timing.images_per_s),
    )


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%}"
