"""`bivit explore`: which engine to build for a network on an FPGA, how fast it is there, and what binds."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..sim.errors import check
from ..sim.system.files import write_json, write_text
from .runs.explored import Explored, explored
from .runs.explored_rows import Alternative, FrontRow
from .shared.common import JsonFlag, output, print_json, rows_table
from .shared.net import Net, find_net
from .shared.progress import Step, step

if TYPE_CHECKING:
    from ..sim.explore.aim import Aim

#: In place of a target: the smallest device that is enough.
AUTO = "auto"
#: Clocks in MHz that an engine may be asked about, and images a second, at most.
_CLOCKS, _MOST_FPS = (0.001, 10_000.0), 1e9
#: Percent that all of a device is, and of its look-up tables what leaves room.
_WHOLE, _ROOMY = 100.0, 85.0
#: Where cycles are from, in words.
_CYCLES = {"exact": "exact", "bound": "what the memory of its weights allows"}


def explore(
    nets: Annotated[
        list[str],
        typer.Argument(metavar="NET...", help="Networks that one engine is to hold: files or presets, as everywhere."),
    ],
    target: Annotated[
        str,
        typer.Option(help="FPGA or board, such as k26 or ULX3S; auto, with --fps: the smallest device that suffices."),
    ],
    fps: Annotated[
        float | None,
        typer.Option(help="Images a second that are enough: then the engine that takes least of the device is sought."),
    ] = None,
    latency: Annotated[bool, typer.Option("--latency", help="Seek the shortest time of a single image.")] = False,
    clock_mhz: Annotated[float | None, typer.Option(help="By default what the device's family reaches.")] = None,
    fill: Annotated[
        float,
        typer.Option(metavar="PERCENT", help="Of each resource of the device, what the engine may take at most."),
    ] = _WHOLE,
    out: Annotated[Path | None, typer.Option(help="Folder for engine.json, which --engine takes.")] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="FILE.html", help="Page to look at: what was compared, what binds, what it takes."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Seek the engine to build for a network on an FPGA: the fastest that fits, or the smallest that is fast enough.

    Engines of many shapes are sized for the network, each width as small as keeps up with the array; named engines
    are compared too. Loads bound the speed of all of them; cycles of the best few are exact, as `bivit estimate` gives
    them. Resources are estimated before any synthesis; `bivit synth --engine DIR/engine.json` counts them.

    Example: bivit explore deit_tiny --target k26 --report out/explore.html

    Example: bivit explore deit_tiny --target auto --fps 1000

    Example: bivit explore deit_tiny --target zcu102 --fill 85

    Example: bivit explore digits fashion --target ulx3s --fps 500 --out out/engine

    Example: bivit explore swin_tiny --target u50 --fps 2000

    Example: bivit explore digits --target lfe5u-45f --latency --json
    """
    _check_options(target, fps, latency, clock_mhz, fill)
    _check_files(out, page)
    from ..sim.estimate.devices import board, device
    from ..sim.explore.search import check_estimated, explore_all
    from ..sim.explore.search import explore as search

    named = None if target.lower() == AUTO else device(target)
    if named is not None:
        check_estimated(named)
    beside = None if named is None else board(target)
    most_gb_s = beside.memory.gb_s if beside and beside.memory else None
    asked = _aim([find_net(net) for net in nets], fps, latency, clock_mhz)
    aim = replace(asked, memory_gb_s=most_gb_s, fill_percent=fill)
    with step(f"explore engines for {', '.join(nets)}") as one:
        tell = _Teller(one)
        found = explore_all(aim, tell=tell) if named is None else search(named, aim, tell=tell)
    path = None if out is None else out / "engine.json"
    command = _command(nets, target, fps, latency, clock_mhz, fill)
    report = explored(nets, aim, found, path=path, seconds=one.seconds, command=command)
    if path is not None:
        write_json(path, report.engine)
    if page is not None:
        from .pages.explored import render

        write_text(page, render(report.to_dict()))
    if as_json:
        print_json(report.to_dict())
    else:
        _print(report, page)


def _check_options(target: str, fps: float | None, latency: bool, clock_mhz: float | None, fill: float) -> None:
    least, most = _CLOCKS
    check(fps is None or 0 < fps <= _MOST_FPS, f"--fps must be above 0 and at most {_MOST_FPS:,.0f}, got {fps}")
    check(
        fps is None or not latency,
        "--fps seeks the smallest engine that is fast enough, --latency the one that is through with an image first; "
        "give one of the two",
    )
    check(
        clock_mhz is None or least <= clock_mhz <= most,
        f"--clock-mhz must be {least} to {most:,.0f} MHz, got {clock_mhz}; leave it out for the device's own",
    )
    check(0 < fill <= _WHOLE, f"--fill must be above 0 and at most {_WHOLE:g} percent of the device, got {fill:g}")
    check(
        target.lower() != AUTO or fps is not None,
        "--target auto seeks the smallest device that is fast enough; say how fast with --fps, or name a target",
    )


