"""What `bivit explore` prints, as data: the engine, how fast it is and what it takes, and what else there is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...sim.system.result import OPTIONAL, Result

if TYPE_CHECKING:
    from ...sim.explore.aim import Exploration, Found
    from ...sim.explore.points import Point


@dataclass(frozen=True, kw_only=True)
class FrontRow(Result):
    """An engine that fits and that no other one beats: images a second are bounded by loads, resources estimated."""

    shape: str
    images: int
    name: str | None
    most_images_per_s: float
    binds: str
    utilisation_percent: dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Alternative(Result):
    """Another engine whose cycles were found exactly, with its file's content."""

    shape: str
    images: int
    name: str | None
    images_per_s: float
    latency_us: float
    interval_cycles: float
    binds: str
    utilisation_percent: dict[str, float | None]
    engine: dict[str, Any]


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
        ``exact``: what the cycle model counts from the slot table.
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
    seconds : float
        That it took.
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
    seconds: float


def explored(nets: list[str], found: Exploration, *, given: bool, path: Path | None, seconds: float) -> Explored:
    """Return what is printed of an exploration.

    Parameters
    ----------
    nets : list of str
        Names of the networks.
    found : Exploration
    given : bool
        Whether the clock was.
    path : Path, optional
        Where the engine is written.
    seconds : float
        That it took.
    """
    best, target = found.best, found.target
    point = best.point
    kinds = {row.kind for row in point.report.rows}
    return Explored(
        networks=tuple(nets),
        target=target.name,
        part=target.part,
        name=best.name,
        shape=point.shape,
        images=point.flow.images,
        images_per_s=best.images_per_s,
        latency_us=best.latency_us,
        cycles=best.cycles,
        interval_cycles=best.interval_cycles,
        cycles_kind="exact",
        clock_mhz=point.clock_mhz,
        clock_kind="given" if given else target.clock_kind,
        binds=point.loads.binds,
        loads=point.loads.shares,
        utilisation_percent=point.report.utilisation,
        resources_kind="assumed" if "assumed" in kinds else "estimated",
        fits=point.report.fits,
        engine=asdict(point.flow),
        engine_file=path,
        front=tuple(_front_row(one, found.names.get(one.flow)) for one in found.front),
        alternatives=tuple(_alternative(one) for one in found.others),
        sized=found.sized,
        seconds=round(seconds, 3),
    )


def _front_row(point: Point, name: str | None) -> FrontRow:
    return FrontRow(
        shape=point.shape,
        images=point.flow.images,
        name=name,
        most_images_per_s=point.most_images_per_s,
        binds=point.loads.binds,
        utilisation_percent=point.report.utilisation,
    )


def _alternative(found: Found) -> Alternative:
    point = found.point
    return Alternative(
        shape=point.shape,
        images=point.flow.images,
        name=found.name,
        images_per_s=found.images_per_s,
        latency_us=found.latency_us,
        interval_cycles=found.interval_cycles,
        binds=point.loads.binds,
        utilisation_percent=point.report.utilisation,
        engine=asdict(point.flow),
    )
