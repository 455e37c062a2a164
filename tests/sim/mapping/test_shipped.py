"""Slot tables that are shipped, and those that are sought: each holds, and the shipped ones fill the array."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from bivit.sim.errors import BivitError
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.presets import FLOW_ENGINES
from bivit.sim.flow.streams import Stream, TileShape
from bivit.sim.flow.table import SlotTable, slot_table
from bivit.sim.mapping import shipped as module
from bivit.sim.mapping.cycles import interval_of, peak_macs, useful_macs
from bivit.sim.mapping.pass_program import schedule_of
from bivit.sim.mapping.search import first_lines, spaced
from bivit.sim.mapping.shipped import entry, key_of, read_table, steady_cycles, table_of
from bivit.sim.mapping.verify import verify
from bivit.sim.network.config import ViTConfig
from bivit.sim.network.formats import Formats
from bivit.sim.network.presets import preset, vit_preset
from bivit.sim.network.stage_view import stage_views
from bivit.sim.timing.needs import leaves
from bivit.sim.timing.plan import Edge, plan_of
from bivit.sim.timing.replay_state import Plan
from bivit.sim.timing.trace import trace

DIGITS, TINY = vit_preset("digits"), vit_preset("deit_tiny")
EMPTY = SlotTable(tuple(Stream), dict.fromkeys(Stream, 0))
QUICK = Edge(embed=1, tail=1, classify=1, banks=16)
#: How much of the array each table fills at least, in an image among others. Small networks on a large array wait for
#: the latencies of their few tiles.
SHIPPED: dict[tuple[str, str], float] = {
    ("sim", "deit_tiny"): 0.968,
    ("sim", "digits"): 0.976,
    ("sim", "fashion"): 0.908,
    ("sim", "fashion_cls"): 0.928,
    ("sim", "cifar"): 1.005,
    ("zcu102", "deit_tiny"): 0.959,
    ("zcu102", "digits"): 0.143,
    ("zcu102", "fashion"): 0.099,
    ("zcu102", "fashion_cls"): 0.101,
    ("zcu102", "cifar"): 0.32,
    ("base_zcu102", "deit_base"): 0.8,
    ("latency", "deit_tiny"): 0.952,
    ("latency", "digits"): 0.477,
    ("latency", "fashion"): 0.459,
    ("latency", "fashion_cls"): 0.469,
    ("latency", "cifar"): 0.84,
    ("ulx3s", "digits"): 0.92,
    ("ulx3s", "fashion"): 0.749,
    ("arty", "digits"): 0.926,
    ("arty", "fashion"): 0.901,
    ("digits", "digits"): 0.927,
    ("ecp5_45", "digits"): 0.92,
    ("vck190", "deit_tiny"): 0.959,
    ("vck190", "deit_small"): 0.983,
    ("kv260", "deit_tiny"): 0.922,
    ("ecp5_25", "digits_lean"): 0.77,
}

#: The same of networks whose stages have a table each, of which patch mergings and the way from pass to pass take some.
SHIPPED_PASSES = {
    ("swin", "swin_fashion"): 0.53,
    ("swin", "swin_cifar"): 0.52,
    ("swin", "swin_tiny"): 0.87,
    ("swin_zcu102", "swin_tiny"): 0.62,
    ("swin_u50", "swin_tiny"): 0.44,
}


def planned(config: ViTConfig, flow: FlowConfig, table: SlotTable = EMPTY, images: int = 2) -> Plan:
    return plan_of(config, flow, table, images, edge=QUICK)


def filled(config: ViTConfig, flow: FlowConfig, cycles: float) -> float:
    """Part of the array's products that are useful."""
    shape = TileShape(config, flow.engine.rows, flow.engine.columns)
    return shape.packing * config.depth * shape.tiles * shape.tile_steps / cycles


@pytest.mark.parametrize(("engine", "network"), SHIPPED)
def test_a_shipped_table_fills_the_array_and_its_times_hold(engine: str, network: str) -> None:
    config, flow = vit_preset(network), FLOW_ENGINES[engine]
    table = table_of(config, flow, tries=0)
    shape = TileShape(config, flow.engine.rows, flow.engine.columns)
    tiles = 1 if flow.images > 1 else shape.tiles
    assert Counter(table.slots) == {stream: tiles * count for stream, count in shape.operations.items()}
    cycles = steady_cycles(config, flow, table, edge=QUICK, each=5)
    assert cycles is not None
    assert filled(config, flow, cycles) >= SHIPPED[engine, network]
    short = replace(config, depth=2)
    verify(short, flow, trace(planned(short, flow, table, flow.images + 1)))


def test_an_engine_too_small_for_the_table_is_named() -> None:
    flow = FLOW_ENGINES["latency"]
    small = replace(flow, engine=replace(flow.engine, program_words=2048))
    with pytest.raises(BivitError, match=r"slots holds 2048 words, the network.s table has 26[0-9][0-9]; raise"):
        table_of(TINY, small, tries=0)


def test_with_its_own_edge_the_zcu102_is_as_full() -> None:
    flow = FLOW_ENGINES["zcu102"]
    cycles = steady_cycles(TINY, flow, table_of(TINY, flow, tries=0))
    assert cycles is not None
    assert 0.956 <= filled(TINY, flow, cycles) <= TileShape(TINY, 33, 32).packing + 0.001


def test_all_shipped_tables_are_of_the_named_engines() -> None:
    keys = [key_of(vit_preset(network), FLOW_ENGINES[engine]) for engine, network in SHIPPED]
    whole = [one for one in module._entries() if "passes" not in one]
    assert [one["key"] for one in whole] == keys
    assert [(one["engine"], one["net"]) for one in whole] == [*SHIPPED]


