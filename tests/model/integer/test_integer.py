"""The torch integer mode equals the numba reference on every tap, and any changed tensor is noticed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from models import random_images
from shapes import MODES, TINY

from bivit.model.integer.run import IMAGES_A_PASS, run_integer
from bivit.model.vit import operators
from bivit.sim.errors import BivitError
from bivit.sim.network.formats import Formats
from bivit.sim.network.network import IntNetwork
from bivit.sim.network.random import random_network
from bivit.sim.network.run_result import RunResult
from bivit.sim.reference.run import run_reference


def first_difference(one: RunResult, two: RunResult) -> str | None:
    """Name of the first tap that differs, None when all are equal."""
    assert list(one.taps) == list(two.taps)
    return next((name for name in one.taps if not np.array_equal(one.taps[name], two.taps[name])), None)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", [0, 1])
def test_equal_to_the_reference(mode: str, seed: int) -> None:
    network = random_network(MODES[mode], seed=seed)
    images = random_images(network.config, IMAGES_A_PASS + 3, seed)
    expected, got = run_reference(network, images, taps="all"), run_integer(network, images)
    assert first_difference(expected, got) is None
    assert all(tap.dtype == np.int64 for tap in got.taps.values())
    assert np.array_equal(got.logits, expected.logits)
    assert (got.saturations, got.empty_rows) == (expected.saturations, expected.empty_rows)


def test_equal_where_the_residual_saturates() -> None:
    network = random_network(TINY, Formats(residual_bits=12, residual_frac_bits=8), seed=3)
    tensors = network.tensors | {"blocks.0.mlp.fc2.bias": np.full(16, 2000, dtype=np.int32)}
    network = replace(network, tensors=tensors)
    images = random_images(network.config, 4)
    expected, got = run_reference(network, images, taps="all"), run_integer(network, images)
    assert got.saturations == expected.saturations > 0
    assert first_difference(expected, got) is None


@pytest.mark.parametrize(
    ("key", "tap"),
    [
        ("patch_embed.proj.weight", "patch_embed"),
        ("blocks.0.attn.qkv.weight", "blocks.0.attn.qkv"),
        ("blocks.0.attn.proj.scale", "blocks.0.add1"),
        ("blocks.1.mlp.fc1.weight", "blocks.1.mlp.fc1"),
        ("head.weight", "head"),
    ],
)
def test_a_changed_tensor_shows_at_its_tap(key: str, tap: str) -> None:
    network = random_network(TINY)
    images = random_images(TINY, 4)
    changed = dict(network.tensors)
    changed[key] = changed[key].copy()
    changed[key].flat[0] ^= changed[key].dtype.type(1)
    other = IntNetwork(network.config, network.formats, changed)
    assert first_difference(run_reference(network, images, taps="all"), run_integer(other, images)) == tap


def test_taps_can_be_chosen() -> None:
    network = random_network(TINY)
    images = random_images(TINY, 2)
    assert run_integer(network, images, taps=None).taps == {}
    assert list(run_integer(network, images, taps=["pool", "patch_embed"]).taps) == ["patch_embed", "pool"]
    with pytest.raises(BivitError, match="no taps nowhere"):
        run_integer(network, images, taps=["pool", "nowhere"])
    with pytest.raises(BivitError, match="no images"):
        run_integer(network, images[:0])


def test_isqrt_is_the_floor_around_squares() -> None:
    roots = torch.tensor([1, 2, 3, 1000, 94906266, 2**26 + 1, 2**31 - 1])
    squares = roots * roots
    assert operators.isqrt(squares).tolist() == roots.tolist()
    assert operators.isqrt(squares - 1).tolist() == (roots - 1).tolist()
    assert operators.isqrt(squares + 2 * roots).tolist() == roots.tolist()