def _check_files(out: Path | None, page: Path | None) -> None:
    """Refuse a folder or a page that could not be written, before the search, which takes long."""
    check(out is None or out.is_dir() or not out.exists(), f"--out must be a folder, {out} is a file")
    if page is None:
        return
    check(page.suffix == ".html", f"--report writes a page for a browser: give a file that ends in .html, got {page}")
    check(not page.is_dir(), f"--report must be a file, {page} is a folder")
    import jinja2  # noqa: F401  # a missing one is told now


def _command(
    nets: list[str], target: str, fps: float | None, latency: bool, clock_mhz: float | None, fill: float
) -> str:
    """What repeats a search."""
    options = {"--target": target, "--fps": fps, "--clock-mhz": clock_mhz, "--fill": fill if fill != _WHOLE else None}
    given = [word for name, value in options.items() if value is not None for word in (name, _shown(value))]
    return shlex.join(["bivit", "explore", *nets, *given, *(["--latency"] if latency else [])])


def _shown(value: str | float) -> str:
    """An option's value as one would write it."""
    return f"{value:.10g}" if isinstance(value, float) else value


def _aim(nets: list[Net], fps: float | None, latency: bool, clock_mhz: float | None) -> Aim:
    """Return what is asked for; all networks run on one engine, so they have one set of number formats."""
    from ..sim.explore.aim import Aim

    other = next((net.name for net in nets if net.formats != nets[0].formats), None)
    check(
        other is None,
        f"{nets[0].name} and {other} have different number formats, which one engine cannot have; explore them apart",
    )
    configs = tuple(net.config for net in nets)
    return Aim(configs, nets[0].formats, fps=fps, latency=latency, clock_mhz=clock_mhz)


class _Teller:
    """Shows how far a search is: its parts by name, and how much of each is done.

    Parameters
    ----------
    one : Step
    """

    def __init__(self, one: Step):
        self.one, self.what = one, ""

    def __call__(self, what: str, done: int, count: int) -> None:
        if what != self.what:
            self.one(what)
            self.what = what
        self.one.at(done, count)


def _print(report: Explored, page: Path | None) -> None:
    out = output()
    name = f"engine {report.name}, {report.shape}" if report.name else f"an engine of {report.shape}"
    out.print(f"{', '.join(report.networks)} on {report.part}: {name}", style="bold", soft_wrap=True, markup=False)
    out.print(
        f"{report.images_per_s:,.0f} images/s, {report.latency_us:,.1f} us for a single image: cycles are "
        f"{_CYCLES[report.cycles_kind]}, at {report.clock_mhz:g} MHz, {report.clock_kind}. {report.binds} binds; "
        f"resources are {report.resources_kind}.",
        soft_wrap=True,
    )
    finalists: list[Explored | Alternative] = [report, *report.alternatives]
    exact = [_row(one, {"images/s": one.images_per_s, "us": one.latency_us}) for one in finalists]
    out.print(rows_table(exact, "the chosen engine, and others with exact cycles"))
    front = [_row(one, {"images/s, at most": one.most_images_per_s, "binds": one.binds}) for one in report.front]
    out.print(rows_table(front, f"what fits of {report.sized} engines, and none beats; speeds are bounds by loads"))
    luts = report.utilisation_percent["luts"] or 0
    if luts > _ROOMY and report.fill_percent == _WHOLE:
        out.print(
            f"{luts:.0f} % of the look-up tables leave place and route little room; --fill {_ROOMY:g} seeks an engine "
            "that leaves more.",
            soft_wrap=True,
        )
    if report.engine_file:
        out.print(
            f"{report.engine_file} is written; `bivit generate --engine {report.engine_file}` writes its Verilog.",
            soft_wrap=True,
            markup=False,
        )
    if page is not None:
        out.print(f"{page} is written; open it in a browser.", soft_wrap=True, markup=False)


def _row(one: Explored | Alternative | FrontRow, speed: dict[str, Any]) -> dict[str, Any]:
    """A row of a table: shape, speed, percent of the device."""
    from ..sim.estimate.resources import title_of

    shares = {f"{title_of(what)} %": share for what, share in one.utilisation_percent.items()}
    return {"shape": one.shape, "images": one.images, "engine": one.name or "sized"} | speed | shares
