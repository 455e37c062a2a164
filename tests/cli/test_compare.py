"""The tensor-by-tensor comparison of the report: it finds a single different element and names its tensor."""

import numpy as np
import pytest
from numpy.typing import NDArray

from bivit.cli.runs.compare import Comparison, compare_taps
from bivit.sim.errors import BivitError
from bivit.sim.network.presets import preset
from bivit.sim.network.random import random_network
from bivit.sim.reference.run import run_reference

NETWORK = random_network(preset("digits"), seed=5)
IMAGES = np.random.default_rng(6).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)


def taps_of(images: NDArray[np.uint8]) -> dict[str, NDArray[np.int64]]:
    return run_reference(NETWORK, images, taps="all").taps


def test_equal_implementations_agree() -> None:
    tensors = len(taps_of(IMAGES[:1]))
    assert compare_taps(NETWORK, taps_of, IMAGES) == Comparison(images=20, tensors=tensors, differing={})


def test_single_elements_in_two_batches_are_counted() -> None:
    def wrong(images: NDArray[np.uint8]) -> dict[str, NDArray[np.int64]]:
        taps = taps_of(images)
        taps["blocks.1.attn.scores"][-1, 0, 3, 4] += 1
        return taps

    assert compare_taps(NETWORK, wrong, IMAGES).differing == {"blocks.1.attn.scores": 2}


def test_a_missing_tensor_is_refused() -> None:
    def partial(images: NDArray[np.uint8]) -> dict[str, NDArray[np.int64]]:
        taps = taps_of(images)
        del taps["norm.q"]
        return taps

    with pytest.raises(BivitError, match=r"taps differ in name: norm\.q"):
        compare_taps(NETWORK, partial, IMAGES)


def test_another_shape_is_refused() -> None:
    def transposed(images: NDArray[np.uint8]) -> dict[str, NDArray[np.int64]]:
        return taps_of(images) | {"pool": np.zeros((len(images), 128), np.int64)}

    with pytest.raises(BivitError, match=r"pool must have the shape \[16, 1, 128\], got \[16, 128\]"):
        compare_taps(NETWORK, transposed, IMAGES)
