"""Figures of the report as inline SVG and PNG: no external resources, colours from the page's own variables."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROW = 26
_LABEL = 150
_WIDTH = 1000
_AXIS = 26
#: Right of the timeline, for half of the last tick's label.
_MARGIN = 24
_MAX_TICKS = 8
#: Colours of images in a timeline, in the page's style: one more than are ever shown side by side.
COLOURS = 4


def timeline(schedule: dict[str, Any], first: int, last: int) -> str:
    """Gantt chart of the engine between two cycles, one row a unit.

    Parameters
    ----------
    schedule : dict
        `units`, their names in order, and `spans`: `unit`, `start`, `end` (cycles, half open), `what`, and `image`, an
        integer that chooses the colour.
    first, last : int
        The cycles at the left and at the right edge.

    Returns
    -------
    str
        One SVG element; every span has its name and cycles as a tooltip.
    """
    units: list[str] = schedule["units"]
    scale = (_WIDTH - _LABEL - _MARGIN) / (last - first)
    height = _ROW * len(units) + _AXIS
    parts = [_svg_open(_WIDTH, height, f"Timeline of the engine, cycles {first} to {last}")]
    for row, unit in enumerate(units):
        y = row * _ROW
        parts.append(f'<text class="label" x="{_LABEL - 10}" y="{y + 17}" text-anchor="end">{escape(unit)}</text>')
        parts.append(
            f'<rect class="lane" x="{_LABEL}" y="{y + 3}" width="{_WIDTH - _LABEL - _MARGIN}" height="{_ROW - 6}"/>'
        )
    for span in schedule["spans"]:
        start, end = max(span["start"], first), min(span["end"], last)
        if start < end:
            x, width = _LABEL + (start - first) * scale, max((end - start) * scale, 0.6)
            parts.append(
                f'<rect class="span s{span["image"] % COLOURS}" x="{x:.2f}" y="{units.index(span["unit"]) * _ROW + 3}"'
                f' width="{width:.2f}" height="{_ROW - 6}">'
                f"<title>{escape(span['what'])}: cycles {span['start']:,} to {span['end']:,}</title></rect>"
            )
    parts += [_tick(_LABEL + (at - first) * scale, height, at) for at in ticks(first, last)]
    return "".join(parts) + "</svg>"


def ticks(first: int, last: int) -> list[int]:
    """Round numbers between `first` and `last`, at most eight.

    >>> ticks(0, 5000)
    [0, 1000, 2000, 3000, 4000, 5000]
    """
    step = 1
    while (last - first) / step > _MAX_TICKS:
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    return list(range(-(-first // step) * step, last + 1, step))


def _tick(x: float, height: int, cycle: int) -> str:
    """One line of the time axis with its cycle."""
    return (
        f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - _AXIS + 4}"/>'
        f'<text class="tick" x="{x:.1f}" y="{height - 6}" text-anchor="middle">{cycle:,}</text>'
    )


def bars(rows: Sequence[tuple[str, float | None, str]], full: float | None = None) -> str:
    """Horizontal bars with a label on the left and a value on the right; None draws no bar and says unknown.

    Parameters
    ----------
    rows : sequence of (label, value, text)
        `text` is printed at the end of the bar.
    full : float, optional
        The value of a bar over the whole width; by default the largest value.

    Returns
    -------
    str
        One SVG element.
    """
    largest = full if full is not None else max((value for _, value, _ in rows if value is not None), default=1.0)
    scale = (_WIDTH - _LABEL - 130) / (largest or 1.0)
    parts = [_svg_open(_WIDTH, _ROW * len(rows), "Bar chart")]
    for row, (label, value, text) in enumerate(rows):
        y = row * _ROW
        parts.append(f'<text class="label" x="{_LABEL - 10}" y="{y + 17}" text-anchor="end">{escape(label)}</text>')
        width = 0.0 if value is None else value * scale
        if value:
            parts.append(
                f'<rect class="bar" x="{_LABEL}" y="{y + 5}" width="{width:.1f}" height="{_ROW - 10}" rx="2"/>'
            )
        parts.append(f'<text class="value" x="{_LABEL + width + 8:.1f}" y="{y + 17}">{escape(text)}</text>')
    return "".join(parts) + "</svg>"


def _svg_open(width: int, height: int, title: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}" xmlns="http://www.w3.org/2000/svg">'


def picture(pixels: NDArray[np.uint8]) -> str:
    """PNG data URI of a uint8 image: grey [h, w], colour [h, w, 3], or colour with opacity [h, w, 4]."""
    from PIL import Image

    data = BytesIO()
    # Nothing but the pixels goes into the file, so that equal pixels are equal files.
    Image.fromarray(np.ascontiguousarray(pixels)).save(data, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()


def drawing(svg: str) -> str:
    """Data URI of an SVG element: the page's style does not reach into it, nor its names into the page."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def heat(values: NDArray[np.float64], rgb: tuple[int, int, int]) -> str:
    """PNG data URI of a matrix [h, w] as one colour, from transparent at 0 to opaque at the largest value."""
    peak = float(values.max(initial=0.0))
    alpha = np.rint(values / peak * 255 if peak > 0 else np.zeros_like(values)).astype(np.uint8)
    colour = np.broadcast_to(np.array(rgb, np.uint8), (*values.shape, 3))
    return picture(np.concatenate([colour, alpha[..., None]], axis=-1))
