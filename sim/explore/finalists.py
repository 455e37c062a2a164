"""Exact cycles of the few engines that can win: their slot tables are what takes time, so bounds keep them few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..flow.config import FlowConfig
from .aim import Aim, Found, Progress
from .exact import SEEKING, tried
from .points import Point
from .refine import refined

#: Engines that are not named whose slot tables are sought, at most.
FINALISTS = 3
#: Those of an exploration that asks for a speed, at most: each that is too slow says how far bounds are from the truth.
_ATTEMPTS = 4
#: Bounds over images a second of the engines that are tried first: none is quite as fast as its loads allow.
_OVER = 1.04

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
        tell(SEEKING, number, 0)
        found += tried(aim.configs, point, names.get(point.flow))
    if found and not aim.latency:
        found += refined(min(found, key=lambda one: one.interval_cycles), aim, tell)
    return sorted(found, key=lambda one: one.cycles if aim.latency else one.interval_cycles)


def cheapest(points: Sequence[Point], names: Names, fps: float, aim: Aim, tell: Progress) -> Found | None:
    """Return the first engine that is as fast as asked for, or None where none of the first few is.

    One whose loads allow hardly more than that is passed over, unless it is named: its slot table takes seconds, and
    would most likely not reach it.

    Parameters
    ----------
    points : sequence of Point
        That fit, those that take least of the device first.
    names
        As of `fastest`.
    fps : float
        Images a second.
    aim, tell
        As of `fastest`.
    """
    over, attempts = _OVER, 0
    for point in points:
        name = names.get(point.flow)
        if attempts == _ATTEMPTS or point.most_images_per_s < fps * (1 if name else over):
            continue
        attempts += name is None
        tell(SEEKING, attempts, 0)
        for one in tried(aim.configs, point, name):
            if one.images_per_s >= fps:
                return one
            # Others that are as far from their bounds would be too slow as well.
            over = max(over, point.most_images_per_s / one.images_per_s) if name is None else over
    return None


def _can_win(point: Point, found: Sequence[Found], aim: Aim) -> bool:
    """Whether the loads, which nothing gets below, leave room for better cycles than there are."""
    return all(point.loads.bound < (one.cycles if aim.latency else one.interval_cycles) for one in found)
