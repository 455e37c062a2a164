"""A dataflow engine as what is around it sees it: its memories for the load stream, its name, its settings."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from ..engine.config import Fabric
from ..engine.words import LoadMemory
from .config import FlowConfig
from .edge import EdgeUnit
from .edge_settings import edge_setting_bits
from .head_norm import HeadNormUnit
from .memories import LOADED, core_memories
from .residual_add import ResidualAddUnit
from .settings import passes_memory, setting_bits
from .sign_norm import SignNormUnit
from .softmax import SoftmaxUnit
from .weight_stream import WeightStreamUnit

#: Fields that came later, and what they are where nobody says otherwise.
_LATER = {
    **{"products_per_dsp": 1, "memory_bits": 128, "windows": None},
    **{"patch_slots": 0, "ring_words": 0},
    **dict.fromkeys(("weights", "edge_weights", "patch_weights"), "resident"),
}


def load_memories(flow: FlowConfig) -> dict[str, LoadMemory]:
    """Return all memories that the load stream fills, by name, in the order of their numbers.

    Parameters
    ----------
    flow : FlowConfig
    """
    units: list[Any] = [unit(flow) for unit in (ResidualAddUnit, SignNormUnit, EdgeUnit)]
    others = {HeadNormUnit: flow.has_head_norm, SoftmaxUnit: flow.has_softmax, WeightStreamUnit: flow.streamed}
    units += [unit(flow) for unit, there in others.items() if there]
    found = core_memories(flow) | {name: memory for unit in units for name, memory in unit.load_memories.items()}
    if flow.windows:
        found["passes"] = passes_memory(flow)
    return {name: found[name] for name in LOADED if name in found}


def all_settings(flow: FlowConfig) -> dict[str, int]:
    """Return all settings and their bits, in the order of their words: the core's, the edge's, the network's hash.

    Parameters
    ----------
    flow : FlowConfig
    """
    return {**setting_bits(flow), **edge_setting_bits(flow), "network": 32}


@dataclass(frozen=True)
class FlowMachine:
    """What the load stream and the registers say of an engine.

    Parameters
    ----------
    flow : FlowConfig
    """

    flow: FlowConfig

    @property
    def load_memories(self) -> dict[str, LoadMemory]:
        """Loadable memories by name."""
        return load_memories(self.flow)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        return asdict(self.flow)

    def fingerprint(self) -> int:
        """64 bits that tell engines apart, carried by load streams and the identification register.

        Engines that were there before a field came keep their number: `_LATER` is left out where it says nothing, and
        so is what only streamed weights ask for, where these are resident.
        """
        values = {name: value for name, value in self.to_dict().items() if _LATER.get(name) != value}
        if self.flow.windows and not self.flow.streamed:
            del values["windows"]["ring_words"]
        if self.flow.windows and not self.flow.windows.bias_window:
            del values["windows"]["bias_window"]
        text = json.dumps(values, sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")

    @property
    def rows(self) -> int:
        """Tokens a tile."""
        return self.flow.engine.rows

    @property
    def columns(self) -> int:
        """Channels a tile."""
        return self.flow.engine.columns

    @property
    def lanes(self) -> int:
        """Elements that the patch embedding gives a cycle."""
        return self.flow.engine.lanes

    @property
    def pixel_bytes(self) -> int:
        """Bytes a beat of the pixel stream."""
        return self.flow.engine.pixel_bytes

    @property
    def memory_bits(self) -> int:
        """Bits of the port that weights are read by, 0 where they are resident."""
        return self.flow.memory_bits if self.flow.streamed else 0

    @property
    def edge_streamed(self) -> bool:
        """Whether the classifier's weights and the positions are read by that port as well."""
        return self.flow.edge_streamed

    @property
    def fabric(self) -> Fabric:
        """Logic that it is written in."""
        return self.flow.engine.fabric

    @property
    def queue_logits(self) -> int:
        """Logits that the queue holds."""
        return self.flow.engine.queue_logits
