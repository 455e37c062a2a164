"""What every implementation of the network takes and returns: images in, logits and taps out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import check
from .config import ModelConfig
from .pixels import check_pixels
from .taps import tap_names

Int64s = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a run of the network returns.

    Attributes
    ----------
    logits : int64[B, classes]
    taps : dict[str, int64[B, ...]]
        The tensors asked for, under the names of docs/network.md and in its order.
    saturations : int
        Elements of the residual stream that were clamped, over all images.
    empty_rows : int
        Attention rows without a 1, over all images, blocks and heads.
    """

    logits: Int64s
    taps: dict[str, Int64s]
    saturations: int
    empty_rows: int

    @property
    def predictions(self) -> Int64s:
        """Class of each image, int64[B]: the lowest index of the largest logit."""
        return self.logits.argmax(axis=1)


def check_images(images: NDArray[np.uint8], config: ModelConfig) -> None:
    """Refuse anything but one or more uint8 images of the network's size.

    Raises
    ------
    BivitError
        Naming the dtype or shape that is allowed and the one that was got.
    """
    check(isinstance(images, np.ndarray), f"images must be a numpy array, got {type(images).__name__}")
    check_pixels(images)
    expected = (config.img_size, config.img_size, config.in_chans)
    check(
        images.ndim == 4 and images.shape[1:] == expected,
        f"images must have shape [B, {', '.join(map(str, expected))}], got {list(images.shape)}",
    )
    check(len(images) > 0, "there are no images to run; give at least one")


def wanted_taps(taps: Collection[str] | Literal["all"] | None, config: ModelConfig) -> list[str]:
    """Return names of taps in the order of docs/network.md.

    Parameters
    ----------
    taps : collection of str, "all" or None
    config : ModelConfig

    Raises
    ------
    BivitError
        When a name is unknown, or `taps` is another string.
    """
    if taps is None:
        return []
    known = tap_names(config)
    if taps == "all":
        return known
    check(not isinstance(taps, str), f"taps must be 'all' or a collection of names, got {taps!r}")
    unknown = sorted(set(taps) - set(known))
    check(not unknown, f"there are no taps {', '.join(unknown)}; `bivit.sim.network.taps.tap_names` lists the names")
    return [name for name in known if name in set(taps)]
