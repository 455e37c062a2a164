"""Engines, edges and replays that tests of the dataflow share."""

from __future__ import annotations

from typing import Any

from bivit.sim.engine.presets import engine_for
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.table import SlotTable
from bivit.sim.network.config import ViTConfig
from bivit.sim.timing.plan import Edge, Latencies, plan_of
from bivit.sim.timing.replay_state import State, new_state
from bivit.sim.timing.walk import UNTRACED, replay

#: An edge that is never in the way.
QUICK = Edge(embed=1, tail=1, classify=1, banks=8)


def flow_for(config: ViTConfig, rows: int, columns: int, **widths: Any) -> FlowConfig:
    """Return a dataflow engine of the smallest size for a network."""
    lanes = min(columns, 32)
    engine = engine_for(config, rows=rows, columns=columns, lanes=lanes, dense_lanes=64, program_words=2048)
    return FlowConfig(engine=engine, **widths)


def replayed(
    config: ViTConfig,
    flow: FlowConfig,
    table: SlotTable,
    images: int,
    *,
    edge: Edge = QUICK,
    latencies: Latencies | None = None,
) -> tuple[int, State]:
    """Replay a table; return the slots, negative where it locks up, and the last state."""
    plan = plan_of(config, flow, table, images, latencies=latencies, edge=edge)
    state = new_state(plan)
    return int(replay(state, plan, UNTRACED)), state
