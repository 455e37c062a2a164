"""Batches of a source as torch tensors, read in this process or ahead of time in worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ...sim.errors import BivitError, check
from .source import Epoch, Source

#: What a worker sends: images, labels and broken images of one batch, or the error that ended it.
_Item = tuple[Tensor, Tensor, dict[str, str]] | BivitError


def batches(
    source: Source,
    batch_size: int,
    *,
    seed: int = 0,
    epoch: int = 0,
    shuffle: bool = True,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    skip: int = 0,
    drop_last: bool = False,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Read one epoch, or the part of it that belongs to one of several processes.

    Global batch k is the same for every `world`; process `rank` gets a contiguous slice of it, so that the slices
    of all processes, one after the other, are the batch. Every process gets equally many slices. A slice is
    empty where the last batch has fewer images than there are processes, or where all its images are broken and
    are left out.

    Parameters
    ----------
    source : Source
    batch_size : int
        Images of a global batch.
    seed, epoch : int
        What order and random crops follow from, 0 or more.
    shuffle : bool
        See `Epoch`.
    rank, world : int
        Number of this process and count of processes.
    workers : int
        Processes that read ahead; 0 reads in this one. The batches are the same.
    skip : int
        Global batches that are passed over, without reading their images.
    drop_last : bool
        Leave out the last batch where it is smaller than the others.

    Returns
    -------
    iterator of (uint8[b, H, W, C], int64[b])
        Torch tensors, images and labels.

    Raises
    ------
    BivitError
        When a number is out of its range; while reading, when an image is broken and none may be left out. Where
        they may, `BrokenImageWarning` at the end of the epoch counts them.
    """
    check(batch_size > 0, f"batch_size must be 1 or more, got {batch_size}")
    check(0 <= rank < world, f"rank must be 0 to world - 1, got rank {rank} of world {world}")
    for name, value in (("seed", seed), ("epoch", epoch), ("workers", workers), ("skip", skip)):
        check(value >= 0, f"{name} must be 0 or more, got {value}")
    check(
        not drop_last or len(source) >= batch_size,
        f"{source.name} has {len(source)} images, which is no whole batch of {batch_size}; take a smaller batch",
    )
    one = Epoch(seed, epoch, shuffle)
    return _load(source, _slices(source.order(one), batch_size, rank, world, drop_last)[skip:], one, workers)


def _slices(
    order: NDArray[np.int64], batch_size: int, rank: int, world: int, drop_last: bool
) -> list[NDArray[np.int64]]:
    """Indices of one process, an array for each global batch."""
    end = len(order) - len(order) % batch_size if drop_last else len(order)
    whole = [order[start : start + batch_size] for start in range(0, end, batch_size)]
    return [batch[len(batch) * rank // world : len(batch) * (rank + 1) // world] for batch in whole]


def _load(
    source: Source, slices: Sequence[NDArray[np.int64]], epoch: Epoch, workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Read batches in order, and warn at the end of what was left out."""
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
    """The batches of one process, or of one of its workers: worker w reads every batch k with k % workers == w."""

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
