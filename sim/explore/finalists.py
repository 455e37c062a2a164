"""Exact cycles of the few engines that can win: their slot tables are what takes time, so bounds keep them few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import BivitError
from ..flow.config import FlowConfig
from ..mapping.cycles import long_run_cycles
from ..mapping.program import flow_cycles
from ..mapping.shipped import shipped_cycles, table_of
from ..network.config import ViTConfig
from .aim import Aim, Found, Progress
from .points import Point

#: Engines that are not named whose slot tables are sought, at most.
FINALISTS = 3
#: Those of an exploration that asks for a speed, at most: each that is too slow says how far bounds are from the truth.
_ATTEMPTS = 5

#: Names of engines; None of one that was sized.
Names = Mapping[FlowConfig, str | None]


def fastest(points: Sequence[Point], names: Names, aim: Aim, tell: Progress) -> list[Found]:
    """Return the finalists with their exact cycles, the best first: named engines that can win, and a few others.

    Parameters
    ----------
    points : sequence of Point
        That fit, in the order of the aim.
    names : mapping
        Of the engines.
    aim : Aim
    tell : callable
    """
    named = [point for point in points if names.get(point.flow)]
    others = [point for point in points if not names.get(point.flow)]
    found: list[Found] = []
    sought = 0
    for number, point in enumerate([*named, *others]):
        if sought == FINALISTS:
            break
        if not _can_win(point, found, aim):
            continue
        sought += number >= len(named)
        tell("finding slot tables", sought, FINALISTS)
        found += _tried(aim.configs, point, names.get(point.flow))
    return sorted(found, key=lambda one: one.cycles if aim.latency else one.interval_cycles)


def cheapest(points: Sequence[Point], names: Names, fps: float, aim: Aim, tell: Progress) -> Found | None:
    """Return the first engine that is as fast as asked for, or None where none of the first few is.

    Parameters
    ----------
    points : sequence of Point
        That fit, those that take least of the device first.
    names, aim, tell
        As of `fastest`.
    fps : float
        Images a second.
    """
    over, attempts = 1.0, 0
    for point in points:
        name = names.get(point.flow)
        if attempts == _ATTEMPTS or point.most_images_per_s < fps * (1 if name else over):
            continue
        attempts += name is None
        tell("finding slot tables", attempts, _ATTEMPTS)
        for one in _tried(aim.configs, point, name):
            if one.images_per_s >= fps:
                return one
            # Others that are as far from their bounds would be too slow as well.
            over = max(over, point.most_images_per_s / one.images_per_s) if name is None else over
    return None


def _can_win(point: Point, found: Sequence[Found], aim: Aim) -> bool:
    """Whether the loads, which nothing gets below, leave room for better cycles than there are."""
    return all(point.loads.bound < (one.cycles if aim.latency else one.interval_cycles) for one in found)


def _tried(configs: Sequence[ViTConfig], point: Point, name: str | None) -> list[Found]:
    """The engine with its exact cycles; nothing where every table locks up, or is too long."""
    try:
        each = [_cycles(config, point.flow) for config in configs]
    except BivitError:
        return []
    return [Found(point, name, max(single for single, _ in each), max(interval for _, interval in each))]


def _cycles(config: ViTConfig, flow: FlowConfig) -> tuple[int, float]:
    """Cycles of one image, and from image to image, as `bivit estimate` gives them."""
    shipped = shipped_cycles(config, flow)
    if shipped is not None:
        return shipped
    table = table_of(config, flow)
    return flow_cycles(config, flow, table, 1).total, long_run_cycles(config, flow, table)
