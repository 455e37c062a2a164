"""Fit the weights of `sim.estimate.resources` to synthesis, and say how far off they are on engines not seen.

`python -m bivit.hw.synthesis.calibrate measure` synthesises what docs/synthesis.json does not hold yet (hours, in all);
`python -m bivit.hw.synthesis.calibrate fit` writes `sim.estimate.constants` and docs/resources.md from it (seconds).
After a change of a unit, delete its lines from docs/synthesis.json first; after one of the tools, all of them.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import logging
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

from ...sim.errors import BivitError, check
from ...sim.estimate.cost import Cost
from ...sim.estimate.devices import Family
from ...sim.estimate.engine_units import ALL_UNITS, footprints
from ...sim.estimate.footprint import Footprint, weighted_sum
from ...sim.estimate.least_squares import positive_weights
from ...sim.estimate.ram import ram_cost
from ...sim.estimate.units import REST
from ...sim.flow.config import FlowConfig
from ...sim.system.files import read_json, write_text
from .calibrated import (
    BESIDE,
    FITTED_ENGINES,
    HELD_OUT_ENGINES,
    LARGE_ENGINES,
    OWN_UNITS,
    PAIRED,
    PAIRED_UNIT,
    SAMPLED_UNITS,
    WHOLE_ENGINES,
    WHOLE_WINDOWED,
)
from .flows import FLOWS
from .side_by_side import side_by_side
from .synth import OTHER_COMPONENTS, SYNTHESISED, WHOLE, synthesise, synthesised
from .tools import find_tool

ROOT = Path(__file__).resolve().parents[2]
MEASUREMENTS = ROOT / "docs" / "synthesis.json"
FAMILIES: tuple[Family, ...] = ("xcup", "xc7", "ecp5")
#: Quantities whose logic is fitted; multipliers and memories follow rules.
FITTED = ("luts", "ffs")

#: Engines that are fitted, and those that are held out.
_GROUPS = (FITTED_ENGINES, HELD_OUT_ENGINES)
#: Key of the measurements' file under which its tools are.
_TOOLS = "tools"
#: What can be measured.
_UNITS = (*SYNTHESISED, *OTHER_COMPONENTS)
#: Longest line of generated code, that of the project's formatter.
LINE_LENGTH = 120

#: Weights by family, unit, quantity and size.
Constants = dict[Family, dict[str, dict[str, dict[str, float]]]]


@dataclass(frozen=True)
class Measurement:
    """One synthesis: a unit of a named engine on a family, in the family's fabric."""

    unit: str
    engine: str
    family: Family
    cost: Cost

    @property
    def flow(self) -> FlowConfig:
        """The engine."""
        return in_fabric(self.engine, self.family)

    @property
    def footprint(self) -> Footprint:
        """What the unit, which is not "engine", follows from."""
        return footprints(self.flow)[self.unit](self.flow)

    @property
    def held_out(self) -> bool:
        """Whether the fit has not seen it."""
        return self.engine in HELD_OUT_ENGINES


def in_fabric(engine: str, family: Family) -> FlowConfig:
    """Return a named engine in the logic that suits a family.

    Parameters
    ----------
    engine : str
    family : {"xcup", "xc7", "ecp5"}
    """
    flow = (FITTED_ENGINES | HELD_OUT_ENGINES)[engine]
    return flow.in_fabric(FLOWS[family].fabric)


def tools_here() -> dict[str, str]:
    """Return the version of each tool that a synthesis depends on, as installed.

    Raises
    ------
    BivitError
        When Yosys is not installed.
    """
    return {"yosys": find_tool("yosys").version, "amaranth": importlib.metadata.version("amaranth")}


def load_tools(path: Path = MEASUREMENTS) -> dict[str, str]:
    """Read the versions of the tools that measured."""
    found: dict[str, str] = read_json(path, "measurements")[_TOOLS]
    return found


def load_measurements(path: Path = MEASUREMENTS) -> list[Measurement]:
    """Read measurements; keys are unit/engine/family, values LUTs, flip-flops, multipliers and memories.

    What lies between the units is what a whole engine takes beyond them.
    """
    found: dict[tuple[str, Family], dict[str, Measurement]] = {}
    for key, (luts, ffs, dsps, brams) in _kept(path).items():
        unit, engine, family = key.split("/")
        cost = Cost(luts=luts, ffs=ffs, dsps=dsps, brams=brams)
        found.setdefault((engine, family), {})[unit] = Measurement(unit, engine, family, cost)
    for units in found.values():
        whole = units.get(WHOLE)
        if whole is not None and set(units) == set(synthesised(whole.flow)):
            others = [one.cost for one in units.values() if one is not whole]
            left = {name: getattr(whole.cost, name) - sum(getattr(cost, name) for cost in others) for name in FITTED}
            units[REST] = replace(whole, unit=REST, cost=Cost(**left, dsps=0, brams=0))
    return [one for units in found.values() for one in units.values()]


