"""Exact cycles of the few engines that can win: their slot tables are what takes time, so bounds keep them few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..flow.config import FlowConfig
from .aim import Aim, Found, Progress
from .exact import SEEKING, tried
from .points import Point
from .refine import refined

#: Engines that are not named whose slot tables are sought, at most.
FINALISTS = 3
#: With windows, whose bounds are further from the truth.
_WINDOWED_FINALISTS = 6
#: Those of an exploration that asks for a speed, at most: each that is too slow says how far bounds are from the truth.
_ATTEMPTS = 4
#: Bounds over images a second of the engines that are tried first: none is quite as fast as its loads allow.
_OVER = 1.04

#: Cycles over those of the best engine with which another one may still become better.
_NEAR = 1.15

#: Names of engines; None of one that was sized.
Names = Mapping[FlowConfig, str | None]


def fastest(points: Sequence[Point], narrow: Sequence[Point], names: Names, aim: Aim, tell: Progress) -> list[Found]:
    """Return the finalists with their exact cycles, the best first: named engines that can win, and a few others.

    Parameters
    ----------
    points : sequence of Point
        That fit, in the order of the aim.
    narrow : sequence of Point
        Others, which fit since their parts were made narrower: what their loads allow says less of them.
    names : mapping
        Of the engines.
    aim : Aim
    tell : callable
    """
    found = _started(points, names, [], aim, tell)
    found += _started([point for point in narrow if point not in points], names, found, aim, tell)
    return sorted(found, key=lambda one: one.cycles if aim.latency else one.interval_cycles)


def _started(points: Sequence[Point], names: Names, before: Sequence[Found], aim: Aim, tell: Progress) -> list[Found]:
    """Finalists of some points, and what is better than the best of them."""
    named = [point for point in points if names.get(point.flow)]
    others = [point for point in points if not names.get(point.flow)]
    found: list[Found] = []
    sought, most = 0, _WINDOWED_FINALISTS if any(point.flow.windows for point in points) else FINALISTS
    for number, point in enumerate([*named, *others]):
        if sought == most:
            break
        if not _can_win(point, [*before, *found], aim) or any(
            _with_fewer_images(point.flow, one.point.flow) for one in found
        ):
            continue
        sought += number >= len(named)
        tell(SEEKING, number, 0)
        found += tried(aim, point, names.get(point.flow))
    if found and not aim.latency:
        best = min(found, key=lambda one: one.interval_cycles)
        if all(best.interval_cycles < _NEAR * one.interval_cycles for one in before):
            found += refined(best, aim, tell)
    return found


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
    over, attempts = dict[int, float](), 0
    for point in points:
        name, together = names.get(point.flow), _together(point.flow)
        least = fps * (1 if name else over.get(together, _OVER))
        if attempts == _ATTEMPTS or point.most_images_per_s < least:
            continue
        attempts += name is None
        tell(SEEKING, attempts, 0)
        for one in tried(aim, point, name):
            if one.images_per_s >= fps:
                return one
            if name is None:
                # Others with as many images together that are as far from their bounds would be too slow as well.
                over[together] = max(over.get(together, _OVER), point.most_images_per_s / one.images_per_s)
    return None


def _together(flow: FlowConfig) -> int:
    """Images that go through the passes together; 0 without windows."""
    return flow.windows.images if flow.windows else 0


def _can_win(point: Point, found: Sequence[Found], aim: Aim) -> bool:
    """Whether the loads, which nothing gets below, leave room for better cycles than there are."""
    return all(point.loads.bound < (one.cycles if aim.latency else one.interval_cycles) for one in found)


def _with_fewer_images(flow: FlowConfig, other: FlowConfig) -> bool:
    """Whether an engine is another one but for fewer images that go through the passes together: it is no faster."""
    if flow.windows is None or other.windows is None or flow.windows.images >= other.windows.images:
        return False
    more = replace(flow.windows, images=other.windows.images)
    return replace(flow, windows=more, edge_banks=other.edge_banks) == other
