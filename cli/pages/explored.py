"""The page of `bivit explore --report`, made of its JSON alone: engines to choose from, what binds, units, a tile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..runs.estimates import QUANTITY_TITLES
from . import figures
from .page import environment, percent

#: What a part of an engine is; parts are those of `sim.mapping.loads`.
_PARTS = {
    "array": "binary products of all layers",
    "residual_add": "proj and fc2 added to the residual stream",
    "sign_norm": "norms before attention and MLP",
    "head_norm": "norms of q and k",
    "softmax": "attention bits",
    "row_writer": "q, k and v into their memories",
    "drain": "sums that leave the array",
    "tables": "exponentials of a head, read in",
    "dense": "multipliers of patch embedding and classifier (DSP)",
    "patch_norm": "norms of embedded patches",
    "pixels": "beats of the pixel port",
    "logits": "beats of the logit port",
    "memory": "beats of the memory port, streamed weights",
    "x": "the bank of an image: its patches, then its blocks",
}
_FITS = {True: "it fits", False: "it does not fit", None: "unknown if it fits"}
#: Degrees of hue between a unit's colour and the next one's: no two of twenty are near each other.
_HUES = 137.5


def render(found: Mapping[str, Any]) -> str:
    """Return the page.

    Parameters
    ----------
    found : mapping
        As `bivit.cli.runs.explored.Explored.to_dict` returns it.
    """
    exact = [row for row in found["points"] if row["images_per_s"] is not None]
    context = {
        "found": found,
        "data": {"titles": QUANTITY_TITLES, **found},
        "engine": _engine(found),
        "file": found.get("name") or found.get("engine_file") or "engine.json",
        "reached": 100 * found["interval_cycles"] / _longest(found),
        "ceilings": [_ceiling(row, found) for row in found["ceilings"]],
        "verdict": _verdict(found),
        "units": _units(found),
        "timeline": _timeline(found["tile"]),
        "exact": [_exact(row, found) for row in sorted(exact, key=_chosen_first)],
    }
    templates = environment()
    templates.filters["count"] = count
    return templates.get_template("explored.html.j2").render(context)


def changed(differs: Mapping[str, Any], engine: Mapping[str, Any]) -> str:
    """Return in words which fields are otherwise than in an engine.

    >>> changed({"norm_lanes": 64, "engine": {"rows": 20}}, {"norm_lanes": 32, "engine": {"rows": 33}})
    'norm_lanes 32 → 64, rows 33 → 20'
    """
    plain = {name: value for name, value in differs.items() if name != "engine"}
    pairs = [(name, engine[name], value) for name, value in plain.items()]
    pairs += [(name, engine["engine"][name], value) for name, value in differs.get("engine", {}).items()]
    return ", ".join(f"{name} {before} → {after}" for name, before, after in pairs)


def count(value: float | None) -> str:
    """Text of a number of cells or cycles, of which some are no whole ones; None is unknown.

    >>> count(112768), count(643.5), count(129.0), count(None)
    ('112,768', '643.5', '129', 'unknown')
    """
    return "unknown" if value is None else f"{value:,.1f}".removesuffix(".0")


def _engine(found: Mapping[str, Any]) -> str:
    """The chosen engine in words."""
    text = f"engine {found['name']}, {found['shape']}" if found.get("name") else f"an engine of {found['shape']}"
    return text + (", weights streamed" if found["memory_gb_s"] is not None else "")


def _longest(found: Mapping[str, Any]) -> float:
    """Cycles at the right end of the bars: the longest, or the exact time from image to image."""
    return max(found["interval_cycles"], found["ceilings"][0]["cycles"])


def _ceiling(row: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """A part of the engine as its bar and its row of the table show it."""
    return {
        **row,
        "what": _PARTS[row["part"]],
        "share": row["cycles"] / found["ceilings"][0]["cycles"],
        "width": 100 * row["cycles"] / _longest(found),
        "depends": ", ".join(f"{name} {value}" for name, value in row["widths"].items()) or "nothing that is chosen",
        "change": _change(row, found),
    }


def _change(row: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """What one would change for a part, and what that gives and costs."""
    wider = row["wider"]
    if row["part"] == "array":
        return _larger(found)
    if wider is None:
        return "no width makes it less busy"
    before = _chosen(found)["used"]
    costs = [(title, wider["used"].get(name), before.get(name)) for name, title in QUANTITY_TITLES.items()]
    changes = [(title, after - had) for title, after, had in costs if after is not None and had is not None]
    more = ", ".join(f"{'+' if change > 0 else ''}{count(change)} {title}" for title, change in changes if change)
    return (
        f"{changed(wider['differs'], found['engine'])}: {wider['cycles']:,} cycles; the engine then gives at most "
        f"{wider['most_images_per_s']:,.0f} images/s, {wider['binds']} binds; {more or 'no resources more'}; "
        f"{_FITS[wider['fits']]}"
    )


def _larger(found: Mapping[str, Any]) -> str:
    """What a larger array, which is another engine, would give: of those that were compared."""
    bound = _chosen(found)["most_images_per_s"]
    more = [point for point in found["points"] if point["most_images_per_s"] > bound]
    if not more:
        return "another shape: none that was compared allows more"
    least = min(more, key=lambda point: point["most_images_per_s"])
    allows = f"allows {least['most_images_per_s']:,.0f} images/s"
    if least["images_per_s"] is not None:
        allows += f", {least['images_per_s']:,.0f} by exact cycles"
    return (
        f"another shape: of those compared, {len(more)} allow{'s' if len(more) == 1 else ''} more; the next, "
        f"{least['shape']}, {allows}; {_FITS[least['fits']]}"
    )


def _chosen_first(row: Mapping[str, Any]) -> tuple[bool, float]:
    """What engines with exact cycles are sorted by: the chosen one, then the fastest."""
    return not row["chosen"], -row["images_per_s"]


def _chosen(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row of the chosen engine among all that were compared."""
    return next(point for point in found["points"] if point["chosen"])


