"""Description of the array: times of an operation by its way, and shapes of its memories."""

from array_model import array_unit

from bivit.sim.engine.words import WORD


def test_an_operation_takes_its_steps_and_leaves_after_the_pipeline() -> None:
    unit = array_unit(rows=5, drain_rows=2, norm_lanes=8, value_rows=2)
    times = unit.times(100, 3, 4)
    assert (times.free, times.read) == (103, 103)
    assert (times.signs, times.sums, times.sums_end) == (112, 113, 115)  # words of 2, 2 and 1 rows
    assert (times.rows, times.rows_end) == (114, 116)  # two pairs of rows, and a cycle for their sums
    assert times.sums == times.free + unit.capture
    assert times.signs == times.sums + unit.bits


def test_writers_wait_for_the_rows_of_a_whole_tile() -> None:
    assert [array_unit(value_rows=side).writer_gap for side in (1, 2, 4)] == [7, 5, 4]


def test_banks_are_as_many_as_rows_side_by_side_of_any_writer() -> None:
    banks = {}
    for drain, lanes, values in ((1, 8, 1), (3, 24, 1), (2, 16, 4)):
        unit = array_unit(drain_rows=drain, head_norm_lanes=lanes, value_rows=values)
        banks[lanes] = (unit.key_banks, unit.value_banks)
    assert banks == {8: (1, 1), 24: (4, 1), 16: (4, 4)}


def test_memories_hold_64_bits_of_every_row_and_column() -> None:
    unit = array_unit(rows=5, columns=16, head_norm_lanes=8, value_rows=2)
    memories = unit.memories
    assert {memories[name].width for name in ("norm", "query", "attention", "bits")} == {5 * WORD}
    for kind in ("keys", "values"):
        assert sum(memory.width for name, memory in memories.items() if name.startswith(f"{kind}_")) == 16 * WORD
    few = array_unit(rows=5, columns=16, tokens=11, value_rows=2).memories  # a word has as many tokens as there can be
    assert [few[f"values_{bank}"].width for bank in range(2)] == [8 * 16] * 2
    assert (memories["query"].write_bits, memories["bits"].write_bits, memories["keys_0"].write_bits) == (16, 16, 16)
    assert set(unit.load_memories) == {"weights", "preload"}
