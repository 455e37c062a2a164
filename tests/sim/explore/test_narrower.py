"""Engines whose logic is too large: parts are made narrower, those that bind least first, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from bivit.sim.estimate.devices import Device, device
from bivit.sim.explore.aim import Aim
from bivit.sim.explore.narrower import could_narrow, narrower
from bivit.sim.explore.points import Point, point_of
from bivit.sim.explore.search import explore
from bivit.sim.explore.sizing import Wish, dense_choices, sized
from bivit.sim.network.formats import Formats
from bivit.sim.network.presets import vit_preset

CONFIGS = [vit_preset("deit_tiny")]
TARGET = device("xcvc1902")
#: A device whose look-up tables take no products.
POOR = replace(TARGET, luts=400_000)
#: What may change.
WIDTHS = ("norm_lanes", "head_norm_lanes", "softmax_lanes", "value_rows", "drain_rows")


def point_on(target: Device) -> Point:
    flow = sized(CONFIGS, Formats(), Wish(40, 32, 2, 0.95), target.fabric)
    assert flow is not None
    return point_of(CONFIGS, flow, target, target.clock_mhz)


@pytest.fixture(scope="module")
def large() -> Point:
    """An array whose embedding takes more multipliers than there are."""
    return point_on(TARGET)


def test_products_go_into_look_up_tables_where_these_are_enough(large: Point) -> None:
    assert set(large.over) == {"dsps"}
    found = narrower(CONFIGS, large, inf)
    assert found is not None
    assert found.fits
    assert found.flow == replace(large.flow, products_per_dsp=0)
    assert found.loads == large.loads


def test_the_embedding_is_narrowed_until_all_fits() -> None:
    large = point_on(POOR)
    assert large.loads.binds == "array"
    assert could_narrow(large)
    found = narrower(CONFIGS, large, inf)
    assert found is not None
    assert found.fits
    assert found.loads.binds == "dense"
    dense = {"dense_patches": found.flow.dense_patches, "dense_channels": found.flow.dense_channels}
    lanes = {name: getattr(found.flow, name) for name in WIDTHS}
    assert found.flow == replace(large.flow, **dense, **lanes)
    # No choice of products that is faster fits.
    for patches, width in dense_choices(CONFIGS, large.flow.engine.lanes):
        other = replace(found.flow, dense_patches=patches, dense_channels=width)
        rival = point_of(CONFIGS, other, POOR, POOR.clock_mhz)
        assert not rival.fits or rival.loads.bound >= found.loads.bound
    # One that may take no more cycles is found, one that has to be faster is not.
    assert narrower(CONFIGS, large, found.loads.bound) == found
    assert narrower(CONFIGS, large, found.loads.bound - 1) is None


def test_lanes_are_narrowed_where_they_are_too_many() -> None:
    """Of four rows of eight columns the norms' four lanes have too many multipliers for a small device."""
    digits, target = [vit_preset("digits")], replace(device("lfe5u-45f"), luts=32_000)
    flow = sized(digits, Formats(), Wish(4, 8, 2, 0.95), target.fabric)
    assert flow is not None
    point = point_of(digits, flow, target, target.clock_mhz)
    assert could_narrow(point)
    found = narrower(digits, point, inf)
    assert found is not None
    assert found.fits
    assert found.flow.norm_lanes < flow.norm_lanes
    assert found.loads.bound > point.loads.bound


def test_nothing_is_narrowed_where_that_is_not_what_is_too_large(large: Point) -> None:
    assert not could_narrow(point_on(replace(TARGET, dsps=10_000)))
    assert not could_narrow(point_on(replace(TARGET, brams=100)))
    few = point_on(replace(TARGET, dsps=10))
    assert not could_narrow(few)
    assert narrower(CONFIGS, few, inf) is None


def test_a_search_finds_one_that_is_faster_than_all_that_fit_as_they_are() -> None:
    """On a small device: three rows of eight columns fit as they are, wider arrays with narrower norms alone."""
    found = explore(device("lfe5u-45f"), Aim((vit_preset("digits"),), Formats()))
    by_shape = {one.point.shape: one for one in reversed((found.best, *found.others))}
    assert found.best.interval_cycles < by_shape["3x8x64"].interval_cycles
    assert found.best.point in found.points
    assert found.best.point.report.fits
