"""`bivit report`: the page of a demo once more, and the README's table of results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ..sim.errors import BivitError, check
from ..sim.system import files
from ..sim.system.locks import owned_folder
from .runs.estimates import UNIT_TARGET
from .shared.common import JsonFlag, format_value, show
from .shared.markers import replace_between_markers

#: Files by which other folders are known, and what writes these.
_MADE = {
    "board.json": "`bivit build`",
    "manifest.json": "`bivit generate`",
    "metrics.json": "`bivit publish`",
    "config.json": "`bivit train`, or of a demo that did not end",
    "engine.json": "`bivit explore`",
}
_INSTEAD = "give the folder that `bivit demo --out FOLDER` wrote"


def read_json(path: Path) -> dict[str, Any]:
    """Read what a demo wrote.

    Raises
    ------
    BivitError
        When the file is missing, or is not a JSON object.
    """
    check(path.is_file(), f"{path.parent} is no folder of a demo{_is(path.parent)}: there is no {path}; {_INSTEAD}")
    values = files.read_json(path, f"of a demo; run `bivit demo --out {path.parent}` again if it is damaged")
    check(isinstance(values, dict), f"{path} must hold a JSON object; run `bivit demo --out {path.parent}` again")
    return values


def _is(folder: Path) -> str:
    """What a folder is instead, where its files tell."""
    made = next((made for name, made in _MADE.items() if (folder / name).is_file()), None)
    return "" if made is None else f", but of {made}"


def write_pages(folder: Path) -> list[Path]:
    """Write the pages of a demo's folder from its `report.json`; return the two files.

    Raises
    ------
    BivitError
        When the file is missing or is none of a demo.
    """
    from .pages.page import render

    found = read_json(folder / "report.json")
    with _as_of_a_demo(folder):
        return render(found, folder)


def results_table(summary: dict[str, Any], report: dict[str, Any]) -> str:
    """The README's table as Markdown.

    Parameters
    ----------
    summary, report : dict
        `summary.json` and `report.json` of a demo.

    Returns
    -------
    str
        A table, and a line that says when and with what it was made.
    """
    from .pages.page import percent

    device = next(row for row in report["devices"] if row["target"] == UNIT_TARGET)
    stalled, schedule = summary["runs"][-1], report["schedule"]
    images, tensors = summary["cosim_images"], summary["integer_mode_tensors"]
    differing = len(summary["integer_mode_differing"])
    rows = [
        ("Top-1, real-valued teacher", percent(summary["top1_float"])),
        ("Top-1, integer network", f"{percent(summary['top1_integer'])} of {summary['test_images']} test images"),
        ("predictions equal to the trained torch model's", percent(summary["agreement"])),
        (
            "torch integer mode and reference",
            f"{differing} of {tensors} tensors differ, {summary['integer_mode_images']} images",
        ),
        (
            f"Verilog ({summary['simulator']}) and reference",
            f"{summary['cosim_mismatches']} of {images} images differ in any tensor, with and without stalls",
        ),
        (
            f"cycles, estimated / simulated, {images} images",
            _pair(summary["cycles_estimated"], summary["cycles_simulated"]),
        ),
        (
            "the same with random stalls",
            f"{stalled['cycles_simulated']:,}; {'all' if stalled['cycles_accounted'] else 'not all'} are steps of the "
            "array or stalls with a cause",
        ),
        (
            "array utilisation of this run, of a long one / at most",
            f"{percent(summary['array_utilisation'])}, {percent(schedule['steady'])} / {percent(schedule['packing'])}",
        ),
        ("simulation speed", f"{summary['kcycles_per_s']:.0f} thousand cycles/s"),
        (
            f"{device['part']} at {device['clock']}",
            f"{device['latency_us']} µs an image, {format_value(device['images_per_s'])} images/s",
        ),
        (
            f"its resources, {device['kind']}",
            ", ".join(f"{name} {device[name]}" for name in ("LUT", "FF", "DSP", "BRAM")),
        ),
    ]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    lines = [
        "| digits network on the engine `sim` | |",
        "|---|---|",
        *(f"| {name} | {text} |" for name, text in rows),
    ]
    return "\n".join([*lines, "", f"Made {report['made']} with {versions}."])


def _pair(first: int, second: int) -> str:
    return f"{first:,} / {second:,}"


@contextmanager
def _as_of_a_demo(folder: Path) -> Iterator[None]:
    """Refuse what is JSON, but not what a demo wrote: a name that is missing, a value of another type."""
    from jinja2 import TemplateError

    try:
        yield
    except BivitError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, TemplateError) as error:
        raise BivitError(
            f"report.json or summary.json in {folder} is none of this bivit ({type(error).__name__}: {error}); "
            f"run `bivit demo --out {folder}` again"
        ) from error


def report(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of a demo.")] = Path("out/demo"),
    readme: Annotated[Path | None, typer.Option(help="Markdown page whose table of results is made anew.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write report.html and report.md from a demo's report.json; refresh the table of results of a page.

    Example: bivit report out/demo --readme README.md
    """
    read_json(folder / "report.json")
    with owned_folder(folder):
        written = [str(path) for path in write_pages(folder)]
        if readme is not None:
            summary, found = (read_json(folder / name) for name in ("summary.json", "report.json"))
            with _as_of_a_demo(folder):
                table = results_table(summary, found)
            files.write_text(readme, replace_between_markers(files.read_text(readme, "the page"), table))
            written.append(str(readme))
    show({"written": written} if as_json else dict.fromkeys(written, "written"), as_json, f"report of {folder}")
