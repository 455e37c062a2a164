"""`bivit run`: classify images with the integer reference, a few at a time, here or over several machines."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from ..sim.errors import BivitError, check
from ..sim.files import whole_file
from .classify import Runner, Tally, classify_stream, on_this_machine
from .common import DataOption, JsonFlag, NetArgument, image_bar, open_images, show

if TYPE_CHECKING:
    from ..sim.network import IntNetwork


@contextmanager
def _runner(network: IntNetwork, scheduler: str | None) -> Iterator[tuple[Runner, dict[str, Any]]]:
    """Where the batches run, and what the summary says of it."""
    if scheduler is None:
        yield on_this_machine(network), {}
        return
    from .cluster import on_cluster

    with on_cluster(scheduler, network) as cluster:
        yield cluster, {"scheduler": scheduler, "workers": cluster.workers}


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


def run(
    net: NetArgument,
    data: DataOption = "digits",
    images: Annotated[int | None, typer.Option(help="Test images to run; all of them by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file for the prediction and the label of each image.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images in memory at a time.")] = 64,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Dask scheduler whose workers classify; this machine by default."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Classify test images with the integer network; print Top-1 and speed.

    Example: bivit run out/demo/network.safetensors --data digits --out out/predictions.csv

    Over several machines: bivit run network.safetensors --data path/to/imagenet --scheduler tcp://localhost:8786
    """
    from ..sim.artefact import load_network

    network = load_network(net)
    source = open_images(data, "test", network.config)
    count = len(source) if images is None else images
    check(0 < count <= len(source), f"{source.name} can give 1 to {len(source)} images, got {count}")
    tally = Tally()
    with (
        _runner(network, scheduler) as (runner, place),
        image_bar(count, not as_json) as advance,
        _kept(out, tally) as file,
    ):
        writer = None if file is None else csv.writer(file)
        if writer is not None:
            writer.writerow(("image", "label", "prediction"))
        for labels, predictions in classify_stream(runner, source, count, batch, tally):
            if writer is not None:
                first = tally.images - len(labels)
                writer.writerows(zip(range(first, tally.images), labels.tolist(), predictions.tolist(), strict=True))
            advance(tally.images)
    check(tally.images > 0, f"none of the {count} images of {source.name} can be read")
    written = {} if out is None else {"predictions": str(out)}
    show(tally.summary() | place | written, as_json, f"{net} on {data}")