def _verdict(found: Mapping[str, Any]) -> str:
    """What binds, by how much, and how near the engine comes to that."""
    first, *others = found["ceilings"]
    equal = [row["part"] for row in others if row["cycles"] == first["cycles"]]
    names = " and ".join([first["part"], *equal])
    rest = [row for row in others if row["cycles"] < first["cycles"]]
    said = [
        f"{names} {'bind' if equal else 'binds'}: busy for {first['cycles']:,} cycles of every image, which allows "
        f"{first['most_images_per_s']:,.0f} images/s."
    ]
    if rest:
        said += [f"The next, {rest[0]['part']}, is busy for {percent(rest[0]['cycles'] / first['cycles'])} of that."]
    reached = percent(first["cycles"] / found["interval_cycles"])
    said += [
        f"By its exact cycles the engine takes {count(found['interval_cycles'])} an image: {reached} of the bound."
    ]
    return " ".join(said)


def _units(found: Mapping[str, Any]) -> dict[str, Any]:
    """Units with their colours and shares of the device, the one with the most look-up tables first."""
    available = {row["resource"]: row["available"] for row in found["resources"]}
    titles = {name: title for name, title in QUANTITY_TITLES.items() if title in available}
    rows = sorted(found["units"], key=lambda row: -(row["luts"] or 0))
    made = [
        {
            **row,
            "colour": f"hsl({number * _HUES % 360:.0f} 55% 52%)",
            "cells": [_cell(row, name, available[title]) for name, title in titles.items()],
        }
        for number, row in enumerate(rows)
    ]
    return {"titles": list(titles.values()), "rows": made}


def _cell(row: Mapping[str, Any], name: str, available: float | None) -> dict[str, Any]:
    used = row[name]
    share = None if used is None or not available else used / available
    # What is left over of a sum of weights may be a few cells below zero, of which there is no bar.
    width = 100 * max(0, share or 0)
    return {"used": count(used), "width": width, "share": percent(share), "title": QUANTITY_TITLES[name]}


def _timeline(tile: Mapping[str, Any] | None) -> Any:
    """The chart of a tile, array and units in colours of their own; None where there is none."""
    if tile is None:
        return None
    from markupsafe import Markup

    spans = [{**span, "image": 0 if span["unit"].startswith("array") else 1} for span in tile["spans"]]
    schedule = {"units": tile["units"], "spans": spans}
    return Markup(figures.timeline(schedule, 0, tile["cycles"]))


def _exact(row: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """An engine whose cycles are exact, as the table shows it."""
    available = {one["resource"]: one["available"] for one in found["resources"]}
    titles = {name: title for name, title in QUANTITY_TITLES.items() if title in available}
    shares = {title: _cell(row["used"], name, available[title])["share"] for name, title in titles.items()}
    return {**row, "name": row["name"] or "sized", "shares": shares}
