"""The reference: runs of the integer network by numba kernels over batches of images (docs/reference.md)."""

from __future__ import annotations

import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..errors import check
from ..network.network import IntNetwork
from ..network.run_result import RunResult, check_images, wanted_taps
from .forward import Forward
from .prepare import prepare
from .workspace import Workspace

#: Images that go through the network together: enough to hide Python's overhead, few enough to stay in memory.
IMAGES_A_GROUP = 8


def run_reference(
    network: IntNetwork,
    images: NDArray[np.uint8],
    taps: Collection[str] | Literal["all"] | None = None,
    threads: int | None = None,
) -> RunResult:
    """Run images through a network.

    Parameters
    ----------
    network : IntNetwork
    images : uint8[B, img_size, img_size, in_chans]
        B at least 1.
    taps : collection of str, "all" or None
        Names of `sim.network.taps.tap_names` to return.
    threads : int or None
        At most this many run at a time, 1 or more; one a core when None. The result does not depend on it.

    Returns
    -------
    RunResult

    Raises
    ------
    BivitError
        When the images' dtype or shape is wrong, a tap's name is unknown or `threads` is below 1.
    """
    check_images(images, network.config)
    check(threads is None or threads > 0, f"threads must be 1 or more, or None for one a core, got {threads}")
    wanted = wanted_taps(taps, network.config)
    workers = threads or os.cpu_count() or 1
    # A batch of fewer than `IMAGES_A_GROUP` images a core is shared out evenly.
    size = min(IMAGES_A_GROUP, -(-len(images) // workers))
    chunks = [images[start : start + size] for start in range(0, len(images), size)]
    run = partial(_prepared(network).run, wanted)
    if len(chunks) == 1 or workers == 1:
        results = list(map(run, chunks))
    else:
        # The kernels release the interpreter lock, so threads over images use every core.
        with ThreadPoolExecutor(workers) as pool:
            results = list(pool.map(run, chunks))
    return RunResult(
        logits=np.concatenate([result.logits for result in results]),
        taps={name: np.concatenate([result.taps[name] for result in results]) for name in wanted},
        saturations=sum(result.saturations for result in results),
        empty_rows=sum(result.empty_rows for result in results),
    )


class _Prepared:
    """What is made once for a network: its tensors as the kernels read them, and memory for a few images a thread."""

    def __init__(self, network: IntNetwork) -> None:
        self._config, self._formats = network.config, network.formats
        self._tensors: dict[str, Any] = prepare(network.config, network.tensors)
        #: Those that no thread uses.
        self.workspaces: list[Workspace] = []

    def run(self, wanted: Collection[str], images: NDArray[np.uint8]) -> RunResult:
        try:
            workspace = self.workspaces.pop()
        except IndexError:
            workspace = Workspace()
        forward = Forward(self._config, self._formats, self._tensors, wanted, workspace)
        logits = forward(images)
        self.workspaces.append(workspace)
        return RunResult(logits, forward.taps, forward.saturations, forward.empty_rows)


#: As long as the network lives; it holds no network.
_PREPARED: WeakKeyDictionary[IntNetwork, _Prepared] = WeakKeyDictionary()


def _prepared(network: IntNetwork) -> _Prepared:
    if network not in _PREPARED:
        _PREPARED[network] = _Prepared(network)
    return _PREPARED[network]
