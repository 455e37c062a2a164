"""What the hardware-friendly modes of a network save on an engine: cycles, and the units that they leave idle."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from ..engine.config import EngineConfig
from ..network.config import ViTConfig
from ..network.formats import Formats
from ..program.compiler import compile_program
from ..program.cycles import estimate_cycles
from .cost import Cost
from .resources import estimate_resources

#: Units of the engine (`sim.estimate.resources`) that a mode does not use.
_IDLE = {
    ("qk_mode", "threshold"): "head_norm",
    ("attn_mode", "score"): "attention_threshold",
}


@dataclass(frozen=True)
class ModeSavings:
    """Savings of a network's modes over those of the default modes, on the same engine.

    Parameters
    ----------
    cycles, default_cycles : int
        One image, exact estimates.
    idle : dict of str to Cost
        Units of the engine whose arithmetic the network does not use, with their estimated resources. In mode `score`
        what remains of `attention_threshold` is one comparison a lane. Mode `mean` leaves no unit idle: the last norm
        takes the root of `sign_norm` in every mode.
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


def mode_savings(config: ViTConfig, engine: EngineConfig, device: str) -> ModeSavings:
    """Compare a network's modes with the default ones.

    Parameters
    ----------
    config : ViTConfig
        Its modes are those in question.
    engine : EngineConfig
        Large enough for the network.
    device : str
        Whose cells the resources are counted in.

    Raises
    ------
    BivitError
        When the network does not fit the engine, or there is no such device.
    """
    default = replace(config, norm_mode="layernorm", qk_mode="layernorm", attn_mode="softmax")
    units = estimate_resources(engine, device).units
    idle = [unit for (field, mode), unit in _IDLE.items() if getattr(config, field) == mode]
    return ModeSavings(_cycles(config, engine), _cycles(default, engine), {unit: units[unit] for unit in idle})


def _cycles(config: ViTConfig, engine: EngineConfig) -> int:
    return estimate_cycles(compile_program(config, Formats(), engine), 1).cycles
