"""What the hardware-friendly modes of a network save on an engine: cycles, and the units that they leave idle."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from ..flow.config import FlowConfig
from ..mapping.cycles import long_run_cycles
from ..mapping.shipped import table_of
from ..network.config import ViTConfig
from .cost import Cost
from .resources import estimate_resources

#: Units of the engine (`sim.estimate.resources`) that a mode does not use.
_IDLE = {
    ("qk_mode", "threshold"): "head_norm",
    ("attn_mode", "score"): "softmax",
}
#: Tables that are tried for each of the two.
_TRIES = 5


@dataclass(frozen=True)
class ModeSavings:
    """Savings of a network's modes over those of the default modes, on the same engine.

    Parameters
    ----------
    cycles, default_cycles : int
        From image to image when others are before and behind it, by a slot table that is sought for each.
    idle : dict of str to Cost
        Units of the engine whose arithmetic the network does not use, with their estimated resources. Mode `mean`
        leaves no unit idle: the last norm takes its root in every mode.
    """

    cycles: int
    default_cycles: int
    idle: dict[str, Cost]

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        return {
            "cycles": self.cycles,
            "default_cycles": self.default_cycles,
            "cycles_saved": 1 - self.cycles / self.default_cycles,
            "idle_units": {name: asdict(cost) for name, cost in self.idle.items()},
            "kind": "estimated",
        }


def mode_savings(config: ViTConfig, flow: FlowConfig, device: str) -> ModeSavings:
    """Compare a network's modes with the default ones.

    Parameters
    ----------
    config : ViTConfig
        Its modes are those in question.
    flow : FlowConfig
        Large enough for the network.
    device : str
        Whose cells the resources are counted in.

    Raises
    ------
    BivitError
        When the network does not fit the engine, or there is no such device.
    """
    default = replace(config, norm_mode="layernorm", qk_mode="layernorm", attn_mode="softmax")
    units = estimate_resources(flow, device).units
    idle = [unit for (field, mode), unit in _IDLE.items() if getattr(config, field) == mode]
    own, usual = (table_of(one, flow, tries=_TRIES) for one in (config, default))
    # A table for the default modes serves the others as well: what a search misses is no cost of a mode.
    cycles = min(long_run_cycles(config, flow, table) for table in (own, usual))
    default_cycles = long_run_cycles(default, flow, usual)
    return ModeSavings(round(cycles), round(default_cycles), {unit: units[unit] for unit in idle})