def _kept(path: Path) -> dict[Any, Any]:
    """What was measured, by key."""
    return {key: value for key, value in read_json(path, "measurements").items() if key != _TOOLS}


def measure(path: Path, units: list[str], engines: list[str], families: list[Family], jobs: int) -> None:
    """Synthesise what `path` does not hold yet, `jobs` at a time; every result is kept at once.

    Raises
    ------
    BivitError
        When other tools measured what is there: one file has the figures of one set of tools.
    """
    results, tools = (_kept(path), load_tools(path)) if path.exists() else ({}, tools_here())
    check(
        tools == tools_here(),
        f"{path} was measured with {_versions(tools)}, here is {_versions(tools_here())}; install those, or delete "
        "the file to measure all of it anew",
    )
    tasks = {
        key: partial(synthesise, unit, in_fabric(engine, family), family)
        for family in families
        for engine in engines
        for unit in units
        if unit in synthesised(in_fabric(engine, family))
        and _says_something(unit, engine, family)
        and (key := f"{unit}/{engine}/{family}") not in results
    }

    def keep(key: str, found: Cost | BivitError) -> None:
        if isinstance(found, BivitError):  # Yosys stumbles over a netlist now and then; the others are enough
            logging.warning("%s: %s", key, found)
            return
        results[key] = [found.luts, found.ffs, found.dsps, found.brams]
        logging.info("%s: %s", key, results[key])
        write_text(path, _one_line_each({_TOOLS: tools} | {name: results[name] for name in sorted(results)}))

    side_by_side(tasks, jobs, keep)


def _versions(tools: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in tools.items())


def _says_something(unit: str, engine: str, family: Family) -> bool:
    """Whether a unit of an engine is not that of another engine (see `PAIRED`), and takes no hours."""
    if engine in WHOLE_ENGINES:
        return family == WHOLE_ENGINES[engine] and unit == WHOLE
    if engine in LARGE_ENGINES:
        return family == LARGE_ENGINES[engine] and unit not in ("grid", WHOLE)
    for end, units in OWN_UNITS.items():
        if engine.endswith(end):
            return unit in units or engine == WHOLE_WINDOWED
    for end, own in BESIDE.items():
        if engine.endswith(end) or unit == own:
            return engine.endswith(end) and unit == own
    if engine in SAMPLED_UNITS:
        return unit in (*SAMPLED_UNITS[engine], WHOLE)
    return not engine.endswith(PAIRED) or (unit == PAIRED_UNIT and FLOWS[family].fabric == "lut6")


def _one_line_each(values: Mapping[str, Any]) -> str:
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in values.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def fit(measurements: list[Measurement]) -> Constants:
    """Fit the weights of every unit's sizes to the engines of `FITTED_ENGINES`."""
    constants: Constants = {family: {} for family in FAMILIES if any(m.family == family for m in measurements)}
    for family in constants:
        for unit in ALL_UNITS:
            seen = [m for m in measurements if (m.unit, m.family) == (unit, family) and not m.held_out]
            if seen:
                constants[family][unit] = {quantity: _weights(seen, quantity) for quantity in FITTED}
    return constants


def _weights(seen: list[Measurement], quantity: str) -> dict[str, float]:
    """Weights of the sizes: first of those that engines without windows have, then of what windows add to these."""
    found: dict[str, float] = {}
    for windows in (False, True):
        of = [m for m in seen if bool(m.flow.windows) == windows]
        found |= _least_squares(of, quantity, found) if of else {}
    return found


def _least_squares(seen: list[Measurement], quantity: str, known: Mapping[str, float]) -> dict[str, float]:
    """Least squares of the relative error, behind what is known.

    In fractions: what a BLAS gives depends on the processor, and a digit of it would on ties.
    """
    sizes = [m.footprint.sizes for m in seen]
    names = sorted({name for row in sizes for name in row} - set(known))
    whole = [Fraction(getattr(m.cost, quantity)) for m in seen]
    scale = [1 / max(abs(value), Fraction(50)) for value in whole]
    there = [sum(Fraction(known.get(name, 0)) * Fraction(size) for name, size in row.items()) for row in sizes]
    memories = [Fraction(memory_part(m, quantity)) for m in seen]
    target = [(w - t - r) * s for w, t, r, s in zip(whole, there, memories, scale, strict=True)]
    columns = {name: [Fraction(row.get(name, 0)) * s for row, s in zip(sizes, scale, strict=True)] for name in names}
    means = {name: sum((Fraction(row.get(name, 0)) for row in sizes), Fraction(0)) for name in names}
    fitted = positive_weights(columns, target, means)
    return {name: float(f"{float(fitted.get(name, 0)):.4g}") for name in names}


