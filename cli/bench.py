"""`bivit bench`: the integer reference beside the processor's limits and beside other engines, in one run."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..sim.errors import BivitError, check
from ..sim.system.children import run_program
from ..sim.system.files import read_text, write_json, write_text
from ..sim.system.locks import owned_folder
from ..sim.system.typed import build, shown
from .benches.job import ModelJob
from .benches.results import BenchReport, Machine, ModelRow, ModelTimes
from .shared.common import JsonFlag, show, tool_versions
from .shared.progress import step

#: Engines that every model is compared with.
RUNTIMES = ("torch_float32", "torch_compiled", "ort_float32", "ort_int8")
#: Of a number of images or threads.
_DIGITS = 6
MODELS = ("deit_tiny", "deit_small", "swin_tiny")
#: Images together when the time is split by units.
_UNITS_BATCH = 8
#: Prints the most memory that a bare interpreter has held.
_BARE = "print([l.split()[1] for l in open('/proc/self/status', encoding='ascii') if l.startswith('VmHWM:')][0])"


def describe_machine() -> Machine:
    """Processor, cores, vector instructions, memory and system; None for what the system does not tell."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    vectors = ("avx2", "avx512f", "avx512vpopcntdq", "avx512vnni", "neon", "sve")
    return Machine(
        processor=_processor(),
        target=llvm.get_host_cpu_name(),
        vectors=tuple(name for name in vectors if features.get(name)),
        cores=os.cpu_count(),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        system=platform.platform(terse=True),
    )


def _processor() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or None


def _run_child(arguments: list[str], threads: int) -> str:
    """Run Python in a process that computes with so many threads; return the last line that it prints."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    done = run_program([sys.executable, *arguments], environment=dict.fromkeys(names, str(threads)))
    if done.returncode != 0:
        raise BivitError(f"a measurement ended with exit code {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout.strip().splitlines()[-1]


def _model_row(job: ModelJob) -> ModelRow:
    """Times of one job, and what its integer network adds to the memory of a bare interpreter."""
    module = ["-m", "bivit.cli.benches.models"]
    times = build(ModelTimes, json.loads(_run_child([*module, "time", job.argument], job.threads)), "a measurement")
    held = json.loads(_run_child([*module, "memory", job.argument], job.threads))
    bare = None if held is None else int(_run_child(["-c", _BARE], 1)) / 1024
    return ModelRow(times=times, peak_mib=None if held is None or bare is None else held - bare)


def _jobs(models: list[str], batches: list[int], threads: list[int], rounds: int) -> list[ModelJob]:
    from ..sim.network.presets import preset

    for name in models:
        preset(name)
    check(all(batch > 0 for batch in batches), f"batches must be 1 or more, got {batches}")
    check(all(count > 0 for count in threads), f"threads must be 1 or more, got {threads}")
    return [ModelJob(name, batch, count, rounds, RUNTIMES) for name in models for count in threads for batch in batches]


def _numbers(text: str, what: str) -> list[int]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    check(
        bool(words) and all(word.isdecimal() and len(word) <= _DIGITS for word in words),
        f"{what} must be whole numbers of up to {_DIGITS} digits with commas between them, got {shown(text)}",
    )
    return [int(word) for word in words]


def bench(
    models: Annotated[str, typer.Option(help="Presets with commas; `none` for the kernels alone.")] = ",".join(MODELS),
    batches: Annotated[str, typer.Option(help="Images together, with commas.")] = "1,32",
    threads: Annotated[str | None, typer.Option(help="Threads, with commas; one and all cores by default.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Measurements of each engine, in turns.")] = 9,
    out: Annotated[Path, typer.Option(help="Folder for bench.json, bench.md and roofline.svg.")] = Path("out/bench"),
    page: Annotated[Path | None, typer.Option(help="Markdown page whose tables are made anew.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure the reference's kernels and whole networks beside PyTorch and ONNX Runtime; draw a roofline.

    Kernels are compared with the processor's measured rate of xor, population count and addition, networks with their
    real-valued twins on the same threads. All engines take turns, so that a busy machine slows them alike.

    Example: bivit bench --models deit_tiny --batches 1 --threads 1
    """
    cores = os.cpu_count() or 1
    counts = _numbers(threads, "threads") if threads else sorted({1, cores})
    names = [] if models == "none" else [name.strip() for name in models.split(",") if name.strip()]
    jobs = _jobs(names, _numbers(batches, "batches"), counts, rounds)
    command = f"bivit bench --models {models} --batches {batches} --threads {','.join(map(str, counts))}"
    with owned_folder(out):
        report = _measure(f"{command} --rounds {rounds}", jobs, names, rounds)
        _write(report, out, page)
    brief = [_short(row) for row in report.models] or [row.to_dict() for row in report.kernels]
    show(report if as_json else {"report": str(out / "bench.md"), "rows": brief}, as_json, "measured on this machine")


def _measure(command: str, jobs: list[ModelJob], names: list[str], rounds: int) -> BenchReport:
    """Measure kernels, whole networks and the units of each."""
    from .benches.kernels import bench_kernels
    from .benches.units import bench_units

    with step("measure", 1 + len(jobs) + len(names)) as bar:
        bar("the kernels")
        kernels = bench_kernels(rounds)
        models, units = [], []
        for done, job in enumerate(jobs, 1):
            bar.at(done)
            bar(f"{job.preset}, batch {job.batch}, {job.threads} threads")
            models.append(_model_row(job))
        for done, name in enumerate(names, 1 + len(jobs)):
            bar.at(done)
            bar(f"units of {name}")
            units += bench_units(name, _UNITS_BATCH, rounds)
    return BenchReport(
        command=command,
        machine=describe_machine(),
        peak_gmacs=kernels.peak_gmacs,
        copy_gbytes=kernels.copy_gbytes,
        rows=(*kernels.rows, *models),
        units=tuple(units),
        versions=tool_versions(),
    )


def _write(report: BenchReport, out: Path, page: Path | None) -> None:
    """Write what was measured, as JSON, as a page and as a picture; and into a page that is kept."""
    from .benches.page import bench_page, roofline
    from .shared.markers import replace_between_markers

    write_json(out / "bench.json", report.to_dict())
    write_text(out / "bench.md", bench_page(report))
    write_text(out / "roofline.svg", roofline(report))
    if page is not None:
        write_text(page, replace_between_markers(read_text(page, "the page"), bench_page(report).rstrip()))
        write_text(page.with_name("roofline.svg"), roofline(report))


def _short(row: ModelRow) -> dict[str, Any]:
    keys = ("name", "batch", "threads", "ms_per_image", "ratio_torch_float32", "ratio_ort_int8", "peak_mib")
    values = row.to_dict()
    return {key: values[key] for key in keys}
