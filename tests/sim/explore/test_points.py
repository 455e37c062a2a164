"""Points: what fits, what is made of something else so that it fits, and which ones nothing beats."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bivit.sim.estimate.devices import device
from bivit.sim.explore.aim import Aim
from bivit.sim.explore.points import Point, could_spread, front, leaner, point_of, spread, with_images
from bivit.sim.explore.search import candidates
from bivit.sim.flow.presets import FLOW_ENGINES
from bivit.sim.mapping.loads import loads_of, memory_bytes, with_waits
from bivit.sim.network.formats import Formats
from bivit.sim.network.presets import vit_preset

DIGITS, TINY = vit_preset("digits"), vit_preset("deit_tiny")


def points_on(name: str) -> list[Point]:
    target = device(name)
    flows = candidates(target, Aim((DIGITS,), Formats()))
    return [point_of([DIGITS], flow, target, target.clock_mhz) for flow in flows]


def test_the_front_has_no_point_that_another_beats() -> None:
    points = points_on("lfe5u-85f")
    best = front(points)
    assert 1 < len(best) < len(points)
    for one in best:
        for other in points:
            no_worse = other.most_images_per_s >= one.most_images_per_s and other.fullest <= one.fullest
            better = other.most_images_per_s > one.most_images_per_s or other.fullest < one.fullest
            assert not (no_worse and better)
    for other in points:
        assert any(one.most_images_per_s >= other.most_images_per_s and one.fullest <= other.fullest for one in best)
    assert [one.most_images_per_s for one in best] == sorted((one.most_images_per_s for one in best), reverse=True)


def test_the_slowest_network_counts() -> None:
    target = device("lfe5u-85f")
    flow = FLOW_ENGINES["ulx3s"]
    both = point_of([DIGITS, vit_preset("fashion")], flow, target, 50.0)
    assert both.loads == loads_of(vit_preset("fashion"), flow)
    assert both.most_images_per_s == 50e6 / both.loads.bound


def test_memories_are_made_of_something_else_where_that_helps() -> None:
    target = device("k26")
    plain = replace(FLOW_ENGINES["kv260"], block_memories=(), lut_memories=())
    point = point_of([TINY], plain, target, 250.0)
    assert not point.fits
    assert could_spread(point)
    found = spread(point)
    assert found is not None
    assert found.fits
    assert found.loads == point.loads
    assert found.flow == replace(plain, block_memories=found.flow.block_memories, lut_memories=found.flow.lut_memories)


def test_memories_leave_more_of_the_device_where_they_fill_it_most() -> None:
    points = [point for point in points_on("lfe5u-85f") if point.fits]
    for point in points:
        less = leaner(point)
        assert less.fullest <= point.fullest
        assert less.loads == point.loads
        full = max(point.report.utilisation, key=lambda name: point.report.utilisation[name] or 0)
        assert (less == point) or full == "brams"
    assert any(leaner(point).fullest < point.fullest for point in points)


def test_what_lacks_logic_is_not_helped_by_other_memories() -> None:
    point = point_of([TINY], FLOW_ENGINES["zcu102"], device("xc7a35t"), 100.0)
    assert not point.fits
    assert not could_spread(point)


def test_more_images_in_flight_leave_the_loads() -> None:
    point = point_of([DIGITS], FLOW_ENGINES["ulx3s"], device("lfe5u-85f"), 50.0)
    more = with_images([DIGITS], point, 3)
    assert (more.flow.images, more.loads) == (3, loads_of(DIGITS, more.flow))
    assert more.report != point.report


def test_more_images_in_flight_share_streamed_weights() -> None:
    flow = replace(FLOW_ENGINES["kv260"], weights="streamed", edge_banks=2)
    point = point_of([TINY], flow, device("k26"), 250.0)
    more = with_images([TINY], point, 4)
    assert (more.flow.edge_banks, more.loads.cycles["memory"]) == (4, point.loads.cycles["memory"] // 2)


def test_a_memory_that_is_slower_than_its_port_bounds_an_engine() -> None:
    flow = replace(FLOW_ENGINES["kv260"], weights="streamed", edge_banks=2)
    target = device("k26")
    free, slow = (point_of([TINY], flow, target, 250.0, gb_s) for gb_s in (None, 0.1))
    assert free.loads.binds != "memory"
    assert slow.loads.binds == "memory"
    # Whatever the clock, the weights of 0.1 GB a second are those of so many images.
    assert slow.most_images_per_s == pytest.approx(0.1e9 / memory_bytes(TINY, flow), rel=1e-3)
    assert with_waits(TINY, flow, 1, 1.0, slow.loads) == pytest.approx((2 * slow.loads.bound, slow.loads.bound))
    resident = point_of([TINY], FLOW_ENGINES["kv260"], target, 250.0)
    assert with_waits(TINY, resident.flow, 1, 1.0, resident.loads) == (1, 1.0)
