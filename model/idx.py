"""The idx files of MNIST and Fashion-MNIST (yann.lecun.com/exdb/mnist), plain or gzipped."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..sim.errors import BivitError, check

_PREFIXES = {"train": "train", "test": "t10k"}


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
    try:
        content = gzip.decompress(path.read_bytes()) if path == zipped else path.read_bytes()
        zero, kind, rank, *shape = struct.unpack(f">HBB{axes}I", content[: 4 + 4 * axes])
    except (OSError, EOFError, struct.error, zlib.error) as error:
        raise BivitError(f"{path} is not a readable idx file ({error}); fetch it again") from error
    data = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * axes)
    expected = int(np.prod(shape, dtype=np.int64))
    check(
        (zero, kind, rank) == (0, 8, axes) and data.size == expected,
        f"{path} is not an idx file of bytes with {axes} axes, or is cut short; fetch it again",
    )
    # A copy, because what lies in a bytes object cannot be written, of which torch warns.
    return data.reshape(shape).copy()
