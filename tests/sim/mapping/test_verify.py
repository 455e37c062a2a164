"""Times of slots are checked without the model that made them: what it promises holds, and what does not is found."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from bivit.sim.engine.presets import engine_for
from bivit.sim.errors import BivitError
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.streams import Part, Stream, TileShape
from bivit.sim.flow.table import SlotTable, slot_table
from bivit.sim.mapping import verify as module
from bivit.sim.mapping.greedy import block_table
from bivit.sim.mapping.search import first_lines
from bivit.sim.mapping.verify import problems, verify
from bivit.sim.network.config import ViTConfig
from bivit.sim.network.presets import vit_preset
from bivit.sim.timing.plan import Edge, Latencies, plan_of, ring_slots
from bivit.sim.timing.replay_state import Plan, Ring
from bivit.sim.timing.trace import Taken, trace

DIGITS = vit_preset("digits")
WIDTHS = {"drain_rows": 2, "norm_lanes": 16, "head_norm_lanes": 16, "softmax_lanes": 16}
ROOMY = {"residual_slots": 8, "head_slots": 8, "score_slots": 6, "attention_slots": 6, "staging_slots": 8}
#: Heads of 24 in two groups of 16, tokens that fill neither tiles nor words.
ODD = replace(DIGITS, img_size=10, embed_dim=72, num_heads=3)
CHEAP = {"norm_mode": "mean", "qk_mode": "threshold", "attn_mode": "score"}
NETWORKS: dict[str, ViTConfig] = {"digits": DIGITS, "odd": ODD, "cheap": replace(ODD, **CHEAP)}
EDGE = Edge(embed=1100, tail=600, classify=20, banks=4)


def flow_for(config: ViTConfig, **more: Any) -> FlowConfig:
    engine = engine_for(config, rows=4, columns=16, lanes=8, dense_lanes=64, program_words=2048, pixel_bytes=1)
    return FlowConfig(engine=engine, **WIDTHS, **more)


def planned(config: ViTConfig, flow: FlowConfig, table: SlotTable | None = None, images: int = 3) -> Plan:
    empty = SlotTable(tuple(Stream), dict.fromkeys(Stream, 0))
    return plan_of(config, flow, table or empty, images, edge=EDGE)


@cache
def run(network: str) -> tuple[ViTConfig, FlowConfig, tuple[Taken, ...]]:
    """A network on 4 x 16, and the slots of the first time line on which it does not lock up."""
    config = NETWORKS[network]
    flow = flow_for(config)
    shape = TileShape(config, 4, 16)
    for line in first_lines(shape, planned(config, flow).durations):
        with suppress(BivitError):
            return config, flow, tuple(trace(planned(config, flow, slot_table(shape, line))))
    raise AssertionError("all lines lock up")


@pytest.mark.parametrize("network", NETWORKS)
def test_the_model_s_times_hold(network: str) -> None:
    config, flow, slots = run(network)
    most = verify(config, flow, slots)
    assert [most[ring] <= count for ring, count in zip(Ring, ring_slots(flow), strict=True)] == [True] * len(Ring)
    unused = {Ring.HEAD, Ring.SCORE, Ring.TABLES} if network == "cheap" else set()
    assert {ring for ring in Ring if most[ring] == 0} == unused
    assert most[Ring.KEYS] == most[Ring.VALUES] == flow.images + 1 or network == "digits"


def test_one_image_alone_and_a_table_of_a_block_hold() -> None:
    config = replace(DIGITS, depth=7)
    flow = flow_for(config, images=1, **ROOMY)
    order = (Stream.SCORES, Stream.CONTEXT, Stream.PROJ, Stream.FC1, Stream.FC2, Stream.QKV)
    table = block_table(planned(config, flow), order)
    most = verify(config, flow, trace(planned(config, flow, table)))
    assert most[Ring.KEYS] <= 2


@pytest.mark.parametrize(
    ("network", "ring"), [("odd", ring) for ring in Ring] + [("cheap", ring) for ring in (Ring.ATTENTION, Ring.QUERY)]
)
def test_a_ring_with_a_slot_less_is_found(ring: Ring, network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config, flow, slots = run(network)
    most = verify(config, flow, slots)
    counts = ring_slots(flow)
    counts[ring] = most[ring] - 1
    monkeypatch.setattr(module, "ring_slots", lambda _: counts)
    found = wrong(config, flow, slots)
    # A unit waits for its slot, so that its bits are late.
    units = {Ring.NORM1, Ring.NORM2} | ({Ring.ATTENTION} if network == "odd" else set())
    assert ("is there" if ring in units else f"slots of {ring.name.lower()} are taken") in found


def wrong(config: ViTConfig, flow: FlowConfig, slots: Sequence[Taken], latencies: Latencies | None = None) -> str:
    """All that is wrong."""
    _, found = problems(config, flow, slots, latencies)
    return "; ".join(what for _, what in found)


def moved(slots: tuple[Taken, ...], stream: Stream, by: int) -> list[Taken]:
    """Let all slots of a stream be taken earlier."""
    return [one._replace(cycle=one.cycle - by) if one.stream is stream else one for one in slots]


@pytest.mark.parametrize("stream", Stream)
def test_a_stream_that_is_too_early_is_found(stream: Stream) -> None:
    config, flow, slots = run("odd")
    assert f"{stream.name} of Tile" in wrong(config, flow, moved(slots, stream, 4000))


@pytest.mark.parametrize(
    ("change", "what"),
    [({"drain_rows": 1}, "sums leave before"), ({"head_norm_lanes": 2}, "is there"), ({"norm_lanes": 1}, "is there")],
)
def test_slower_units_than_the_model_s_are_found(change: dict[str, Any], what: str) -> None:
    config, flow, slots = run("odd")
    assert what in wrong(config, replace(flow, **change), slots)


def test_later_bits_and_rows_that_meet_are_found() -> None:
    config, flow, slots = run("cheap")
    found = wrong(config, flow, slots, replace(Latencies.of(flow), bits=40, rows=40))
    for name in ("PROJ", "FC2", "CONTEXT"):
        assert f"{name} of" in found
    order = TileShape(config, 4, 16).qkv_order
    first, second = [
        k for k, one in enumerate(slots) if one.of and one.stream is Stream.QKV and order[one.number][0] is Part.VALUE
    ][:2]
    meet = [*slots[:second], slots[second]._replace(cycle=slots[first].cycle + 1), *slots[second + 1 :]]
    assert "rows leave before" in wrong(config, flow, meet)


def test_operations_that_are_missing_twice_or_at_the_same_time_are_found() -> None:
    config, flow, slots = run("digits")
    at = next(k for k, one in enumerate(slots) if one.of is not None)
    for missing in (slots[:at] + slots[at + 1 :], (*slots, slots[at])):
        with pytest.raises(BivitError, match="once each"):
            verify(config, flow, missing)
    with pytest.raises(BivitError, match="begins before the one before it ends"):
        verify(config, flow, moved(slots, Stream.FC2, 1))


def test_a_table_that_locks_up_is_said_with_its_place() -> None:
    flow = flow_for(DIGITS)
    table = SlotTable((Stream.SCORES,) * 2 + (Stream.FC2,) * 8, dict.fromkeys(Stream, 0))
    with pytest.raises(BivitError, match=r"locks up: after \d+ slots, \w+ cannot go on"):
        trace(planned(DIGITS, flow, table))
