"""The memories of operand bits."""

from __future__ import annotations

from ..engine.commands import OperandMemory
from ..engine.memories import value_groups
from ..engine.words import WORD, SlottedMemory, ceil_div
from .unit import Probe, Unit


class BitStoreUnit(Unit):
    """Row memories hold 64 bits of each of R rows a word, key those of C keys, value 64 tokens of C channels."""

    name = "bit_store"
    #: From a chunk on a source to its write.
    write_stage = 1

    @property
    def memories(self) -> dict[str, SlottedMemory]:
        """Operand memories; attention and hidden hold two tiles, the others all tokens."""
        engine, tiles = self.engine, self.engine.max_tiles
        embed, hidden, tokens = (
            ceil_div(count, WORD) for count in (engine.max_embed_dim, engine.max_hidden_dim, engine.max_tokens)
        )
        keys = engine.max_heads * ceil_div(engine.max_tokens, engine.columns)
        part, tile = WORD // self.lanes, engine.columns // self.lanes
        row = {
            OperandMemory.NORM: tiles * embed,
            OperandMemory.QUERY: tiles * engine.max_heads,
            OperandMemory.ATTENTION: 2 * tokens,
            OperandMemory.CONTEXT: tiles * embed,
            OperandMemory.HIDDEN: 2 * hidden,
        }
        shapes = {memory: (engine.rows * part, depth, part, "block") for memory, depth in row.items()}
        shapes[OperandMemory.KEY] = (engine.columns * part, keys, part, "block")
        shapes[OperandMemory.VALUE] = (WORD * tile, value_groups(engine) * tokens, tile, "stride")
        return {
            str(memory): SlottedMemory(slots * self.lanes, depth, write_bits=self.lanes, group=group, clear=clear)
            for memory, (slots, depth, group, clear) in shapes.items()
        }

    def features(self) -> dict[str, float]:
        """Grow with the chunk that is written and the slots that it can go to."""
        return {
            "unit": 1,
            "lane": self.lanes,
            "row": self.engine.rows,
            "column": self.engine.columns,
            "slot": sum(memory.slots for memory in self.memories.values()),
        }

    def probes(self) -> list[Probe]:
        """Every chunk of bits."""
        return [
            self._probe(
                name,
                f"{name}.w_en",
                (f"{name}.w_addr", f"{name}.w_slot"),
                f"{name}.w_data",
                1,
                elements=self.lanes,
                signed=False,
            )
            for name in self.memories
        ]
