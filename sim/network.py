"""The integer network: tensors, checks, and runs over batches of images (docs/network.md)."""

from __future__ import annotations

import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .config import Formats, ModelConfig
from .errors import check
from .forward import Forward
from .pixels import check_pixels
from .prepare import prepare
from .taps import tap_names, tap_shapes
from .tensors import check_tensors
from .workspace import Workspace

__all__ = ["IntNetwork", "RunResult", "check_images", "tap_names", "tap_shapes"]

#: Images that go through the network together: enough to hide Python's overhead, few enough to stay in memory.
CHUNK = 8

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


@dataclass(frozen=True, eq=False)
class IntNetwork:
    """A folded Bi-ViT; its arithmetic is docs/semantics.md.

    Parameters
    ----------
    config : ModelConfig
    formats : Formats
    tensors : dict[str, ndarray]
        Keys, dtypes, shapes and ranges as `sim.tensors.tensor_specs` states.
    provenance : dict
        Where the network came from; free form, JSON values.
    agreement : dict
        What export measured against the model; JSON values.

    Raises
    ------
    BivitError
        When a tensor is missing, unexpected or out of range.
    """

    config: ModelConfig
    formats: Formats
    tensors: dict[str, NDArray[Any]]
    provenance: dict[str, Any] = field(default_factory=dict)
    agreement: dict[str, Any] = field(default_factory=dict)
    #: Those that no thread uses.
    _workspaces: list[Workspace] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        """Check every tensor again; needed only after a change in place.

        Raises
        ------
        BivitError
            Naming the tensor, what is allowed and what was got.
        """
        self.__dict__.pop("_prepared", None)
        check_tensors(self.tensors, self.config, self.formats)

    def run(
        self,
        images: NDArray[np.uint8],
        taps: Collection[str] | Literal["all"] | None = None,
        threads: int | None = None,
    ) -> RunResult:
        """Run images through the network.

        Parameters
        ----------
        images : uint8[B, img_size, img_size, in_chans]
            B at least 1.
        taps : collection of str, "all" or None
            Names of `sim.taps.tap_names` to return.
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
        check_images(images, self.config)
        check(threads is None or threads > 0, f"threads must be 1 or more, or None for one a core, got {threads}")
        wanted = _wanted_taps(taps, self.config)
        workers = threads or os.cpu_count() or 1
        # A batch of fewer than `CHUNK` images a core is shared out evenly.
        size = min(CHUNK, -(-len(images) // workers))
        chunks = [images[start : start + size] for start in range(0, len(images), size)]
        run = partial(self._run_chunk, self._prepared, wanted)
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

    def predict(self, images: NDArray[np.uint8]) -> Int64s:
        """Return the class of each image, int64[B]: the lowest index of the largest logit.

        Raises
        ------
        BivitError
            As `run`.
        """
        return self.run(images).logits.argmax(axis=1)

    @cached_property
    def _prepared(self) -> dict[str, Any]:
        return prepare(self.config, self.tensors)

    def _run_chunk(self, prepared: dict[str, Any], wanted: Collection[str], images: NDArray[np.uint8]) -> RunResult:
        try:
            workspace = self._workspaces.pop()
        except IndexError:
            workspace = Workspace()
        forward = Forward(self.config, self.formats, prepared, wanted, workspace)
        logits = forward(images)
        self._workspaces.append(workspace)
        return RunResult(logits, forward.taps, forward.saturations, forward.empty_rows)


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


def _wanted_taps(taps: Collection[str] | Literal["all"] | None, config: ModelConfig) -> list[str]:
    if taps is None:
        return []
    known = tap_names(config)
    if taps == "all":
        return known
    check(not isinstance(taps, str), f"taps must be 'all' or a collection of names, got {taps!r}")
    unknown = sorted(set(taps) - set(known))
    check(not unknown, f"there are no taps {', '.join(unknown)}; `bivit.sim.taps.tap_names` lists the names")
    return [name for name in known if name in set(taps)]
