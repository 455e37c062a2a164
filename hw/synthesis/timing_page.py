"""The clocks of the units, measured and written down: docs/timing.json, docs/timing.md and `sim.estimate.clocks`.

`python -m bivit.hw.synthesis.timing_page measure` finds the clocks out (hours, in all; a section is named to do that
one alone, and what was found before is taken from the cache); `python -m bivit.hw.synthesis.timing_page write` writes
page and clocks from docs/timing.json (at once).
"""

from __future__ import annotations

import argparse
import json
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...sim.engine.presets import engine_for
from ...sim.errors import BivitError
from ...sim.estimate.clocks import Clock
from ...sim.flow.config import FlowConfig
from ...sim.flow.presets import ABOUT, FLOW_ENGINES
from ...sim.network.presets import vit_preset
from ...sim.system.files import read_json, write_text
from ...sim.system.kept_text import content_key
from ...sim.system.typed import build
from .calibrated import FITTED_ENGINES
from .flows import FLOWS, SynthesisFamily
from .parts import PARTS
from .static_timing import delay_table
from .survey import Cells, Job, Speed, UnitRow, part_name, survey
from .synth import UNIT_COMPONENTS, WHOLE
from .tools import find_tool

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "docs" / "timing.json"
PAGE = ROOT / "docs" / "timing.md"
CLOCKS_MODULE = ROOT / "sim" / "estimate" / "clocks.py"

#: The smallest engine that runs zoo/digits.
SMALLEST = FlowConfig(
    engine=engine_for(
        vit_preset("digits"), rows=2, columns=8, lanes=8, dense_lanes=8, program_words=512, fabric=FLOWS["ecp5"].fabric
    ),
    drain_rows=1,
    norm_lanes=8,
    head_norm_lanes=8,
    softmax_lanes=8,
    images=1,
)


@dataclass(frozen=True)
class Section:
    """An engine whose units the page lists, on one family.

    Parameters
    ----------
    family : {"xcup", "xc7", "ecp5", "nexus", "gowin"}
    flow : FlowConfig
    title : str
        What the engine is.
    units : tuple of str
        Units, the whole engine among them where it is placed.
    placed : bool
        Whether the units are placed and routed; modelled else.
    device : str, optional
        Part that they are placed on, where not on the family's own.
    """

    family: SynthesisFamily
    flow: FlowConfig
    title: str
    units: tuple[str, ...]
    placed: bool = False
    device: str | None = None

    @property
    def part(self) -> str:
        """What the clocks are of."""
        return part_name(self.family, self.device) if self.placed else delay_table(self.family).part

    @property
    def how(self) -> str:
        """How the clocks are known."""
        return "placed and routed" if self.placed else "modelled"

    def design(self, unit: str) -> str:
        """Return a digest of the hardware that a clock is of: it changes where the hardware does.

        Parameters
        ----------
        unit : str
        """
        return content_key(Job(unit, self.flow, self.family, 0).text(placed=self.placed))


def _routed(name: str) -> Section:
    """A named engine on the ECP5 that it is made for, in one piece."""
    flow, title = FLOW_ENGINES[name].in_fabric(FLOWS["ecp5"].fabric), f"the engine `{name}`"
    return Section("ecp5", flow, title, (WHOLE,), placed=True, device=ABOUT[name].target)


#: Sections by name.
SECTIONS: dict[str, Section] = {
    "ulx3s": _routed("ulx3s"),
    "ecp5_45": _routed("ecp5_45"),
    "ecp5_25": _routed("ecp5_25"),
    "smallest": Section("ecp5", SMALLEST, "the smallest engine that runs zoo/digits", (*UNIT_COMPONENTS, WHOLE)),
    "2x8": Section("xcup", FITTED_ENGINES["2x8"], "the smallest engine of the estimates", tuple(UNIT_COMPONENTS)),
    "4x8": Section("xcup", FITTED_ENGINES["4x8"], "another engine of the estimates", tuple(UNIT_COMPONENTS)),
    "sim": Section("xcup", FLOW_ENGINES["sim"], "the engine `sim`", (*UNIT_COMPONENTS, WHOLE)),
    "zcu102": Section("xcup", FLOW_ENGINES["zcu102"], "the engine `zcu102`", tuple(UNIT_COMPONENTS)),
}

