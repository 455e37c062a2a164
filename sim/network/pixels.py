"""The type of images: stored pixels, which the network normalises itself (docs/semantics.md, paragraph 1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BivitError


def check_pixels(images: NDArray[Any], name: str = "images") -> None:
    """Refuse images that are not uint8.

    Parameters
    ----------
    images : uint8[...]
    name : str
        Begins the message.

    Raises
    ------
    BivitError
        With the dtype that was got, how many elements are NaN, and how to convert.
    """
    if images.dtype == np.uint8:
        return
    message = f"{name} must be uint8 pixels of 0 to 255, got {images.dtype}"
    if not np.issubdtype(images.dtype, np.floating):
        raise BivitError(f"{message}; convert them with images.clip(0, 255).astype(np.uint8)")
    missing = int(np.isnan(images).sum())
    found = f" with {missing} NaN, which are no pixels: find out where they come from, then" if missing else ";"
    raise BivitError(
        f"{message}{found} convert them with np.rint(images).clip(0, 255).astype(np.uint8), images * 255 where they "
        "are 0 to 1; undo a normalisation before that"
    )
