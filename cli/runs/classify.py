"""Classification of a whole source: images are read and run a batch at a time, wherever the batches run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...sim.system.result import Result

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ...model.data.source import Batch, Source
    from ...sim.network.network import IntNetwork

#: Images in the untimed first run, in which numba compiles the kernels or loads them.
_WARM_UP = 1


@dataclass(frozen=True, eq=False)
class Classified:
    """What the network made of a batch.

    Attributes
    ----------
    predictions : int64[b]
    saturations, empty_rows : int
        As in `sim.network.run_result.RunResult`.
    """

    predictions: NDArray[np.int64]
    saturations: int
    empty_rows: int


@dataclass(frozen=True, eq=False)
class Done:
    """A batch that has run.

    Attributes
    ----------
    labels : int64[b]
    result : Classified
    seconds : float
        What the batch added to the time of the whole.
    """

    labels: NDArray[np.int64]
    result: Classified
    seconds: float


#: Runs batches of one image or more and gives back all of them, in order; an error of the reader comes after the
#: batches that were read before it.
Runner = Callable[[Iterator["Batch"]], Iterator[Done]]


@dataclass(frozen=True, kw_only=True)
class Summary(Result):
    """What a run of images gave; no Top-1 of images without labels."""

    top1: float | None
    images: int
    images_per_s: float
    saturations: int
    empty_attention_rows: int


@dataclass
class Tally:
    """What the images so far gave."""

    images: int = 0
    right: int = 0
    saturations: int = 0
    empty_rows: int = 0
    #: On this machine in the network, without the reading of images; on a cluster all the time.
    seconds: float = 0.0

    def add(self, done: Done) -> None:
        """Count a batch."""
        self.images += len(done.labels)
        self.right += int((done.result.predictions == done.labels).sum())
        self.saturations += done.result.saturations
        self.empty_rows += done.result.empty_rows
        self.seconds += done.seconds

    def summary(self) -> Summary:
        """What the images gave together."""
        return Summary(
            top1=self.right / self.images,
            images=self.images,
            images_per_s=self.images / self.seconds,
            saturations=self.saturations,
            empty_attention_rows=self.empty_rows,
        )


def classify(network: IntNetwork, images: NDArray[np.uint8], threads: int | None = None) -> Classified:
    """Run one batch; parameters are those of `sim.reference.run.run_reference`.

    Parameters
    ----------
    network : IntNetwork
    images : uint8[b, img_size, img_size, in_chans]
    threads : int or None
    """
    from ...sim.reference.run import run_reference

    result = run_reference(network, images, threads=threads)
    return Classified(result.predictions, result.saturations, result.empty_rows)


def on_this_machine(network: IntNetwork) -> Runner:
    """Runner that uses every core for one batch after the other."""

    def run(batches: Iterator[Batch]) -> Iterator[Done]:
        for number, batch in enumerate(batches):
            if number == 0:
                classify(network, batch.images[:_WARM_UP])
            start = time.perf_counter()
            result = classify(network, batch.images)
            yield Done(batch.labels, result, time.perf_counter() - start)

    return run


def classify_stream(
    runner: Runner, source: Source, count: int, batch: int, tally: Tally
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Read and classify the first `count` images of a source, `batch` at a time.

    Parameters
    ----------
    runner : Runner
        Where the batches run; the results do not depend on it.
    source : Source
    count, batch : int
    tally : Tally
        Every batch is added to it before it is yielded.

    Yields
    ------
    labels, predictions : int64[b]

    Raises
    ------
    BivitError
        When an image cannot be read and none may be left out, after the batches before it; where they may, a warning at
        the end names them.
    """
    import numpy as np

    from ...model.data.source import Epoch

    slices = [np.arange(start, min(start + batch, count)) for start in range(0, count, batch)]
    left_out: dict[str, str] = {}

    def readable() -> Iterator[Batch]:
        for read in source.read(slices, Epoch(0, 0, shuffle=False)):
            left_out.update(read.broken)
            if len(read.images):
                yield read

    for done in runner(readable()):
        tally.add(done)
        yield done.labels, done.result.predictions
    source.warn_of(left_out)
