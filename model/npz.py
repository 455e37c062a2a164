"""Data sets in one `.npz` file of numpy arrays."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..sim.errors import BivitError, check


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
        When the file cannot be read, an array is missing or two do not fit.
    """
    try:
        # Opened here, because numpy leaves a file that is no archive open.
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise BivitError(f"{path} is not a readable .npz file ({error}); write it with numpy.savez") from error
    _check_pair(path, arrays, "images", "labels")
    if "test_images" in arrays:
        _check_pair(path, arrays, "test_images", "test_labels")
    return arrays


def _check_pair(path: Path, arrays: dict[str, NDArray[Any]], images: str, labels: str) -> None:
    """Check that two arrays of a file are there and belong together."""
    for key in (images, labels):
        check(key in arrays, f"{path} needs the array {key!r}, got {', '.join(arrays) or 'none'}")
    check(
        arrays[labels].ndim == 1 and np.issubdtype(arrays[labels].dtype, np.integer),
        f"{labels} in {path} must be integers [n], got {arrays[labels].dtype} {list(arrays[labels].shape)}",
    )
    check(
        arrays[images].shape[:1] == arrays[labels].shape,
        f"{path} needs one label an image, got {images} {list(arrays[images].shape)} and "
        f"{labels} {list(arrays[labels].shape)}",
    )
