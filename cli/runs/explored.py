"""What `bivit explore` prints, as data: the engine, how fast it is and what it takes, and what else there is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...sim.system.result import OPTIONAL, Result
from .estimates import ResourceRow, UnitRow, resource_rows, unit_rows
from .explored_rows import (
    Alternative,
    CeilingRow,
    FrontRow,
    PointRow,
    TileRow,
    alternative,
    ceiling_row,
    front_row,
    point_rows,
    tile_row,
)

if TYPE_CHECKING:
    from ...sim.explore.aim import Aim, Exploration


@dataclass(frozen=True, kw_only=True)
class Explored(Result):
    """What `bivit explore` prints; of several networks, times are of the one that is slowest.

    Parameters
    ----------
    networks : tuple of str
    target, part : str
    name : str, optional
        Of a named engine; left out of one that was sized.
    shape : str
        Rows x columns x bits of a dot product, each cycle.
    images : int
        In flight.
    images_per_s, latency_us : float
        At `clock_mhz`: in a long run, and of a single image.
    cycles : int
        Of a single image.
    interval_cycles : float
        From image to image in a long run.
    cycles_kind : str
        ``exact``: what the cycle model counts from the slot table; ``bound`` where the memory of streamed weights is
        slower than that.
    clock_mhz : float
    clock_kind : str
        ``placed``, ``modelled``, ``assumed``, or ``given``.
    binds : str
        Part with the largest load.
    loads : dict of str to float
        How long each part is busy with an image beside that, 0 to 1, the largest first.
    utilisation_percent : dict
        Of the device.
    resources_kind : str
        ``estimated``, or ``assumed`` where the constants were fitted to another family.
    fits : bool or None
        None where some of it is unknown, and nothing that is known exceeds the device.
    engine : dict
        Content of an engine's file.
    engine_file : Path, optional
        Where it was written.
    front : tuple of FrontRow
    alternatives : tuple of Alternative
    sized : int
        Engines that were compared.
    fill_percent : float
        Of each resource of the device, what an engine may take.
    seconds : float
        That it took.
    command : str
        What repeats it.
    bivit : str
        Version that made it.
    clock_source : str
    array_utilisation, packing : float
        Useful products over those that the array could do, in a long run; and if it never waited.
    memory_gb_s : float or None
        What streamed weights take of the memory at that speed, in 10^9 bytes a second; None where they are resident.
    board_memory_gb_s : float or None
        What the memory of the board that was named gives at most; None without one, or where nobody knows.
    resources : tuple of ResourceRow
        What the engine takes of the device, and what there is.
    units : tuple of UnitRow
        What each of its units takes.
    ceilings : tuple of CeilingRow
        What each part of it allows, and what one would change: the part that binds first.
    tile : TileRow or None
        When what works on one tile; None of an engine with windows, and where a run is too long to be looked at.
    points : tuple of PointRow
        All engines whose resources were estimated, the fastest by its loads first.
    """

    networks: tuple[str, ...]
    target: str
    part: str
    name: str | None = field(metadata=OPTIONAL)
    shape: str
    images: int
    images_per_s: float
    latency_us: float
    cycles: int
    interval_cycles: float
    cycles_kind: str
    clock_mhz: float
    clock_kind: str
    binds: str
    loads: dict[str, float]
    utilisation_percent: dict[str, float | None]
    resources_kind: str
    fits: bool | None
    engine: dict[str, Any]
    engine_file: Path | None = field(metadata=OPTIONAL)
    front: tuple[FrontRow, ...]
    alternatives: tuple[Alternative, ...]
    sized: int
    fill_percent: float
    seconds: float
    command: str
    bivit: str
    clock_source: str
    array_utilisation: float
    packing: float
    memory_gb_s: float | None
    board_memory_gb_s: float | None
    resources: tuple[ResourceRow, ...]
    units: tuple[UnitRow, ...]
    ceilings: tuple[CeilingRow, ...]
    tile: TileRow | None
    points: tuple[PointRow, ...]


def explored(
    nets: list[str], aim: Aim, found: Exploration, *, path: Path | None, seconds: float, command: str
) -> Explored:
    """Return what is printed of an exploration.

    Parameters
    ----------
    nets : list of str
        Names of the networks.
    aim : Aim
        What was asked for.
    found : Exploration
    path : Path, optional
        Where the engine is written.
    seconds : float
        That it took.
    command : str
        What repeats it.
    """
    from ...sim.explore.ceilings import ceilings
    from ...sim.mapping.cycles import peak_macs, useful_macs
    from ...sim.mapping.loads import memory_gb_s
    from ...sim.network.config import ViTConfig

    best, target = found.best, found.target
    point, flow, given = best.point, best.point.flow, aim.clock_mhz is not None
    kinds = {row.kind for row in point.report.rows}
    return Explored(
        networks=tuple(nets),
        target=target.name,
        part=target.part,
        name=best.name,
        shape=point.shape,
        images=flow.images,
        images_per_s=best.images_per_s,
        latency_us=best.latency_us,
        cycles=best.cycles,
        interval_cycles=best.interval_cycles,
        cycles_kind="bound" if best.late else "exact",
        clock_mhz=point.clock_mhz,
        clock_kind="given" if given else target.clock_kind,
        binds=point.loads.binds,
        loads=point.loads.shares,
        utilisation_percent=point.report.utilisation,
        resources_kind="assumed" if "assumed" in kinds else "estimated",
        fits=point.report.fits,
        engine=asdict(flow),
        engine_file=path,
        front=tuple(front_row(one, found.names.get(one.flow)) for one in found.front),
        alternatives=tuple(alternative(one) for one in found.others),
        sized=found.sized,
        fill_percent=aim.fill_percent,
        seconds=round(seconds, 3),
        command=command,
        bivit=__version__,
        clock_source="--clock-mhz" if given else target.clock.source,
        array_utilisation=useful_macs(best.config) / (best.interval_cycles * peak_macs(flow)),
        packing=useful_macs(best.config) / (point.loads_of(best.config).cycles["array"] * peak_macs(flow)),
        memory_gb_s=memory_gb_s(best.config, flow, best.images_per_s) if flow.streamed else None,
        board_memory_gb_s=aim.memory_gb_s if flow.streamed else None,
        resources=resource_rows(point.report),
        units=unit_rows(point.report),
        ceilings=tuple(ceiling_row(one, point) for one in ceilings(aim.configs, point)),
        tile=tile_row(best.config, flow) if isinstance(best.config, ViTConfig) and flow.windows is None else None,
        points=point_rows(found),
    )
