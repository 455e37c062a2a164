"""Pictures of any size, decoded with Pillow and framed to the model's: random crops to train on, the centre to test.

Both framings are the usual ones for ImageNet: in training a random part of the image, random in area and in aspect
ratio, resized to the model's square; else the short side resized to somewhat more than the square and its centre taken.
"""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ...sim.errors import BivitError, check
from .dataset import Dataset
from .source import Batch, Epoch, Source, check_on_broken

#: Pillow's modes by count of channels.
_MODES = {1: "L", 3: "RGB"}
#: Draws of a random part before the largest part of an allowed aspect ratio is taken instead.
_ATTEMPTS = 10
#: Pixels of a picture that is resized before its centre is taken; only a strip, far longer than wide, has more.
_MOST_PIXELS = 1 << 27

#: Opens one picture; called where its errors are handled.
Opener = Callable[[], Image.Image]


@dataclass(frozen=True, kw_only=True)
class Framing:
    """How a picture becomes uint8[size, size, channels]; one that has this size already is not touched.

    Raises
    ------
    BivitError
        When a value is out of its range, naming it.
    """

    #: Rows and columns.
    size: int
    #: 1 (grey) or 3 (red, green, blue); pictures of another kind are converted, transparency is dropped.
    channels: int = 3
    #: Whether shuffled epochs take random parts; the others take the centre in any case.
    random: bool = False
    #: Smallest and largest area of a random part, as a share of the picture's.
    scale: tuple[float, float] = (0.08, 1.0)
    #: Smallest and largest width / height of a random part.
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    #: In evaluation, the share of the resized short side that the centre takes.
    centre: float = 0.875

    def __post_init__(self) -> None:
        check(self.size > 0, f"size must be 1 pixel or more, got {self.size}")
        check(self.channels in _MODES, f"channels must be 1 (grey) or 3 (colour), got {self.channels}")
        low, high = self.scale
        check(0 < low <= high <= 1, f"scale needs two shares of the area, 0 < low <= high <= 1, got {self.scale}")
        low, high = self.ratio
        check(0 < low <= high, f"ratio needs two aspect ratios, 0 < low <= high, got {self.ratio}")
        check(0 < self.centre <= 1, f"centre must be a share of the side, above 0 to 1, got {self.centre}")

    def apply(self, picture: Image.Image, rng: np.random.Generator | None) -> NDArray[np.uint8]:
        """Frame one picture.

        Parameters
        ----------
        picture : PIL.Image.Image
        rng : numpy.random.Generator or None
            Where a random part is drawn from; None takes the centre.

        Returns
        -------
        uint8[size, size, channels]

        Raises
        ------
        ValueError
            When the picture's pixels have more than 8 bits a channel, of which Pillow would cut off the bright end.
        """
        if picture.mode[0] in "IF":
            raise ValueError(f"pixels of mode {picture.mode} have more than 8 bits; write it with 8")
        picture = picture if picture.mode == _MODES[self.channels] else picture.convert(_MODES[self.channels])
        if picture.size != (self.size, self.size):
            picture = self._centre(picture) if rng is None else self._part(picture, rng)
        return np.asarray(picture).reshape(self.size, self.size, self.channels)

    def _part(self, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        left, top, width, height = random_part(*picture.size, self.scale, self.ratio, rng)
        part = picture.crop((left, top, left + width, top + height))
        return part.resize((self.size, self.size), Image.Resampling.BICUBIC)

    def _centre(self, picture: Image.Image) -> Image.Image:
        short, side = min(picture.size), int(self.size / self.centre)
        width, height = (side * length // short for length in picture.size)
        if width * height > _MOST_PIXELS:
            raise ValueError(f"it is a strip of {picture.width} x {picture.height} pixels; cut it")
        left, top = round((width - self.size) / 2), round((height - self.size) / 2)
        resized = picture.resize((width, height), Image.Resampling.BICUBIC)
        return resized.crop((left, top, left + self.size, top + self.size))


def random_part(
    width: int, height: int, scale: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw a rectangle inside a picture: its area uniformly, its aspect ratio uniformly in the logarithm.

    Parameters
    ----------
    width, height : int
        Of the picture, in pixels.
    scale, ratio : tuple of float
        See `Framing`.
    rng : numpy.random.Generator

    Returns
    -------
    left, top, width, height : int
        Where no draw of ten fits, the largest centred rectangle of an allowed aspect ratio.
    """
    for _ in range(_ATTEMPTS):
        area = width * height * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        across, down = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < across <= width and 0 < down <= height:
            return int(rng.integers(width - across + 1)), int(rng.integers(height - down + 1)), across, down
    aspect = min(max(width / height, ratio[0]), ratio[1])
    across, down = min(width, max(1, round(height * aspect))), min(height, max(1, round(width / aspect)))
    return (width - across) // 2, (height - down) // 2, across, down


class PictureSource(Source):
    """A source whose images are decoded when they are read.

    Parameters
    ----------
    name : str
    labels : int64[n]
    classes : tuple[str, ...]
    framing : Framing
    on_broken : str
        `stop` or `skip`: whether an image that cannot be read ends the reading, or is left out of its batch.

    Raises
    ------
    BivitError
        When there are no images, or `on_broken` is neither.
    """

    def __init__(
        self,
        name: str,
        labels: NDArray[np.int64],
        classes: tuple[str, ...],
        framing: Framing,
        on_broken: str = "stop",
    ) -> None:
        check(len(labels) > 0, f"{name} has no images; give at least one")
        check_on_broken(on_broken)
        self.name, self.labels, self.classes = name, labels, classes
        self.framing, self.on_broken = framing, on_broken

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels of each image."""
        return self.framing.size, self.framing.size, self.framing.channels

    @abstractmethod
    def pictures(self, indices: NDArray[np.int64], epoch: Epoch) -> Iterator[tuple[str, Opener]]:
        """Give the name of each picture, for messages, and what opens it.

        Parameters
        ----------
        indices : int64[m]
            Which, in the order in which they are wanted; none occurs twice.
        epoch : Epoch

        Yields
        ------
        name, opener : str, Opener
        """

    def take_size_of_first(self) -> None:
        """Frame to the size of the first picture; `BivitError` when it cannot be read or is not square."""
        ((name, opener),) = self.pictures(np.zeros(1, dtype=np.int64), Epoch(0, 0, shuffle=False))
        try:
            with opener() as picture:
                width, height = picture.size
        except Exception as error:
            raise BivitError(
                f"{name} cannot be read as an image ({_why(error)}); give the size, or replace it"
            ) from error
        check(width == height, f"{name} has {width} x {height} pixels, which is no square; give the size to resize to")
        self.framing = replace(self.framing, size=width)

    def read(self, slices: Sequence[NDArray[np.int64]], epoch: Epoch) -> Iterator[Batch]:
        """Read one batch for each array of indices; see `Source.read`. One batch of decoded images is held."""
        if not slices:
            return
        pictures = self.pictures(np.concatenate(slices), epoch)
        for chosen in slices:
            images = np.empty((len(chosen), *self.shape), dtype=np.uint8)
            whole = np.ones(len(chosen), dtype=bool)
            broken: dict[str, str] = {}
            # The indices come first: zip would take one picture too many if it found out last that they are used up.
            for place, (index, (name, opener)) in enumerate(zip(chosen.tolist(), pictures, strict=False)):
                try:
                    images[place] = self._decoded(opener, index, epoch)
                except Exception as error:  # A damaged file can make its decoder raise anything.
                    check(self.on_broken == "skip", _broken_message(name, error))
                    whole[place], broken[name] = False, _why(error)
            if broken:
                images, chosen = images[whole], chosen[whole]
            yield Batch(images, self.labels[chosen], broken)

    def _decoded(self, opener: Opener, index: int, epoch: Epoch) -> NDArray[np.uint8]:
        with opener() as picture:
            return self.framing.apply(picture, epoch.rng(index) if self.framing.random and epoch.shuffle else None)


def _broken_message(name: str, error: Exception) -> str:
    return (
        f"{name} cannot be read as an image ({_why(error)}); replace it or take it out of the data. `bivit train`, "
        "eval, heads and export can leave such images out (--on-broken skip, in Python on_broken='skip'); other "
        "commands count every image, and stop"
    )


def _why(error: Exception) -> str:
    """What is wrong with a picture: of no picture at all Pillow names an object in memory, of a large one an attack."""
    if isinstance(error, UnidentifiedImageError):
        return "it is empty, cut short or no picture"
    if isinstance(error, Image.DecompressionBombError):
        pixels, most = map(int, re.findall(r"\d+", str(error))[:2])
        return f"it has {pixels:,} pixels, and at most {most:,} are decoded; scale it down"
    return str(error) or type(error).__name__


class ReframedDataset(PictureSource):
    """A data set in memory, at another size or with other channels than its own.

    Parameters
    ----------
    dataset : Dataset
        With 1 or 3 channels.
    framing : Framing

    Raises
    ------
    BivitError
        When the data set has another count of channels.
    """

    def __init__(self, dataset: Dataset, framing: Framing) -> None:
        channels = dataset.shape[-1]
        check(
            channels in _MODES,
            f"images of {dataset.name} have {channels} channels; only those with 1 or 3 can be resized or converted",
        )
        super().__init__(dataset.name, dataset.labels, dataset.classes, framing)
        self.images = dataset.images[..., 0] if channels == 1 else dataset.images

    def pictures(self, indices: NDArray[np.int64], epoch: Epoch) -> Iterator[tuple[str, Opener]]:
        """Give the pictures in memory; see `PictureSource.pictures`."""
        for index in indices.tolist():
            yield f"image {index} of {self.name}", partial(Image.fromarray, self.images[index])
