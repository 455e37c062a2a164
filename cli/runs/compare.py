"""Comparison of two implementations tensor by tensor, as the report shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...sim.errors import check
from ...sim.network.network import IntNetwork
from ...sim.network.taps import tap_names
from ...sim.reference.run import run_reference

#: Images compared together.
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
        Elements that differ, by tensor in hardware order; tensors without any are left out.
    """

    images: int
    tensors: int
    differing: dict[str, int]


def compare_taps(network: IntNetwork, taps_of: TapsOf, images: NDArray[np.uint8], batch: int = _BATCH) -> Comparison:
    """Compare every tap of an implementation with the reference's, on every image.

    Parameters
    ----------
    network : IntNetwork
        The reference.
    taps_of : callable
        The other implementation: uint8[B, H, W, C] to its taps, named and shaped as the reference's.
    images : uint8[B, H, W, C]
    batch : int
        Images compared together: all their tensors are in memory twice.

    Returns
    -------
    Comparison

    Raises
    ------
    BivitError
        When the implementation's taps have other names or shapes than the reference's.
    """
    differing: dict[str, int] = {}
    for start in range(0, len(images), batch):
        some = images[start : start + batch]
        expected, got = run_reference(network, some, taps="all").taps, taps_of(some)
        check(set(got) == set(expected), f"taps differ in name: {', '.join(sorted(set(got) ^ set(expected)))}")
        for name, tensor in expected.items():
            check(
                got[name].shape == tensor.shape,
                f"{name} must have the shape {list(tensor.shape)}, got {list(got[name].shape)}",
            )
            wrong = int(np.count_nonzero(got[name] != tensor))
            if wrong:
                differing[name] = differing.get(name, 0) + wrong
    names = tap_names(network.config)
    return Comparison(len(images), len(names), {name: differing[name] for name in names if name in differing})
