"""Reads what Vivado reports of an implemented design: the tables of utilisation and of clocks.

A reader of its own: of the packages that read such reports one is under the GPL, and the other needs pandas.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...sim.errors import BivitError, check
from ...sim.system.files import read_text

#: Rows of the tables of 7-series, UltraScale+ and Versal by the names that estimates have.
_ROWS = {
    "luts": ("Slice LUTs", "CLB LUTs"),
    "ffs": ("Slice Registers", "CLB Registers", "Registers"),
    "brams": ("Block RAM Tile",),
    "dsps": ("DSPs", "DSP Slices"),
    "urams": ("URAM",),
}
#: A line of the report's head; a row of a table: its name, and what is used.
_HEAD = re.compile(r"^\| *([A-Z][A-Za-z ]*?) *: *(.*?) *\|?$", re.M)
_ROW = re.compile(r"^\| *([^|]*?)\*? *\| *([\d.]+) *\|", re.M)
#: A clock: name, waveform, period; and what is left of its period: worst slack, total, failing ends, ends.
_CLOCK = re.compile(r"^ *(\S+) +\{[^}]*\} +([\d.]+) +[\d.]+ *$", re.M)
_SLACK = re.compile(r"^ *(\S+) +(-?[\d.]+) +(-?[\d.]+) +(\d+) +(\d+)\b", re.M)


@dataclass(frozen=True)
class Utilisation:
    """What a design takes.

    Parameters
    ----------
    device, state, tool : str
        Part, how far the design was implemented, version of the tool.
    of_cells : bool
        Whether only cells were counted that were named, and not the whole design.
    used : dict of str to float
        By the names of estimates; what the tables do not have is left out.
    """

    device: str
    state: str
    tool: str
    of_cells: bool
    used: dict[str, float]


@dataclass(frozen=True)
class Timing:
    """The clock of most of a design.

    Parameters
    ----------
    clock : str
    period_ns, slack_ns : float
        Asked for, and left in the worst path.
    """

    clock: str
    period_ns: float
    slack_ns: float

    @property
    def fmax_mhz(self) -> float:
        """The highest clock by the worst path."""
        return 1000 / (self.period_ns - self.slack_ns)


@dataclass(frozen=True)
class Reports:
    """What was found, and where.

    Parameters
    ----------
    files : tuple of Path
    utilisation : Utilisation, optional
    timing : Timing, optional
    """

    files: tuple[Path, ...]
    utilisation: Utilisation | None
    timing: Timing | None


def read_reports(paths: Iterable[Path]) -> Reports:
    """Read reports; of several of utilisation the one of cells is taken, which is the engine's.

    Parameters
    ----------
    paths : iterable of Path
        Files, and folders with files ``*.rpt`` in them; of a folder other reports are passed over.

    Raises
    ------
    BivitError
        When there is none, or there are two of a kind.
    """
    found: dict[str, dict[Path, str]] = {"report_utilization": {}, "report_timing_summary": {}}
    for path in paths:
        check(path.exists(), f"there is no file or folder {path}")
        for file in sorted(path.rglob("*.rpt")) if path.is_dir() else [path]:
            text = read_text(file, "the report")
            command = _head(text).get("Command", "").split(" ")[0]
            check(
                path.is_dir() or command in found,
                f"{file} is no report of Vivado's report_utilization or report_timing_summary, as text",
            )
            if command in found:
                found[command][file] = text
    used = {file: utilisation(text) for file, text in found["report_utilization"].items()}
    used = {file: one for file, one in used.items() if one.of_cells} or used
    times = {file: timing(text) for file, text in found["report_timing_summary"].items()}
    for some in (used, times):
        check(len(some) <= 1, f"there are several reports of a kind, give one: {', '.join(map(str, some))}")
    check(bool(used or times), "there is no report of utilisation or timing (*.rpt); Vivado writes them as text")
    return Reports((*used, *times), next(iter(used.values()), None), next(iter(times.values()), None))


def utilisation(text: str) -> Utilisation:
    """Read a report of utilisation.

    Parameters
    ----------
    text : str

    Raises
    ------
    BivitError
        When it has no table of look-up tables.
    """
    head, cells = _head(text), {name: float(used) for name, used in reversed(_ROW.findall(text))}
    used = {key: cells[name] for key, names in _ROWS.items() for name in names if name in cells}
    if "luts" not in used:
        raise BivitError("the report of utilisation has no row of LUTs; it must be one of report_utilization as text")
    words = head.get("Command", "")
    return Utilisation(
        head.get("Device", ""), head.get("Design State", ""), head.get("Tool Version", ""), "-cells" in words, used
    )


def timing(text: str) -> Timing:
    """Read a report of timing: the clock with most ends.

    Parameters
    ----------
    text : str

    Raises
    ------
    BivitError
        When it has no clock with paths.
    """
    periods = {name: float(period) for name, period in _CLOCK.findall(_section(text, "Clock Summary"))}
    slacks = [
        (int(ends), name, float(slack))
        for name, slack, _, _, ends in _SLACK.findall(_section(text, "Intra Clock Table"))
        if name in periods
    ]
    if not slacks:
        raise BivitError("the report of timing has no clock with paths; is it one of report_timing_summary?")
    _, name, slack = max(slacks)
    return Timing(name, periods[name], slack)


def _head(text: str) -> dict[str, str]:
    return dict(_HEAD.findall(text[:4000]))


def _section(text: str, title: str) -> str:
    """Return a section's lines, up to the next title."""
    return text.partition(f"| {title}\n")[2].split("\n| ")[0]
