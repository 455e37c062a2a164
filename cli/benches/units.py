"""Where the time of the integer network goes: each kernel timed from outside, on one core."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from ...sim.reference import attention, context, forward, patches, sign_norms
from ...sim.reference import numbers as norms
from ...sim.reference import products as kernels
from ...sim.reference.run import run_reference
from .job import ModelJob
from .models import network_and_images
from .results import UnitRow

#: What `sim.reference.forward` calls, by the module that it finds it in.
_UNITS: tuple[tuple[ModuleType, tuple[str, ...]], ...] = (
    (kernels, ("binary_linear", "threshold_sign", "head_signs")),
    (attention, ("attention",)),
    (context, ("context", "value_signs")),
    (norms, ("residual_add", "normalise", "classify", "pool", "affine")),
    (patches, ("image_patches", "patch_embed")),
    (sign_norms, ("sign_norm", "head_norm")),
    (forward, ("to_windows", "to_raster", "merge_neighbours")),
)


@contextmanager
def _timed(spent: dict[str, float]) -> Iterator[None]:
    """Put a clock around every unit."""

    def clocked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            start = time.thread_time()
            try:
                return function(*arguments)
            finally:
                spent[name] = spent.get(name, 0.0) + time.thread_time() - start

        return call

    plain = [(module, name, getattr(module, name)) for module, names in _UNITS for name in names]
    try:
        for module, name, function in plain:
            setattr(module, name, clocked(name, function))
        yield
    finally:
        for module, name, function in plain:
            setattr(module, name, function)


def bench_units(name: str, batch: int, rounds: int) -> list[UnitRow]:
    """Split the time of a preset's integer network by units.

    Parameters
    ----------
    name : str
    batch : int
    rounds : int
        The fastest one counts.

    Returns
    -------
    list of UnitRow
        The largest first.
    """
    network, images = network_and_images(ModelJob(name, batch, 1, rounds, ()))
    run_reference(network, images, threads=1)
    best: dict[str, float] = {}
    for _ in range(rounds):
        spent: dict[str, float] = {}
        with _timed(spent):
            start = time.thread_time()
            run_reference(network, images, threads=1)
            spent["total"] = time.thread_time() - start
        best = spent if not best or spent["total"] < best["total"] else best
    total = best.pop("total")
    best["rest"] = total - sum(best.values())
    return [
        UnitRow(name=name, unit=unit, ms_per_image=1e3 * seconds / batch, share=seconds / total)
        for unit, seconds in sorted(best.items(), key=lambda item: -item[1])
    ]