def test_all_shipped_tables_of_passes_are_of_the_named_engines() -> None:
    passes = [one for one in module._entries() if "passes" in one]
    assert [(one["engine"], one["net"]) for one in passes] == [*SHIPPED_PASSES]
    for one in passes:
        views = [view for view in stage_views(preset(one["net"])) if view.merge is None]
        assert [table["key"] for table in one["passes"]] == [
            key_of(view, FLOW_ENGINES[one["engine"]]) for view in views
        ]


@pytest.mark.parametrize(("engine", "network"), SHIPPED_PASSES)
def test_shipped_tables_of_passes_fill_the_array_and_their_times_hold(
    engine: str, network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "sought", None)
    config, flow = preset(network), FLOW_ENGINES[engine]
    schedule = schedule_of(config, Formats(), flow)
    assert useful_macs(config) == schedule.useful_macs
    assert useful_macs(config) / (interval_of(schedule) * peak_macs(flow)) >= SHIPPED_PASSES[engine, network]
    schedule.verify()


def test_passes_with_a_bias_have_tables_of_their_own() -> None:
    """A last stage has one window, as a DeiT has, and its scores take longer."""
    flow, last = FLOW_ENGINES["swin"], stage_views(preset("swin_tiny"))[-1]
    assert last.chained
    (deit,) = stage_views(replace(DIGITS, img_size=14, embed_dim=768, num_heads=24))
    other = key_of(deit, flow)
    assert {name for name, value in key_of(last, flow).items() if other[name] != value} == {"biased"}


def test_a_table_is_read_as_it_was_written() -> None:
    flow, shape = FLOW_ENGINES["sim"], TileShape(DIGITS, 4, 16)
    table = slot_table(shape, next(first_lines(shape, planned(DIGITS, flow).durations)))
    written = entry(DIGITS, flow, table)
    assert read_table(written) == table
    assert written["key"]["softmax_lanes"] == 32
    assert written["key"] != key_of(DIGITS, replace(flow, score_slots=5))
    # What only the edge knows needs no other table.
    assert written["key"] == key_of(DIGITS, replace(flow, dense_patches=3, products_per_dsp=2))


def test_a_table_is_sought_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config, flow = replace(DIGITS, attn_mode="score"), FLOW_ENGINES["sim"]
    found = table_of(config, flow, tries=1)
    searches: list[FlowConfig] = []

    def seek(config: ViTConfig, flow: FlowConfig, **_: int) -> SlotTable:
        searches.append(flow)
        return EMPTY

    monkeypatch.setattr(module, "sought", seek)
    assert table_of(replace(config, depth=5), flow, tries=1) == found
    assert searches == []
    slower = replace(flow, engine=replace(flow.engine, formats=replace(flow.engine.formats, residual_bits=18)))
    for other, tries in ((flow, 2), (slower, 1), (replace(flow, score_slots=5), 1)):
        assert table_of(config, other, tries=tries) == EMPTY
    assert len(searches) == 3


def test_a_shipped_table_is_found_without_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    flow = FLOW_ENGINES["sim"]
    table = SlotTable((Stream.QKV, *Stream), dict.fromkeys(Stream, 7))
    monkeypatch.setattr(module, "_entries", lambda: [entry(TINY, flow, EMPTY), entry(DIGITS, flow, table)])
    assert table_of(replace(DIGITS, depth=5, num_classes=3), flow) == table
    monkeypatch.setattr(module, "sought", lambda *_, **__: EMPTY)
    assert table_of(replace(DIGITS, attn_mode="score"), flow) == EMPTY


@pytest.mark.parametrize("images", [1, 2])
def test_a_table_that_is_sought_holds(images: int) -> None:
    config = replace(DIGITS, qk_mode="threshold", attn_mode="score")
    flow = replace(FLOW_ENGINES["sim"], images=images, residual_slots=6, staging_slots=6)
    table = table_of(config, flow, tries=3)
    verify(config, flow, trace(planned(config, flow, table, 3)))
    assert filled(config, flow, steady_cycles(config, flow, table) or 1e9) >= 0.6


def test_an_engine_on_which_every_table_locks_up_is_said_with_its_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "steady_cycles", lambda *_, **__: None)
    with pytest.raises(BivitError, match=r"every table .* locks up .* residual_slots = 4"):
        table_of(replace(DIGITS, attn_mode="score"), FLOW_ENGINES["sim"], tries=1)


def waits(table: SlotTable, plan: Plan, drain: int) -> int:
    """Cycles that a table that never waits for anything else waits for its drain, from the second round on."""
    number = {stream: -table.lag[stream] % int(plan.streams[0, stream]) for stream in Stream}
    now, last, found = 0, -100, 0
    for stream in 2 * table.slots:
        sums, _ = leaves(plan, int(stream), number[stream])
        end = now + int(plan.streams[1, stream])
        if sums:
            found += max(0, last + drain - end)
            end = last = max(end, last + drain)
        now, number[stream] = end, (number[stream] + 1) % int(plan.streams[0, stream])
    return found


def test_operations_that_would_wait_for_the_drain_let_others_go_first() -> None:
    flow = FLOW_ENGINES["zcu102"]
    plan, shape = planned(TINY, flow), TileShape(TINY, 33, 32)
    for line in first_lines(shape, plan.durations):
        before = slot_table(shape, line)
        after = spaced(before, plan)
        assert Counter(after.slots) == Counter(before.slots)
        assert after.lag == before.lag
        assert waits(after, plan, 3) * 2 <= waits(before, plan, 3)
        assert spaced(before, plan._replace(drain=1, writer_gap=1)) == before
