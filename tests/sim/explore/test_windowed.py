"""Engines with windows that are sized for Swins: they hold them, with widths that matter, and the best one is found."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from random import Random

import pytest

from bivit.sim.errors import BivitError
from bivit.sim.estimate.choice import too_small
from bivit.sim.estimate.devices import device
from bivit.sim.explore.aim import Aim, Exploration
from bivit.sim.explore.ceilings import ceilings
from bivit.sim.explore.points import point_of
from bivit.sim.explore.search import candidates, explore, explore_all
from bivit.sim.explore.sizing import Wish, sized, wishes
from bivit.sim.explore.streaming import with_streamed_edge, with_streamed_weights
from bivit.sim.explore.windowed import SLACKS, TOGETHER, fitted, in_flight, windowed, with_groups
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.machine import all_settings, load_memories
from bivit.sim.flow.presets import FLOW_ENGINES
from bivit.sim.mapping.compiled import compile_for
from bivit.sim.mapping.cycles import speed_of
from bivit.sim.mapping.loads import loads_of
from bivit.sim.mapping.pass_limits import with_windows
from bivit.sim.network.config import ModelConfig, SwinConfig
from bivit.sim.network.formats import Formats
from bivit.sim.network.presets import preset
from bivit.sim.network.random import random_network

FASHION, CIFAR, TINY = preset("swin_fashion"), preset("swin_cifar"), preset("swin_tiny")
#: A stage of small patches behind another, scores in place of the softmax, thresholds in place of the norms of heads.
SMALL = SwinConfig(
    img_size=16,
    patch_size=1,
    num_classes=7,
    embed_dim=16,
    depths=(1, 2),
    num_heads=(1, 2),
    window_size=4,
    qk_mode="threshold",
    attn_mode="score",
)


def asked(*configs: ModelConfig, fps: float | None = None, latency: bool = False) -> Aim:
    return Aim(configs, Formats(), fps=fps, latency=latency)


@cache
def fastest(net: str, target: str) -> Exploration:
    return explore(device(target), asked(preset(net)))


@cache
def flows_for(*configs: ModelConfig) -> dict[FlowConfig, str | None]:
    return candidates(device("k26"), asked(*configs))


@pytest.mark.parametrize("config", [FASHION, CIFAR, SMALL])
def test_sized_engines_hold_their_swin_and_no_more(config: ModelConfig) -> None:
    flows = [flow for flow, name in flows_for(config).items() if name is None]
    assert len(flows) > 20
    assert {(flow.windows.images, flow.edge_banks) for flow in flows if flow.windows} == set(TOGETHER)
    for flow in flows:
        assert flow.windows is not None
        assert not too_small(config, Formats(), flow)
        assert flow == with_windows(flow, config, images=flow.windows.images), "limits are those of the network"


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, qk_mode="layernorm", attn_mode="softmax")])
def test_a_network_can_be_loaded_into_its_sized_engine(config: ModelConfig) -> None:
    """Settings are within their bits, also those of norms of heads that the network has not."""
    flow = next(flow for flow in flows_for(config) if flow not in FLOW_ENGINES.values())
    program = compile_for(random_network(config, seed=1), flow)
    assert [*program.settings] == [*all_settings(flow)]
    assert {"settings", "slots", "places", "head_norm"} <= set(program.words) <= set(load_memories(flow))


def test_swin_tiny_takes_columns_that_its_mergings_allow() -> None:
    assert {wish.columns for wish in wishes([TINY], (2,), (0.95,))} == {8, 16, 32}
    assert {wish.rows for wish in wishes([TINY], (2,), (0.95,))} >= {1, 7, 25, 49}
    assert [in_flight([TINY], rows) for rows in (49, 25, 17, 7, 1)] == [8, 6, 4, 2, 2]


@pytest.mark.parametrize("slack", [0.95, 1.75])
def test_a_part_that_is_less_idle_than_asked_has_its_best_width(slack: float) -> None:
    """In every pass over blocks; where no width is enough, none makes the part less busy."""
    widths = {"norm_lanes": ("residual_add", "sign_norm"), "head_norm_lanes": ("head_norm",)}
    for rows, columns in ((7, 16), (25, 32), (49, 32)):
        flow = sized([TINY], Formats(), Wish(rows, columns, in_flight([TINY], rows), slack), "lut6")
        assert flow is not None
        passes = [of for of in loads_of(TINY, flow).passes if "row_writer" in of]
        for field, parts in widths.items():
            late = any(of[part] > slack * of["array"] for of in passes for part in parts)
            found = {one.part: one for one in ceilings([TINY], point_of([TINY], flow, device("xcu50"), 250.0))}
            assert not late or any(found[part].wider is None for part in parts), (rows, field)


@pytest.mark.parametrize(("net", "engine"), [("swin_tiny", "swin"), ("swin_tiny", "swin_zcu102"), ("digits", "sim")])
def test_passes_come_in_turn_and_bound_the_cycles(net: str, engine: str) -> None:
    config, flow = preset(net), FLOW_ENGINES[engine]
    loads = loads_of(config, flow)
    for part in loads.passes[0]:
        assert loads.cycles[part] == sum(of.get(part, 0) for of in loads.passes)
    assert loads.in_turn == sum(max(of.values()) for of in loads.passes)
    assert max(loads.cycles.values()) <= loads.bound <= speed_of(config, Formats(), flow)[1]
    assert (loads.bound > max(loads.cycles.values())) == (net == "swin_tiny")


def test_rows_lie_side_by_side_only_where_parts_of_the_memory_are_found() -> None:
    flow = sized([FASHION], Formats(), Wish(7, 8, 2, 0.95), "lut6")
    assert flow is not None
    two = fitted([FASHION], replace(flow, norm_lanes=16, drain_rows=6, head_norm_lanes=8, softmax_lanes=8))
    assert two.windows is not None
    assert flow.windows is not None
    for _ in range(2):  # the second time what was found is remembered
        with pytest.raises(BivitError, match="no way is found to have 4 rows of x side by side"):
            fitted([FASHION], replace(two, norm_lanes=32, drain_rows=4))


def test_groups_share_all_but_images_and_banks() -> None:
    flow = sized([CIFAR], Formats(), Wish(16, 16, 3, 0.95), "lut6")
    assert flow is not None
    found = list(with_groups([CIFAR], flow))
    assert len(found) == len(TOGETHER)
    assert len({replace(one, edge_banks=2, windows=None) for one in found}) == 1
    assert list(with_groups([preset("digits")], FLOW_ENGINES["sim"])) == [FLOW_ENGINES["sim"]]
    assert not windowed([preset("digits"), preset("deit_tiny")])


@pytest.mark.parametrize("net", ["swin_fashion", "swin_cifar"])
def test_the_fastest_has_exact_cycles_and_beats_the_named_engines(net: str) -> None:
    config, found = preset(net), fastest(net, "xcu50")
    best = found.best
    assert best.point.fits
    assert (best.cycles, best.interval_cycles) == speed_of(config, Formats(), best.point.flow)
    assert best.point.loads.bound <= best.interval_cycles
    named = [one for one in found.names.values() if one]
    assert named, "named engines are compared"
    for name in named:
        assert best.interval_cycles < speed_of(config, Formats(), FLOW_ENGINES[name])[1]


def test_a_speed_takes_less_of_the_device_and_an_image_alone_is_quicker() -> None:
    most = explore(device("xcu50"), asked(SMALL)).best
    less = explore(device("xcu50"), asked(SMALL, fps=most.images_per_s / 4)).best
    assert most.images_per_s / 4 <= less.images_per_s < most.images_per_s
    assert less.point.fullest < most.point.fullest
    quick = explore(device("xcu50"), asked(SMALL, latency=True))
    assert all(quick.best.cycles <= one.cycles for one in (most, *quick.others))


def test_the_smallest_device_that_suffices_a_swin() -> None:
    found = explore_all(asked(SMALL, fps=1000))
    assert found.best.images_per_s >= 1000
    assert found.best.point.fits
    with pytest.raises(BivitError, match="no device is enough"):
        explore_all(asked(SMALL, fps=1e9))


def test_one_engine_holds_a_swin_and_a_deit() -> None:
    digits = preset("digits")
    found = explore(device("xcu50"), asked(SMALL, digits, fps=2000))
    flow = found.best.point.flow
    assert flow.windows is not None
    assert not any(too_small(config, Formats(), flow) for config in (SMALL, digits))
    slower = min((SMALL, digits), key=lambda one: -speed_of(one, Formats(), flow)[1])
    assert found.best.config == slower
    assert found.best.interval_cycles == speed_of(slower, Formats(), flow)[1]


def test_weights_are_streamed_in_turn() -> None:
    aim = asked(SMALL)
    streamed = with_streamed_weights(flows_for(SMALL), aim)
    assert len(streamed) == sum(name is None for name in flows_for(SMALL).values())
    for flow in streamed:
        loads = loads_of(SMALL, flow)
        assert flow.streamed
        assert flow.edge_banks <= 2
        assert flow.memory_bits == 512 or loads.cycles["memory"] <= 0.8 * loads.bound
        assert not too_small(SMALL, Formats(), flow)
    with_streamed_edge(streamed, aim)  # an option that engines with windows may not have is none, and no error


def test_what_no_engine_holds_says_why() -> None:
    wide = replace(SMALL, embed_dim=64, num_heads=(1, 2))
    with pytest.raises(BivitError, match=r"choose 32 or fewer"):
        explore(device("xcu50"), asked(wide))


def test_a_device_on_which_windows_are_not_estimated_is_refused_with_others() -> None:
    with pytest.raises(
        BivitError, match=r"takes of LFE5U-85F \(ULX3S\) is not known.*are zu3eg, k26, zu7ev, zu9eg, xcu50"
    ):
        explore(device("lfe5u-85f"), asked(SMALL))


def test_a_swin_that_is_too_large_names_the_nearest_and_a_device_for_it() -> None:
    with pytest.raises(BivitError, match=r"no engine for this fits XCZU3EG.*nearest, an array of .*M.* it fits XCU50"):
        explore(device("zu3eg"), asked(TINY))


@pytest.mark.slow
def test_no_random_engine_is_faster() -> None:
    """Of a thousand of the same space; what its loads bound is passed over, others have exact cycles."""
    target, found = device("k26"), fastest("swin_cifar", "k26")
    chance, compared, best = Random(1), 0, found.best.interval_cycles
    for _ in range(1000):
        flow = random_flow(chance, CIFAR)
        if flow is None or too_small(CIFAR, Formats(), flow):
            continue
        point = point_of([CIFAR], flow, target, target.clock_mhz)
        if point.loads.bound >= best or not point.fits:
            compared += 1
            continue
        try:
            cycles = speed_of(CIFAR, Formats(), flow)[1]
        except BivitError:  # every table locks up
            continue
        compared += 1
        assert cycles >= best, flow
    assert compared > 300


def random_flow(chance: Random, config: ModelConfig) -> FlowConfig | None:
    """An engine of any widths, or none where they do not go together."""
    wish = chance.choice(list(wishes([config], (2,), SLACKS)))
    flow = sized([config], Formats(), replace(wish, images=chance.randint(2, 8)), "lut6")
    if flow is None:
        return None
    rows, columns = flow.engine.rows, flow.engine.columns
    lanes = [1 << k for k in range(2, columns.bit_length())] + [columns * many for many in (2, 4, 8) if many <= rows]
    widths = {name: chance.choice(lanes) for name in ("norm_lanes", "head_norm_lanes", "softmax_lanes")}
    widths |= {"drain_rows": chance.randint(1, rows), "value_rows": chance.choice((1, 2, 4, 8))}
    widths |= {"dense_patches": chance.choice((1, 2, 4, 8)), "edge_banks": chance.choice((1, 2))}
    try:
        found = fitted([config], replace(flow, **widths))
        loads_of(config, found)
    except BivitError:
        return None
    return found
