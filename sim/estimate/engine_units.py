"""Which units an engine has, and what each follows from."""

from __future__ import annotations

from collections.abc import Callable

from ..flow.config import FlowConfig
from .footprint import Footprint
from .units import EDGE_FOOTPRINTS, FOOTPRINTS, STREAMED_FOOTPRINTS
from .windowed import WINDOWED_FOOTPRINTS

#: Every unit that some engine has, in the order of reports.
ALL_UNITS = tuple(FOOTPRINTS | STREAMED_FOOTPRINTS | EDGE_FOOTPRINTS | WINDOWED_FOOTPRINTS)


def footprints(flow: FlowConfig) -> dict[str, Callable[[FlowConfig], Footprint]]:
    """Return the units of an engine by name, in the order of reports.

    Parameters
    ----------
    flow : FlowConfig
    """
    streamed = (STREAMED_FOOTPRINTS if flow.streamed else {}) | (EDGE_FOOTPRINTS if flow.edge_streamed else {})
    found = FOOTPRINTS | streamed | (WINDOWED_FOOTPRINTS if flow.windows else {})
    missing = {*(() if flow.has_head_norm else ("head_norm",)), *(() if flow.has_softmax else ("softmax", "tables"))}
    return {unit: footprint for unit, footprint in found.items() if unit not in missing}
