"""What is asked of an exploration, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..estimate.devices import Device
from ..estimate.resources import images_per_s
from ..flow.config import FlowConfig
from ..network.config import ModelConfig
from ..network.formats import Formats
from .points import Point

#: Told while it works: what is being done, how much of it is done, and how much there is; 0 where nobody knows.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Aim:
    """What is asked for.

    Parameters
    ----------
    configs : tuple of ModelConfig
        Networks that one engine is to hold; the slowest one counts.
    formats : Formats
        Theirs.
    fps : float, optional
        Images a second: then the engine that takes least of the device is sought, else the fastest.
    latency : bool
        Whether the fastest is that with the shortest time of a single image, in place of the most images a second.
    clock_mhz : float, optional
        What the device's family reaches, when None.
    memory_gb_s : float, optional
        What the memory of streamed weights gives at most, in 10^9 bytes a second; None where nobody knows.
    fill_percent : float
        Of each resource of a device, what an engine may take: tools seldom place one that is all but full.
    """

    configs: tuple[ModelConfig, ...]
    formats: Formats
    fps: float | None = None
    latency: bool = False
    clock_mhz: float | None = None
    memory_gb_s: float | None = None
    fill_percent: float = 100.0

    def order(self, point: Point) -> tuple[float, ...]:
        """Return what to sort points by: the best for the aim comes first.

        Parameters
        ----------
        point : Point
        """
        if self.fps is not None:
            return point.fullest, -point.most_images_per_s
        if self.latency:
            return point.likely_cycles, point.fullest
        return by_speed(point)


def by_speed(point: Point) -> tuple[float, float, float]:
    """Return what to sort points by: the fastest by their loads, of these the one with most images together.

    Parameters
    ----------
    point : Point
    """
    windows = point.flow.windows
    return -point.most_images_per_s, -windows.images if windows else 0, point.fullest


@dataclass(frozen=True)
class Found:
    """An engine with exact cycles, of the network that is slowest on it.

    Parameters
    ----------
    point : Point
    name : str, optional
        Of a named engine.
    config : ModelConfig
        Of the network that is slowest on it in a long run.
    cycles : int
        Of a single image, start to last logit.
    interval_cycles : float
        From image to image in a long run.
    late : bool
        Whether a memory or its port is: then the cycles are those that it allows.
    """

    point: Point
    name: str | None
    config: ModelConfig
    cycles: int
    interval_cycles: float
    late: bool = False

    @property
    def images_per_s(self) -> float:
        """Images a second in a long run."""
        return images_per_s(self.interval_cycles, self.point.clock_mhz)

    @property
    def latency_us(self) -> float:
        """Microseconds of a single image."""
        return self.cycles / self.point.clock_mhz


@dataclass(frozen=True)
class Exploration:
    """What a search found on one device.

    Parameters
    ----------
    target : Device
    best : Found
    others : tuple of Found
        The other engines whose cycles were found exactly, the best first.
    points : tuple of Point
        All whose resources were estimated, those that do not fit too: the fastest by its loads first.
    front : tuple of Point
        Points that fit, of which none beats another (`points.front`).
    names : mapping of FlowConfig to str
        Of the named engines.
    sized : int
        Engines that were sized, the named ones that hold the networks included.
    """

    target: Device
    best: Found
    others: tuple[Found, ...]
    points: tuple[Point, ...]
    front: tuple[Point, ...]
    names: Mapping[FlowConfig, str | None]
    sized: int
