"""Data sets in one `.npz` file of numpy arrays, whose headers are checked before an array is read."""

from __future__ import annotations

import math
import os
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ...sim.errors import BivitError, check
from .picture_files import SUFFIXES
from .source import PassedOverWarning

#: Arrays of images and of their labels.
_PAIRS = (("images", "labels"), ("test_images", "test_labels"))
_KNOWN = {*_PAIRS[0], *_PAIRS[1], "classes"}
#: The least that deflate makes of many bytes is this share of them.
_DEFLATE = 1032
#: What to do with files of other kinds.
_FOLDER = "give the folder that holds it"
_INSTEAD = {".npy": "write images and labels into one file with numpy.savez"}
_INSTEAD |= dict.fromkeys((*SUFFIXES, ".tar", ".tgz", ".gz", ".txt", ".csv", ".bin"), _FOLDER)


@dataclass(frozen=True)
class _Header:
    """What the file says of one array."""

    member: zipfile.ZipInfo
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of a data set, and check that those that belong together fit.

    Parameters
    ----------
    path : Path
        Holds `images` [n, ...] and `labels` (integers [n]); may hold `test_images`, `test_labels` and `classes`.

    Returns
    -------
    dict[str, array]
        With `test_labels` whenever there are `test_images`.

    Raises
    ------
    BivitError
        When the file cannot be read, an array is missing, two do not fit, or images would be left out.
    """
    try:
        with path.open("rb") as handle, zipfile.ZipFile(handle) as archive:
            headers = _headers(path, archive)
            _check_names(path, headers)
            for images, labels in _PAIRS:
                if images in headers or images == "images":
                    _check_pair(path, headers, images, labels)
            return {key: _array(path, archive, key, headers[key]) for key in headers if key in _KNOWN}
    except BivitError:
        raise
    except Exception as error:  # A damaged archive can make its readers raise anything.
        instead = _INSTEAD.get(path.suffix.lower(), "write it with numpy.savez")
        raise BivitError(f"{path} is not a readable .npz file ({error}); {instead}") from error


def _headers(path: Path, archive: zipfile.ZipFile) -> dict[str, _Header]:
    """Shape and type of every array, from the first bytes of each."""
    headers: dict[str, _Header] = {}
    for member in archive.infolist():
        key = member.filename.removesuffix(".npy")
        check(key not in headers, f"{path} holds the array {key!r} twice; write it again")
        with archive.open(member) as file:
            headers[key] = _header(path, key, member, file)
    return headers


def _header(path: Path, key: str, member: zipfile.ZipInfo, file: IO[bytes]) -> _Header:
    """Read one header and check that the array has as many bytes as it says, before any memory is taken for it."""
    version = npy.read_magic(file)
    check(version in ((1, 0), (2, 0)), f"{path} holds the array {key!r} in version {version} of the format")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    check(
        not dtype.hasobject,
        f"{key} in {path} holds Python objects, which are not loaded; save it as an array of numbers or text",
    )
    sizes = all(type(length) is int and length >= 0 for length in shape)
    needed = math.prod(shape) * dtype.itemsize if sizes else -1
    held = member.file_size - file.tell()
    check(
        needed == held and held <= _DEFLATE * (member.compress_size + 1),
        f"{key} in {path} is damaged: it says {dtype} {list(shape)}, which is not what its {held} bytes hold",
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    check(
        needed <= memory,
        f"{key} in {path} takes {needed / 2**30:.1f} GiB, above the {memory / 2**30:.1f} GiB of this machine; "
        "write tar shards, which are read in parts",
    )
    return _Header(member, shape, dtype)


def _array(path: Path, archive: zipfile.ZipFile, key: str, header: _Header) -> NDArray[Any]:
    with archive.open(header.member) as file:
        array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
        # Only at its end does an archive compare the check sum.
        check(not file.read(1), f"{key} in {path} is damaged: bytes follow it")
    return array


def _check_names(path: Path, headers: dict[str, _Header]) -> None:
    """Refuse arrays that look like images of a split but are not read; name the others."""
    others = sorted(headers.keys() - _KNOWN)
    alike = [key for key in others if key.lower().endswith(("images", "labels")) or key.lower() in ("x", "y")]
    known = ", ".join(sorted(_KNOWN))
    check(
        not alike or "images" not in headers,
        f"{path} holds {', '.join(alike)}, which would not be read; the arrays of a data set are {known}: "
        "rename or remove it",
    )
    check(
        "test_labels" not in headers or "test_images" in headers,
        f"{path} holds test_labels but no test_images; add them, or remove the labels",
    )
    if others and "images" in headers:
        warnings.warn(
            f"{path}: passed over {len(others)} arrays that are not part of a data set: {', '.join(others[:5])}",
            PassedOverWarning,
            stacklevel=4,
        )


def _check_pair(path: Path, headers: dict[str, _Header], images: str, labels: str) -> None:
    """Check that two arrays of a file are there and belong together."""
    for key in (images, labels):
        check(key in headers, f"{path} needs the array {key!r}, got {', '.join(headers) or 'none'}")
    of_images, of_labels = headers[images], headers[labels]
    check(
        len(of_labels.shape) == 1 and of_labels.dtype.kind in "iu",
        f"{labels} in {path} must be integers [n], got {of_labels.dtype} {list(of_labels.shape)}",
    )
    check(
        of_images.shape[:1] == of_labels.shape,
        f"{path} needs one label an image, got {images} {list(of_images.shape)} and {labels} {list(of_labels.shape)}",
    )
