"""Where each image of a list of tar shards lies: found by reading all headers once, and kept in the user's cache."""

from __future__ import annotations

import codecs
import hashlib
import posixpath
import tarfile
import time
from collections.abc import Collection, Container
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...sim.errors import BivitError, check
from ...sim.system.caches import cache_folder
from ...sim.system.files import whole_file
from .dataset import MOST_CLASSES
from .picture_files import SUFFIXES, passed_over, refuse_unread
from .tar_members import damage_named, members, open_tar

_LABEL = "cls"
#: Bytes that no label has.
_LONGEST_LABEL = 64
#: What the index holds; an older one is not recalled.
_VERSION = 2
#: Clocks of file systems stand still for up to this long, in seconds; some count whole seconds only.
_TICK, _COARSE_TICK = 0.02, 2.5


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
    passed : str
        How many members are neither a picture nor its label, and which; empty for none.
    """

    starts: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: NDArray[np.int64]
    passed: NDArray[np.str_]

    def __post_init__(self) -> None:
        columns = (self.offsets, self.sizes, self.labels)
        check(
            all(column.dtype == np.int64 and column.ndim == 1 for column in (self.starts, *columns))
            and all(len(column) == self.starts[-1] for column in columns),
            "the index does not fit itself",
        )

    def shard_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the shard, int64[m], in which each of the images int64[m] lies."""
        return np.searchsorted(self.starts, indices, side="right") - 1


@dataclass(frozen=True)
class _Shard:
    """What one shard holds: name without suffix, and offset, size and label, of each image; what is passed over."""

    keys: list[str]
    rows: NDArray[np.int64]
    passed: list[str]