#: Figures by section and unit: the clock, or why there is none; beside them, under "tools", what found them, and under
#: "designs", what they are of.
Figures = dict[str, dict[str, Speed | str]]


def measure(
    names: list[str], units: list[str] | None, *, seeds: int, jobs: int, timeout_s: float, kept: Path = FIGURES
) -> None:
    """Find the clocks of some sections out and keep them, unit by unit.

    Parameters
    ----------
    names : list of str
        Of `SECTIONS`.
    units : list of str, optional
        Only these.
    seeds : int
        Placements of each.
    jobs : int
        At a time.
    timeout_s : float
        For each run of a tool.
    kept : Path
        Where the figures are.
    """
    for name in names:
        section = SECTIONS[name]
        chosen = [unit for unit in section.units if units is None or unit in units]
        tools = ["yosys", *([PARTS[section.family].tool] if section.placed else [])]
        for unit in chosen:
            found = _found(section, unit, seeds=seeds, jobs=jobs, timeout_s=timeout_s)
            figure = found.speed.to_dict() if found.speed else found.problem
            raw = read_json(kept, "clocks that were measured") if kept.exists() else {}  # others may measure too
            raw.setdefault(name, {})[unit] = figure
            raw.setdefault("designs", {}).setdefault(name, {})[unit] = section.design(unit)
            raw.setdefault("tools", {})[name] = ", ".join(str(find_tool(tool)) for tool in tools)
            logging.info("%s/%s: %s", name, unit, found.speed.fmax_mhz if found.speed else found.problem)
            write_text(kept, json.dumps(raw, indent=1) + "\n")


def _found(section: Section, unit: str, *, seeds: int, jobs: int, timeout_s: float) -> UnitRow:
    """Place a unit, or model it."""
    if section.placed:
        numbers = range(1, seeds + 1)
        options = {"part": section.device, "jobs": jobs, "timeout_s": timeout_s, "strict": False}
        return survey(section.flow, section.family, [unit], seeds=numbers, **options).rows[0]  # type: ignore[arg-type]
    try:
        return UnitRow(unit, Cells(), (Job(unit, section.flow, section.family, timeout_s).modelled(),))
    except BivitError as error:
        return UnitRow(unit, Cells(), (), str(error))


def load(kept: Path = FIGURES) -> tuple[Figures, dict[str, str]]:
    """Return figures, and the tools behind each section.

    Parameters
    ----------
    kept : Path
    """
    raw: dict[str, Any] = read_json(kept, "clocks that were measured") if kept.exists() else {}
    tools = raw.pop("tools", {})
    raw.pop("designs", None)
    figures: Figures = {
        name: {
            unit: found if isinstance(found, str) else build(Speed, found, f"clock of {name}/{unit} in {kept}")
            for unit, found in units.items()
        }
        for name, units in raw.items()
    }
    return figures, tools


def designs(kept: Path = FIGURES) -> dict[str, dict[str, str]]:
    """Return digests of the hardware that was measured, as `Section.design`, by section and unit.

    Parameters
    ----------
    kept : Path
    """
    found: dict[str, dict[str, str]] = read_json(kept, "clocks that were measured").get("designs", {})
    return found


def clocks(figures: Figures) -> dict[str, Clock]:
    """Return the clock of each family of which a whole engine's is known: units by themselves are faster.

    Where a family can be placed, a model of a whole engine is not enough: routing across the chip is no part of it.

    Parameters
    ----------
    figures : dict
    """
    found: dict[str, Clock] = {}
    for name, section in SECTIONS.items():
        speed = figures.get(name, {}).get(WHOLE)
        if not isinstance(speed, Speed) or (section.family in PARTS and not section.placed):
            continue
        clock = Clock(
            math.floor(10 * speed.fmax_mhz) / 10,
            "placed" if section.placed else "modelled",
            f"{section.title} on {section.part}, all of it in one piece (docs/timing.md)",
        )
        if section.family not in found or clock.mhz < found[section.family].mhz:
            found[section.family] = clock
    return found


