"""Where each image of a list of tar shards lies: found by reading all headers once, and kept in the user's cache."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ..sim.caches import cache_folder
from ..sim.errors import BivitError, check
from ..sim.files import whole_file

_PICTURES = ("jpg", "jpeg", "png", "webp", "bmp", "ppm")
_LABEL = "cls"
#: Tar files are made of blocks of this many bytes; the first one without a member is all zero.
_BLOCK = 512


@dataclass(frozen=True)
class ShardIndex:
    """Where each image is, for n images in s shards.

    Attributes
    ----------
    starts : int64[s + 1]
        Index of each shard's first image, and n.
    offsets, sizes : int64[n]
        Of the picture's file, in bytes of the (unpacked) shard.
    labels : int64[n]
    """

    starts: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: NDArray[np.int64]

    def shard_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the shard, int64[m], in which each of the images int64[m] lies."""
        return np.searchsorted(self.starts, indices, side="right") - 1


def open_shard(path: Path) -> BinaryIO:
    """Open a tar file for reading from front to end; what gzip packed is unpacked meanwhile."""
    return cast(BinaryIO, gzip.open(path)) if path.suffix in (".gz", ".tgz") else path.open("rb")


def index_shards(shards: list[Path]) -> ShardIndex:
    """Index shards, or recall the index of earlier if none of the files has changed since.

    The index is kept in the cache folder (`sim.caches`); where nothing can be written, it is made again each time.

    Parameters
    ----------
    shards : list of Path
        Tar files, plain or gzip.

    Returns
    -------
    ShardIndex

    Raises
    ------
    BivitError
        When a shard is cut short or no tar file, has no images, a picture has no label or a label is no number.
    """
    cached = _cache_file(shards)
    if cached is None:
        return _join([_scan(path) for path in shards])
    try:
        with cached.open("rb") as handle, np.load(handle, allow_pickle=False) as arrays:
            return ShardIndex(**arrays)
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile):
        index = _join([_scan(path) for path in shards])
    with suppress(BivitError):  # A cache that cannot be written only costs time.
        _save(cached, index)
    return index


def _cache_file(shards: list[Path]) -> Path | None:
    """Name of the cached index, which differs when any shard does; None where nothing can be kept."""
    states = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in shards]
    digest = hashlib.sha256(repr(states).encode()).hexdigest()
    folder = cache_folder("shards")
    return None if folder is None else folder / f"{digest[:32]}.npz"


def _save(path: Path, index: ShardIndex) -> None:
    """Write the index whole or not at all; processes that do so at once do not disturb one another."""
    with whole_file(path) as partial, partial.open("wb") as handle:
        np.savez(handle, **vars(index))


def _join(parts: list[NDArray[np.int64]]) -> ShardIndex:
    """Index of all shards from those of each: rows of offset, size and label."""
    rows = np.concatenate(parts)
    starts = np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)
    return ShardIndex(starts, *(np.ascontiguousarray(column) for column in rows.T))


def _scan(path: Path) -> NDArray[np.int64]:
    """Offset, size and label of each image of one shard, in the order of the pictures."""
    pictures: dict[str, tarfile.TarInfo] = {}
    labels: dict[str, int] = {}
    try:
        with open_shard(path) as file:
            for member, key, suffix in _members(path, file):
                if suffix in _PICTURES:
                    check(key not in pictures, f"{path} holds two pictures named {key}; keep one")
                    pictures[key] = member
                elif suffix == _LABEL:
                    file.seek(member.offset_data)
                    labels[key] = _label(path, member.name, file.read(member.size))
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BivitError(f"{path} is no whole tar file ({error}); fetch or write it again") from error
    check(bool(pictures), f"{path} holds no pictures; members must be named KEY.jpg (or .png) and KEY.cls")
    alone = sorted(pictures.keys() ^ labels.keys())
    if alone:
        has, lacks = (pictures[alone[0]].name, "label") if alone[0] in pictures else (f"{alone[0]}.cls", "picture")
        raise BivitError(f"{path} holds {has}, but no {lacks} of the same name; {len(alone)} members stand alone")
    rows = [(member.offset_data, member.size, labels[key]) for key, member in pictures.items()]
    return np.array(rows, dtype=np.int64)


def _members(path: Path, file: BinaryIO) -> Iterator[tuple[tarfile.TarInfo, str, str]]:
    """Files of a shard with key and suffix; then check that the shard was not cut off between two of them."""
    end = 0
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            end = member.offset_data + -(-member.size // _BLOCK) * _BLOCK
            folder, slash, name = member.name.rpartition("/")
            if member.isfile() and not name.startswith("."):
                stem, _, suffix = name.partition(".")
                yield member, folder + slash + stem, suffix.lower()
        file.seek(end)
        check(file.read(_BLOCK) == bytes(_BLOCK), f"{path} is cut short or damaged at byte {end}; fetch it again")
        while file.read(1 << 20):
            # What gzip packed is only known to be whole once its check sum at the end has been read.
            pass


def _label(path: Path, name: str, content: bytes) -> int:
    try:
        return int(content)
    except ValueError:
        raise BivitError(f"{name} in {path} must hold the number of a class as text, got {content[:20]!r}") from None
