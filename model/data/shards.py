"""Tar shards as WebDataset lays them out, read from front to end: images that are too many for memory or small files.

A shard holds pairs of members `KEY.jpg` (or another picture) and `KEY.cls` (the label as text). An epoch takes the
shards in random order and passes their images through a shuffle buffer; because the index knows how many images each
shard has, that order is computed before anything is read, and is the same for any number of processes. (The
`webdataset` library deals whole shards to processes, so its order depends on their number; it is not used.)
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...sim.errors import BivitError, check
from .picture import Framing, Opener, PictureSource
from .picture_files import passed_over
from .shard_index import ShardIndex, index_shards
from .source import Epoch, PassedOverWarning
from .tar_members import open_tar

#: `train-0000.tar`, `imagenet1k-validation-07.tar.gz`
_SHARD_NAME = re.compile(r"(?:[^.].*-)?(?P<split>train|test|val|validation)-\d+\.(?:tar|tar\.gz|tgz)")
#: What may be a shard, also one that is packed in another way or was not fetched to its end; not what goes with one.
_ARCHIVE = re.compile(
    r"[^.].*\.(?:tar|tgz|tbz2?|txz|tzst)(?:\.(?!idx|index|json|md5|sha|sig|asc|txt)\w+)?", re.IGNORECASE
)
_SPLITS = {"train": ("train",), "test": ("test", "val", "validation")}
#: Images among which a shuffled epoch draws the next; also the most that are held in packed form at a time.
SHUFFLE_BUFFER = 4096


def find_shards(folder: Path, split: str) -> list[Path]:
    """Return the shards of a split in the order of their names; none when the folder holds none.

    Parameters
    ----------
    folder : Path
    split : str
        `train`, or `test`, whose shards may also be named `val` or `validation`.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if match := _SHARD_NAME.fullmatch(path.name):
            found.setdefault(match["split"], []).append(path)
    return next((found[name] for name in _SPLITS[split] if name in found), [])


def check_shards(folder: Path, split: str, shards: list[Path]) -> None:
    """Refuse shards that are there twice, and others of the split that would not be read.

    Parameters
    ----------
    folder : Path
    split : str
    shards : list of Path
        Found by `find_shards`.

    Raises
    ------
    BivitError
        Naming two of the files, or one that would be left out.
    """
    stems: dict[str, Path] = {}
    files: dict[Path, Path] = {}
    for path in shards:
        twin = stems.setdefault(path.name.partition(".tar")[0].removesuffix(".tgz"), path)
        check(twin == path, f"{twin} and {path.name} are one shard, plain and packed; remove one of them")
        twin = files.setdefault(path.resolve(), path)
        check(twin == path, f"{twin} and {path.name} are one file, which would be counted twice; remove one of them")
    others = [path.name for path in sorted(folder.iterdir()) if path not in shards and _is_shard_of(path, split)]
    if others:
        message = (
            f"{folder} ({split}): passed over {len(others)} shards of another name of the split: {passed_over(others)}"
        )
        warnings.warn(message, PassedOverWarning, stacklevel=4)
    word = re.compile(rf"(?<![a-z])(?:{'|'.join(_SPLITS[split])})(?![a-z])", re.IGNORECASE)
    for path in sorted(folder.iterdir()):
        check(
            _is_shard_of(path, split) or not (_ARCHIVE.fullmatch(path.name) and word.search(path.name)),
            f"{path} would not be read: shards of the {split} split are tar files, plain or gzip, with one name and a "
            f"number, as {shards[0].name}; rename it, unpack it or move it away",
        )


def _is_shard_of(path: Path, split: str) -> bool:
    match = _SHARD_NAME.fullmatch(path.name)
    return match is not None and match["split"] in _SPLITS[split]


