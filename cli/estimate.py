"""`bivit estimate`: cycles, latency and resources of a network on an engine, before any synthesis."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import typer

from ..sim.system.result import INLINE, Result
from .runs.estimates import ResourceRow, Timing, UnitRow, flow_timing, resource_rows, unit_rows
from .shared.common import JsonFlag, show
from .shared.net import EngineOption, NetArgument, NetFacts, SeedOption, find_engine, find_net
from .shared.progress import say


@dataclass(frozen=True, kw_only=True)
class Estimate(Result):
    """What `bivit estimate` prints; `clock_kind` says how the clock is known, `clock_source` where it is from.

    `fits` is None where resources of the device's family are unknown.
    """

    facts: NetFacts = field(metadata=INLINE)
    engine: str
    target: str
    part: str
    timing: Timing = field(metadata=INLINE)
    clock_kind: str
    clock_source: str
    fits: bool | None
    resources: tuple[ResourceRow, ...]
    units: tuple[UnitRow, ...]


def estimate(
    net: NetArgument,
    engine: EngineOption = None,
    target: Annotated[str, typer.Option(help="FPGA or board, such as zu9eg or ZCU102, in any case.")] = "ZCU102",
    clock: Annotated[float | None, typer.Option(help="MHz; by default what the device's family reaches.")] = None,
    seed: SeedOption = 0,
    as_json: JsonFlag = False,
) -> None:
    """Print cycles (exact, from the slot table), latency at a clock, and resources with their sources.

    Neither cycles nor resources depend on the weights. Without --engine, the largest named engine that is
    made for the target, holds the network and fits is taken, else the smallest that does.

    Example: bivit estimate deit_tiny --target zcu102

    Example: bivit estimate zoo/digits/network.safetensors --engine sim --target ZCU102

    Example: bivit estimate deit_tiny --engine zcu102
    """
    from ..sim.estimate.devices import device
    from ..sim.estimate.resources import estimate_resources

    found, chosen = device(target), find_net(net, seed)
    name, flow = find_engine(engine, chosen, found)
    clock_mhz = found.clock_mhz if clock is None else clock
    timing = flow_timing(chosen.config, chosen.formats, flow, clock_mhz)
    resources = estimate_resources(flow, found)
    if found.family is None:
        say(f"there are no estimates for {found.architecture}; `bivit synth` counts cells on Nexus and Gowin")
    elif resources.total_of("luts") is None:
        say(f"look-up tables and flip-flops on {found.architecture} are unknown: no unit was synthesised for it yet")
    report = Estimate(
        facts=chosen.facts,
        engine=name,
        target=found.name,
        part=found.part,
        timing=timing,
        clock_kind=found.clock_kind if clock is None else "given",
        clock_source=found.clock.source if clock is None else "--clock",
        fits=resources.fits,
        resources=resource_rows(resources),
        units=unit_rows(resources),
    )
    show(report, as_json, f"{net} on engine {name}, {found.part}")
