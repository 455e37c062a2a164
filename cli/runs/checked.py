"""What `bivit estimate --check` prints: errors of the estimates on engines that the fit has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...sim.errors import BivitError, check
from ...sim.system.result import OPTIONAL, Result
from ..shared.common import output, print_json, rows_table
from ..shared.progress import say, step

if TYPE_CHECKING:
    from ...hw.accuracy.clocks import ClockRow, ClockSummary
    from ...hw.accuracy.compared import Compared, Summary
    from ...hw.accuracy.fresh import Fresh

#: Rows of the largest errors that are printed where no engine is named.
_WORST = 10


@dataclass(frozen=True, kw_only=True)
class Checked(Result):
    """What is printed.

    Parameters
    ----------
    kept : str
        File of the kept syntheses: golden data, nothing of which is run now.
    tools_kept : dict of str to str
        Versions of the tools behind them.
    tools_here : dict of str to str, optional
        Those that are installed; None without Yosys.
    tools_differ : bool or None
        Whether they differ; None where that cannot be told.
    clocks_kept : tuple of str
        Files of the kept clocks.
    clock_tools : dict of str to str
        Tools behind these, by section.
    summary : tuple of Summary
        Errors by family and quantity.
    clock_summary : tuple of ClockSummary
    rows : tuple of Compared
        Each comparison with what is kept.
    clocks : tuple of ClockRow
    fresh : tuple of Fresh, optional
        What was synthesised now; None without `--fresh`.
    fresh_agrees : bool, optional
        Whether all of it is what is kept.
    """

    kept: str
    tools_kept: dict[str, str]
    tools_here: dict[str, str] | None
    tools_differ: bool | None
    clocks_kept: tuple[str, ...]
    clock_tools: dict[str, str]
    summary: tuple[Summary, ...]
    clock_summary: tuple[ClockSummary, ...]
    rows: tuple[Compared, ...]
    clocks: tuple[ClockRow, ...]
    fresh: tuple[Fresh, ...] | None = field(metadata=OPTIONAL)
    fresh_agrees: bool | None = field(metadata=OPTIONAL)


def checked(family: str | None, engines: Sequence[str], fresh: int, seed: int) -> Checked:
    """Compare estimates with what is kept, and with as many syntheses that are run now.

    Parameters
    ----------
    family : str, optional
        All when left out.
    engines : sequence of str
        All when empty.
    fresh : int
        Pairs of engine and unit to synthesise now.
    seed : int
        Draws them.

    Raises
    ------
    BivitError
        When nothing is kept of a family or engine, there are not as many pairs, or Yosys is not installed or fails.
    """
    check(seed >= 0, f"seed must be 0 or more, got {seed}")
    from ...hw.accuracy.clocks import clock_rows, clock_summaries
    from ...hw.accuracy.compared import compare, kept_pairs, summaries
    from ...hw.synthesis import timing_error, timing_page
    from ...hw.synthesis.calibrate import FAMILIES, MEASUREMENTS, load_measurements, load_tools, tools_here

    pairs = kept_pairs(load_measurements(), family, engines)
    rows = [row for one in pairs for row in compare(one)]
    clocks, kept = clock_rows(family, engines), load_tools()
    try:
        here = tools_here()
    except BivitError as error:
        check(not fresh, str(error))
        here = None
    found = _fresh(pairs, fresh, seed) if fresh else None
    return Checked(
        kept=f"docs/{MEASUREMENTS.name}",
        tools_kept=kept,
        tools_here=here,
        tools_differ=None if here is None else here != kept,
        clocks_kept=tuple(f"docs/{path.name}" for path in (timing_page.FIGURES, timing_error.KEPT)),
        clock_tools=timing_page.load()[1],
        summary=tuple(summaries(rows)),
        clock_summary=tuple(clock_summaries(clocks, [family] if family else FAMILIES)),
        rows=tuple(rows),
        clocks=tuple(clocks),
        fresh=found,
        fresh_agrees=None if found is None else all(row.agrees for row in found),
    )


def _fresh(pairs: Sequence[Any], count: int, seed: int) -> tuple[Fresh, ...]:
    from ...hw.accuracy.fresh import drawn_pairs, synthesise_pairs

    drawn = drawn_pairs(pairs, count, seed)
    with step("synthesise held-out units", count) as one:
        return tuple(
            synthesise_pairs(drawn, lambda done, m: one.at(done, note=f"{m.unit} of {m.engine} on {m.family}"))
        )


def show_checked(report: Checked, as_json: bool, *, details: bool) -> None:
    """Print a report.

    Parameters
    ----------
    report : Checked
    as_json : bool
    details : bool
        All rows, not only those with the largest errors.
    """
    if report.tools_differ:
        say(f"kept data is of {_versions(report.tools_kept)}; here are {_versions(report.tools_here)}")
    if as_json:
        print_json(report.to_dict())
        return
    out = output()
    out.print("Estimates against synthesis of engines that the fit has not seen", style="bold", soft_wrap=True)
    out.print(f"golden data: {report.kept}, by {_versions(report.tools_kept)}; not run now", soft_wrap=True)
    out.print(rows_table([one.to_dict() for one in report.summary], "errors, relative"))
    rows = [row for row in report.rows if row.estimated or row.synthesised]
    if not details:
        rows = sorted(rows, key=lambda row: -1 if row.error is None else -abs(row.error))[:_WORST]
    out.print(rows_table([row.to_dict() for row in rows], "golden data" if details else "the largest errors"))
    out.print(f"clocks, golden data: {', '.join(report.clocks_kept)}; not run now", soft_wrap=True)
    out.print(rows_table([one.to_dict() for one in report.clock_summary], "clocks of what was held out and placed"))
    if report.fresh is not None:
        title = f"synthesised now, by {_versions(report.tools_here)}"
        out.print(rows_table([row.to_dict() for row in report.fresh], title))


def _versions(tools: dict[str, str] | None) -> str:
    return ", ".join(f"{name} {version}" for name, version in (tools or {}).items())
