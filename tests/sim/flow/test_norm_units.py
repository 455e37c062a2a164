"""Descriptions of the norms' units in the dataflow: shapes of jobs, and their times as recurrences."""

from flow_norms import flow_config

from bivit.sim.flow.head_norm import HeadNormUnit
from bivit.sim.flow.residual_add import ResidualAddUnit
from bivit.sim.flow.sign_norm import SignNormUnit


def test_shapes_follow_from_lanes() -> None:
    shapes = {}
    for lanes, drain in ((4, 1), (8, 1), (16, 4)):
        unit = ResidualAddUnit(flow_config(drain_rows=drain, norm_lanes=lanes))
        shapes[lanes] = (unit.side, unit.columns, unit.parts, unit.most_groups, unit.drain_parts, unit.root_pace)
    assert shapes == {4: (1, 4, 2, 5, 2, 2), 8: (1, 8, 1, 5, 1, 1), 16: (2, 8, 1, 3, 2, 2)}


def test_a_job_is_as_long_as_its_row_groups_but_not_too_short() -> None:
    unit = ResidualAddUnit(flow_config(drain_rows=4, norm_lanes=16))
    assert [unit.length(rows) for rows in (1, 5)] == [3, 3]
    assert ResidualAddUnit(flow_config(drain_rows=1, norm_lanes=4)).length(5) == 10


def test_jobs_wait_for_sums_and_for_each_other() -> None:
    unit = ResidualAddUnit(flow_config(drain_rows=1, norm_lanes=8))
    assert [unit.times(5, 100, free).start for free in (0, 110)] == [103, 110]
    roots = unit.roots(5, summed=50, free=0)
    assert (roots.start, roots.free, roots.rooted) == (51, 56, 51 + unit.root_stage)


def test_a_norm_takes_no_fewer_cycles_than_its_roots() -> None:
    unit = SignNormUnit(flow_config(drain_rows=4, norm_lanes=16))
    apply = unit.times(rows=5, channels=8, rooted=100, free=0)
    assert (apply.start, apply.free - apply.start) == (99, 3 * 2)  # one word a row group, but two rows
    assert unit.times(rows=5, channels=32, rooted=100, free=0).free - 99 == 3 * 4
    assert unit.times(rows=5, channels=32, rooted=100, free=0, credit=150).start == 152


def test_the_pipelines_of_head_norm_wait_for_sums_and_roots() -> None:
    unit = HeadNormUnit(flow_config(dim=64, drain_rows=2, norm_lanes=8, head_norm_lanes=16))
    first = unit.times(5, 32, 100, 0, 0)
    assert (first.start, first.free, first.rooted) == (103, 103 + 3 * 4, 103 + 3 + unit.root_stage + 1)
    assert first.apply_start == first.rooted + 1 - unit.stats_read_stage
    second = unit.times(5, 8, 101, first.free, first.apply_free)
    assert (second.start, second.free) == (first.free, first.free + 3 * 2)  # one word a row group, but two rows
    assert second.apply_start == first.apply_free


def test_of_a_parameter_word_one_pipeline_has_the_scales_alone() -> None:
    for lanes, beats in ((1, (1, 1)), (4, (2, 1)), (8, (3, 1)), (16, (3, 1))):
        unit = HeadNormUnit(flow_config(dim=64, drain_rows=2, norm_lanes=8, head_norm_lanes=lanes))
        assert tuple(memory.beats for memory in unit.load_memories.values()) == beats
