"""`bivit estimate`: cycles, latency and resources of a network on an engine, before any synthesis."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from ..sim.errors import check
from ..sim.system.result import INLINE, OPTIONAL, Result
from .runs.checked import checked, show_checked
from .runs.estimates import ResourceRow, Timing, UnitRow, flow_timing, resource_rows, unit_rows
from .runs.reported import reported
from .shared.common import JsonFlag, messages, show
from .shared.net import NetFacts, find_engine, find_net
from .shared.progress import say

#: Device that is estimated for where none is named.
_TARGET = "ZCU102"
#: Exit code when a synthesis that is run now gives something else than what is kept, by the same tools.
EXIT_MISMATCH = 1


@dataclass(frozen=True, kw_only=True)
class Estimate(Result):
    """What `bivit estimate` prints; `clock_kind` says how the clock is known, `clock_source` where it is from.

    `fits` is None where resources of the device's family are unknown; `board_memory_gb_s` is what the memory of a board
    gives at most, from which weights are streamed, where that is known.
    """

    facts: NetFacts = field(metadata=INLINE)
    engine: str
    target: str
    part: str
    timing: Timing = field(metadata=INLINE)
    board_memory_gb_s: float | None = field(default=None, metadata=OPTIONAL)
    clock_kind: str
    clock_source: str
    fits: bool | None
    resources: tuple[ResourceRow, ...]
    units: tuple[UnitRow, ...]


def estimate(
    net: Annotated[
        str | None,
        typer.Argument(metavar="NET", help="Integer network, as written by `bivit export`; or a preset, as deit_tiny."),
    ] = None,
    engine: Annotated[
        list[str],
        typer.Option(
            "--engine",
            help="Name of an engine (sim, zcu102), a JSON file, or a folder with engine.json; with --check any number.",
        ),
    ] = [],  # noqa: B006
    target: Annotated[
        str | None, typer.Option(help=f"FPGA or board, such as zu9eg, in any case. [default: {_TARGET}]")
    ] = None,
    clock: Annotated[
        float | None,
        typer.Option("--clock-mhz", "--clock", metavar="MHZ", help="By default what the device's family reaches."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random weights of a preset, or of what --fresh draws.")] = 0,
    against: Annotated[
        bool, typer.Option("--check", help="How far are estimates off, on engines that the fit has not seen?")
    ] = False,
    family: Annotated[str | None, typer.Option(help="With --check, only this: xcup, xc7 or ecp5.")] = None,
    fresh: Annotated[
        int, typer.Option(metavar="N", help="With --check, synthesise so many of its units now, and compare.")
    ] = 0,
    reports: Annotated[
        list[Path],
        typer.Option(help="With --check, Vivado's reports, a folder of them, or a project of `bivit build`."),
    ] = [],  # noqa: B006
    as_json: JsonFlag = False,
) -> None:
    """Print cycles (exact, from the slot table), latency at a clock, and resources with their sources.

    Neither cycles nor resources depend on the weights. Without --engine, the largest named engine that is
    made for the target, holds the network and fits is taken, else the smallest that does.

    With --check, compare estimates with synthesis and placement that are kept (docs/accuracy.md), and with --fresh with
    Yosys as it is here: exit code 1 when that gives other cells than are kept, by the same tools. With --reports,
    compare them with utilisation and timing that Vivado reports of an implemented design.

    Example: bivit estimate deit_tiny --target zcu102

    Example: bivit estimate zoo/digits/network.safetensors --engine sim --target ZCU102

    Example: bivit estimate --check --family ecp5

    Example: bivit estimate --check --engine 5x8 --fresh 2 --json

    Example: bivit estimate --check --reports out/kv260
    """
    check(against or not reports, "--reports goes with --check")
    if against and reports:
        check(
            net is None and clock is None and family is None and not fresh,
            "--reports goes with --engine and --target only",
        )
        check(len(engine) <= 1, f"reports are of one --engine, got {', '.join(engine)}")
        found = reported(reports, engine[0] if engine else None, target)
        show(found, as_json, f"estimates of {found.engine} beside what Vivado reports, {found.target}")
        return
    if against:
        check(net is None, f"--check is about no network, got {net}; give it --family and --engine only")
        check(target is None and clock is None, "--check is about families, not about a --target or a --clock-mhz")
        _check(family, engine, fresh, seed, as_json)
        return
    check(net is not None, "give a network: a preset, as deit_tiny, or a file; `bivit estimate --help` has examples")
    check(family is None and not fresh, "--family and --fresh go with --check")
    check(len(engine) <= 1, f"give one --engine, got {', '.join(engine)}; several go with --check")
    assert net is not None
    _estimate(net, engine[0] if engine else None, target or _TARGET, clock, seed, as_json)


def _check(family: str | None, engines: list[str], fresh: int, seed: int, as_json: bool) -> None:
    """Print how far estimates are off."""
    report = checked(family, engines, fresh, seed)
    show_checked(report, as_json, details=bool(engines))
    if report.fresh_agrees is False and not report.tools_differ:
        messages.print("what was synthesised now is not what is kept: the hardware has changed since", soft_wrap=True)
        raise typer.Exit(EXIT_MISMATCH)


def _estimate(net: str, engine: str | None, target: str, clock: float | None, seed: int, as_json: bool) -> None:
    """Print cycles, latency and resources."""
    from ..sim.estimate.devices import board, device
    from ..sim.estimate.resources import estimate_resources
    from ..sim.network.config import ViTConfig

    found, chosen = device(target), find_net(net, seed)
    name, flow = find_engine(engine, chosen, found)
    if engine is None and found.family is not None and isinstance(chosen.config, ViTConfig):
        say(f"{name} is a named engine; `bivit explore {net} --target {target}` sizes one for {net}")
    clock_mhz = found.clock_mhz if clock is None else clock
    beside = board(target)
    most = beside.memory.gb_s if beside and beside.memory and flow.streamed else None
    timing = flow_timing(chosen.config, chosen.formats, flow, clock_mhz, most_gb_s=most)
    resources = estimate_resources(flow, found)
    if found.family is None:
        say(f"there are no estimates for {found.architecture}; `bivit synth` counts cells on Nexus and Gowin")
    elif resources.total_of("luts") is None:
        say(f"look-up tables and flip-flops on {found.architecture} are unknown: not all units were synthesised for it")
    report = Estimate(
        facts=chosen.facts,
        engine=name,
        target=found.name,
        part=found.part,
        timing=timing,
        board_memory_gb_s=most,
        clock_kind=found.clock_kind if clock is None else "given",
        clock_source=found.clock.source if clock is None else "--clock-mhz",
        fits=resources.fits,
        resources=resource_rows(resources),
        units=unit_rows(resources),
    )
    show(report, as_json, f"{net} on engine {name}, {found.part}")
