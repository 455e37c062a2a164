"""Exact cycles of an engine: its slot tables are what takes time."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from ..errors import BivitError
from ..flow.config import FlowConfig
from ..flow.table import SlotTable
from ..mapping.cycles import long_run_cycles
from ..mapping.loads import with_waits
from ..mapping.program import flow_cycles
from ..mapping.shipped import shipped_cycles, sought, table_of
from ..network.config import ViTConfig
from .aim import Found
from .points import Point

#: What takes the time.
SEEKING = "finding a slot table"
#: Cycles that sums of shares of an interval may be off.
_ROUNDING = 0.5
#: Random steps of a search for a table that is only to be compared with others, and images of a run with it.
_QUICK_TRIES, _QUICK_RUN = 2, 40


def tried(configs: Sequence[ViTConfig], point: Point, name: str | None) -> list[Found]:
    """Return the engine with its exact cycles, or what its memory allows; nothing where every table locks up.

    Nothing either where all tables are too long for the engine.

    Parameters
    ----------
    configs : sequence of ViTConfig
        Networks that it holds.
    point : Point
    name : str, optional
        Of the engine.
    """
    try:
        exact = [_cycles(config, point.flow) for config in configs]
    except BivitError:
        return []
    pairs = zip(configs, exact, strict=True)
    each = [with_waits(config, point.flow, *cycles, point.loads_of(config)) for config, cycles in pairs]
    config, (_, interval) = max(zip(configs, each, strict=True), key=lambda one: one[1][1])
    late = any(after > before + _ROUNDING for (_, before), (_, after) in zip(exact, each, strict=True))
    return [Found(point, name, config, max(single for single, _ in each), interval, late)]


def _cycles(config: ViTConfig, flow: FlowConfig) -> tuple[int, float]:
    """Cycles of one image, and from image to image, as `bivit estimate` gives them."""
    shipped = shipped_cycles(config, flow)
    if shipped is not None:
        return shipped
    table = table_of(config, flow)
    return flow_cycles(config, flow, table, 1).total, long_run_cycles(config, flow, table)


def quick_tables(configs: Sequence[ViTConfig], flow: FlowConfig) -> list[SlotTable]:
    """Return slot tables of a short search, one a network: with them engines are compared.

    Parameters
    ----------
    configs : sequence of ViTConfig
    flow : FlowConfig

    Raises
    ------
    BivitError
        When every table locks up.
    """
    return [sought(config, flow, tries=_QUICK_TRIES) for config in configs]


def nearly(configs: Sequence[ViTConfig], flow: FlowConfig, tables: Sequence[SlotTable]) -> float:
    """Return cycles from image to image with tables that may be of an engine with other widths.

    Parameters
    ----------
    configs : sequence of ViTConfig
    flow : FlowConfig
    tables : sequence of SlotTable
        Of an engine with the same array and as many images in flight.

    Returns
    -------
    float
        Of the network that takes longest; infinite where a table locks up.
    """
    try:
        each = zip(configs, tables, strict=True)
        return max(long_run_cycles(config, flow, table, _QUICK_RUN) for config, table in each)
    except BivitError:
        return inf
