"""Curves of a training as one SVG picture that needs nothing else: losses, Top-1 and learning rate by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

_WIDTH, _HEIGHT = 560, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 150, 28, 24
_COLOURS = ("#2563eb", "#d97706", "#059669", "#db2777", "#7c3aed", "#64748b")
#: Panels from the top: title and the metrics that are drawn in it, where there are any.
_PANELS = (
    ("loss", ("loss", "labels", "logits", "ranking")),
    ("accuracy and agreement", ("top1", "agreement")),
    ("learning rate", ("lr",)),
)


def draw_curves(rows: Sequence[dict[str, Any]]) -> str:
    """Draw the metrics of a run, one column of panels a phase.

    Parameters
    ----------
    rows : sequence of dict
        Lines of `metrics.jsonl`: `phase`, `epoch` and numbers.

    Returns
    -------
    str
        One SVG element with its own colours.
    """
    phases = list(dict.fromkeys(str(row["phase"]) for row in rows))
    width, height = _WIDTH * len(phases), _HEIGHT * len(_PANELS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12" role="img"><title>Curves of the training</title>'
        f'<rect width="{width}" height="{height}" fill="white"/>'
    ]
    for column, phase in enumerate(phases):
        own = [row for row in rows if row["phase"] == phase]
        for line, (title, names) in enumerate(_PANELS):
            series = {name: points for name in names if (points := _points(own, name))}
            if series:
                parts.append(f'<g transform="translate({column * _WIDTH} {line * _HEIGHT})">')
                parts.append(_panel(f"{phase}: {title}", series) + "</g>")
    return "".join(parts) + "</svg>\n"


def _points(rows: Sequence[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    return [(float(row["epoch"]), float(row[name])) for row in rows if row.get(name) is not None]


def _panel(title: str, series: dict[str, list[tuple[float, float]]]) -> str:
    """One pair of axes with its lines and their names and last values at the right."""
    epochs, values = zip(*(point for points in series.values() for point in points), strict=True)
    low, high = min(0.0, *values), max(values)
    span, last = (high - low) or 1.0, max(epochs)
    inner, deep = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def place(epoch: float, value: float) -> tuple[float, float]:
        return _LEFT + inner * (epoch / last), _TOP + deep * (1 - (value - low) / span)

    parts = [f'<text x="{_LEFT}" y="18" font-weight="bold">{escape(title)}</text>']
    for value in (low, low + span / 2, low + span):
        _, y = place(0, value)
        parts.append(f'<line x1="{_LEFT}" x2="{_LEFT + inner}" y1="{y:.1f}" y2="{y:.1f}" stroke="#d4d4d8"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#52525b">{value:.3g}</text>')
    for epoch in (0.0, last):
        x, y = place(epoch, low)
        parts.append(f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle" fill="#52525b">{epoch:g}</text>')
    for index, (name, points) in enumerate(series.items()):
        colour, path = _COLOURS[index % len(_COLOURS)], [place(*point) for point in points]
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in path)
        parts.append(f'<polyline points="{corners}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{colour}"/>' for x, y in path]
        label = escape(f"{name} {points[-1][1]:.4g}")
        parts.append(f'<text x="{_LEFT + inner + 10}" y="{_TOP + 12 + 16 * index}" fill="{colour}">{label}</text>')
    return "".join(parts)
