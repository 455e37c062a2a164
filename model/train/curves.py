"""Curves of a training as one SVG picture: losses, accuracy and learning rate by epoch, a column of panels a phase."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Inches of one panel.
_WIDTH, _HEIGHT = 6.4, 2.2
#: Panels from the top: title and the metrics that are drawn in it, where there are any.
_PANELS = (
    ("loss", ("loss", "labels", "logits", "ranking")),
    ("accuracy and agreement", ("top1", "agreement")),
    ("learning rate", ("lr",)),
)
#: Epochs up to which each is marked by a dot.
_MARKED = 30
#: Text stays text, and names of elements are the same in every run.
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "bivit",
    "font.family": "sans-serif",
    "font.size": 9.0,
}
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))


def draw_curves(rows: Sequence[dict[str, Any]]) -> str:
    """Draw the metrics of a run, one column of panels a phase.

    Parameters
    ----------
    rows : sequence of dict
        Lines of `metrics.jsonl`: `phase`, `epoch` and numbers; at least one.

    Returns
    -------
    str
        One SVG element with its own colours, the same bytes for the same rows.
    """
    return svg_text(lambda: _figure(rows))


def svg_text(draw: Callable[[], Figure]) -> str:
    """Draw a figure under fixed settings; return one SVG element, the same bytes for the same figure."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        buffer = io.StringIO()
        draw().savefig(buffer, format="svg", metadata=_NO_METADATA)
    text = buffer.getvalue()
    # Without the XML and DOCTYPE lines, the element can be put into a page as well.
    return text[text.index("<svg") :]


def _figure(rows: Sequence[dict[str, Any]]) -> Figure:
    from matplotlib.figure import Figure

    phases = list(dict.fromkeys(str(row["phase"]) for row in rows))
    width, height = _WIDTH * len(phases), _HEIGHT * len(_PANELS)
    figure = Figure(figsize=(width, height))
    # Room in inches for numbers on the left, a legend on the right, titles above and epochs below.
    grid = figure.subplots(
        len(_PANELS),
        len(phases),
        squeeze=False,
        gridspec_kw={
            "left": 0.7 / width,
            "right": 1 - 1.7 / width,
            "bottom": 0.45 / height,
            "top": 1 - 0.3 / height,
            "wspace": 2.4 / (_WIDTH - 2.4),
            "hspace": 0.75 / (_HEIGHT - 0.75),
        },
    )
    for column, phase in enumerate(phases):
        own = [row for row in rows if str(row["phase"]) == phase]
        for axes, (title, names) in zip(grid[:, column], _PANELS, strict=True):
            _panel(axes, f"{phase}: {title}", {name: points for name in names if (points := _points(own, name))})
    return figure


def _points(rows: Sequence[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    return [(float(row["epoch"]), float(row[name])) for row in rows if row.get(name) is not None]


def _panel(axes: Axes, title: str, series: dict[str, list[tuple[float, float]]]) -> None:
    """One pair of axes with its lines, and their names and last values beside it; nothing where there are no lines."""
    from matplotlib.ticker import MaxNLocator

    if not series:
        axes.remove()
        return
    axes.set_title(title, loc="left", fontsize="medium", fontweight="bold")
    axes.set_xlabel("epoch")
    axes.grid(alpha=0.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for name, points in series.items():
        epochs, values = zip(*points, strict=True)
        marker = "." if len(points) <= _MARKED else ""
        axes.plot(epochs, values, marker=marker, label=f"{name} {values[-1]:.4g}", gid=f"{title}: {name}")
    if axes.dataLim.y0 >= 0:
        axes.set_ylim(bottom=0.0)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
