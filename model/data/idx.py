"""The idx files of MNIST and Fashion-MNIST (yann.lecun.com/exdb/mnist), plain or gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from ...sim.errors import BivitError, check

_PREFIXES = {"train": "train", "test": "t10k"}
#: Bytes that are read at a time.
_PART = 1 << 24


def is_idx_folder(folder: Path) -> bool:
    """Return whether a folder holds any of the four files."""
    return any(any(folder.glob(f"{prefix}-*-ubyte*")) for prefix in _PREFIXES.values())


def read_idx(folder: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read the images and labels of one split.

    Parameters
    ----------
    folder : Path
    split : str
        `train` or `test`.

    Returns
    -------
    images, labels : uint8[n, H, W], int64[n]

    Raises
    ------
    BivitError
        When a file is missing, damaged or cut short.
    """
    prefix = _PREFIXES[split]
    images = _read_file(folder, f"{prefix}-images-idx3-ubyte", 3)
    return images, _read_file(folder, f"{prefix}-labels-idx1-ubyte", 1).astype(np.int64)


def _read_file(folder: Path, name: str, axes: int) -> NDArray[np.uint8]:
    plain, zipped = folder / name, folder / f"{name}.gz"
    path = plain if plain.exists() else zipped
    check(path.exists(), f"{folder} has neither {name} nor {name}.gz; a data folder needs the four idx files")
    head = 4 + 4 * axes
    try:
        with cast(IO[bytes], gzip.open(path) if path == zipped else path.open("rb")) as file:
            zero, kind, rank, *shape = struct.unpack(f">HBB{axes}I", file.read(head))
            expected = math.prod(shape)
            data = _read(file, expected + 1)
    except (OSError, EOFError, struct.error, zlib.error) as error:
        raise BivitError(f"{path} is not a readable idx file ({error}); fetch it again") from error
    check(
        (zero, kind, rank) == (0, 8, axes) and len(data) == expected,
        f"{path} is not an idx file of bytes with {axes} axes, or is cut short: its head says {shape}; fetch it again",
    )
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def _read(file: IO[bytes], most: int) -> bytearray:
    """Read up to so many bytes, which may be more than there are: memory is taken for those that come."""
    data = bytearray()
    while part := file.read(min(_PART, most - len(data))):
        data += part
    return data