def memory_part(measurement: Measurement, quantity: str) -> float:
    """Return what the memories of a measured unit take."""
    return float(sum(getattr(ram_cost(ram, measurement.family), quantity) for ram in measurement.footprint.rams))


def predicted(measurement: Measurement, constants: Constants, quantity: str) -> float:
    """Return what `constants` predict for a measured unit; an engine is the sum of its units."""
    if measurement.unit == WHOLE:
        units = footprints(measurement.flow)
        return sum(predicted(replace(measurement, unit=unit), constants, quantity) for unit in units)
    weights = constants[measurement.family].get(measurement.unit, {}).get(quantity)
    logic = weighted_sum(measurement.footprint.sizes, weights)
    if logic is None:
        raise KeyError(f"{measurement.unit} has no weights of {quantity} on {measurement.family}")
    return logic + memory_part(measurement, quantity)


def errors(measurements: list[Measurement], constants: Constants) -> Iterator[tuple[Measurement, str, float]]:
    """Yield measurement, quantity and relative error of what the fit has not seen: held-out units and all engines."""
    for m in measurements:
        if m.held_out or m.unit == WHOLE:
            for quantity in FITTED:
                actual = getattr(m.cost, quantity)
                if actual:
                    yield m, quantity, predicted(m, constants, quantity) / actual - 1


def sources(constants: Constants, tools: Mapping[str, str]) -> dict[Family, str]:
    """Tools and command behind the constants of each family that was measured."""
    return {family: f"{_versions(tools)}: {FLOWS[family].script}" for family in constants}


def render_constants(constants: Constants, tools: Mapping[str, str]) -> str:
    """Return the text of `sim.estimate.constants`."""
    lines = [
        '"""Weights of the sizes in `sim.estimate.units`; by `python -m bivit.hw.synthesis.calibrate fit`."""',
        "\nfrom __future__ import annotations\n\nfrom .devices import Family\n",
        "#: Tools and command behind the numbers of a family.\nTOOLS: dict[Family, str] = {",
        *(f'    "{family}": "{text}",' for family, text in sources(constants, tools).items()),
        "}\n\n#: By family, unit, quantity and size.",
        "CONSTANTS: dict[Family, dict[str, dict[str, dict[str, float]]]] = {",
    ]
    for family, units in constants.items():
        lines.append(f'    "{family}": {{')
        for unit, quantities in units.items():
            whole = f'        "{unit}": {json.dumps(quantities)},'
            each = (_wrapped(f'"{name}": {json.dumps(weights)},') for name, weights in quantities.items())
            lines += [whole] if len(whole) <= LINE_LENGTH else [f'        "{unit}": {{', *chain(*each), "        },"]
        lines.append("    },")
    return "\n".join([*lines, "}  # fmt: skip"]) + "\n"


