"""The `bivit` program: one command for each stage, from training to the report."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .. import __version__
from .ablate import ablate
from .bench import bench
from .boards.build import build
from .boards.devices import devices
from .boards.host import host
from .cosim import cosim
from .demo import demo
from .doctor import doctor
from .engines import engines
from .estimate import estimate
from .evaluate import evaluate
from .explore import explore
from .export import export
from .generate import generate
from .heads import heads
from .import_ import import_file
from .judge import judge
from .ops import ops
from .publish import publish
from .report import report
from .run import run
from .shared.common import Group
from .shared.process import prepare
from .shared.progress import Command
from .synth import synth
from .train import train

app = typer.Typer(
    cls=Group,
    name="bivit",
    help="From a binarized vision transformer to a verified FPGA accelerator.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bivit {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """From a binarized vision transformer to a verified FPGA accelerator."""


for command in (
    doctor,
    train,
    ablate,
    heads,
    export,
    publish,
    run,
    judge,
    generate,
    cosim,
    engines,
    devices,
    explore,
    estimate,
    synth,
    build,
    ops,
    bench,
    report,
    demo,
):
    app.command(cls=Command)(command)
app.command("eval", cls=Command)(evaluate)
app.command("import", cls=Command)(import_file)
app.add_typer(host, name="host")


def main() -> None:
    """Entry point of the installed program."""
    prepare()
    try:
        app(prog_name="bivit")
    finally:
        sys.stdout.flush()


if __name__ == "__main__":
    main()
