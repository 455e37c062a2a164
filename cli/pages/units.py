"""The tables of docs/units.md, widths and units of the named engines: `python -m bivit.cli.pages.units` writes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path

from ...sim.estimate.engine_units import ALL_UNITS, footprints
from ...sim.estimate.footprint import Footprint
from ...sim.flow.config import FlowConfig
from ...sim.flow.presets import FLOW_ENGINES
from ...sim.flow.windows import WindowLimits
from ...sim.system.files import write_text

#: The page, in the repository.
UNITS_PAGE = Path(__file__).resolve().parents[2] / "docs" / "units.md"
#: Before a limit of an engine with windows.
_WINDOWS = "windows."
_HEAD = """# Widths and units of the named engines

Written by `python -m bivit.cli.pages.units`: do not edit. What each unit does, and when: [accelerator.md](accelerator.md); what it takes of an FPGA: [resources.md](resources.md).
"""  # noqa: E501


def render(engines: Mapping[str, FlowConfig]) -> str:
    """Return the page: widths and depths of engines, then memories and multiplications of each of their units.

    Parameters
    ----------
    engines : mapping of str to FlowConfig
        By name.
    """
    widths = [(name, *(str(value) for value in _values(engines.values(), name))) for name in _names()]
    units = [(f"`{unit}`", *(_unit(flow, unit) for flow in engines.values())) for unit in ALL_UNITS]
    return "\n".join(
        [
            _HEAD,
            "## Widths and depths\n\nFields of `FlowConfig`, those of its array first, those of windows last.\n",
            _table(("field", *engines), widths),
            "## Units\n\nMemories: bits x words, both banks of those that are loaded. Multiplications: bits x bits.\n",
            _table(("unit", *engines), [row for row in units if any(row[1:])]),
        ]
    )


def _names() -> list[str]:
    """Return fields of the array, then of the engine, then of its windows."""
    some = next(iter(FLOW_ENGINES.values()))
    inner = [one.name for one in fields(some.engine) if one.name != "formats"]
    own = [one.name for one in fields(some) if one.name not in ("engine", "windows")]
    return [*inner, *own, *(f"{_WINDOWS}{one.name}" for one in fields(WindowLimits))]


def _values(engines: Iterable[FlowConfig], name: str) -> list[object]:
    return [_value(flow, name) for flow in engines]


def _value(flow: FlowConfig, name: str) -> object:
    """Return a field; nothing of windows where there are none."""
    if name.startswith(_WINDOWS):
        return getattr(flow.windows, name.removeprefix(_WINDOWS), "")
    return getattr(flow.engine, name) if hasattr(flow.engine, name) else getattr(flow, name)


def _unit(flow: FlowConfig, unit: str) -> str:
    """Return a unit's memories and multiplications, equal ones counted; nothing where the engine has none."""
    units = footprints(flow)
    footprint = units[unit](flow) if unit in units else Footprint({})
    memories = Counter(f"{ram.width:,} x {ram.depth:,}" for ram in footprint.rams)
    products = Counter(f"{first} x {second}" for first, second in footprint.products)
    lists = [", ".join(_times(count, what) for what, count in found.items()) for found in (memories, products)]
    return "; ".join(text for text in (lists[0], f"multiplies {lists[1]}" if lists[1] else "") if text)


def _times(count: int, what: str) -> str:
    return what if count == 1 else f"{count:,} of {what}"


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [headings, ("---",) * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    write_text(UNITS_PAGE, render(FLOW_ENGINES))
