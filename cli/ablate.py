"""`bivit ablate`: the paper's ablation, and the hardware-friendly modes, on any data: same budget, several seeds."""

from __future__ import annotations

import os
import shlex
import statistics
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..sim.errors import check
from ..sim.system.files import write_json, write_text
from ..sim.system.locks import owned_folder
from ..sim.system.result import INLINE, Result
from .runs.ablation_job import Job, Measured, run_student, run_teacher
from .runs.variants import Variant, chosen_variants
from .shared.common import DataOption, JsonFlag, messages, show, tool_versions
from .shared.process import end_on_signals
from .shared.progress import step

if TYPE_CHECKING:
    from ..sim.estimate.mode_savings import ModeSavings

#: Engine and device that the savings of a mode are stated for.
#: k leaves row by row in mode `threshold`, as v does, for which one row a cycle would be too few.
_ENGINE = {"rows": 8, "columns": 16, "lanes": 16, "dense_lanes": 16, "program_words": 512}
_WIDTHS: dict[str, Any] = {
    "drain_rows": 4,
    "norm_lanes": 32,
    "head_norm_lanes": 32,
    "softmax_lanes": 64,
    "value_rows": 4,
    "dense_patches": 4,
}
_DEVICE = "ZCU102"
#: Shares of a row, and their headings.
_SHARES = {
    "top1_mean": "Top-1",
    "top1_spread": "spread",
    "top1_torch": "torch",
    "same_predictions": "same predictions",
    "pair_agreement": "pair order",
    "ones": "ones",
    "empty_rows": "empty rows",
}


@dataclass(frozen=True)
class Plan:
    """All jobs of an ablation."""

    job: Job
    variants: dict[str, Variant]
    seeds: int
    #: Processes at a time.
    jobs: int


@dataclass(frozen=True)
class Savings(Result):
    """What the modes of a variant save in hardware; None for shapes that the accelerator does not run."""

    hardware: ModeSavings | None


@dataclass(frozen=True, kw_only=True)
class Row(Result):
    """One row of the table, over all seeds; variants without modes have no savings."""

    variant: str
    what: str
    top1_mean: float
    top1_spread: float | None
    seeds: tuple[int, ...]
    top1: tuple[float, ...]
    top1_torch: float | None
    same_predictions: float | None
    pair_agreement: float | None
    ones: float | None
    empty_rows: float | None
    images_per_s: float
    seconds: float
    constant_heads: int
    savings: Savings | None = field(default=None, metadata=INLINE)


@dataclass(frozen=True, kw_only=True)
class Ablation(Result):
    """What `bivit ablate` writes; `top1` says of what it is."""

    command: str
    data: str
    preset: str
    epochs: int | None
    rows: tuple[Row, ...]
    top1: str
    versions: dict[str, str]


def run_plan(plan: Plan) -> dict[str, list[Measured]]:
    """Train every variant with every seed, teachers first; what an earlier call has finished is read.

    Returns
    -------
    dict of str to list of Measured
        By variant, and `teacher`, one result a seed.

    Raises
    ------
    BivitError
        Naming the jobs that failed, after all others are done.
    """
    teachers = [plan.job.of("teacher", seed) for seed in range(plan.seeds)]
    students = [plan.job.of(name, seed) for name in plan.variants for seed in range(plan.seeds)]
    results: dict[str, dict[int, Measured]] = {}
    failed: list[str] = []
    done = 0
    with step("ablation, trainings", len(teachers) + len(students)) as bar:
        for stage in (teachers, students):
            for job, outcome in _run_jobs(stage, plan):
                done += 1
                bar.at(done)
                if isinstance(outcome, BaseException):
                    failed.append(f"{job.variant} seed {job.seed}: {outcome}")
                else:
                    results.setdefault(job.variant, {})[job.seed] = outcome
                    messages.print(f"{job.variant} seed {job.seed}: Top-1 {100 * outcome.top1:.2f} %")
            check(
                not failed, f"jobs of the ablation failed: {'; '.join(failed)}; the same command runs only these again"
            )
    return {name: [rows[seed] for seed in sorted(rows)] for name, rows in results.items()}


def _run_jobs(jobs: Sequence[Job], plan: Plan) -> Iterator[tuple[Job, Measured | BaseException]]:
    """Run jobs in processes of their own, each anew, and give what they return or raise as they finish."""
    context = get_context("spawn")
    with ProcessPoolExecutor(plan.jobs, context, end_on_signals, max_tasks_per_child=1) as pool:
        waiting = {}
        for job in jobs:
            variant = plan.variants.get(job.variant)
            future = pool.submit(run_teacher, job) if variant is None else pool.submit(run_student, job, variant)
            waiting[future] = job
        try:
            for future in as_completed(waiting):
                error = future.exception()
                yield waiting[future], future.result() if error is None else error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in active_children():
                child.terminate()
            raise


