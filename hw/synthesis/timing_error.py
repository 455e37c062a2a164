"""How far the static timing model is off: on ECP5, where nextpnr routes the same netlists.

`python -m bivit.hw.synthesis.timing_error measure` synthesises and routes units (an hour or two, in all; what
`timing_page measure` routed before is taken from the cache) and keeps their periods in docs/timing_error.json; `fit`
prints the delays of nets that suit the units it may see best, to be written into `hw.delays.ecp5`; `page` prints the
table of docs/timing.md from the kept figures alone.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from ...sim.errors import some
from ...sim.system.files import read_json, write_text
from ...sim.system.result import Result
from ..delays.table import ASSUMED, DelayTable, NetDelays
from .netlist import Netlist
from .parts import PARTS
from .path import CriticalPath
from .static_timing import MODELLED, critical_path, delay_table
from .survey import Job
from .synth import UNIT_COMPONENTS, unit_netlist
from .timing_page import SMALLEST

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "docs" / "timing_error.json"
#: Where the placements begin.
SEED = 1
#: Units that the delays of nets are fitted to, `core` being one of an engine before this one; others are held out.
SEEN = ("settings", "registers", "loader", "core", "residual_add")
#: Values that `fit` tries: base, doubling and block, in ns.
TRIED = {
    "base": [round(0.40 + 0.02 * k, 2) for k in range(26)],
    "doubling": [round(0.01 * k, 2) for k in range(21)],
    "block": [round(0.05 * k, 2) for k in range(25)],
}


@dataclass(frozen=True)
class Period(Result):
    """A critical path, as much of it as the table shows.

    Parameters
    ----------
    logic_ns, routing_ns : float
    levels : int
        Cells between those that begin and end it.
    begin, end : str
        Nets behind the registers or memories that begin and end it.
    """

    logic_ns: float
    routing_ns: float
    levels: int
    begin: str
    end: str

    @classmethod
    def of(cls, path: CriticalPath) -> Period:
        """Return what is kept of a path.

        Parameters
        ----------
        path : CriticalPath
        """
        return cls(path.logic_ns, path.routing_ns, path.levels, path.steps[0].signal, path.steps[-1].signal)

    @property
    def ns(self) -> float:
        """The whole."""
        return self.logic_ns + self.routing_ns


@dataclass(frozen=True)
class Compared(Result):
    """Periods of one unit.

    Parameters
    ----------
    unit : str
    placed, modelled : Period
    """

    unit: str
    placed: Period
    modelled: Period

    @property
    def error(self) -> float:
        """Relative error of the model's period."""
        return self.modelled.ns / self.placed.ns - 1

    @property
    def held_out(self) -> bool:
        """Whether the fit of the nets has not seen it."""
        return self.unit not in SEEN


def mapped(unit: str) -> dict[str, Any]:
    """Return the netlist of a unit of the smallest engine between registers.

    Parameters
    ----------
    unit : str
    """
    return unit_netlist(unit, SMALLEST, "ecp5", placed=True)


def routed(unit: str) -> CriticalPath:
    """Return the critical path of the same netlist, placed and routed.

    Parameters
    ----------
    unit : str
    """
    return Job(unit, SMALLEST, "ecp5", timeout_s=3600).placed(SEED)


#: What gives the netlist of a unit, and what its routed path.
Mapped = Callable[[str], dict[str, Any]]
Routed = Callable[[str], CriticalPath]


def measure(units: list[str], kept: Path = KEPT, netlist_of: Mapped = mapped, routed_path: Routed = routed) -> None:
    """Route and model units and keep their periods; every unit is kept at once.

    Parameters
    ----------
    units : list of str
    kept : Path
    netlist_of, routed_path : callable
    """
    results = {one.unit: one for one in load(kept)}
    for unit in units:
        netlist, placed = netlist_of(unit), Period.of(routed_path(unit))
        results[unit] = Compared(unit, placed, Period.of(_model(Netlist(netlist, unit), delay_table("ecp5"))))
        logging.info("%s: routed %.2f ns, error %+.1f %%", unit, placed.ns, 100 * results[unit].error)
        lines = [json.dumps(results[name].to_dict()) for name in results]
        write_text(kept, "[\n" + ",\n".join(lines) + "\n]\n")


def load(kept: Path = KEPT) -> list[Compared]:
    """Return the periods that are kept.

    Parameters
    ----------
    kept : Path
    """
    rows = read_json(kept, "measured periods") if kept.exists() else []
    return [Compared(row["unit"], Period(**row["placed"]), Period(**row["modelled"])) for row in rows]


def _model(netlist: Netlist, table: DelayTable) -> CriticalPath:
    """As nextpnr: ports are pins, and no path begins or ends at one."""
    return critical_path(netlist, table, ends="registers")


