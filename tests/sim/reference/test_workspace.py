"""Memory of a forward pass (sim/reference/workspace.py)."""

import numpy as np
from shapes import MODES, SWIN, random_images

from bivit.sim.network.random import random_network
from bivit.sim.reference.run import IMAGES_A_GROUP, _prepared, run_reference
from bivit.sim.reference.workspace import Workspace


def test_arrays_of_a_name_share_memory_that_grows_when_it_must() -> None:
    workspace = Workspace()
    first = workspace("acc", (4, 6), np.int16)
    assert workspace("acc", (4, 6), np.int16) is first
    assert (first.shape, first.dtype, workspace.nbytes) == ((4, 6), np.int16, 48)
    narrow = workspace("acc", (2, 3), np.int64)
    assert np.shares_memory(first, narrow)
    assert workspace.nbytes == 48
    assert not np.shares_memory(first, workspace("rows", (4, 6), np.int16))
    wide = workspace("acc", (7, 7), np.int64)
    assert not np.shares_memory(first, wide)
    assert np.shares_memory(wide, workspace("acc", (4, 6), np.int16))
    assert workspace.nbytes == 7 * 7 * 8 + 48


def test_images_after_the_first_allocate_nothing() -> None:
    for config in (MODES["softmax"], SWIN):
        network, images = random_network(config), random_images(config, IMAGES_A_GROUP)
        one = run_reference(network, images, threads=1).logits  # each thread has a workspace of its own
        (workspace,) = _prepared(network).workspaces
        held, arrays = workspace.nbytes, dict(workspace._arrays)
        assert np.array_equal(run_reference(network, images, threads=1).logits, one)
        assert _prepared(network).workspaces == [workspace]
        assert (workspace.nbytes, workspace._arrays) == (held, arrays)


def test_what_one_run_leaves_in_memory_is_not_seen_by_the_next() -> None:
    network = random_network(SWIN, seed=4)
    images = random_images(SWIN, 5)
    alone = [run_reference(network, image[np.newaxis], taps="all") for image in images]
    for count in (5, 3):
        together = run_reference(network, images[:count], taps="all")
        for name, tap in together.taps.items():
            assert np.array_equal(tap, np.concatenate([result.taps[name] for result in alone[:count]])), name
