"""`bivit ops`: operations and parameter memory of a model, in several conventions side by side."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..sim.errors import check
from ..sim.system.files import read_text, write_text
from .shared.common import JsonFlag, format_value, output, print_json, rows_table, show
from .shared.net import check_file, find_preset

if TYPE_CHECKING:
    from ..sim.network.config import ModelConfig
    from ..sim.network.formats import Formats

#: Name that stands for every preset.
ALL = "all"

#: Totals are printed in this unit, as the paper's table.
UNIT = 1e8


def count(config: ModelConfig, formats: Formats) -> dict[str, Any]:
    """Count one model in every convention.

    Parameters
    ----------
    config : ModelConfig
    formats : Formats

    Returns
    -------
    dict
        `family`; `conventions`, by name as `Tally.to_dict`; `layers`, rows with the MACs, the operations in each
        convention and the bits of the parameters; `memory_bits` in all.
    """
    from ..sim.counts.conventions import CONVENTIONS
    from ..sim.counts.footprint import parameter_bits
    from ..sim.counts.work import products

    tallies = {name: convention(config) for name, convention in CONVENTIONS.items()}
    bits = parameter_bits(config, formats)
    works = products(config)
    layers = [
        {
            "layer": layer,
            "macs": sum(work.count for work in works if work.layer == layer),
            "ops": {name: sum(t.cost for t in tally.binary if t.layer == layer) for name, tally in tallies.items()},
            "memory_bits": memory,
        }
        for layer, memory in bits.items()
    ]
    return {
        "family": config.family,
        "conventions": {name: tally.to_dict() for name, tally in tallies.items()},
        "layers": layers,
        "memory_bits": {kind: sum(memory[kind] for memory in bits.values()) for kind in bits["head"]},
    }


def arithmetic(tally: dict[str, Any]) -> str:
    """The division behind a convention's ratio, as text."""
    table = tally["table"]
    exact = f"{tally['real_ops'] / UNIT:.5g} / {tally['ops'] / UNIT:.4g} = {tally['exact_ratio']:.2f}"
    if tally["table_ratio"] is None:
        return f"{exact} (1e8 OPs)"
    rounded = f"{table['real_ops']:.1f} / {table['ops']:.1f} = {tally['table_ratio']:.1f}"
    return f"{exact} (1e8 OPs); rounded to the paper's one decimal {rounded}"


def overview(names: Iterable[str]) -> list[dict[str, Any]]:
    """One row a preset: MACs, the ratio in every convention and the memory of the parameters in MB."""
    from ..sim.network.formats import Formats
    from ..sim.network.presets import preset

    rows = []
    for name in names:
        counted = count(preset(name), Formats())
        row: dict[str, Any] = {"preset": name, "MACs, 1e8": counted["conventions"]["matmul"]["real_ops"] / UNIT}
        row |= {convention: tally["ratio"] for convention, tally in counted["conventions"].items()}
        row |= {f"{kind}, MB": bits / 8e6 for kind, bits in counted["memory_bits"].items()}
        rows.append(row)
    return rows


def markdown(rows: list[dict[str, Any]]) -> str:
    """Rows as a Markdown table, numbers to the right."""
    lines = ["| " + " | ".join(rows[0]) + " |", "|---" + "|---:" * (len(rows[0]) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(format_value(value) for value in row.values()) + " |" for row in rows])


def ops(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Preset, integer network or checkpoint; `all` for every preset.")
    ],
    page: Annotated[
        Path | None, typer.Option(help="With `all`: Markdown page whose table of results is made anew.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Count operations and parameter memory, in the paper's convention and in others.

    Example: bivit ops deit_tiny
    """
    from ..sim.network.presets import PRESETS
    from .report import replace_between_markers

    check(page is None or name == ALL, f"--page needs the table of every preset; run `bivit ops {ALL} --page {page}`")
    if name != ALL:
        counted = {"name": name} | count(*_shape(name))
        if as_json:
            print_json(counted)
        else:
            _print(counted)
        return
    rows = overview(PRESETS)
    if page is not None:
        write_text(page, replace_between_markers(read_text(page, "the page"), markdown(rows)))
    show({"presets": rows}, as_json, "operations of one image: ratio of the real-valued twin to the Bi-ViT")


def _shape(name: str) -> tuple[ModelConfig, Formats]:
    from ..sim.network.file import read_shape
    from ..sim.network.formats import Formats

    shape = find_preset(name)
    if shape is not None:
        return shape, Formats()
    # A checkpoint has a shape too.
    check_file(name, f"{ALL!r} is all of them")
    return read_shape(name)


def _print(counted: dict[str, Any]) -> None:
    """Terms of every convention, then layers and memory, then one line a convention with its division."""
    out = output()
    out.print(f"{counted['name']}: operations of one image, OPs = BOPs / 64 + FLOPs, a MAC one operation", style="bold")
    for name, tally in counted["conventions"].items():
        out.print(f"\n[bold]{name}[/]: {tally['description']}", soft_wrap=True)
        out.print(rows_table(_term_rows(tally), ""))
    out.print()
    layers = [
        {"layer": row["layer"], "MACs": row["macs"]}
        | {f"{name}, 1e6": row["ops"][name] / 1e6 for name in counted["conventions"]}
        | {f"{kind}, kB": bits / 8e3 for kind, bits in row["memory_bits"].items()}
        for row in counted["layers"]
    ]
    out.print(rows_table(layers, "layers: operations of the Bi-ViT and memory of the parameters"))
    out.print()
    memory = [{"network": kind, "bits": bits, "MB": bits / 8e6} for kind, bits in counted["memory_bits"].items()]
    out.print(rows_table(memory, "memory of all parameters"))
    out.print()
    for name, tally in counted["conventions"].items():
        out.print(f"[bold]{name:9}{tally['ratio']:6.1f}x[/]   {arithmetic(tally)}", soft_wrap=True)


def _term_rows(tally: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a term, with its weight and cost in the real-valued twin and in the Bi-ViT; then the totals."""
    sides = {"twin": "real_terms", "Bi-ViT": "terms"}
    found = {side: {term["name"]: term for term in tally[key]} for side, key in sides.items()}
    rows = []
    for name in found["twin"] | found["Bi-ViT"]:
        row = {"term": name, "count": (found["Bi-ViT"].get(name) or found["twin"][name])["count"]}
        for side in sides:
            row |= _cells(side, found[side].get(name))
        rows.append(row)
    total = {"term": "total", "count": ""}
    for side, key in (("twin", "real_ops"), ("Bi-ViT", "ops")):
        total |= {f"{side}, each": "", f"{side}, 1e6": f"{tally[key] / 1e6:10,.3f}"}
    return [*rows, total]


def _cells(side: str, term: dict[str, Any] | None) -> dict[str, str]:
    """Weight and cost of a term as text; blank where it does not count."""
    if term is None:
        return {f"{side}, each": "", f"{side}, 1e6": ""}
    each = str(term["weight"]) if term["divisor"] == 1 else f"{term['weight']}/{term['divisor']}"
    return {f"{side}, each": each, f"{side}, 1e6": f"{term['cost'] / 1e6:10,.3f}"}
