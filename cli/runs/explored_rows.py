"""Rows of what `bivit explore` prints: engines that were compared, what their parts allow, a tile's timeline."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ...sim.errors import BivitError
from ...sim.system.result import Result

if TYPE_CHECKING:
    from ...sim.explore.aim import Exploration, Found
    from ...sim.explore.ceilings import Ceiling
    from ...sim.explore.points import Point
    from ...sim.flow.config import FlowConfig
    from ...sim.network.config import ViTConfig


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
class PointRow(Result):
    """An engine that was compared, whether or not it fits; resources are estimated.

    Parameters
    ----------
    shape : str
        Rows x columns x bits of a dot product, each cycle.
    images : int
        In flight.
    name : str, optional
        Of a named engine.
    chosen : bool
    fits : bool or None
        None where some of what it takes is unknown.
    most_images_per_s, likely_latency_us : float
        By loads: images a second at most, and roughly how long a single image takes.
    images_per_s, latency_us : float, optional
        From exact cycles; None where no slot table was sought.
    binds : str
        Part with the largest load.
    used : dict
        Of the device's resources, by name; None is unknown.
    differs : dict
        Fields of its file that are not as in that of the chosen engine.
    """

    shape: str
    images: int
    name: str | None
    chosen: bool
    fits: bool | None
    most_images_per_s: float
    likely_latency_us: float
    images_per_s: float | None
    latency_us: float | None
    binds: str
    used: dict[str, float | None]
    differs: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Wider(Result):
    """The chosen engine with one part made wider: what changes in its file, and what that gives, by loads."""

    differs: dict[str, Any]
    cycles: int
    most_images_per_s: float
    binds: str
    used: dict[str, float | None]
    fits: bool | None


@dataclass(frozen=True, kw_only=True)
class CeilingRow(Result):
    """A part of the chosen engine.

    Parameters
    ----------
    part : str
    cycles : int
        Of an image in which it is busy.
    most_images_per_s : float
        That it alone allows.
    widths : dict of str to int
        What that depends on, as the engine has it.
    wider : Wider, optional
        The engine with the next larger width; None where there is none, and for the array: others have larger ones.
    """

    part: str
    cycles: int
    most_images_per_s: float
    widths: dict[str, int]
    wider: Wider | None


@dataclass(frozen=True, kw_only=True)
class TileSpan(Result):
    """Work of a stream of the array, or of a unit: cycles from the first of the tile's work on, half open; and what."""

    unit: str
    start: int
    end: int
    what: str


@dataclass(frozen=True, kw_only=True)
class TileRow(Result):
    """What is done for one tile of rows in one block, with images before and behind.

    Parameters
    ----------
    image, block, tile, tiles, images : int
        Which one: of so many tiles of an image, in a run of so many images.
    cycles : int
        From the first of its work to the last.
    units : tuple of str
        Streams of the array and units, in the order of their work.
    spans : tuple of TileSpan
    """

    image: int
    block: int
    tile: int
    tiles: int
    images: int
    cycles: int
    units: tuple[str, ...]
    spans: tuple[TileSpan, ...]


def front_row(point: Point, name: str | None) -> FrontRow:
    """Return the row of an engine that nothing beats.

    Parameters
    ----------
    point : Point
    name : str, optional
    """
    return FrontRow(
        shape=point.shape,
        images=point.flow.images,
        name=name,
        most_images_per_s=point.most_images_per_s,
        binds=point.loads.binds,
        utilisation_percent=point.report.utilisation,
    )


def alternative(found: Found) -> Alternative:
    """Return the row of an engine with exact cycles.

    Parameters
    ----------
    found : Found
    """
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


def point_rows(found: Exploration) -> tuple[PointRow, ...]:
    """Return a row for every engine that was compared, in the order of the exploration.

    Parameters
    ----------
    found : Exploration
    """
    exact = {one.point.flow: one for one in (found.best, *found.others)}
    best = found.best.point.flow
    return tuple(
        PointRow(
            shape=point.shape,
            images=point.flow.images,
            name=found.names.get(point.flow),
            chosen=point.flow == best,
            fits=point.report.fits,
            most_images_per_s=point.most_images_per_s,
            likely_latency_us=point.likely_cycles / point.clock_mhz,
            images_per_s=one.images_per_s if (one := exact.get(point.flow)) else None,
            latency_us=one.latency_us if one else None,
            binds=point.loads.binds,
            used=_used(point),
            differs=differing(point.flow, best),
        )
        for point in found.points
    )


def ceiling_row(one: Ceiling, point: Point) -> CeilingRow:
    """Return the row of a part.

    Parameters
    ----------
    one : Ceiling
    point : Point
        The engine that it is a part of.
    """
    from ...sim.estimate.resources import images_per_s

    return CeilingRow(
        part=one.part,
        cycles=one.cycles,
        most_images_per_s=images_per_s(one.cycles, point.clock_mhz),
        widths=dict(one.widths),
        wider=None if one.wider is None else _wider(one.part, one.wider, point),
    )


def _wider(part: str, wider: Point, point: Point) -> Wider:
    return Wider(
        differs=differing(wider.flow, point.flow),
        cycles=wider.loads.cycles.get(part, 0),  # a bank of x is one of several then, and no part by itself
        most_images_per_s=wider.most_images_per_s,
        binds=wider.loads.binds,
        used=_used(wider),
        fits=wider.report.fits,
    )


def tile_row(config: ViTConfig, flow: FlowConfig) -> TileRow | None:
    """Return the timeline of a tile of a network on an engine; None where a run is too long to be looked at.

    Parameters
    ----------
    config : ViTConfig
    flow : FlowConfig
    """
    from ...sim.flow.streams import TileShape
    from ...sim.mapping.shipped import table_of
    from ...sim.mapping.spans import tile_spans

    images = flow.images + 2
    try:
        spans = tile_spans(config, flow, table_of(config, flow), images)
    except BivitError:
        return None
    first = min(span.start for span in spans)
    return TileRow(
        image=spans[0].image,
        block=spans[0].block,
        tile=spans[0].tile,
        tiles=TileShape(config, flow.engine.rows, flow.engine.columns).tiles,
        images=images,
        cycles=max(span.end for span in spans) - first,
        units=tuple(dict.fromkeys(span.row for span in sorted(spans, key=lambda span: span.start))),
        spans=tuple(TileSpan(unit=s.row, start=s.start - first, end=s.end - first, what=s.what) for s in spans),
    )


def differing(flow: FlowConfig, other: FlowConfig) -> dict[str, Any]:
    """Return fields of an engine's file that another one's has otherwise; those of the array in a table, as there.

    Parameters
    ----------
    flow, other : FlowConfig
    """
    values, others = asdict(flow), asdict(other)
    array = {name: value for name, value in values["engine"].items() if value != others["engine"][name]}
    rest = {name: value for name, value in values.items() if name != "engine" and value != others[name]}
    return ({"engine": array} if array else {}) | rest


def _used(point: Point) -> dict[str, float | None]:
    return {name: point.report.total_of(name) for name in point.report.quantities}
