"""The ports of an engine that a co-simulation observes, by their hierarchical names in the Verilog."""

from __future__ import annotations

from ..sim.engine.config import EngineConfig
from ..sim.units.machine import Machine
from ..sim.units.unit import Probe

__all__ = ["Probe", "probes"]


def probes(engine: EngineConfig) -> list[Probe]:
    """Return all probes of an engine; names are relative to the top module."""
    return Machine(engine).probes
