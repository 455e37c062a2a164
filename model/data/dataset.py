"""Images with labels in memory, and how they are split by class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...sim.errors import BivitError, check
from ...sim.network.pixels import check_pixels
from .source import Batch, Epoch, Source

#: Classes that labels may number without a list of names: a larger label is something else, as a time or an id.
MOST_CLASSES = 1 << 20


@dataclass(frozen=True)
class Dataset(Source):
    """Images and labels of one split; a source that reads from memory.

    Raises
    ------
    BivitError
        When there are no images, shapes or dtypes are not those below, or a label names no class.
    """

    #: The string that named it.
    name: str
    #: uint8[n, H, W, C]
    images: NDArray[np.uint8]
    #: int64[n], indices into `classes`
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        check_pixels(images, f"images of {self.name}")
        check(
            images.ndim == 4,
            f"images of {self.name} must be uint8 [n, H, W] or [n, H, W, C], got {images.dtype} {list(images.shape)}",
        )
        check(len(images) > 0, f"{self.name} has no images; give at least one")
        check(
            labels.shape == (len(images),),
            f"{self.name} needs one label an image ({len(images)}), got labels of shape {list(labels.shape)}",
        )
        check_labels(labels, len(self.classes), f"labels of {self.name}")
        check(
            min(images.shape) > 0,
            f"images of {self.name} must have a pixel or more, got {list(images.shape)}",
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels of each image."""
        _, height, width, channels = self.images.shape
        return height, width, channels

    def read(self, slices: Sequence[NDArray[np.int64]], epoch: Epoch) -> Iterator[Batch]:
        """Read one batch for each array of indices; see `Source.read`. Nothing is cropped."""
        for chosen in slices:
            yield Batch(self.images[chosen], self.labels[chosen], {})

    def validation(self, share: float, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Split off images to tune a recipe with, so that it is not tuned on the test split.

        Parameters
        ----------
        share : float
            Of the images of each class that go to validation, above 0 and below 1; rounded down.
        seed : int
            Of the choice; 0 or more.

        Returns
        -------
        train, validation : Dataset
            Both keep the order of the images.

        Raises
        ------
        BivitError
            When the share is out of range, or one of the two would be empty.
        """
        check(0 < share < 1, f"share must be above 0 and below 1, got {share}")
        check(seed >= 0, f"seed must be 0 or more, got {seed}")
        chosen = stratified(self.labels, share, seed)
        check(
            bool(chosen.any()),
            f"a share of {share} of no class of {self.name} is a whole image; give a larger share or more images",
        )
        return self._where(~chosen, "training part"), self._where(chosen, "validation part")

    def _where(self, chosen: NDArray[np.bool_], what: str) -> Dataset:
        return Dataset(f"{self.name}, {what}", self.images[chosen], self.labels[chosen], self.classes)


def take(source: Source, count: int, seed: int | None = None) -> Dataset:
    """Read some images into memory, framed as in evaluation.

    Parameters
    ----------
    source : Source
    count : int
    seed : int or None
        The first `count` images when None, else a random choice; both in the source's order.

    Returns
    -------
    Dataset
        Of `count` images, or fewer where broken ones are left out.

    Raises
    ------
    BivitError
        Unless `count` is 1 to the number of images; when an image is broken.
    """
    check(0 < count <= len(source), f"{source.name} can give 1 to {len(source)} images, got {count}")
    chosen = np.arange(count) if seed is None else np.sort(np.random.default_rng(seed).permutation(len(source))[:count])
    (batch,) = source.read([chosen], Epoch(0, 0, shuffle=False))
    source.warn_of(batch.broken)
    return Dataset(source.name, batch.images, batch.labels, source.classes)


def check_labels(labels: NDArray[Any], classes: int | None, what: str) -> NDArray[np.int64]:
    """Return labels of any integer type as int64, once they are known to number classes.

    Parameters
    ----------
    labels : int[n]
        From a file, not trusted.
    classes : int or None
        How many there are; None allows any number that is no mistake, `MOST_CLASSES`.
    what : str
        Where they are from: begins the message.

    Raises
    ------
    BivitError
        When they are no integers [n], or one is out of range: both ends, and the first that is wrong.
    """
    check(
        labels.ndim == 1 and labels.dtype.kind in "iu",
        f"{what} must be integers [n], got {labels.dtype} {list(labels.shape)}",
    )
    if not len(labels):
        return labels.astype(np.int64)
    # As Python's integers, which are neither cut nor wrapped.
    low, high = int(labels.min()), int(labels.max())
    top = min(high, MOST_CLASSES - 1) if classes is None else classes - 1
    if not (low >= 0 and high <= top):
        first = int(np.flatnonzero((labels < 0) | (labels > max(top, 0)))[0]) if top >= 0 else 0
        raise BivitError(
            f"{what} must be 0 to {max(top, 0)}, got {low} to {high}; the first that is wrong is that of image {first} "
            f"(from 0), {int(labels[first])}"
        )
    return labels.astype(np.int64)


def numbered_classes(*labels: NDArray[np.int64]) -> tuple[str, ...]:
    """Names 0, 1, ... up to the largest of the labels, which `check_labels` has let pass."""
    return tuple(str(label) for label in range(max((int(part.max(initial=-1)) for part in labels), default=-1) + 1))


def stratified(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.bool_]:
    """Choose a share of each class at random, rounded down.

    Parameters
    ----------
    labels : int64[n]
    share : float
        0 to 1.
    seed : int

    Returns
    -------
    bool[n]
        Which images are chosen; below a share of 1 never all of a class.

    Examples
    --------
    >>> stratified(np.array([0, 1, 0, 1, 0]), 0.5, seed=0).sum()
    np.int64(2)
    """
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        # A little more, because 0.29 * 100 is a little less than 29.
        chosen[rng.permutation(members)[: int(len(members) * share + 1e-9)]] = True
    return chosen
