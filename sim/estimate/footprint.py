"""What the resources of a unit follow from: sizes that its logic grows with, its memories, its multiplications."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..engine.pipeline import Product
from ..engine.words import Memory
from .ram import Ram


@dataclass(frozen=True)
class Footprint:
    """One unit of an engine.

    The logic's look-up tables and flip-flops are a weighted sum of the sizes; the weights are fitted to synthesis
    results by `hw.synthesis.calibrate` and kept in `sim.estimate.constants`. Memories and multipliers follow rules.

    Parameters
    ----------
    sizes : mapping of str to float
        What the logic grows with, by name.
    rams : tuple of Ram
        Its memories.
    products : tuple of Product
        Its multiplications, one an entry.
    """

    sizes: Mapping[str, float]
    rams: tuple[Ram, ...] = ()
    products: tuple[Product, ...] = field(default=())


def rams_of(memories: Iterable[Memory]) -> tuple[Ram, ...]:
    """Return memories as the rules of `ram` take them.

    Parameters
    ----------
    memories : iterable of Memory
    """
    return tuple(
        Ram(one.width, one.depth, write_bits=one.write_bits, readers=one.readers, style=one.style) for one in memories
    )


def weighted_sum(sizes: Mapping[str, float], weights: Mapping[str, float] | None) -> float | None:
    """Return the sum of sizes times weights; None when a weight is not known.

    >>> weighted_sum({"unit": 1, "lane": 8}, {"unit": 20.0, "lane": 3.5})
    48.0
    >>> weighted_sum({"unit": 1}, {}) is None
    True
    """
    weights = weights or {}
    if any(name not in weights for name in sizes):
        return None
    return float(sum(weights[name] * size for name, size in sizes.items()))