def fit(kept: Path = KEPT, netlist_of: Mapped = mapped) -> NetDelays:
    """Return the delays of nets that suit the units of `SEEN` best: one value after the other, until none is better.

    Parameters
    ----------
    kept : Path
    netlist_of : callable
    """
    placed = {one.unit: one.placed.ns for one in load(kept) if not one.held_out}
    parsed = {unit: Netlist(netlist_of(unit), unit) for unit in placed}
    table = delay_table("ecp5")
    nets, best = table.nets, math.inf

    def cost(tried: NetDelays) -> float:
        modelled = {unit: _model(netlist, replace(table, nets=tried)).period_ns for unit, netlist in parsed.items()}
        return sum((modelled[unit] / ns - 1) ** 2 for unit, ns in placed.items())

    while True:
        before = best
        for name, values in TRIED.items():
            found = {value: cost(_with(nets, name, value)) for value in values}
            value = min(found, key=lambda tried: found[tried])
            nets, best = _with(nets, name, value), found[value]
            logging.info("%s %g ns: root mean square error %.1f %%", name, value, 100 * math.sqrt(best / len(placed)))
        if best >= before * 0.99:
            return nets


def _with(nets: NetDelays, name: str, ns: float) -> NetDelays:
    changed: dict[str, Any] = {name: replace(getattr(nets, name), ns=ns)}
    return replace(nets, **changed)


def page(compared: list[Compared]) -> str:
    """Return the sections of docs/timing.md on the static model: its error, and where its delays are from.

    Parameters
    ----------
    compared : list of Compared
    """
    part = PARTS["ecp5"]
    lines = [
        "## Error of the static model\n",
        "`modelled` periods are those of `hw/synthesis/static_timing.py`: the longest path of the netlist that Yosys "
        "mapped, between registers, memories, multipliers and ports (as if registers were behind them), by a table of "
        "delays. A net costs a base and something for each doubling of its loads; there is no placement. What the "
        "vendor's tool would still do is not counted: no register is moved into a multiplier or memory, and none "
        "is copied for its loads.\n",
        "The same model on ECP5 against nextpnr, which routes the same netlists: units between registers, of the "
        f"smallest engine that runs zoo/digits as it was before the dataflow, {part.name}, target "
        f"{part.target_mhz:g} MHz, seed {SEED}. Delays of cells are nextpnr's own; those of nets are fitted to "
        f"{', '.join(SEEN)}: the other units are held out.\n",
        "| units | number | median error | worst error |",
        "|---|---|---|---|",
        *_summary(compared),
        "",
        "| unit | routed ns = logic + routing | modelled ns = logic + routing | error | held out | ends at |",
        "|---|---|---|---|---|---|",
    ]
    for one in compared:
        periods = " | ".join(f"{p.ns:.2f} = {p.logic_ns:.2f} + {p.routing_ns:.2f}" for p in (one.placed, one.modelled))
        held = "yes" if one.held_out else ""
        lines.append(f"| {one.unit} | {periods} | {one.error:+.1%} | {held} | `{one.placed.end}` |")
    lines += ["", "## Where the delays of the model are from\n", *_sources()]
    return "\n".join(lines) + "\n"


def _summary(compared: list[Compared]) -> Iterator[str]:
    """Rows on units by what the fit has seen; a memory alone says nothing of the model."""
    chosen = {
        "fitted": [one for one in compared if not one.held_out],
        "held out": [one for one in compared if one.held_out],
        "held out, two levels of logic or more": [one for one in compared if one.held_out and one.placed.levels > 1],
    }
    for name, units in chosen.items():
        errors = [abs(one.error) for one in units]
        if errors:
            yield f"| {name} | {len(errors)} | {median(errors):.1%} | {max(errors):.1%} |"


def _sources() -> Iterator[str]:
    """Lines on each table: what publishes its figures, and what is assumed."""
    for family, table in MODELLED.items():
        uses: dict[str, dict[str, None]] = {}
        for where, figure in table.figures():
            uses.setdefault(figure.source, {})[where] = None
        yield f"{family}: {table.part}.\n"
        for assumed in (False, True):
            for source, places in uses.items():
                if source.startswith(ASSUMED) == assumed:
                    yield f"- {source}: {some(list(places), most=3)}"
        yield ""


def main() -> None:
    """Entry point: `measure`, `fit` or `page`."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("measure", "fit", "page"))
    parser.add_argument("--units", nargs="*", default=list(UNIT_COMPONENTS), choices=list(UNIT_COMPONENTS))
    arguments = parser.parse_args()
    if arguments.action == "measure":
        measure(arguments.units)
    elif arguments.action == "fit":
        nets = fit()
        found = nets.base.ns, nets.doubling.ns, nets.block.ns
        logging.info("base %g ns, doubling %g ns, block %g ns", *found)
    else:
        logging.info(page(load()))


if __name__ == "__main__":
    main()