def index_shards(shards: list[Path]) -> ShardIndex:
    """Index shards, or recall the index of earlier if none of the files has changed since.

    The index is kept in the cache folder (`sim.system.caches`); where nothing can be written, it is made again each
    time.

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
    fresh = _settle(shards)
    cached = _cache_file(shards)
    if cached is not None:
        # Whatever is wrong with what was kept, it can be made again.
        with suppress(Exception), cached.open("rb") as handle, np.load(handle, allow_pickle=False) as arrays:
            return ShardIndex(**arrays)
    parts = [_scan(path) for path in shards]
    _refuse_copies(shards, parts)
    index = _join(parts)
    if cached is not None and not fresh:
        with suppress(BivitError):  # A cache that cannot be written only costs time.
            _save(cached, index)
    return index


def _settle(shards: list[Path]) -> bool:
    """Wait until a later change of a shard shows in its times; whether that takes too long, so nothing may be kept."""
    changed = max(path.stat().st_ctime_ns for path in shards)
    age = time.time() - changed / 1e9
    if changed % 10**9 == 0 and 0 <= age < _COARSE_TICK:
        return True
    time.sleep(min(max(_TICK - age, 0), _TICK))
    return False


def _cache_file(shards: list[Path]) -> Path | None:
    """Name of the cached index; it differs when any shard does, also one of the same size and date. None: no cache."""
    states = [(path.resolve(), path.stat()) for path in shards]
    facts = [(str(path), s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for path, s in states]
    digest = hashlib.sha256(repr((_VERSION, facts)).encode("utf-8", "surrogateescape")).hexdigest()
    folder = cache_folder("shards")
    return None if folder is None else folder / f"{digest[:32]}.npz"


def _save(path: Path, index: ShardIndex) -> None:
    """Write the index whole or not at all; processes that do so at once do not disturb one another."""
    with whole_file(path) as partial, partial.open("wb") as handle:
        np.savez(handle, **vars(index))


def _join(parts: list[_Shard]) -> ShardIndex:
    """Index of all shards from those of each."""
    rows = np.concatenate([part.rows for part in parts])
    starts = np.cumsum([0, *(len(part.rows) for part in parts)], dtype=np.int64)
    names = [name for part in parts for name in part.passed]
    passed = f"{len(names)} members that are no picture with a label: {passed_over(names)}" if names else ""
    offsets, sizes, labels = (np.ascontiguousarray(column) for column in rows.T)
    return ShardIndex(starts, offsets, sizes, labels, np.array(passed))


def _scan(path: Path) -> _Shard:
    """Find the images of one shard, in the order of the pictures."""
    pictures: dict[str, tarfile.TarInfo] = {}
    labels: dict[str, int] = {}
    passed: list[str] = []
    with damage_named(path), open_tar(path) as file:
        for member in members(path, file):
            # WebDataset's key ends at the first dot; what belongs together here has one name up to the last.
            name = posixpath.normpath(member.name)
            key, _, suffix = name.rpartition(".")
            suffix = suffix.lower()
            if member.isdir():
                continue
            if any(part.startswith(".") for part in name.split("/")):
                passed.append(f"{member.name} in {path.name}")
            elif f".{suffix}" in SUFFIXES:
                _check_new(path, member, key, pictures, "pictures")
                pictures[key] = member
            elif suffix == _LABEL:
                _check_new(path, member, key, labels, "labels")
                labels[key] = _label(path, member, file)
            else:
                refuse_unread(name, f"{member.name} in {path}")
                passed.append(f"{member.name} in {path.name}")
    passed += _set_aside(path, pictures, labels)
    rows = [(member.offset_data, member.size, labels[key]) for key, member in pictures.items()]
    return _Shard(list(pictures), np.array(rows, dtype=np.int64), passed)


def _check_new(path: Path, member: tarfile.TarInfo, key: str, known: Container[str], what: str) -> None:
    check(member.isfile(), f"{member.name} in {path} is a link or no file; pack the shard again with tar -h")
    check(key not in known, f"{path} holds two {what} named {key}; keep one")


def _set_aside(path: Path, pictures: dict[str, tarfile.TarInfo], labels: dict[str, int]) -> list[str]:
    """Take out what belongs to another image, as `1.seg.png` to `1.png`; `BivitError` when anything else is alone."""
    pairs = pictures.keys() & labels.keys()
    alone = sorted(pictures.keys() ^ labels.keys())
    extra = [key for key in alone if _webdataset_key(key) in pairs]
    strange = [key for key in alone if _webdataset_key(key) not in pairs]
    check(bool(pairs or alone), f"{path} holds no pictures; members must be named KEY.jpg (or .png) and KEY.cls")
    if strange:
        key = strange[0]
        has, lacks = (pictures[key].name, "label") if key in pictures else (f"{key}.{_LABEL}", "picture")
        raise BivitError(f"{path} holds {has}, but no {lacks} of the same name; {len(strange)} members stand alone")
    names = [pictures[key].name if key in pictures else f"{key}.{_LABEL}" for key in extra]
    for key in extra:
        pictures.pop(key, None)
        labels.pop(key, None)
    return [f"{name} in {path.name}" for name in names]


def _webdataset_key(key: str) -> str:
    folder, slash, name = key.rpartition("/")
    return folder + slash + name.partition(".")[0]


def _label(path: Path, member: tarfile.TarInfo, file: BinaryIO) -> int:
    file.seek(member.offset_data)
    content = file.read(min(member.size, _LONGEST_LABEL))
    # Editors of Windows write a mark before the text.
    text = content.removeprefix(codecs.BOM_UTF8).strip()
    number = text.removeprefix(b"-")
    check(
        number.isdigit() and member.size < _LONGEST_LABEL,
        f"{member.name} in {path} must hold the number of a class as text, got {content[:20]!r}",
    )
    check(
        int(number) < MOST_CLASSES,
        f"{member.name} in {path} holds the label {text[:20].decode()}; labels must be 0 to the number of classes - 1, "
        f"and at most {MOST_CLASSES - 1}",
    )
    return int(text)


def _refuse_copies(shards: list[Path], parts: list[_Shard]) -> None:
    """Refuse an image that is in two shards under one name, with one label and the same bytes."""
    first: dict[tuple[str, int, int], tuple[int, int]] = {}
    twins: list[tuple[tuple[int, int], tuple[int, int]]] = []
    for shard, part in enumerate(parts):
        for place, (key, (_, size, label)) in enumerate(zip(part.keys, part.rows.tolist(), strict=True)):
            other = first.setdefault((key, size, label), (shard, place))
            if other != (shard, place):
                twins.append((other, (shard, place)))
    digests = _digests(shards, parts, {image for pair in twins for image in pair})
    same = [pair for pair in twins if digests[pair[0]] == digests[pair[1]]]
    if same:
        (one, place), (again, _) = same[0]
        raise BivitError(
            f"the image {parts[one].keys[place]} is in {shards[one]} and again in {shards[again]} ({len(same)} such), "
            "and would be counted twice; remove one of the shards, or the image from one"
        )


def _digests(
    shards: list[Path], parts: list[_Shard], images: Collection[tuple[int, int]]
) -> dict[tuple[int, int], bytes]:
    """Digest of the file of each image, given as its shard and its place there; each shard is read once."""
    digests = {}
    for shard, group in groupby(sorted(images), key=lambda place: int(place[0])):
        with damage_named(shards[shard]), open_tar(shards[shard]) as file:
            for image in group:
                offset, size, _ = parts[shard].rows[image[1]].tolist()
                file.seek(offset)
                digests[image] = hashlib.sha256(file.read(size)).digest()
    return digests
