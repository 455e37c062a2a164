"""The best engine with a width or a depth more at a time: parts wait for others, which no load of a part tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from math import inf

from ..errors import BivitError
from ..flow.table import SlotTable
from ..network.config import ModelConfig
from .aim import Aim, Found, Progress
from .ceilings import ceilings
from .exact import SEEKING, nearly, quick_tables, tried
from .points import Point, with_flow, with_images

#: Cycles over those that the loads allow beyond which it is tried at all.
_FAR = 1.02
#: Engines that are compared at most, and what one has to gain.
_MOST_COMPARED, _GAIN = 48, 0.998
#: Windows in flight that are tried beyond those that there are.
_MORE_IMAGES = 2
#: Rings that are made deeper, and by how many slots.
_RINGS, _DEEPER = ("head_slots", "score_slots", "residual_slots"), 2


def refined(best: Found, aim: Aim, tell: Progress) -> list[Found]:
    """Return better engines than the best one that fit, if there are: each has one width or depth more.

    They are compared with tables of a short search, those of the engine before where they can be; only the last one's
    cycles are found as all others' are. With windows nothing but the windows in flight is changed.

    Parameters
    ----------
    best : Found
    aim : Aim
    tell : callable
    """
    point = best.point
    if not _far(best):
        return []
    if point.flow.windows:
        return _more_in_flight(best, aim, tell)
    tables = _new_tables(aim.configs, point)
    if not tables:
        return []
    cycles, compared, larger = nearly(aim.configs, point.flow, tables), 0, _larger(aim.configs, point)
    while compared < _MOST_COMPARED and (more := next(larger, None)):
        tell(SEEKING, compared, _MOST_COMPARED)
        compared += 1
        changed = _tables(aim.configs, more, point, tables)
        found = nearly(aim.configs, more.flow, changed) if changed else inf
        if found < _GAIN * cycles:
            point, tables, cycles, larger = more, changed, found, _larger(aim.configs, more)
    return tried(aim, point, None) if point is not best.point else []


def _tables(
    configs: Sequence[ModelConfig], more: Point, point: Point, tables: Sequence[SlotTable]
) -> Sequence[SlotTable]:
    """Tables of a larger engine: those that there are, or others where images in flight take turns; none if none is."""
    return tables if more.flow.images == point.flow.images else _new_tables(configs, more)


def _new_tables(configs: Sequence[ModelConfig], point: Point) -> Sequence[SlotTable]:
    """Tables of a short search; none where every one locks up."""
    with suppress(BivitError):
        return quick_tables(configs, point.flow)
    return ()


def _more_in_flight(best: Found, aim: Aim, tell: Progress) -> list[Found]:
    """The best engine with more windows in flight, while that fits and makes it faster: each takes a table a stage."""
    found = [best]
    while len(found) <= _MORE_IMAGES:
        point = _with_another(aim.configs, found[-1].point)
        if point is None or not point.fits:
            break
        tell(SEEKING, 0, 0)
        more = tried(aim, point, None)
        if not more or more[0].interval_cycles >= found[-1].interval_cycles:
            break
        found += more
    return found[1:]


def _far(best: Found) -> bool:
    """Whether waiting, and not a part that is busy all the time or a memory, is what makes an engine slow."""
    return not best.late and best.interval_cycles > _FAR * best.point.loads.bound


def _larger(configs: Sequence[ModelConfig], point: Point) -> Iterator[Point]:
    """Engines that fit, each with something more: an image in flight or in the edge, a width, slots of a ring."""
    candidates = [
        *(ceiling.wider for ceiling in ceilings(configs, point)),
        *(_more(configs, point, name, _DEEPER) for name in _RINGS),
    ]
    images = _with_another(configs, point), _more(configs, point, "edge_banks", 1)
    yield from (one for one in (*images, *candidates) if one is not None and one.fits)


def _with_another(configs: Sequence[ModelConfig], point: Point) -> Point | None:
    """The engine with another image in flight, or window; None where there can be no more."""
    with suppress(BivitError):
        return with_images(configs, point, point.flow.images + 1)
    return None


def _more(configs: Sequence[ModelConfig], point: Point, name: str, more: int) -> Point | None:
    """The engine with more slots of a ring, or banks of the edge, if there can be more."""
    with suppress(BivitError):
        return with_flow(configs, point, replace(point.flow, **{name: getattr(point.flow, name) + more}))
    return None
