"""What each part of an engine allows, and that the change which is named does what is said of it."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from bivit.sim.errors import BivitError
from bivit.sim.estimate.devices import device
from bivit.sim.estimate.resources import estimate_resources
from bivit.sim.explore.ceilings import Ceiling, ceilings
from bivit.sim.explore.points import Point, point_of
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.presets import ABOUT, FLOW_ENGINES
from bivit.sim.mapping.loads import loads_of
from bivit.sim.network.presets import vit_preset

ENGINES = {name: about for name, about in ABOUT.items() if about.target and not FLOW_ENGINES[name].windows}


def of_engine(name: str, **changes: object) -> tuple[Point, dict[str, Ceiling]]:
    about = ABOUT[name]
    target, configs = device(about.target or "zu9eg"), [vit_preset(net) for net in about.networks]
    point = point_of(configs, replace(FLOW_ENGINES[name], **changes), target, target.clock_mhz)
    return point, {one.part: one for one in ceilings(configs, point)}


def changed(flow: FlowConfig, other: FlowConfig) -> set[str]:
    fields = {name for name, value in asdict(flow).items() if value != asdict(other)[name]}
    return fields - {"engine"} | {n for n, v in asdict(flow.engine).items() if v != asdict(other.engine)[n]}


@pytest.mark.parametrize("name", ENGINES)
def test_the_part_that_binds_comes_first_and_all_are_there(name: str) -> None:
    point, found = of_engine(name)
    busy = {part: cycles for part, cycles in point.loads.cycles.items() if cycles}
    assert {part: one.cycles for part, one in found.items()} == busy
    assert next(iter(found)) == point.loads.binds
    assert [one.cycles for one in found.values()] == sorted(busy.values(), reverse=True)


@pytest.mark.parametrize("name", ENGINES)
def test_a_wider_part_is_less_busy_and_nothing_else_is_changed(name: str) -> None:
    point, found = of_engine(name)
    assert any(one.wider for one in found.values())
    for part, one in found.items():
        if one.wider is not None:
            assert one.wider.loads.cycles[part] < one.cycles
            assert changed(one.wider.flow, point.flow) <= {*one.widths, "drain_rows"}
            assert one.wider.report == estimate_resources(one.wider.flow, point.report.device)
            assert one.wider.clock_mhz == point.clock_mhz
    assert found["array"].widths == {"rows": point.flow.engine.rows, "columns": point.flow.engine.columns}
    for part in {"array", "tables", "logits"} & set(found):
        assert found[part].wider is None


def test_the_next_width_is_the_smallest_that_helps() -> None:
    point, found = of_engine("kv260")
    wider = found["head_norm"].wider
    assert wider is not None
    for lanes in range(point.flow.head_norm_lanes + 1, wider.flow.head_norm_lanes):
        try:
            between = replace(point.flow, head_norm_lanes=lanes)
        except BivitError:  # no engine has so many
            continue
        config = vit_preset("deit_tiny")
        assert loads_of(config, between).cycles["head_norm"] >= found["head_norm"].cycles


def test_the_port_of_streamed_weights_has_a_width() -> None:
    _, resident = of_engine("zcu102")
    _, streamed = of_engine("zcu102", weights="streamed", memory_bits=64)
    assert "memory" not in resident
    wider = streamed["memory"].wider
    assert wider is not None
    assert (streamed["memory"].widths, wider.flow.memory_bits) == ({"memory_bits": 64}, 128)
    _, widest = of_engine("zcu102", weights="streamed", memory_bits=512)
    assert widest["memory"].wider is None


def test_a_part_without_work_is_left_out() -> None:
    """Thresholds take the place of the norms of heads, and scores that of the softmax."""
    config = replace(vit_preset("digits"), qk_mode="threshold", attn_mode="score")
    point = point_of([config], FLOW_ENGINES["sim"], device("zu9eg"), 250.0)
    parts = {one.part for one in ceilings([config], point)}
    assert point.loads.cycles["head_norm"] == point.loads.cycles["softmax"] == 0
    assert parts == {part for part, cycles in point.loads.cycles.items() if cycles}