def render_page(figures: Figures, tools: Mapping[str, str]) -> str:
    """Return docs/timing.md.

    Parameters
    ----------
    figures : dict
    tools : mapping of str to str
    """
    lines = [
        "# Clocks\n",
        "Written by `python -m bivit.hw.synthesis.timing_page write` from docs/timing.json: do not edit. "
        "`... measure` finds the figures out again; `bivit synth` does so for any engine and unit.\n",
        "Each unit by itself: every bit of a port comes from a register or goes into one (`hw/synthesis/wrapper.py`). "
        "The clock is the best of the seeds, the path that of the best. A modelled clock is one of "
        "`hw/synthesis/static_timing.py`: no open tool places these parts.\n",
    ]
    for name, section in SECTIONS.items():
        if figures.get(name):
            lines += _section(name, section, figures[name], tools.get(name, ""))
    return "\n".join(lines) + "\n" + _model_error()


def _section(name: str, section: Section, found: Mapping[str, Speed | str], tools: str) -> Iterator[str]:
    flow, engine = section.flow, section.flow.engine
    yield f"## {section.title[0].upper()}{section.title[1:]} on {section.part}, {section.how}\n"
    yield (
        f"{engine.rows} x {engine.columns} array, {flow.drain_rows} rows drained a cycle, {flow.norm_lanes} lanes of "
        f"norms, {flow.softmax_lanes} of the softmax, {flow.dense_patches} x {flow.dense_channels} products of the "
        f"dense unit, fabric {engine.fabric}; {tools}; `python -m bivit.hw.synthesis.timing_page measure {name}`.\n"
    )
    yield "| unit | MHz | ns = logic + routing | cells between | from | to | all seeds, MHz |"
    yield "|---|---|---|---|---|---|---|"
    for unit in section.units:
        speed = found.get(unit)
        title = "**all of it**" if unit == WHOLE else unit
        if isinstance(speed, Speed):
            seeds = ", ".join(f"{mhz:.1f}" for mhz in speed.fmax_seeds)
            period = f"{speed.logic_ns + speed.routing_ns:.2f} = {speed.logic_ns:.2f} + {speed.routing_ns:.2f}"
            # A unit that is modelled stands alone, and its signals' names do not begin with its own.
            inside = "" if section.placed else f"{unit}."
            ends = f"`{inside}{speed.begins}` | `{inside}{speed.ends}`"
            yield f"| {title} | {speed.fmax_mhz:.1f} | {period} | {speed.levels} | {ends} | {seeds} |"
        elif speed is not None:
            yield f"| {title} | unknown | {speed} | | | | |"
    yield ""


def _model_error() -> str:
    """How far the model is off."""
    from .timing_error import load, page  # which takes its engine from here

    return page(load())


def render_clocks(found: Mapping[str, Clock], module: str) -> str:
    """Return the text of `sim.estimate.clocks` with other clocks.

    Parameters
    ----------
    found : mapping of str to Clock
        By family.
    module : str
        As it is.
    """
    head, mark, _ = module.partition("CLOCKS: dict[str, Clock] = {")
    rows = "".join(
        f'    "{family}": Clock(\n        {clock.mhz!r},\n        "{clock.kind}",\n        "{clock.source}",\n    ),\n'
        for family, clock in found.items()
    )
    return f"{head}{mark}{chr(10) + rows if rows else ''}}}\n"


def main() -> None:
    """Entry point: `measure` or `write`."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("measure", "write"))
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; all when left out")
    parser.add_argument("--units", nargs="*", choices=(*UNIT_COMPONENTS, WHOLE), help="only these")
    parser.add_argument("--seeds", type=int, default=3, help="placements of each unit")
    parser.add_argument("--jobs", type=int, default=1, help="runs of tools at a time")
    parser.add_argument("--timeout", type=float, default=7200, help="seconds for each run of a tool")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"there is no section {unknown[0]}; there are {', '.join(SECTIONS)}")
    if arguments.action == "measure":
        options = {"seeds": arguments.seeds, "jobs": arguments.jobs, "timeout_s": arguments.timeout}
        measure(arguments.sections or list(SECTIONS), arguments.units, **options)
    figures, tools = load()
    write_text(PAGE, render_page(figures, tools))
    write_text(CLOCKS_MODULE, render_clocks(clocks(figures), CLOCKS_MODULE.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
