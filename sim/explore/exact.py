"""Exact cycles of an engine: its slot tables are what takes time."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from ..errors import BivitError
from ..flow.config import FlowConfig
from ..flow.table import SlotTable
from ..mapping.cycles import long_run_cycles, speed_of
from ..mapping.loads import with_waits
from ..mapping.shipped import sought
from ..network.config import ModelConfig, vit_only
from .aim import Aim, Found
from .points import Point

#: What takes the time.
SEEKING = "finding a slot table"
#: Cycles that sums of shares of an interval may be off.
_ROUNDING = 0.5
#: Random steps of a search for a table that is only to be compared with others, and images of a run with it: at most,
#: and for each bank of x, in which what happens repeats itself.
_QUICK_TRIES, _QUICK_RUN, _EACH_BANK = 2, 40, 5


def tried(aim: Aim, point: Point, name: str | None) -> list[Found]:
    """Return the engine with its exact cycles, or what its memory allows; nothing where every table locks up.

    Nothing either where all tables are too long for the engine.

    Parameters
    ----------
    aim : Aim
        With the networks that it holds.
    point : Point
    name : str, optional
        Of the engine.
    """
    try:
        exact = [speed_of(config, aim.formats, point.flow) for config in aim.configs]
    except BivitError:
        return []
    pairs = zip(aim.configs, exact, strict=True)
    each = [with_waits(config, point.flow, *cycles, point.loads_of(config)) for config, cycles in pairs]
    config, (_, interval) = max(zip(aim.configs, each, strict=True), key=lambda one: one[1][1])
    late = any(after > before + _ROUNDING for (_, before), (_, after) in zip(exact, each, strict=True))
    return [Found(point, name, config, max(single for single, _ in each), interval, late)]


def quick_tables(configs: Sequence[ModelConfig], flow: FlowConfig) -> list[SlotTable]:
    """Return slot tables of a short search, one a network: with them engines are compared.

    Parameters
    ----------
    configs : sequence of ModelConfig
    flow : FlowConfig
        Without windows.

    Raises
    ------
    BivitError
        When every table locks up.
    """
    return [sought(vit_only(config), flow, tries=_QUICK_TRIES, verified=False) for config in configs]


def nearly(configs: Sequence[ModelConfig], flow: FlowConfig, tables: Sequence[SlotTable]) -> float:
    """Return cycles from image to image with tables that may be of an engine with other widths.

    Parameters
    ----------
    configs : sequence of ModelConfig
    flow : FlowConfig
    tables : sequence of SlotTable
        Of an engine with the same array and as many images in flight.

    Returns
    -------
    float
        Of the network that takes longest; infinite where a table locks up.
    """
    run = min(_QUICK_RUN, _EACH_BANK * (flow.images + flow.edge_banks))
    try:
        each = zip(configs, tables, strict=True)
        return max(long_run_cycles(vit_only(config), flow, table, run) for config, table in each)
    except BivitError:
        return inf
