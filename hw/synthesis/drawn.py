"""Small engines drawn at random: whoever fits the estimates chose none of their widths and limits."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from ...sim.engine.config import EngineConfig
from ...sim.engine.words import ceil_div
from ...sim.flow.config import FlowConfig

#: Most rows of arrays of so many columns: any unit is synthesised in a minute.
_MOST_ROWS = {8: 6, 16: 4, 32: 2}
#: Lanes of HeadNorm, at most.
_MOST_HEAD_LANES = 64
#: Slots of each ring and queue, from the fewest on.
_SLOTS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("residual_slots", "head_slots", "score_slots", "attention_slots"), (2, 8)),
    **dict.fromkeys(("norm_slots", "staging_slots"), (2, 6)),
    **dict.fromkeys(("context_slots", "hidden_slots"), (1, 4)),
}


def drawn_engines(seed: int, count: int) -> dict[str, FlowConfig]:
    """Return engines by name, ``drawn-SEED-NUMBER``: each is drawn by itself, so more of them leave the first as is.

    Parameters
    ----------
    seed, count : int
    """
    return {f"drawn-{seed}-{number}": drawn_engine(Random(f"{seed}-{number}")) for number in range(count)}


def drawn_engine(chance: Random) -> FlowConfig:
    """Return an engine whose every width and limit is drawn, in the number formats that the estimates are fitted to.

    Parameters
    ----------
    chance : Random
    """
    columns = chance.choice((8, 8, 8, 16, 16, 32))
    rows = chance.randint(1, _MOST_ROWS[columns])
    array = _array(chance, rows, columns)
    drain = chance.choice((1, rows, chance.randint(1, rows)))

    def lanes(most: int) -> int:
        """An even part of a row of sums, or whole rows that are drained together."""
        parts = [columns // part for part in (1, 2, 4) if columns // part >= 2]
        whole = [columns * side for side in range(2, drain + 1) if drain % side == 0]
        return chance.choice([count for count in parts + whole if count <= most])

    widths: dict[str, Any] = dict(
        drain_rows=drain,
        norm_lanes=lanes(columns * rows),
        head_norm_lanes=lanes(_MOST_HEAD_LANES),
        softmax_lanes=lanes(columns * rows),
        value_rows=chance.choice((1, 2, 4)),
        images=chance.randint(1, 4),
        dense_patches=chance.randint(1, 4),
        dense_channels=array.lanes * chance.randint(1, ceil_div(32, array.lanes)),
        products_per_dsp=chance.choice((1, 2)),
        edge_banks=chance.choice((1, 2)),
        **{name: chance.randint(least, most) for name, (least, most) in _SLOTS.items()},
    )
    return FlowConfig(engine=array, **widths)


def sampled_units(number: int, units: Sequence[str], count: int) -> tuple[str, ...]:
    """Return which units of a drawn engine are synthesised: `count`, such that all come equally often in the end.

    Parameters
    ----------
    number : int
        Of the engine.
    units : sequence of str
        All of them, a multiple of `count`.
    count : int

    Examples
    --------
    >>> sorted(unit for number in (0, 1) for unit in sampled_units(number, "abcd", 2))
    ['a', 'b', 'c', 'd']
    """
    round_, place = divmod(number, len(units) // count)
    order = Random(round_).sample(units, len(units))
    return tuple(order[place * count : (place + 1) * count])


def _array(chance: Random, rows: int, columns: int) -> EngineConfig:
    """Return an array with the limits of a model."""
    lanes = chance.choice([count for count in (8, 16, 32) if count <= columns])
    pixel_bytes = chance.choice((1, 2, 4, 8))
    patch_dim, classes = chance.randint(4, 300), chance.randint(2, 120)
    return EngineConfig(
        rows=rows,
        columns=columns,
        lanes=lanes,
        dense_lanes=lanes,
        max_tokens=chance.randint(4, 200),
        max_embed_dim=lanes * chance.randint(1, ceil_div(256, lanes)),
        max_hidden_dim=lanes * chance.randint(1, ceil_div(1024, lanes)),
        max_heads=chance.randint(1, 6),
        max_depth=chance.randint(1, 6),
        max_classes=classes,
        max_patch_dim=patch_dim,
        max_strip_bytes=pixel_bytes * ceil_div(patch_dim * chance.randint(1, 8), pixel_bytes),
        program_words=1 << chance.randint(6, 9),
        pixel_bytes=pixel_bytes,
        queue_logits=classes + chance.randint(1, 1000),
    )
