"""A small network, images for it and what a cluster makes of them, for tests of `bivit run --scheduler`."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from shapes import random_images

from bivit.cli.runs.classify import Runner
from bivit.model.data.source import Batch
from bivit.sim.network.file import save_network
from bivit.sim.network.presets import preset
from bivit.sim.network.random import random_network

CONFIG = preset("digits")
NETWORK = random_network(CONFIG, seed=3)
LABELS = np.random.default_rng(1).integers(0, 10, 40)
IMAGES = random_images(CONFIG, 40)


def write_data(folder: Path) -> Path:
    """A network file and a data set for it, in `folder`."""
    save_network(NETWORK, folder / "net.safetensors")
    arrays = {"images": IMAGES, "labels": np.arange(40) % 10, "test_images": IMAGES, "test_labels": LABELS}
    np.savez(folder / "data.npz", **arrays)
    return folder


def batches(size: int = 4) -> Iterator[Batch]:
    """All images, `size` at a time."""
    for start in range(0, len(IMAGES), size):
        yield Batch(IMAGES[start : start + size], LABELS[start : start + size], {})


def results(runner: Runner) -> list[tuple[list[int], list[int], int, int]]:
    """Labels, predictions and counts of every batch."""
    rows = [(done.labels.tolist(), done.result) for done in runner(batches())]
    return [(labels, got.predictions.tolist(), got.saturations, got.empty_rows) for labels, got in rows]


def wait_until(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Wait for what another process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
