"""`bivit ablate`: the paper's ablation, and the hardware-friendly modes, on any data: same budget, several seeds."""

from __future__ import annotations

import os
import shlex
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Annotated, Any

import typer

from ..sim.errors import check
from ..sim.system.files import write_json, write_text
from ..sim.system.locks import owned_folder
from .ablation_job import Job, run_student, run_teacher
from .runs.variants import Variant, chosen_variants
from .shared.common import DataOption, JsonFlag, messages, show, tool_versions
from .shared.process import end_on_signals
from .shared.progress import step

#: Engine and device that the savings of a mode are stated for.
_ENGINE = {"rows": 8, "columns": 16, "lanes": 16, "dense_lanes": 16, "program_words": 4096}
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


def run_plan(plan: Plan) -> dict[str, list[dict[str, Any]]]:
    """Train every variant with every seed, teachers first; what an earlier call has finished is read.

    Returns
    -------
    dict of str to list of dict
        By variant, and `teacher`, one result a seed.

    Raises
    ------
    BivitError
        Naming the jobs that failed, after all others are done.
    """
    teachers = [plan.job.of("teacher", seed) for seed in range(plan.seeds)]
    students = [plan.job.of(name, seed) for name in plan.variants for seed in range(plan.seeds)]
    results: dict[str, dict[int, dict[str, Any]]] = {}
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
                    messages.print(f"{job.variant} seed {job.seed}: Top-1 {100 * outcome['top1']:.2f} %")
            check(
                not failed, f"jobs of the ablation failed: {'; '.join(failed)}; the same command runs only these again"
            )
    return {name: [rows[seed] for seed in sorted(rows)] for name, rows in results.items()}


def _run_jobs(jobs: Sequence[Job], plan: Plan) -> Iterator[tuple[Job, dict[str, Any] | BaseException]]:
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


def summary_row(name: str, what: str, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One row of the table: means over the seeds, and the standard deviation of Top-1 (None with one seed)."""
    top1 = [result["top1"] for result in results]
    row: dict[str, Any] = {
        "variant": name,
        "what": what,
        "top1_mean": statistics.fmean(top1),
        "top1_spread": statistics.stdev(top1) if len(top1) > 1 else None,
        "seeds": [result["seed"] for result in results],
        "top1": top1,
    }
    for key in ("top1_torch", "same_predictions", "pair_agreement", "ones", "empty_rows", "images_per_s", "seconds"):
        values = [result[key] for result in results if result.get(key) is not None]
        row[key] = statistics.fmean(values) if values else None
    row["constant_heads"] = sum(len(result.get("constant_heads", ())) for result in results)
    return row


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
    rows = report["rows"]
    shown = [{key: row[key] for key in ("variant", "what", "top1_mean", "top1_spread")} for row in rows]
    show(report if as_json else {"report": str(out / "ablation.md"), "rows": shown}, as_json, f"ablation on {data}")


def _ablation(plan: Plan, recipe: str | None, variants: str | None) -> dict[str, Any]:
    """Run the plan, and write what it gave with the command that repeats it."""
    job, out = plan.job, plan.job.out
    results = run_plan(plan)
    rows = [summary_row("teacher", "real-valued teacher", results["teacher"])]
    for name, variant in plan.variants.items():
        row = summary_row(name, variant.what, results[name])
        rows.append(row | ({"hardware": _savings(job, variant)} if variant.modes else {}))
    command = f"bivit ablate --preset {job.preset} --data {job.data} --seeds {plan.seeds}"
    command += f" --recipe {shlex.quote(recipe)}" if recipe else ""
    command += f" --epochs {job.epochs}" if job.epochs else ""
    command += f" --variants {','.join(plan.variants)}" if variants else ""
    command += "".join(f" --set {shlex.quote(setting)}" for setting in job.changes)
    report: dict[str, Any] = {"command": command, "data": job.data, "preset": job.preset, "epochs": job.epochs}
    report |= {"rows": rows}
    report |= {"top1": "of integer networks; of the torch model for the teacher", "versions": tool_versions()}
    write_json(out / "ablation.json", report)
    write_text(out / "ablation.md", markdown(report))
    return report


def _savings(job: Job, variant: Variant) -> dict[str, Any] | None:
    """What the variant's modes save in hardware; None for shapes that the accelerator does not run."""
    from ..sim.engine.presets import engine_for
    from ..sim.estimate.mode_savings import mode_savings
    from ..sim.network.config import ViTConfig, config_from_dict

    config = config_from_dict(job.config().to_dict() | variant.modes, variant.what)
    if not isinstance(config, ViTConfig):
        return None
    return mode_savings(config, engine_for(config, **_ENGINE), _DEVICE).to_dict()


def markdown(report: dict[str, Any]) -> str:
    """Return the table as Markdown, with the command that made it."""
    head = ("row", "what", *(f"{title} %" for title in _SHARES.values()), "s a run")
    lines = [f"`{report['command']}`", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in report["rows"]:
        shares = " | ".join(_percent(row[key]) for key in _SHARES)
        lines.append(f"| {row['variant']} | {row['what']} | {shares} | {row['seconds']:.0f} |")
    hardware = [row for row in report["rows"] if row.get("hardware")]
    if hardware:
        lines += ["", "| modes | cycles an image | saved | idle units, estimated |", "|---|---|---|---|"]
    for row in hardware:
        saved = row["hardware"]
        idle = "; ".join(f"{unit}: {_cost(cost)}" for unit, cost in saved["idle_units"].items()) or "none"
        cycles = f"{saved['cycles']:,} of {saved['default_cycles']:,}"
        lines.append(f"| {row['variant']} | {cycles} | {100 * saved['cycles_saved']:.1f} % | {idle} |")
    return "\n".join(lines) + "\n"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"


def _cost(cost: dict[str, float | None]) -> str:
    return ", ".join(f"{'unknown' if value is None else f'{value:g}'} {name}" for name, value in cost.items())
