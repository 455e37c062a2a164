"""The report as one self-contained HTML page and as Markdown: two views of the same dictionary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...sim.system.files import write_text
from ..shared.common import format_value
from . import figures

if TYPE_CHECKING:
    from jinja2 import Environment

#: Groups of the agreement table, by the end of a tap's name.
_TAP_GROUPS = {
    "norm1": "norm1",
    "attn.q_norm": "q",
    "attn.k_norm": "k",
    "attn.v_sign": "v",
    "attn.attn_sign": "attention",
    "attn.context": "context",
    "norm2": "norm2",
    "mlp.act": "hidden",
}


def percent(value: float | None, digits: int = 1) -> str:
    """Text of a fraction as a percentage; None is unknown.

    >>> percent(0.96543), percent(None)
    ('96.5%', 'unknown')
    """
    return "unknown" if value is None else f"{100 * value:.{digits}f}%"


def agreement_table(tensors: dict[str, float]) -> tuple[list[str], list[tuple[str, list[float | None]]]]:
    """Arrange shares of equal bits by block and stage.

    Parameters
    ----------
    tensors : dict
        Tap name, such as ``blocks.0.attn.q_norm``, to the share of equal elements.

    Returns
    -------
    stages, rows : list of str, list of (block, shares)
        A share is None where the block has no such tensor.
    """
    blocks = sorted({int(name.split(".")[1]) for name in tensors if name.startswith("blocks.")})
    rows = []
    for block in blocks:
        shares = [tensors.get(f"blocks.{block}.{tail}") for tail in _TAP_GROUPS]
        rows.append((f"block {block}", shares))
    return list(_TAP_GROUPS.values()), rows


def zoom_window(schedule: dict[str, Any]) -> tuple[int, int]:
    """Cycles of the closer timeline: a block of the last image but one; the whole run where there is none."""
    work = {(span["image"], span["block"]) for span in schedule["spans"] if span["block"] >= 0}
    images = sorted({image for image, _ in work})[-2:]
    blocks = sorted({block for image, block in work if image == images[0]}) if images else []
    if not blocks:
        return 0, schedule["cycles"]
    chosen = (images[0], blocks[len(blocks) // 2])
    spans = [span for span in schedule["spans"] if (span["image"], span["block"]) == chosen]
    return min(span["start"] for span in spans), max(span["end"] for span in spans)


def environment() -> Environment:
    """Return the templates of this folder, with the filters that they use; what is missing is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    made = Environment(
        loader=PackageLoader("bivit.cli.pages", "."),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"sort_keys": False}  # names have an order
    made.filters |= {"value": format_value, "percent": percent}
    return made


def render(report: dict[str, Any], folder: Path) -> list[Path]:
    """Write `report.html` and `report.md` into `folder`.

    Parameters
    ----------
    report : dict
        As `bivit.cli.pages.gather.gather` returns it.
    folder : Path
        Made when it does not exist.

    Returns
    -------
    list[Path]
        The two files.
    """
    stages, rows = agreement_table(report["agreement"]["tensors"])
    context = {"report": report, "stages": stages, "agreement_rows": rows, "figures": _figures(report)}
    templates, written = environment(), []
    for name in ("report.html", "report.md"):
        path = folder / name
        write_text(path, templates.get_template(f"{name}.j2").render(context))
        written.append(path)
    return written


def _figures(report: dict[str, Any]) -> dict[str, Any]:
    """Every picture of the page, as safe markup or data URIs."""
    from markupsafe import Markup

    from ...model.train.curves import draw_curves

    schedule = report["schedule"]
    first, last = zoom_window(schedule)
    busy = [(unit, share, percent(share)) for unit, share in schedule["busy"].items()]
    stalls = [(cause, cycles, format_value(cycles)) for cause, cycles in schedule["stalls"].items()]
    luts = [(row["unit"], row["luts"], format_value(row["luts"])) for row in report["units"]]
    return {
        "curves": figures.drawing(draw_curves(report["training"])),
        "timeline": Markup(figures.timeline(schedule, 0, schedule["cycles"])),
        "zoom": Markup(figures.timeline(schedule, first, last)),
        "zoom_window": (first, last),
        "stalls": Markup(figures.bars(stalls)),
        "busy": Markup(figures.bars(busy, full=1.0)),
        "luts": Markup(figures.bars(luts)),
    }
