"""Small dataflow engines that tests of estimates and synthesis share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bivit.hw.synthesis.calibrated import FITTED_ENGINES
from bivit.sim.flow.config import FlowConfig


def small_flow(**engine: Any) -> FlowConfig:
    """The smallest engine that is synthesised to fit estimates, with some fields of its array changed."""
    flow = FITTED_ENGINES["2x8"]
    return replace(flow, engine=replace(flow.engine, **engine))
