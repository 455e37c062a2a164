"""Streams of array operations: their numbers, and how far they fill the array."""

import pytest

from bivit.sim.flow.streams import Part, Stream, TileShape
from bivit.sim.network.presets import vit_preset


def test_a_tile_of_deit_tiny_on_33_by_32() -> None:
    shape = TileShape(vit_preset("deit_tiny"), 33, 32)
    assert shape.tiles == 6
    assert shape.tile_rows == (33,) * 6
    assert [shape.operations[stream] for stream in Stream] == [21, 6, 6, 24, 6, 18]
    assert [shape.steps[stream] for stream in Stream] == [1, 4, 3, 3, 12, 3]
    assert sum(shape.operations.values()) == 81
    assert shape.tile_steps == 261


@pytest.mark.parametrize(
    ("network", "rows", "columns", "packing"),
    [
        ("deit_tiny", 33, 32, 0.970),
        ("deit_tiny", 25, 64, 0.949),
        ("deit_tiny", 4, 16, 0.966),
        ("deit_small", 33, 32, 0.983),
        ("deit_base", 33, 32, 0.991),
        ("digits", 4, 16, 0.970),
        ("fashion", 4, 16, 0.911),
        ("cifar", 4, 16, 1.0),
    ],
)
def test_what_padding_leaves(network: str, rows: int, columns: int, packing: float) -> None:
    assert TileShape(vit_preset(network), rows, columns).packing == pytest.approx(packing, abs=6e-4)


def test_queries_keys_and_values_take_turns_and_keys_come_first() -> None:
    order = TileShape(vit_preset("deit_tiny"), 33, 32).qkv_order
    for part in Part:
        assert [group for one, group in order if one is part] == list(range(6))
    last = {part: max(place for place, (one, _) in enumerate(order) if one is part) for part in Part}
    assert last[Part.KEY] < last[Part.QUERY] < last[Part.VALUE]
    assert all(part is Part.VALUE for part, _ in order[2::3])


def test_the_last_tile_has_the_rest_of_the_tokens() -> None:
    assert TileShape(vit_preset("fashion"), 4, 16).tile_rows == (4,) * 12 + (1,)
