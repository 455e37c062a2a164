"""Comparison of two implementations tensor by tensor, as the report shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..sim.errors import check
from ..sim.network import IntNetwork

#: Images compared together: all their tensors are in memory twice.
_BATCH = 16

#: Runs images through an implementation; returns every tap by its name.
TapsOf = Callable[[NDArray[np.uint8]], dict[str, NDArray[Any]]]


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Parameters
    ----------
    images : int
        Images compared.
    tensors : int
        Tensors of each image.
    differing : dict of str to int
        Elements that differ, by tensor; tensors without any are left out.
    """

    images: int
    tensors: int
    differing: dict[str, int]


def compare_taps(network: IntNetwork, taps_of: TapsOf, images: NDArray[np.uint8]) -> Comparison:
    """Compare every tap of an implementation with the reference's, on every image.

    Parameters
    ----------
    network : IntNetwork
        The reference.
    taps_of : callable
        The other implementation: uint8[B, H, W, C] to its taps, named and shaped as the reference's.
    images : uint8[B, H, W, C]

    Returns
    -------
    Comparison

    Raises
    ------
    BivitError
        When the implementation's taps have other names or shapes than the reference's.
    """
    differing: dict[str, int] = {}
    tensors = 0
    for start in range(0, len(images), _BATCH):
        batch = images[start : start + _BATCH]
        expected, got = network.run(batch, taps="all").taps, taps_of(batch)
        check(set(got) == set(expected), f"taps differ in name: {', '.join(sorted(set(got) ^ set(expected)))}")
        tensors = len(expected)
        for name, tensor in expected.items():
            check(
                got[name].shape == tensor.shape,
                f"{name} must have the shape {list(tensor.shape)}, got {list(got[name].shape)}",
            )
            wrong = int(np.count_nonzero(got[name] != tensor))
            if wrong:
                differing[name] = differing.get(name, 0) + wrong
    return Comparison(len(images), tensors, differing)
