"""The search: never worse than a named engine, smaller where less is asked for, and what it says of the impossible."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from bivit.sim.errors import BivitError
from bivit.sim.estimate.choice import too_small
from bivit.sim.estimate.devices import DEVICES, device
from bivit.sim.estimate.resources import estimate_resources, images_per_s
from bivit.sim.explore.aim import Aim, Exploration
from bivit.sim.explore.search import candidates, explore, explore_all
from bivit.sim.explore.streaming import with_streamed_weights
from bivit.sim.flow.presets import FLOW_ENGINES
from bivit.sim.mapping.cycles import long_run_cycles
from bivit.sim.mapping.loads import loads_of
from bivit.sim.mapping.program import flow_cycles
from bivit.sim.mapping.shipped import shipped_cycles, table_of
from bivit.sim.network.formats import Formats
from bivit.sim.network.presets import vit_preset


def aim(*nets: str, fps: float | None = None, latency: bool = False, clock_mhz: float | None = None) -> Aim:
    return Aim(tuple(map(vit_preset, nets)), Formats(), fps=fps, latency=latency, clock_mhz=clock_mhz)


@cache
def fastest(net: str, target: str) -> Exploration:
    return explore(device(target), aim(net))


@pytest.mark.parametrize(("net", "target"), [("digits", "lfe5u-85f"), ("digits", "xc7a100t")])
def test_no_named_engine_that_fits_is_faster(net: str, target: str) -> None:
    config, found = vit_preset(net), fastest(net, target)
    best = found.best
    assert best.point.fits
    assert found.target.name == target
    for flow in FLOW_ENGINES.values():
        suited = flow.in_fabric(device(target).fabric)
        if too_small(config, Formats(), suited) or not estimate_resources(suited, target).fits:
            continue
        shipped = shipped_cycles(config, flow)
        if shipped is not None:
            assert best.interval_cycles <= shipped[1]
    assert [one.images_per_s for one in (best, *found.others)] == sorted(
        (one.images_per_s for one in (best, *found.others)), reverse=True
    )


def test_cycles_are_those_of_the_cycle_model() -> None:
    best = fastest("digits", "lfe5u-85f").best
    config, flow = vit_preset("digits"), best.point.flow
    table = table_of(config, flow)
    assert best.cycles == flow_cycles(config, flow, table, 1).total
    assert best.interval_cycles == long_run_cycles(config, flow, table)
    assert best.images_per_s == images_per_s(best.interval_cycles, device("lfe5u-85f").clock_mhz)
    assert loads_of(config, flow).bound <= best.interval_cycles


def test_a_speed_takes_less_of_the_device() -> None:
    most = fastest("digits", "lfe5u-85f")
    less = explore(device("lfe5u-85f"), aim("digits", fps=most.best.images_per_s / 4))
    assert less.best.images_per_s >= most.best.images_per_s / 4
    assert less.best.point.fullest < most.best.point.fullest


def test_a_single_image_is_no_slower_than_on_what_is_fastest() -> None:
    quick = explore(device("lfe5u-85f"), aim("digits", latency=True))
    named = [one for one in quick.others if one.name]
    assert all(quick.best.cycles <= one.cycles for one in quick.others)
    assert named, "named engines are compared"


def test_weights_are_streamed_where_they_do_not_fit() -> None:
    """By a port with time to spare; all of them fit then, and the engine is a legal one with as many banks of x."""
    asked = aim("digits")
    resident = candidates(device("lfe5u-85f"), asked)
    streamed = with_streamed_weights(resident, asked)
    assert len(streamed) == sum(name is None for name in resident.values())
    for flow in streamed:
        loads = loads_of(vit_preset("digits"), flow)
        assert flow.streamed
        assert flow.edge_banks == flow.images
        assert flow.memory_bits == 512 or loads.cycles["memory"] <= 0.8 * loads.bound
    assert {flow.memory_bits for flow in streamed} > {64}


@pytest.mark.slow
def test_a_network_whose_weights_do_not_fit_is_answered() -> None:
    """DeiT-Small on a ZCU102: faster than from any engine that holds them, which there is none that fits."""
    found = explore(device("zcu102"), aim("deit_small"))
    flow = found.best.point.flow
    assert flow.streamed
    assert found.best.point.fits
    assert not estimate_resources(replace(flow, weights="resident"), "zcu102").fits
    assert found.best.images_per_s > 3000


def test_the_clock_counts() -> None:
    found = explore(device("lfe5u-85f"), aim("digits", clock_mhz=10.0))
    assert found.best.point.clock_mhz == 10.0
    assert found.best.interval_cycles == fastest("digits", "lfe5u-85f").best.interval_cycles


def test_the_smallest_device_that_suffices() -> None:
    found = explore_all(aim("digits", fps=100))
    assert found.best.images_per_s >= 100
    smaller = [one for one in DEVICES.values() if one.family and (one.luts or 0) < (found.target.luts or 0)]
    for target in smaller:
        with pytest.raises(BivitError):
            explore(target, aim("digits", fps=100))


def test_one_that_is_not_estimated_is_refused() -> None:
    with pytest.raises(BivitError, match=r"no estimates for GateMate.*lfe5u-25f"):
        explore(device("ccgm1a1"), aim("digits"))


def test_a_network_that_is_too_large_is_refused() -> None:
    with pytest.raises(BivitError, match=r"no engine for this fits LFE5U-25F.*takes .*BRAM [0-9]+ %"):
        explore(device("lfe5u-25f"), aim("deit_tiny"))


def test_a_speed_that_is_impossible_names_the_fastest() -> None:
    most = fastest("digits", "lfe5u-85f").best.images_per_s
    with pytest.raises(BivitError, match=rf"gives 10,000,000 images/s .* the fastest gives {most:,.0f}"):
        explore(device("lfe5u-85f"), aim("digits", fps=1e7))


def test_the_smallest_device_needs_a_speed() -> None:
    with pytest.raises(BivitError, match="--fps"):
        explore_all(aim("digits"))