class ShardSource(PictureSource):
    """The images of a list of shards.

    Parameters
    ----------
    name : str
    shards : list of Path
        Tar files, plain or gzip. Of plain ones a process reads only its own images; packed ones each process unpacks
        whole.
    classes : tuple[str, ...] or None
        Names; None counts up to the largest label.
    framing : Framing
    on_broken : str
        See `PictureSource`.
    buffer : int
        Images among which a shuffled epoch draws, see `SHUFFLE_BUFFER`; 1 only shuffles the shards.

    Raises
    ------
    BivitError
        When a shard is cut short, a member is missing or a label is none, naming it.
    """

    def __init__(
        self,
        name: str,
        shards: list[Path],
        classes: tuple[str, ...] | None,
        framing: Framing,
        on_broken: str = "stop",
        buffer: int = SHUFFLE_BUFFER,
    ) -> None:
        check(buffer > 0, f"the shuffle buffer must hold 1 image or more, got {buffer}")
        index = index_shards(shards)
        _check_labels(index, shards, classes)
        classes = classes or tuple(str(label) for label in range(int(index.labels.max(initial=-1)) + 1))
        super().__init__(name, index.labels, classes, framing, on_broken)
        self.shards, self.index, self.buffer = shards, index, buffer
        if str(index.passed):
            warnings.warn(f"{name}: passed over {index.passed}", PassedOverWarning, stacklevel=3)

    def order(self, epoch: Epoch) -> NDArray[np.int64]:
        """Return the indices of all images, int64[n], in the order of one pass."""
        stream = self._stream(epoch)
        return shuffled_through(stream, self.buffer, epoch.rng(1)) if epoch.shuffle else stream

    def _stream(self, epoch: Epoch) -> NDArray[np.int64]:
        """Indices of all images in the order in which the files are read."""
        if not epoch.shuffle:
            return np.arange(len(self))
        starts = self.index.starts
        shards = epoch.rng(0).permutation(len(self.shards))
        return np.concatenate([np.arange(starts[shard], starts[shard + 1]) for shard in shards])

    def pictures(self, indices: NDArray[np.int64], epoch: Epoch) -> Iterator[tuple[str, Opener]]:
        """Give the pictures; see `PictureSource.pictures`. At most `buffer` files are held in memory, none decoded."""
        place = np.empty(len(self), dtype=np.int64)
        place[self._stream(epoch)] = np.arange(len(self))
        contents = self._contents(indices[np.argsort(place[indices])])
        held: dict[int, bytes] = {}
        for wanted in indices.tolist():
            while wanted not in held:
                index, content = next(contents)
                held[index] = content
            content = held.pop(wanted)
            yield self._member(wanted), partial(Image.open, BytesIO(content))

    def _contents(self, indices: NDArray[np.int64]) -> Iterator[tuple[int, bytes]]:
        """Read files, in the order of the indices, in which each shard occurs once and runs forward."""
        shard_of = self.index.shard_of(indices)
        for first, last in _runs(shard_of):
            path = self.shards[shard_of[first]]
            with open_tar(path) as file:
                for index in indices[first:last].tolist():
                    file.seek(int(self.index.offsets[index]))
                    content = file.read(int(self.index.sizes[index]))
                    check(len(content) == self.index.sizes[index], f"{path} has become shorter while it was read")
                    yield index, content

    def _member(self, index: int) -> str:
        shard = int(self.index.shard_of(np.array([index]))[0])
        return f"image {index - self.index.starts[shard]} (from 0) of {self.shards[shard]}"


def shuffled_through(stream: NDArray[np.int64], buffer: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Pass a sequence through a buffer: each step gives a random element of the buffer and lets the next one in.

    Parameters
    ----------
    stream : int64[n]
    buffer : int
        Elements; what comes out at step k is among the first k + `buffer` of the stream.
    rng : numpy.random.Generator

    Returns
    -------
    int64[n]
    """
    held, coming = stream[:buffer].tolist(), stream[buffer:].tolist()
    out = []
    for place, arriving in zip(rng.integers(len(held), size=len(coming)).tolist(), coming, strict=True):
        out.append(held[place])
        held[place] = arriving
    return np.array(out + rng.permutation(held).tolist(), dtype=np.int64)


def _runs(values: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """First and one past the last place of each run of equal values."""
    borders = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return pairwise(borders) if len(values) else iter(())


def _check_labels(index: ShardIndex, shards: list[Path], classes: tuple[str, ...] | None) -> None:
    wrong = np.flatnonzero((index.labels < 0) | (index.labels >= (len(classes) if classes else np.inf)))
    if len(wrong):
        shard = int(index.shard_of(wrong[:1])[0])
        raise BivitError(
            f"the label of image {wrong[0] - index.starts[shard]} (from 0) of {shards[shard]} is "
            f"{index.labels[wrong[0]]}; labels must be 0 to the number of classes - 1"
            + (f", here {len(classes) - 1}" if classes else "")
        )
