"""`bivit run`: classify images with the integer reference, a few at a time."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from ..sim.errors import BivitError, check
from .common import DataOption, JsonFlag, NetArgument, image_bar, open_images, show

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..model.source import Source
    from ..sim.network import IntNetwork

#: Images in the untimed first run, in which numba compiles the kernels or loads them.
_WARM_UP = 1


@dataclass
class Tally:
    """What the images so far gave."""

    images: int = 0
    right: int = 0
    saturations: int = 0
    empty_rows: int = 0
    #: In the network, without the reading of images.
    seconds: float = 0.0

    def summary(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        return {
            "top1": self.right / self.images,
            "images": self.images,
            "images_per_s": self.images / self.seconds,
            "saturations": self.saturations,
            "empty_attention_rows": self.empty_rows,
        }


def classify_stream(
    network: IntNetwork, source: Source, count: int, batch: int, tally: Tally
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Read and classify the first `count` images of a source, `batch` at a time.

    Yields
    ------
    labels, predictions : int64[b]

    Raises
    ------
    BivitError
        When an image cannot be read and none may be left out; where they may, a warning at the end names them.
    """
    import numpy as np

    from ..model.source import Epoch

    slices = [np.arange(start, min(start + batch, count)) for start in range(0, count, batch)]
    left_out: dict[str, str] = {}
    for read in source.read(slices, Epoch(0, 0, shuffle=False)):
        left_out |= read.broken
        if not len(read.images):
            continue
        if not tally.images:
            network.predict(read.images[:_WARM_UP])
        start = time.perf_counter()
        result = network.run(read.images)
        predictions = result.logits.argmax(axis=1)
        tally.seconds += time.perf_counter() - start
        tally.images += len(predictions)
        tally.right += int((predictions == read.labels).sum())
        tally.saturations += result.saturations
        tally.empty_rows += result.empty_rows
        yield read.labels, predictions
    source.warn_of(left_out)


@contextmanager
def _kept(path: Path | None, tally: Tally) -> Iterator[TextIO | None]:
    """Open a table of predictions that appears under its name at the end, or with what came before a bad image."""
    if path is None:
        yield None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            yield file
        partial.replace(path)
    except BivitError as error:
        if not tally.images:
            raise
        partial.replace(path)
        raise BivitError(f"{error}; the predictions of the {tally.images} images before it are in {path}") from error
    finally:
        partial.unlink(missing_ok=True)


def run(
    net: NetArgument,
    data: DataOption = "digits",
    images: Annotated[int | None, typer.Option(help="Test images to run; all of them by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file for the prediction and the label of each image.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images in memory at a time.")] = 64,
    as_json: JsonFlag = False,
) -> None:
    """Classify test images with the integer network; print Top-1 and speed.

    Example: bivit run out/demo/network.safetensors --data digits --out out/predictions.csv
    """
    from ..sim.artefact import load_network

    network = load_network(net)
    source = open_images(data, "test", network.config)
    count = len(source) if images is None else images
    check(0 < count <= len(source), f"{source.name} can give 1 to {len(source)} images, got {count}")
    tally = Tally()
    with image_bar(count, not as_json) as advance, _kept(out, tally) as file:
        writer = None if file is None else csv.writer(file)
        if writer is not None:
            writer.writerow(("image", "label", "prediction"))
        for labels, predictions in classify_stream(network, source, count, batch, tally):
            if writer is not None:
                first = tally.images - len(labels)
                writer.writerows(zip(range(first, tally.images), labels.tolist(), predictions.tolist(), strict=True))
            advance(tally.images)
    check(tally.images > 0, f"none of the {count} images of {source.name} can be read")
    show(tally.summary() | ({} if out is None else {"predictions": str(out)}), as_json, f"{net} on {data}")
