"""Engines that were sized, on a device: how fast at most, what they take, which of them nothing else beats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..engine.words import WORD
from ..estimate.devices import Device
from ..estimate.resources import ResourceReport, estimate_resources, images_per_s
from ..flow.config import FlowConfig
from ..mapping.loads import Loads, loads_of, with_memory
from ..network.config import ModelConfig

#: What large memories are asked to be made of, block memories and look-up tables, one after the other until all fits.
_STYLES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    ((), ("values",)),
    ((), ("query", "values")),
    ((), ("query", "keys", "values")),
    (("x",), ()),
    (("x",), ("values",)),
    (("x",), ("query", "values")),
    (("ring", "x"), ("query", "values")),
)
#: Percent of a device beyond which it is not tried to make an engine smaller than it was sized: memories of something
#: else, narrower parts.
MOST_OVER = 200


@dataclass(frozen=True)
class Point:
    """An engine on a device, with the network that is slowest on it.

    Parameters
    ----------
    flow : FlowConfig
    loads : Loads
        Of that network.
    report : ResourceReport
        What it takes of the device.
    clock_mhz : float
    memory_gb_s : float, optional
        What the memory of streamed weights gives at most; None where nobody knows.
    fill_percent : float
        Of each resource of the device, what it may take.
    """

    flow: FlowConfig
    loads: Loads
    report: ResourceReport
    clock_mhz: float
    memory_gb_s: float | None = None
    fill_percent: float = 100.0

    def loads_of(self, config: ModelConfig) -> Loads:
        """Return the loads of one network, with those of the memory.

        Parameters
        ----------
        config : ModelConfig
        """
        return with_memory(loads_of(config, self.flow), config, self.flow, self.memory_gb_s, self.clock_mhz)

    @property
    def shape(self) -> str:
        """Rows x columns x bits of a dot product that the array makes, each cycle."""
        return f"{self.flow.engine.rows}x{self.flow.engine.columns}x{WORD}"

    @property
    def most_images_per_s(self) -> float:
        """Images a second that the loads allow."""
        return images_per_s(self.loads.bound, self.clock_mhz)

    @property
    def likely_cycles(self) -> int:
        """Of a single image, in which nothing hides the patch embedding: a measure to compare engines by."""
        others = (cycles for part, cycles in self.loads.cycles.items() if part != "dense")
        return self.loads.cycles["dense"] + max(self.loads.in_turn, *others)

    @property
    def fits(self) -> bool:
        """Whether all that it takes is known, and nothing exceeds the device, or what may be taken of it."""
        return self.report.fits is True and not self.over

    @property
    def over(self) -> dict[str, float]:
        """Percent of each resource of which it takes more than it may, of what is known."""
        return self.report.beyond(self.fill_percent)

    @property
    def fullest(self) -> float:
        """Percent of what is used most of the device, of what is known."""
        return max(percent for percent in self.report.utilisation.values() if percent is not None)


def point_of(
    configs: Sequence[ModelConfig],
    flow: FlowConfig,
    target: Device,
    clock_mhz: float,
    memory_gb_s: float | None = None,
    fill_percent: float = 100.0,
) -> Point:
    """Return the point of an engine.

    Parameters
    ----------
    configs : sequence of ModelConfig
        Networks that it holds.
    flow : FlowConfig
    target : Device
    clock_mhz : float
    memory_gb_s : float, optional
    fill_percent : float
    """
    each = (with_memory(loads_of(config, flow), config, flow, memory_gb_s, clock_mhz) for config in configs)
    loads = max(each, key=lambda one: one.bound)
    return Point(flow, loads, estimate_resources(flow, target), clock_mhz, memory_gb_s, fill_percent)


def with_flow(configs: Sequence[ModelConfig], point: Point, flow: FlowConfig) -> Point:
    """Return the point of another engine on the same device, beside the same memory.

    Parameters
    ----------
    configs : sequence of ModelConfig
    point : Point
    flow : FlowConfig
    """
    return point_of(configs, flow, point.report.device, point.clock_mhz, point.memory_gb_s, point.fill_percent)


def with_images(configs: Sequence[ModelConfig], point: Point, images: int) -> Point:
    """Return the point with another number of images in flight.

    Parameters
    ----------
    configs : sequence of ModelConfig
    point : Point
    images : int
    """
    # With streamed weights those in flight begin together; of windows none is embedded.
    banks = images if point.flow.streamed and not point.flow.windows else point.flow.edge_banks
    return with_flow(configs, point, replace(point.flow, images=images, edge_banks=banks))


def could_spread(point: Point) -> bool:
    """Return whether only memories of a point are too many, and not by far.

    Parameters
    ----------
    point : Point
    """
    over = point.over
    return bool(over) and all(name in ("brams", "urams") and share <= MOST_OVER for name, share in over.items())


def spread(point: Point) -> Point | None:
    """Return a point with some memories made of something else, so that it fits; None where that does not help.

    Parameters
    ----------
    point : Point
        One that `could_spread`.
    """
    return next((found for found in _restyled(point) if found.fits), None)


def leaner(point: Point) -> Point:
    """Return a point with memories made of what leaves most of the device; itself where logic is what is fullest.

    Parameters
    ----------
    point : Point
        One that fits.
    """
    share = {name: percent or 0 for name, percent in point.report.utilisation.items()}
    memory = max(share["brams"], share.get("urams", 0))
    return min((point, *_restyled(point)), key=lambda one: one.fullest) if memory == point.fullest else point


def _restyled(point: Point) -> Iterator[Point]:
    for block, lut in _STYLES:
        if block == ("x",) and not point.report.device.urams:
            continue  # x is block memory in any case
        if "keys" in lut and point.flow.edge_banks:
            continue  # as many look-up tables are better spent where little else can be left out
        flow = replace(point.flow, block_memories=block, lut_memories=lut)
        yield replace(point, flow=flow, report=estimate_resources(flow, point.report.device))


def front(points: Iterable[Point]) -> list[Point]:
    """Return the points that no other one beats both in images a second and in what it fills, the fastest first.

    Parameters
    ----------
    points : iterable of Point
        On one device.
    """
    found: list[Point] = []
    for point in sorted(points, key=lambda one: (-one.most_images_per_s, one.fullest)):
        if not found or point.fullest < found[-1].fullest:
            found.append(point)
    return found
