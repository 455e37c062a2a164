"""`bivit ops`: operations and parameter memory of a model, in several conventions side by side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..sim.errors import check
from ..sim.system.files import read_text, write_text
from ..sim.system.result import Result
from .shared.common import JsonFlag, format_value, output, print_json, rows_table, show
from .shared.net import check_file, find_preset

if TYPE_CHECKING:
    from ..sim.counts.conventions import Tally, Term
    from ..sim.network.config import ModelConfig
    from ..sim.network.formats import Formats

#: Name that stands for every preset.
ALL = "all"

#: Totals are printed in this unit, as the paper's table.
UNIT = 1e8


@dataclass(frozen=True, kw_only=True)
class LayerRow(Result):
    """One layer: MACs, operations of the Bi-ViT by convention, and bits of the parameters by kind of network."""

    layer: str
    macs: int
    ops: dict[str, float]
    memory_bits: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Counted(Result):
    """One model in every convention.

    Parameters
    ----------
    name : str
    family : str
    conventions : dict of str to Tally
    layers : tuple of LayerRow
    memory_bits : dict of str to int
        Of all parameters, by kind of network.
    """

    name: str
    family: str
    conventions: dict[str, Tally]
    layers: tuple[LayerRow, ...]
    memory_bits: dict[str, int]


def count(name: str, config: ModelConfig, formats: Formats) -> Counted:
    """Count the model called `name` in every convention."""
    from ..sim.counts.conventions import CONVENTIONS
    from ..sim.counts.footprint import parameter_bits
    from ..sim.counts.work import products

    tallies = {name: convention(config) for name, convention in CONVENTIONS.items()}
    bits = parameter_bits(config, formats)
    works = products(config)
    layers = tuple(
        LayerRow(
            layer=layer,
            macs=sum(work.count for work in works if work.layer == layer),
            ops={name: sum(t.cost for t in tally.binary if t.layer == layer) for name, tally in tallies.items()},
            memory_bits=memory,
        )
        for layer, memory in bits.items()
    )
    return Counted(
        name=name,
        family=config.family,
        conventions=tallies,
        layers=layers,
        memory_bits={kind: sum(memory[kind] for memory in bits.values()) for kind in bits["head"]},
    )


def arithmetic(tally: Tally) -> str:
    """The division behind a convention's ratio, as text."""
    exact = f"{tally.real_ops / UNIT:.5g} / {tally.ops / UNIT:.4g} = {tally.exact_ratio:.2f}"
    if tally.table_ratio is None:
        return f"{exact} (1e8 OPs)"
    real, binary = tally.table
    rounded = f"{real:.1f} / {binary:.1f} = {tally.table_ratio:.1f}"
    return f"{exact} (1e8 OPs); rounded to the paper's one decimal {rounded}"


def overview(names: Iterable[str]) -> list[dict[str, Any]]:
    """One row a preset: MACs, the ratio in every convention and the memory of the parameters in MB."""
    from ..sim.network.formats import Formats
    from ..sim.network.presets import preset

    rows = []
    for name in names:
        counted = count(name, preset(name), Formats())
        row: dict[str, Any] = {"preset": name, "MACs, 1e8": counted.conventions["matmul"].real_ops / UNIT}
        row |= {convention: tally.ratio for convention, tally in counted.conventions.items()}
        row |= {f"{kind}, MB": bits / 8e6 for kind, bits in counted.memory_bits.items()}
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
    from .shared.markers import replace_between_markers

    check(page is None or name == ALL, f"--page needs the table of every preset; run `bivit ops {ALL} --page {page}`")
    if name != ALL:
        counted = count(name, *_shape(name))
        if as_json:
            print_json(counted.to_dict())
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


def _print(counted: Counted) -> None:
    """Terms of every convention, then layers and memory, then one line a convention with its division."""
    out = output()
    out.print(f"{counted.name}: operations of one image, OPs = BOPs / 64 + FLOPs, a MAC one operation", style="bold")
    for name, tally in counted.conventions.items():
        out.print(f"\n[bold]{name}[/]: {tally.description}", soft_wrap=True)
        out.print(rows_table(_term_rows(tally), ""))
    out.print()
    layers = [
        {"layer": row.layer, "MACs": row.macs}
        | {f"{name}, 1e6": row.ops[name] / 1e6 for name in counted.conventions}
        | {f"{kind}, kB": bits / 8e3 for kind, bits in row.memory_bits.items()}
        for row in counted.layers
    ]
    out.print(rows_table(layers, "layers: operations of the Bi-ViT and memory of the parameters"))
    out.print()
    memory = [{"network": kind, "bits": bits, "MB": bits / 8e6} for kind, bits in counted.memory_bits.items()]
    out.print(rows_table(memory, "memory of all parameters"))
    out.print()
    for name, tally in counted.conventions.items():
        out.print(f"[bold]{name:9}{tally.ratio:6.1f}x[/]   {arithmetic(tally)}", soft_wrap=True)


def _term_rows(tally: Tally) -> list[dict[str, Any]]:
    """One row a term, with its weight and cost in the real-valued twin and in the Bi-ViT; then the totals."""
    from ..sim.counts.conventions import summed

    sides = {"twin": (tally.real, tally.real_ops), "Bi-ViT": (tally.binary, tally.ops)}
    found = {side: {term.name: term for term in summed(terms)} for side, (terms, _) in sides.items()}
    rows = []
    for name in found["twin"] | found["Bi-ViT"]:
        row = {"term": name, "count": (found["Bi-ViT"].get(name) or found["twin"][name]).count}
        for side in sides:
            row |= _cells(side, found[side].get(name))
        rows.append(row)
    total = {"term": "total", "count": ""}
    for side, (_, ops) in sides.items():
        total |= {f"{side}, each": "", f"{side}, 1e6": f"{ops / 1e6:10,.3f}"}
    return [*rows, total]


def _cells(side: str, term: Term | None) -> dict[str, str]:
    """Weight and cost of a term as text; blank where it does not count."""
    if term is None:
        return {f"{side}, each": "", f"{side}, 1e6": ""}
    each = str(term.weight) if term.divisor == 1 else f"{term.weight}/{term.divisor}"
    return {f"{side}, each": each, f"{side}, 1e6": f"{term.cost / 1e6:10,.3f}"}
