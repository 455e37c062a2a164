"""`bivit run`: classify images with the integer reference, a few at a time, here or over several machines."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from ..sim.errors import BivitError, check
from ..sim.system.files import whole_file
from ..sim.system.result import INLINE, OPTIONAL, Result
from .runs.classify import Runner, Summary, Tally, classify_stream, on_this_machine
from .shared.common import JsonFlag, show
from .shared.net import NetArgument, NetFacts, find_net
from .shared.pixels import RANDOM, DataOption, test_source
from .shared.progress import step

if TYPE_CHECKING:
    from ..model.data.source import Source
    from ..sim.network.network import IntNetwork

#: Images of random pixels to run, where no number is given.
_RANDOM_IMAGES = 64


@dataclass(frozen=True)
class Place(Result):
    """Where batches ran, if not on this machine alone."""

    scheduler: str
    workers: int


@dataclass(frozen=True, kw_only=True)
class RunReport(Result):
    """What `bivit run` prints; `predictions` is the table that it wrote."""

    facts: NetFacts = field(metadata=INLINE)
    data: str
    summary: Summary = field(metadata=INLINE)
    place: Place | None = field(metadata=INLINE)
    predictions: Path | None = field(metadata=OPTIONAL)


@contextmanager
def _runner(network: IntNetwork, scheduler: str | None) -> Iterator[tuple[Runner, Place | None]]:
    """Where the batches run, and what the summary says of it."""
    if scheduler is None:
        yield on_this_machine(network), None
        return
    from .runs.cluster import on_cluster

    with on_cluster(scheduler, network) as cluster:
        yield cluster, Place(scheduler, cluster.workers)


@contextmanager
def _kept(path: Path | None, tally: Tally) -> Iterator[TextIO | None]:
    """Open a table of predictions that appears under its name at the end, or with what came before a bad image."""
    if path is None:
        yield None
        return
    broken: BivitError | None = None
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        try:
            yield file
        except BivitError as error:
            if not tally.images:
                raise
            broken = error
    if broken is not None:
        raise BivitError(f"{broken}; the predictions of the {tally.images} images before it are in {path}") from broken


def _classify(
    network: IntNetwork, source: Source, count: int, batch: int, out: Path | None, scheduler: str | None
) -> tuple[Tally, Place | None]:
    """Classify the first `count` images into a table; return what they gave, and where they ran."""
    tally = Tally()
    with (
        step(f"classify {count} images (kernels are compiled the first time)", count) as bar,
        _runner(network, scheduler) as (runner, place),
        _kept(out, tally) as file,
    ):
        writer = None if file is None else csv.writer(file)
        if writer is not None:
            writer.writerow(("image", "label", "prediction"))
        for labels, predictions in classify_stream(runner, source, count, batch, tally):
            if writer is not None:
                first = tally.images - len(labels)
                known = [""] * len(labels) if source.name == RANDOM else labels.tolist()
                writer.writerows(zip(range(first, tally.images), known, predictions.tolist(), strict=True))
            bar.at(tally.images)
    return tally, place


def run(
    net: NetArgument,
    data: DataOption = None,
    images: Annotated[
        int | None, typer.Option(help=f"Test images to run; all by default, {_RANDOM_IMAGES} of random pixels.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file for the prediction and the label of each image.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images in memory at a time.")] = 64,
    seed: Annotated[int, typer.Option(help="Of random pixels, and of the random weights of a preset.")] = 0,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Dask scheduler whose workers classify; this machine by default."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Classify test images with the integer network; print Top-1 and speed.

    Random pixels have no labels, and no Top-1.

    Example: bivit run zoo/digits/network.safetensors --data digits --out out/predictions.csv

    Example: bivit run swin_tiny --images 8

    Over several machines: bivit run network.safetensors --data path/to/imagenet --scheduler tcp://localhost:8786
    """
    chosen = find_net(net, seed)
    with step("open the images"):
        source = test_source(chosen, data, _RANDOM_IMAGES if images is None else images, seed)
    count = len(source) if images is None else images
    check(0 < count <= len(source), f"{source.name} can give 1 to {len(source)} images, got {count}")
    tally, place = _classify(chosen.network, source, count, batch, out, scheduler)
    check(tally.images > 0, f"none of the {count} images of {source.name} can be read")
    summary = tally.summary()
    report = RunReport(
        facts=chosen.facts,
        data=source.name,
        summary=replace(summary, top1=None) if source.name == RANDOM else summary,
        place=place,
        predictions=out,
    )
    show(report, as_json, f"{net} on {source.name}")
