"""Batches of a source as torch tensors, read in this process or ahead of time in worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ..sim.errors import BivitError
from .source import Epoch, Source

#: What a worker sends: images, labels and broken images of one batch, or the error that ended it.
_Item = tuple[Tensor, Tensor, dict[str, str]] | BivitError


def load(
    source: Source, slices: Sequence[NDArray[np.int64]], epoch: Epoch, workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Read batches in order.

    Parameters
    ----------
    source : Source
    slices : sequence of int64[b]
        Indices of the images of each batch.
    epoch : Epoch
    workers : int
        Worker processes; worker w reads every batch k with k % workers == w. With 0 this process reads.

    Yields
    ------
    images, labels : uint8[b, H, W, C], int64[b]

    Raises
    ------
    BivitError
        When an image is broken and none may be left out.
    """
    left_out: dict[str, str] = {}
    for item in _items(source, slices, epoch, workers):
        if isinstance(item, BivitError):
            raise item
        images, labels, broken = item
        left_out |= broken
        yield images, labels
    source.warn_of(left_out)


def _items(source: Source, slices: Sequence[NDArray[np.int64]], epoch: Epoch, workers: int) -> Iterator[_Item]:
    stream = _Stream(source, slices, epoch)
    if workers == 0:
        return iter(stream)
    # A generator of its own: the loader draws a seed for its workers, which must not move torch's global one.
    own = torch.Generator()
    return iter(DataLoader(stream, batch_size=None, num_workers=workers, collate_fn=_unchanged, generator=own))


def _unchanged(item: Any) -> Any:
    return item


class _Stream(IterableDataset[_Item]):
    """The batches of one process, or of one of its workers."""

    def __init__(self, source: Source, slices: Sequence[NDArray[np.int64]], epoch: Epoch) -> None:
        self.source, self.slices, self.epoch = source, slices, epoch

    def __iter__(self) -> Iterator[_Item]:
        worker = get_worker_info()
        slices = self.slices if worker is None else self.slices[worker.id :: worker.num_workers]
        try:
            for batch in self.source.read(slices, self.epoch):
                yield torch.from_numpy(batch.images), torch.from_numpy(batch.labels), batch.broken
        except BivitError as error:
            # Sent, not raised: torch would put the worker's traceback into its message.
            yield error
