"""The one way in which images reach training and evaluation, whatever they are kept in: batches of a source.

Order and contents of the batches are a function of the seed and the number of the epoch alone. Neither the count of
processes nor that of worker processes changes them, so a run can be resumed, and repeated on another machine.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...sim.errors import check

if TYPE_CHECKING:
    from ...sim.network.config import ModelConfig


#: What may become of an image that cannot be read.
ON_BROKEN = ("stop", "skip")


def check_on_broken(choice: str) -> None:
    """Raise `BivitError` unless the choice is one of `ON_BROKEN`."""
    check(choice in ON_BROKEN, f"on_broken must be one of {', '.join(ON_BROKEN)}, got {choice!r}")


class DataWarning(UserWarning):
    """Something of a data set is not in its images."""


class BrokenImageWarning(DataWarning):
    """Images could not be read and were left out; the message counts them and names the first."""


class PassedOverWarning(DataWarning):
    """Files, members or arrays that are no images of the split were not read; the message counts and names them."""


@dataclass(frozen=True)
class Epoch:
    """One pass over a source."""

    seed: int
    number: int
    #: In random order and with random crops, as training reads; else in the order and framing of evaluation.
    shuffle: bool

    def rng(self, *more: int) -> np.random.Generator:
        """Return the generator of this pass, or of what `more` numbers in it."""
        return np.random.default_rng([self.seed, self.number, *more])


@dataclass(frozen=True)
class Batch:
    """Some images of a source, and what could not be read of it.

    Attributes
    ----------
    images : uint8[b, H, W, C]
    labels : int64[b]
    broken : dict[str, str]
        Names of the images that are left out because they could not be read, and why.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    broken: dict[str, str]


class Source(ABC):
    """Images of one size with labels, read in batches.

    Attributes
    ----------
    name : str
        What it was opened by, and the split.
    classes : tuple[str, ...]
        Names, in the order of the labels.
    labels : int64[n]
        One an image, indices into `classes`.
    """

    name: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64]

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels of each image."""

    @abstractmethod
    def read(self, slices: Sequence[NDArray[np.int64]], epoch: Epoch) -> Iterator[Batch]:
        """Read one batch for each array of indices, in this order.

        Parameters
        ----------
        slices : sequence of int64[b]
            Indices of images; no index occurs twice.
        epoch : Epoch

        Yields
        ------
        Batch

        Raises
        ------
        BivitError
            When an image cannot be read and none may be left out.
        """

    def __len__(self) -> int:
        return len(self.labels)

    def order(self, epoch: Epoch) -> NDArray[np.int64]:
        """Return the indices of all images, int64[n], in the order of one pass."""
        return epoch.rng().permutation(len(self)) if epoch.shuffle else np.arange(len(self))

    def count_batches(self, batch_size: int, *, drop_last: bool = False) -> int:
        """Return the number of global batches of an epoch."""
        return len(self) // batch_size if drop_last else -(-len(self) // batch_size)

    def warn_of(self, broken: dict[str, str]) -> None:
        """Warn (`BrokenImageWarning`) of images that were left out: names, and why each could not be read."""
        if broken:
            first = "; ".join(f"{name} ({why})" for name, why in sorted(broken.items())[:3])
            message = f"{self.name}: {len(broken)} images could not be read and were left out, the first: {first}"
            warnings.warn(message, BrokenImageWarning, stacklevel=3)


def check_source(data: Source, config: ModelConfig) -> None:
    """Refuse images of another size, or another number of classes, than a model has.

    Raises
    ------
    BivitError
        Naming both.
    """
    shape = (config.img_size, config.img_size, config.in_chans)
    check(
        data.shape == shape,
        f"images must have shape {['B', *shape]}, got {[len(data), *data.shape]} in {data.name}; "
        "choose a preset of this size, give it to a training by --image-size, or ask for resizing with resized:NAME, "
        "which converts the channels too".replace("'", ""),
    )
    classes, largest = len(data.classes), int(data.labels.argmax())
    label = int(data.labels[largest])
    largest_named = f"; image {largest} has the label {label}" if label >= config.num_classes else ""
    check(
        classes == config.num_classes,
        f"{data.name} has {classes} classes, the model {config.num_classes}; "
        f"set model.num_classes to {classes} in the recipe, or by --set model.num_classes={classes}; "
        "where these images only lack the last classes, name all (classes.txt, or classes in an .npz file)"
        f"{largest_named}",
    )
