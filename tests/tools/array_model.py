"""The array of the dataflow engine as its bench sees it: small shapes, and the bits of its memories over time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bivit.sim.engine.config import EngineConfig
from bivit.sim.engine.words import WORD
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.matmul import MatmulUnit
from bivit.sim.flow.operation import RowMemory


def array_unit(*, rows: int = 5, columns: int = 8, **more: Any) -> MatmulUnit:
    """The array of a small engine, with tokens in more than one word of 64."""
    engine = EngineConfig(
        rows=rows,
        columns=columns,
        lanes=8,
        dense_lanes=8,
        max_tokens=more.pop("tokens", 70),
        max_embed_dim=128,
        max_hidden_dim=256,
        max_heads=2,
        max_depth=1,
        max_classes=10,
        max_patch_dim=16,
        max_strip_bytes=64,
        program_words=16,
        fabric=more.pop("fabric", "lut6"),
    )
    lanes = {"norm_lanes": columns, "head_norm_lanes": columns, "softmax_lanes": columns}
    slots = {"norm_slots": 2, "attention_slots": 2, "context_slots": 1, "hidden_slots": 1, "images": 1}
    return MatmulUnit(FlowConfig(engine=engine, **{"drain_rows": 1, **lanes, **slots, **more}))


def to_int(bits: np.ndarray) -> int:
    """Bits of any shape, the first one least significant."""
    return sum(int(bit) << k for k, bit in enumerate(bits.ravel()))


@dataclass
class Memories:
    """Bits of the memories, and what is written later: when, and how."""

    unit: MatmulUnit
    later: list[tuple[int, Callable[[], None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        operands, engine = self.unit.operands, self.unit.flow.engine
        self.rows = {
            memory: np.zeros((operands.row_depths[memory], engine.rows, WORD), np.int64) for memory in RowMemory
        }
        self.keys = np.zeros((operands.key_depth, engine.columns, WORD), np.int64)
        self.values = np.zeros((operands.value_depth, WORD, engine.columns), np.int64)
        self.sums = np.zeros((operands.sums_depth, engine.columns), np.int64)
        self.summed: list[tuple[int, int, np.ndarray]] = []

    def clear(self) -> None:
        for bits in (*self.rows.values(), self.keys, self.values):
            bits[:] = 0

    def until(self, cycle: int) -> None:
        """Write all that is written before a cycle."""
        due = sorted((write for write in self.later if write[0] < cycle), key=lambda write: write[0])
        self.later = [write for write in self.later if write[0] >= cycle]
        for _, write in due:
            write()

    def sums_at(self, word: int, cycle: int) -> np.ndarray:
        """The values' sums of a word, as a read in a cycle finds them."""
        done = [total for when, at, total in self.summed if at == word and when < cycle]
        return done[-1] if done else np.zeros_like(self.sums[0])
