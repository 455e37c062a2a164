"""The engine's timeline for the report: which unit works on what, in which cycles of one image."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...sim.program.compiler import Program

#: Rows of the timeline that are ports of the array's path rather than units: the window of a matmul and the row's name.
_MATMUL_PORTS = {"drain": "drain"}


def schedule_rows(program: Program) -> dict[str, Any]:
    """Arrange a program's schedule by unit.

    Parameters
    ----------
    program : Program

    Returns
    -------
    dict
        `cycles` of one image, `units` in the order of their first use, `spans` as `figures.timeline` takes them,
        and `busy`, the share of the cycles in which each unit works.
    """
    spans: list[dict[str, Any]] = []
    for entry in program.unrolled():
        uses, layer = entry.op.uses, entry.op.task.where.layer
        block = -1 if entry.block is None else entry.block
        what = layer if entry.block is None else f"blocks.{entry.block}.{layer}"
        common: dict[str, Any] = {"what": what, "stage": block + 1}
        spans.append({"unit": uses.unit, "start": entry.issue, "end": entry.issue + uses.activity.busy, **common})
        for window, unit in _MATMUL_PORTS.items():
            if window in uses.activity.windows:
                first, end = uses.activity.windows[window]
                spans.append({"unit": unit, "start": entry.issue + first, "end": entry.issue + end, **common})
    busy: dict[str, int] = defaultdict(int)
    for span in spans:
        busy[span["unit"]] += span["end"] - span["start"]
    cycles = program.image_cycles
    return {
        "cycles": cycles,
        "units": list(busy),
        "spans": spans,
        "busy": {unit: used / cycles for unit, used in busy.items()},
    }
