"""Many units of an engine synthesised, and placed or modelled, side by side: what each takes and how fast it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache, partial
from threading import Lock
from typing import Any

from ...sim.engine.words import WORD
from ...sim.errors import BivitError, check
from ...sim.flow.config import FlowConfig
from ...sim.system.kept_text import cached_text, content_key
from ...sim.system.result import OPTIONAL, Result
from ...sim.system.typed import build
from .flows import CARRIES, FLOWS, SynthesisFamily, check_family, count_cells
from .netlist import Netlist
from .packing import pairs_sharing_a_lut
from .parts import PARTS, Part, find_part
from .path import CriticalPath
from .place import place
from .side_by_side import side_by_side
from .static_timing import delay_table, modelled_timing
from .synth import WHOLE, component, netlist_of, rtlil_text, synthesised
from .tools import find_tool
from .wrapper import PinWrapper

#: Unit of the dot products.
_GRID = "grid"
#: Placements that are kept.
_KEPT = 512
#: Families whose look-up tables have two outputs, so that pairs can share one, and whose clock is modelled.
_AMD = ("xcup", "xcup-uram", "xc7")

_converting = Lock()

#: Told how much of a survey is done, of how much, and what ended last.
Told = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Cells(Result):
    """What a unit takes; None is unknown.

    Parameters
    ----------
    luts_raw : int or None
        Look-up tables as Yosys emits them, those of memories and carry chains included.
    luts_packed : int or None
        An estimate of what is left once pairs share a LUT6; None on families whose tables have one output, too.
    ffs, carry : int or None
        Flip-flops, cells of carry chains.
    dsps, brams : float or None
        Multiplier blocks and block memories.
    urams : float or None
        UltraRAM blocks; None on families that are synthesised without.
    """

    luts_raw: int | None = None
    luts_packed: int | None = None
    ffs: int | None = None
    carry: int | None = None
    dsps: float | None = None
    brams: float | None = None
    urams: float | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class Speed(Result):
    """The clock that a unit reaches, in brief.

    Parameters
    ----------
    fmax_mhz : float
        That of the best seed.
    fmax_seeds : tuple of float
        Those of all seeds.
    logic_ns, routing_ns : float
        Of the critical path of the best.
    levels : int
        Cells between its ends.
    begins, ends : str
        Its first and its last signal.
    """

    fmax_mhz: float
    fmax_seeds: tuple[float, ...]
    logic_ns: float
    routing_ns: float
    levels: int
    begins: str
    ends: str


@dataclass(frozen=True)
class Job:
    """One unit to look at, and how.

    Parameters
    ----------
    unit : str
        Name in `synth.synthesised` of the engine.
    flow : FlowConfig
    family : str
    timeout_s : float
        For each run of a tool.
    part : str, optional
        What it is placed on, where not on the family's own.
    """

    unit: str
    flow: FlowConfig
    family: SynthesisFamily
    timeout_s: float
    part: str | None = None

    def text(self, *, placed: bool) -> str:
        """Return the unit as Yosys reads it, with or without pins."""
        with _converting:  # which is done in Python, so that two at a time would only do the same twice
            return _text(self.unit, self.flow, placed)

    def cells(self) -> Cells:
        """Synthesise and count."""
        script = FLOWS[self.family].script
        netlist = Netlist(netlist_of(self.text(placed=False), script, self.timeout_s))
        cost = count_cells(netlist.cells)
        luts = round(cost.luts or 0)
        return Cells(
            luts_raw=luts,
            luts_packed=luts - pairs_sharing_a_lut(netlist) if self.family in _AMD else None,
            ffs=round(cost.ffs or 0),
            carry=sum(number for cell, number in netlist.cells.items() if cell in CARRIES),
            dsps=cost.dsps or 0,
            brams=cost.brams or 0,
            urams=cost.urams if FLOWS[self.family].urams else None,
        )

    def placed(self, seed: int) -> CriticalPath:
        """Place and route, or return what that gave before."""
        part, script = find_part(self.family, self.part), FLOWS[self.family].placed_script
        text = self.text(placed=True)
        tools = [str(find_tool(name)) for name in ("yosys", part.tool)]
        key = content_key(text, script, *tools, *_told_to(part), str(seed), self._default_unit)

        def make() -> str:
            netlist = netlist_of(text, script, self.timeout_s)
            found = place(netlist, part, seed=seed, timeout_s=self.timeout_s, default_unit=self._default_unit)
            return json.dumps(found.to_dict())

        return build(CriticalPath, json.loads(cached_text("placements", key, make, keep=_KEPT)), "a kept placement")

    def modelled(self) -> CriticalPath:
        """Return the critical path of the static timing model."""
        netlist = netlist_of(self.text(placed=False), FLOWS[self.family].script, self.timeout_s)
        found = modelled_timing(netlist, self.family)
        # By itself, a unit's names do not begin with its own.
        return replace(found, steps=tuple(replace(step, unit=step.unit or self._default_unit) for step in found.steps))

    @property
    def _default_unit(self) -> str:
        return "" if self.unit == WHOLE else self.unit


@dataclass(frozen=True)
class UnitRow(Result):
    """What is known of one unit.

    Parameters
    ----------
    unit : str
    cells : Cells
        All unknown where the synthesis failed.
    paths : tuple of CriticalPath
        One for each seed that was placed; one where it was modelled.
    problem : str or None
        Why something is missing: a tool's own words.
    """

    unit: str
    cells: Cells
    paths: tuple[CriticalPath, ...] = ()
    problem: str | None = field(default=None, metadata=OPTIONAL)

    @property
    def best(self) -> CriticalPath | None:
        """The path of the seed that gives the highest clock."""
        return max(self.paths, key=lambda path: path.fmax_mhz, default=None)

    @property
    def speed(self) -> Speed | None:
        """The clock of the best seed and of all; None where none came through."""
        path = self.best
        if path is None:
            return None
        return Speed(
            fmax_mhz=path.fmax_mhz,
            fmax_seeds=tuple(one.fmax_mhz for one in self.paths),
            logic_ns=path.logic_ns,
            routing_ns=path.routing_ns,
            levels=path.levels,
            begins=path.steps[0].signal,
            ends=path.steps[-1].signal,
        )


@dataclass(frozen=True)
class Survey:
    """Units of one engine on one family.

    Parameters
    ----------
    flow : FlowConfig
    family : str
    rows : tuple of UnitRow
    part : str, optional
        What was placed, was placed on it; the family's own without it.
    """

    flow: FlowConfig
    family: SynthesisFamily
    rows: tuple[UnitRow, ...]
    part: str | None = None

    @property
    def whole(self) -> UnitRow | None:
        """The row of the whole engine, if that is one."""
        return next((row for row in self.rows if row.unit == WHOLE), None)

    def total(self, quantity: str) -> float | None:
        """Sum of a quantity of `Cells`: that of the whole engine where it is known, else over its units."""
        rows = [self.whole] if self.whole else [row for row in self.rows if row.unit != WHOLE]
        values = [getattr(row.cells, quantity) for row in rows]
        known = [value for value in values if value is not None]
        return sum(known) if known and len(known) == len(values) else None

    @property
    def totals(self) -> Cells:
        """What all of it takes, as `total`."""
        return Cells(**{quantity.name: self.total(quantity.name) for quantity in fields(Cells)})  # type: ignore[arg-type]

    @property
    def limit(self) -> UnitRow | None:
        """The row that sets the clock: the whole engine where its clock is known, else the slowest unit."""
        if self.whole and self.whole.best:
            return self.whole
        timed = [row for row in self.rows if row.best]
        return min(timed, key=lambda row: row.best.fmax_mhz if row.best else 0, default=None)

    @property
    def luts_per_mac_array(self) -> float | None:
        """Look-up tables of the array for each product of two bits a cycle."""
        luts = next((row.cells.luts_raw for row in self.rows if row.unit == _GRID), None)
        return None if luts is None else luts / self._macs

    @property
    def luts_per_mac_engine(self) -> float | None:
        """As `luts_per_mac_array`, of all the engine; None where not all of it was synthesised."""
        complete = bool(self.whole) or set(synthesised(self.flow)) - {WHOLE} <= {row.unit for row in self.rows}
        luts = self.total("luts_raw")
        return luts / self._macs if complete and luts is not None else None

    @property
    def _macs(self) -> int:
        return self.flow.engine.rows * self.flow.engine.columns * WORD


def survey(
    flow: FlowConfig,
    family: str,
    units: Sequence[str],
    *,
    seeds: Sequence[int] | None = None,
    placed: Sequence[str] | None = None,
    part: str | None = None,
    jobs: int = 1,
    timeout_s: float = 3600,
    told: Told = lambda done, total, what: None,
    strict: bool = True,
) -> Survey:
    """Synthesise units of an engine, count their cells and, where seeds are given, find out how fast they are.

    Parameters
    ----------
    flow : FlowConfig
    family : str
        ECP5, Nexus and Gowin are placed and routed, UltraScale+ and 7-series modelled.
    units : sequence of str
        Names in `synth.synthesised` of it; "engine" is all of it.
    seeds : sequence of int, optional
        Where placements begin; none are made when left out. A model takes no seed: any will do.
    placed : sequence of str, optional
        Those of the units whose clock is sought; all of them when left out.
    part : str, optional
        What to place on, as of `find_part`.
    jobs : int
        Runs of tools at a time.
    timeout_s : float
        For each of them.
    told : callable
        Is told of the progress.
    strict : bool
        Whether it is an error that no unit comes through.

    Raises
    ------
    BivitError
        When the family or a unit is unknown, a tool is not installed, or no unit came through: what the tools said.
    """
    known = check_family(family)
    there = synthesised(flow)
    for unit in units:
        check(unit in there, f"there is no unit {unit!r}; there are {', '.join(there)}")
    find_tool("yosys")
    if part is not None or (seeds and known in PARTS):
        find_tool(find_part(known, part).tool)
    if seeds and known in _AMD:
        delay_table(known)  # or there are none
    tasks: dict[tuple[str, int], Callable[[], Any]] = {}
    for unit in units:
        job = Job(unit, flow, known, timeout_s, part)
        tasks[unit, 0] = job.cells
        for seed in (seeds if seeds and (placed is None or unit in placed) else ())[: 1 if known in _AMD else None]:
            tasks[unit, seed] = job.modelled if known in _AMD else partial(job.placed, seed)
    ended: list[str] = []

    def count(name: tuple[str, int], result: object) -> None:
        ended.append(name[0])
        told(len(ended), len(tasks), name[0])

    results = side_by_side(tasks, jobs, count)
    rows = tuple(
        _row(unit, {number: found for (one, number), found in results.items() if one == unit}) for unit in units
    )
    come_through = any(row.best if seeds else row.cells != Cells() for row in rows)
    check(come_through or not strict, "\n".join(f"{row.unit}: {row.problem}" for row in rows))
    return Survey(flow, known, rows, part)


def part_name(family: str, part: str | None = None) -> str:
    """Return what a clock of a family is of: the part that it is placed on, or that the delays are of.

    Parameters
    ----------
    family : str
    part : str, optional
        As of `find_part`.
    """
    return find_part(family, part).name if family in PARTS else delay_table(family).part


@lru_cache(maxsize=64)
def _text(unit: str, flow: FlowConfig, placed: bool) -> str:
    """The same for all seeds."""
    inner = component(unit, flow)
    return rtlil_text(PinWrapper(inner, unit) if placed else inner)


def _row(unit: str, results: dict[int, Any]) -> UnitRow:
    """Join what the tasks of one unit gave, the cells first."""
    problems = dict.fromkeys(str(found) for found in results.values() if isinstance(found, BivitError))
    cells = results.pop(0)
    return UnitRow(
        unit,
        cells if isinstance(cells, Cells) else Cells(),
        tuple(found for found in results.values() if isinstance(found, CriticalPath)),
        "; ".join(problems) or None,
    )


def _told_to(part: Part) -> tuple[str, ...]:
    return (*part.arguments, *part.large, *part.files.values(), f"{part.target_mhz:g}", str(part.sites))
