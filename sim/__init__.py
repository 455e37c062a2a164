"""Integer side of bivit: formats, numba reference, compiler, cycle and resource models.

What is public stands here; a name is imported when it is first used.
"""

from typing import TYPE_CHECKING

from .lazy import lazy

if TYPE_CHECKING:
    from .engine.config import EngineConfig
    from .engine.presets import engine_for
    from .errors import BivitError
    from .estimate.devices import DEVICES, Device, device
    from .estimate.resources import ResourceReport, estimate_resources
    from .flow.config import FlowConfig
    from .flow.presets import FLOW_ENGINES, load_engine
    from .mapping.cycles import CycleEstimate, estimate_cycles
    from .mapping.program import FlowProgram, compile_network
    from .network.config import ModelConfig, SwinConfig, ViTConfig
    from .network.file import load_network, network_hash, save_network
    from .network.formats import Formats
    from .network.network import IntNetwork
    from .network.presets import PRESETS, preset
    from .network.random import random_network
    from .network.run_result import RunResult
    from .network.taps import tap_names
    from .qonnx.export import export_qonnx, save_qonnx
    from .reference.run import run_reference
else:
    __getattr__, __dir__ = lazy(__name__)

__all__ = [
    "DEVICES",
    "FLOW_ENGINES",
    "PRESETS",
    "BivitError",
    "CycleEstimate",
    "Device",
    "EngineConfig",
    "FlowConfig",
    "FlowProgram",
    "Formats",
    "IntNetwork",
    "ModelConfig",
    "ResourceReport",
    "RunResult",
    "SwinConfig",
    "ViTConfig",
    "compile_network",
    "device",
    "engine_for",
    "estimate_cycles",
    "estimate_resources",
    "export_qonnx",
    "load_engine",
    "load_network",
    "network_hash",
    "preset",
    "random_network",
    "run_reference",
    "save_network",
    "save_qonnx",
    "tap_names",
]