def _wrapped(weights: str) -> list[str]:
    """Lines of the weights of a quantity; a name and its weight stay together."""
    lines = textwrap.wrap(
        weights.replace(": ", ":\N{NO-BREAK SPACE}"), LINE_LENGTH, initial_indent=12 * " ", subsequent_indent=16 * " "
    )
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def render_report(measurements: list[Measurement], constants: Constants, tools: Mapping[str, str]) -> str:
    """Return docs/resources.md: errors on held-out engines, unit by unit."""
    found, where = list(errors(measurements, constants)), sources(constants, tools)
    measured = {m.engine for m in measurements}
    fitted, held_out = (", ".join(one for one in group if one in measured) for group in _GROUPS)
    lines = [
        "# Resource estimates against synthesis\n",
        "Written by `python -m bivit.hw.synthesis.calibrate fit` from docs/synthesis.json: do not edit. "
        "Cells before packing.\n",
        *(f"- {family}: {where.get(family, 'not measured yet, so unknown')}" for family in FAMILIES),
        f"\nFitted to the engines {fitted} (rows x columns; `hw/synthesis/calibrated.py`), each to as many of its "
        f"units as docs/synthesis.json has. The errors below are those on {held_out}, which the fit has not seen, and "
        "of whole engines (unit `engine`), of which it has seen no more than what lies between the units (`rest`). "
        "Engines `drawn-SEED-NUMBER` are drawn at random (`hw/synthesis/drawn.py`), and so are the units of those that "
        "are held out. Larger engines are extrapolated. Of a family without engines `-windows` or `-edge` the logic "
        "that windows, or streamed classifier and positions, change is unknown. DSP blocks and block memories follow "
        "rules, exact on all of docs/synthesis.json but `softmax` of 4x8-windows, which takes half a block less.\n",
        f"Devices with UltraRAM are estimated as `{FLOWS['xcup-uram'].script}` (`bivit synth --family xcup-uram`) "
        "fills it. A block of 4,096 words of 72 bits costs a little less than four block memories, so a memory lies "
        "there where it would take four or more for each. It must begin as zeroes, which a network embedded in "
        "the Verilog does not. Rule and synthesis know no limit: what exceeds a device's UltraRAM is not moved to "
        "block memories that are free.\n",
        "| family | quantity | units | median error | worst error |",
        "|---|---|---|---|---|",
    ]
    for family in constants:
        for quantity in FITTED:
            values = [abs(e) for m, q, e in found if m.unit != WHOLE and (m.family, q) == (family, quantity)]
            if values:
                median_error, worst_error = f"{median(values):.1%}", f"{max(values):.1%}"
                lines.append(f"| {family} | {quantity} | {len(values)} | {median_error} | {worst_error} |")
    lines += ["", *_named_engines(measurements, constants)]
    lines += [
        "",
        "| unit | engine | family | quantity | synthesised | error |",
        "|---|---|---|---|---|---|",
    ]
    for m, quantity, error in sorted(found, key=lambda item: (item[0].unit, item[0].engine, item[0].family)):
        actual = f"{getattr(m.cost, quantity):g}"
        lines.append(f"| {m.unit} | {m.engine} | {m.family} | {quantity} | {actual} | {error:+.1%} |")
    return "\n".join(lines) + "\n"


def _named_engines(measurements: list[Measurement], constants: Constants) -> list[str]:
    """Return the table of what was synthesised of the named engines, each with the error of the estimate."""
    lines = [
        "What synthesis says of the named engines, and how far the estimate is off; multipliers and memories are as "
        "estimated. Of the large ones it is the sum of their units but for the array, `grid`, which would take hours: "
        "its error is that of smaller arrays, below. `vck190` is made for a Versal part, which Yosys does not "
        "synthesise for: it is estimated and synthesised as UltraScale+. Memories of these rows are without "
        "UltraRAM.\n",
        "| engine | family | synthesised | LUT | error | FF | error | multipliers | block memories |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for engine, family in (WHOLE_ENGINES | LARGE_ENGINES).items():
        of = [m for m in measurements if (m.engine, m.family) == (engine, family) and m.unit != REST]
        if not of:
            continue
        row = [engine, family, _extent({m.unit for m in of})]
        for quantity in FITTED:
            actual = sum(getattr(m.cost, quantity) for m in of)
            row += [f"{actual:,.0f}", f"{sum(predicted(m, constants, quantity) for m in of) / actual - 1:+.1%}"]
        row += [f"{sum(getattr(m.cost, quantity) for m in of):,g}" for quantity in ("dsps", "brams")]
        lines.append(f"| {' | '.join(row)} |")
    return lines


def _extent(units: set[str]) -> str:
    """How much of an engine was synthesised: ``whole``, or the units that were not."""
    left = [unit for unit in SYNTHESISED if unit not in units and unit != WHOLE]
    return "whole" if WHOLE in units else f"all units but {', '.join(left)}"


def main() -> None:
    """Entry point: `measure` or `fit`."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("measure", "fit"))
    parser.add_argument("--units", nargs="*", default=list(_UNITS), choices=_UNITS)
    parser.add_argument("--engines", nargs="*", default=[*FITTED_ENGINES, *HELD_OUT_ENGINES])
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--jobs", type=int, default=1, help="syntheses at a time")
    arguments = parser.parse_args()
    if arguments.action == "measure":
        measure(MEASUREMENTS, arguments.units, arguments.engines, arguments.families, arguments.jobs)
        return
    measurements, tools = load_measurements(), load_tools()
    constants = fit(measurements)
    write_text(ROOT / "sim" / "estimate" / "constants.py", render_constants(constants, tools))
    write_text(ROOT / "docs" / "resources.md", render_report(measurements, constants, tools))


if __name__ == "__main__":
    main()
