"""Engines whose logic is too large, with narrower parts beside the array, or products of the edge in look-up tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from ..errors import BivitError
from ..network.config import ModelConfig
from .points import MOST_OVER, Point, with_flow
from .sizing import dense_choices, lane_choices, rows_together
from .windowed import fitted

#: What of a device narrower parts take less of.
_LOGIC = {"luts", "ffs", "dsps"}


def could_narrow(point: Point) -> bool:
    """Return whether only logic and multipliers of a point are too many, and not by far.

    Parameters
    ----------
    point : Point
    """
    over = point.over
    return bool(over) and over.keys() <= _LOGIC and max(over.values()) <= MOST_OVER


def narrower(configs: Sequence[ModelConfig], point: Point, most_cycles: float) -> Point | None:
    """Return an engine that fits and has narrower parts, one step at a time the one that binds least; None without.

    Parameters
    ----------
    configs : sequence of ModelConfig
        Networks that it holds.
    point : Point
        One that `could_narrow`.
    most_cycles : float
        Of its loads: with more it is of no use.
    """
    while not point.fits:
        steps = [one for one in _steps(configs, point) if one.loads.bound <= most_cycles]
        if not steps:
            return None
        point = min(steps, key=lambda one: (one.loads.bound, one.fullest))
    return point


def _steps(configs: Sequence[ModelConfig], point: Point) -> Iterator[Point]:
    """The engine with one part narrower each, so that it takes less of what it takes too much of."""
    over = point.over
    for changes in (*_lanes(point), *_products(configs, point)):
        with suppress(BivitError):  # a width that no engine has
            found = with_flow(configs, point, fitted(configs, replace(point.flow, **changes)))  # type: ignore[arg-type]
            if any((found.report.utilisation[name] or 0) < share for name, share in over.items()):
                yield found
    if "dsps" in over and "luts" not in over and point.flow.products_per_dsp:
        # As fast as before, where there are look-up tables enough for the products of patches and classes.
        found = with_flow(configs, point, replace(point.flow, products_per_dsp=0))
        if "luts" not in found.over:
            yield found


def _lanes(point: Point) -> Iterator[dict[str, int]]:
    """The next narrower lanes of each part; as many rows leave the array together, or fewer where the lanes ask it."""
    for _, field, values in lane_choices(point.flow):
        below = [value for value in values if value < getattr(point.flow, field)]
        if below:
            together = rows_together(point.flow, {field: below[-1]})
            yield {field: below[-1], "drain_rows": max(point.flow.drain_rows // together, 1) * together}


def _products(configs: Sequence[ModelConfig], point: Point) -> Iterator[dict[str, int]]:
    """Fewer products of the dense unit: each number, the widest of which is the step that a search takes."""
    made = point.flow.dense_patches * point.flow.dense_channels
    for patches, width in dense_choices(configs, point.flow.engine.lanes):
        if patches * width < made:
            yield {"dense_patches": patches, "dense_channels": width}
