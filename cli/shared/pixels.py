"""Chooses the images that a network is run on: of a data set, or random pixels where none is named or would fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ...sim.errors import check
from .common import open_images
from .net import Net

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ...model.data.source import Source
    from ...sim.network.config import ModelConfig

#: Name of images of uniform noise, in results.
RANDOM = "random pixels"
#: Bytes of random images at most; they are made in memory.
_MOST_BYTES = 1 << 30

DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="`digits`, an .npz file, or a folder: idx files, CIFAR batches, tar shards or train/CLASS/ images. When "
        "left out: the digits for a network file of their shape, random pixels for others.",
    ),
]


def test_source(net: Net, data: str | None, count: int, seed: int) -> Source:
    """Open the test images of a data set, or make `count` images of random pixels.

    Parameters
    ----------
    net : Net
        What they are for.
    data : str or None
        Name of a data set; None takes the digits for a file whose network has their shape, random pixels else.
    count : int
        Random images to make.
    seed : int
        Of random pixels.

    Raises
    ------
    BivitError
        When the data set does not fit the network.
    """
    config = net.config
    name = data or ("digits" if net.path is not None and _takes_digits(config) else None)
    if name is not None:
        return open_images(name, "test", config)
    import numpy as np

    from ...model.data.dataset import Dataset

    labels, classes = np.zeros(max(count, 0), np.int64), tuple(map(str, range(config.num_classes)))
    return Dataset(RANDOM, random_pixels(config, count, seed), labels, classes)


def random_pixels(config: ModelConfig, count: int, seed: int) -> NDArray[np.uint8]:
    """Return images of uniform noise, uint8[count, H, W, C]; the same for the same seed.

    Raises
    ------
    BivitError
        When count or seed are too small, or the images would not fit into memory.
    """
    import numpy as np

    check(count >= 1, f"images must be 1 or more, got {count}")
    check(seed >= 0, f"seed must be 0 or more, got {seed}")
    shape = (config.img_size, config.img_size, config.in_chans)
    most = _MOST_BYTES // int(np.prod(shape))
    check(count <= most, f"there are at most {most} images of random pixels of this size, got {count}; give --data")
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def _takes_digits(config: ModelConfig) -> bool:
    return (config.img_size, config.in_chans, config.num_classes) == (8, 1, 10)