def summary_row(name: str, what: str, results: Sequence[Measured], savings: Savings | None = None) -> Row:
    """Take means over the seeds, and the standard deviation of Top-1 (None with one seed)."""

    def mean(key: str) -> float | None:
        values = [value for result in results if (value := getattr(result, key)) is not None]
        return statistics.fmean(values) if values else None

    top1 = [result.top1 for result in results]
    return Row(
        variant=name,
        what=what,
        top1_mean=statistics.fmean(top1),
        top1_spread=statistics.stdev(top1) if len(top1) > 1 else None,
        seeds=tuple(result.seed for result in results),
        top1=tuple(top1),
        top1_torch=mean("top1_torch"),
        same_predictions=mean("same_predictions"),
        pair_agreement=mean("pair_agreement"),
        ones=mean("ones"),
        empty_rows=mean("empty_rows"),
        images_per_s=statistics.fmean(result.images_per_s for result in results),
        seconds=statistics.fmean(result.seconds for result in results),
        constant_heads=sum(len(result.constant_heads) for result in results),
        savings=savings,
    )


def ablate(
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder for all runs, ablation.json and ablation.md.")],
    preset: Annotated[str, typer.Option(help="Named shape.")] = "fashion_cls",
    recipe: Annotated[str | None, typer.Option(help="Another preset's recipe, or a TOML file.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of the teacher and of each stage.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0, 1, ... of each row.")] = 3,
    variants: Annotated[str | None, typer.Option(help="Rows, with commas; all by default.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe of every row.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Trainings at a time; one a core by default.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Train the paper's ablation with the same budget for each row; Top-1 is that of the integer networks.

    A second call continues: finished runs are read, stopped ones resumed.

    Example: bivit ablate --data path/to/fashion-mnist --out out/ablation --epochs 4
    """
    processes = jobs or os.cpu_count() or 1
    threads = max(1, (os.cpu_count() or 1) // processes)
    job = Job(preset, recipe or preset, data, out, epochs, threads, tuple(settings or ()))
    plan = Plan(job, chosen_variants(variants), seeds, processes)
    job.recipes()
    with owned_folder(out):
        report = _ablation(plan, recipe, variants)
    columns = ("variant", "what", "top1_mean", "top1_spread")
    shown = [{column: getattr(row, column) for column in columns} for row in report.rows]
    show(report if as_json else {"report": str(out / "ablation.md"), "rows": shown}, as_json, f"ablation on {data}")


def _ablation(plan: Plan, recipe: str | None, variants: str | None) -> Ablation:
    """Run the plan, and write what it gave with the command that repeats it."""
    job, out = plan.job, plan.job.out
    results = run_plan(plan)
    rows = [summary_row("teacher", "real-valued teacher", results["teacher"])]
    for name, variant in plan.variants.items():
        savings = Savings(_savings(job, variant)) if variant.modes else None
        rows.append(summary_row(name, variant.what, results[name], savings))
    command = f"bivit ablate --preset {job.preset} --data {job.data} --seeds {plan.seeds}"
    command += f" --recipe {shlex.quote(recipe)}" if recipe else ""
    command += f" --epochs {job.epochs}" if job.epochs else ""
    command += f" --variants {','.join(plan.variants)}" if variants else ""
    command += "".join(f" --set {shlex.quote(setting)}" for setting in job.changes)
    report = Ablation(
        command=command,
        data=job.data,
        preset=job.preset,
        epochs=job.epochs,
        rows=tuple(rows),
        top1="of integer networks; of the torch model for the teacher",
        versions=tool_versions(),
    )
    write_json(out / "ablation.json", report.to_dict())
    write_text(out / "ablation.md", markdown(command, rows))
    return report


def _savings(job: Job, variant: Variant) -> ModeSavings | None:
    """What the variant's modes save in hardware; None for shapes that the accelerator does not run."""
    from ..sim.engine.presets import engine_for
    from ..sim.estimate.mode_savings import mode_savings
    from ..sim.flow.config import FlowConfig
    from ..sim.network.config import ViTConfig, config_from_dict

    config = config_from_dict(job.config().to_dict() | variant.modes, variant.what)
    if not isinstance(config, ViTConfig):
        return None
    return mode_savings(config, FlowConfig(engine=engine_for(config, **_ENGINE), **_WIDTHS), _DEVICE)


def markdown(command: str, rows: Sequence[Row]) -> str:
    """Return the table as Markdown, with the command that made it."""
    head = ("row", "what", *(f"{title} %" for title in _SHARES.values()), "s a run")
    lines = [f"`{command}`", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        shares = " | ".join(_percent(getattr(row, key)) for key in _SHARES)
        lines.append(f"| {row.variant} | {row.what} | {shares} | {row.seconds:.0f} |")
    hardware = {row.variant: row.savings.hardware for row in rows if row.savings is not None}
    lines += _hardware_lines({name: saved for name, saved in hardware.items() if saved is not None})
    return "\n".join(lines) + "\n"


def _hardware_lines(hardware: Mapping[str, ModeSavings]) -> list[str]:
    lines = ["", "| modes | cycles an image | saved | idle units, estimated |", "|---|---|---|---|"] if hardware else []
    for name, saved in hardware.items():
        idle = "; ".join(f"{unit}: {_cost(asdict(cost))}" for unit, cost in saved.idle.items()) or "none"
        cycles = f"{saved.cycles:,} of {saved.default_cycles:,}"
        lines.append(f"| {name} | {cycles} | {100 * (1 - saved.cycles / saved.default_cycles):.1f} % | {idle} |")
    return lines


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"


def _cost(cost: dict[str, float | None]) -> str:
    return ", ".join(f"{'unknown' if value is None else f'{value:g}'} {name}" for name, value in cost.items())
