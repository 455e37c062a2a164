"""Views of a unit's description for its cost: its memories as `Ram`, and the weighted sum of its features.

The logic's look-up tables and flip-flops are a weighted sum of a unit's features; the weights are fitted to synthesis
results by `hw.synthesis.calibrate` and kept in `sim.estimate.constants`. Memories and multipliers are counted by rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..units.unit import Unit
from .ram import Ram, loadable


def unit_rams(unit: Unit) -> dict[str, Ram]:
    """All memories of a unit, loadable ones included."""
    own = {
        name: Ram(memory.width, memory.depth, write_bits=memory.write_bits, readers=memory.readers)
        for name, memory in unit.memories.items()
    }
    loaded = {name: loadable(memory) for name, memory in unit.load_memories.items()}
    return own | loaded | {name: replace(loaded[name], read_bits=bits) for name, bits in unit.read_bits.items()}


def weighted_sum(features: Mapping[str, float], weights: Mapping[str, float] | None) -> float | None:
    """Return the sum of features times weights; None when a weight is not known.

    >>> weighted_sum({"unit": 1, "lane": 8}, {"unit": 20.0, "lane": 3.5})
    48.0
    >>> weighted_sum({"unit": 1}, {}) is None
    True
    """
    weights = weights or {}
    if any(name not in weights for name in features):
        return None
    return float(sum(weights[name] * size for name, size in features.items()))
