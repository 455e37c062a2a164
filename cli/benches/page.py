"""The tables and the roofline of `bivit bench`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...model.train.curves import svg_text
from ..shared.common import format_value
from .results import BenchReport, KernelRow, ModelRow, UnitRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def bench_page(report: BenchReport) -> str:
    """Return the tables of a report as Markdown, with the command and the machine."""
    machine = report.machine
    where = f"{machine.processor} ({machine.target}, {', '.join(machine.vectors)}), {machine.cores} cores, "
    where += f"{format_value(machine.memory_gib)} GiB"
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    lines = [f"`{report.command}`", "", f"Measured on {where}; {versions}.", ""]
    lines += [
        f"Peak of xor, population count and addition on registers: {report.peak_gmacs:,.0f} G products/s on one "
        f"core; a large copy moves {report.copy_gbytes:.0f} GB/s.",
        "",
        "| kernel, batch 8, one core | G products/s | share of the peak | lowest to highest | times float32 matmul |",
        "|---|---|---|---|---|",
    ]
    lines += [_kernel_line(row) for row in report.kernels]
    if report.models:
        lines += ["", *_model_lines(report.models), "", *_unit_lines(report.units)]
    return "\n".join(lines) + "\n"


def _kernel_line(row: KernelRow) -> str:
    spread = f"{100 * row.peak_ratio_low:.0f} to {100 * row.peak_ratio_high:.0f} %"
    share = f"{100 * row.peak_ratio:.0f} %"
    return f"| {row.name} | {row.gmacs:,.0f} | {share} | {spread} | {row.float32_ratio:.0f} |"


def _model_lines(rows: Sequence[ModelRow]) -> list[str]:
    ratios = [name for name in rows[0].times.others if name.startswith("ratio_")]
    titles = [f"times {name.removeprefix('ratio_').replace('_', ' ')}" for name in ratios]
    head = ("network", "batch", "threads", "ms an image", "lowest to highest", *titles, "memory, MiB")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        times = row.times
        others = [f"{times.others[name]:.1f}" for name in ratios]
        spread = f"{times.ms_low:.2f} to {times.ms_high:.2f}"
        memory = "unknown" if row.peak_mib is None else f"{row.peak_mib:.0f}"
        cells = (times.name, times.batch, times.threads, f"{times.ms_per_image:.2f}", spread, *others, memory)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _unit_lines(units: Sequence[UnitRow]) -> list[str]:
    names = list(dict.fromkeys(row.name for row in units))
    found = {(row.name, row.unit): row for row in units}

    def ms(name: str, unit: str) -> float:
        return found[name, unit].ms_per_image if (name, unit) in found else 0.0

    kinds = sorted({row.unit for row in units}, key=lambda unit: -sum(ms(name, unit) for name in names))
    lines = [f"| unit, batch 8, one core | {' | '.join(f'{name}, ms an image' for name in names)} |"]
    lines.append("|---" * (1 + len(names)) + "|")
    for unit in kinds:
        cells = []
        for name in names:
            row = found.get((name, unit))
            cells.append("" if row is None else f"{row.ms_per_image:.3f} ({100 * row.share:.0f} %)")
        lines.append(f"| {unit} | {' | '.join(cells)} |")
    return lines


def roofline(report: BenchReport) -> str:
    """Draw the kernels under the roofs of population count and memory, as one SVG element."""
    return svg_text(lambda: _roofline_figure(report))


def _roofline_figure(report: BenchReport) -> Figure:
    from matplotlib.figure import Figure

    peak, bandwidth = report.peak_gmacs, report.copy_gbytes
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.subplots()
    intensity = [10 ** (step / 20) for step in range(math.ceil(20 * math.log10(2000)) + 1)]
    axes.loglog(intensity, [min(peak, bandwidth * x) for x in intensity], color="#334155")
    axes.annotate(f"popcount {peak:,.0f} G/s", (intensity[-1], peak), ha="right", va="bottom")
    axes.annotate(f"copy {bandwidth:.0f} GB/s", (2.0, bandwidth * 2.0), ha="left", va="top")
    for row in report.kernels:
        place = (row.macs / row.bytes, row.gmacs)
        axes.plot(*place, "o", label=f"{row.name.removeprefix('kernel.')}, {100 * row.peak_ratio:.0f} % of peak")
    axes.set(xlabel="binary products a byte of operands and results", ylabel="G products/s, one core")
    axes.set_title("binary_linear, batch 8", loc="left")
    axes.legend(loc="lower right", frameon=False)
    axes.grid(True, which="major", alpha=0.3)
    return figure
