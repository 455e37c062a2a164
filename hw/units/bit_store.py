"""The memories of operand bits, and the one place that turns rows, chunks and tokens into their words and slots."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In
from amaranth.utils import exact_log2

from ...sim.engine.commands import ROW_MEMORIES, ColumnMemory, Matmul, OperandMemory
from ...sim.engine.words import WORD
from ...sim.units.bit_store import BitStoreUnit
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.memory import SlotMemory
from ..parts.stream import CHUNK_BITS, ROW_BITS, field_bits, operands_port

#: Which sources can write which memory; the schedule never lets two write one memory in the same cycle.
SOURCES: dict[str, tuple[OperandMemory, ...]] = {
    "drain": tuple(memory for memory in OperandMemory if memory != OperandMemory.NORM),
    "sign_norm": (OperandMemory.NORM,),
    "head_norm": (OperandMemory.QUERY, OperandMemory.KEY),
    "attention": (OperandMemory.ATTENTION,),
}
#: The operand memories that the array reads as columns; the others it reads as rows.
_COLUMNS = {ColumnMemory.KEY: OperandMemory.KEY, ColumnMemory.VALUE: OperandMemory.VALUE}


def source_layout(lanes: int) -> data.StructLayout:
    """A chunk of bits with its destination; `chunk` counts from the start of the destination's row (value: group)."""
    place = {name: field_bits(Matmul, f"dst_{name}") for name in ("mem", "addr")} | {
        "token": field_bits(Matmul, "token")
    }
    return data.StructLayout({"en": 1, **place, "row": ROW_BITS, "chunk": CHUNK_BITS, "data": lanes})


class BitStore(Component):
    """All operand memories: four sources of bits in, the array's row and column operands out.

    Timing: a chunk is written one cycle after its source's `en` (`BitStoreUnit.write_stage`); operands leave one cycle
        after the address.
    Numerics: bit 1 is +1 (attention: 1); the first chunk of a 64-bit word clears the rest of it, so that padding is 0.

    Parameters
    ----------
    unit : BitStoreUnit

    Members
    -------
    from_drain, from_sign_norm, from_head_norm, from_attention : In(source_layout)
        Sources of bits.
    operands : In(operands_port)
        Operands to read, of `OperandMemory` and `ColumnMemory`.
    weight_word : In(C * 64)
        The word of the weight memory at `operands.w_addr`, read outside.
    """

    def __init__(self, unit: BitStoreUnit):
        self.unit, self.engine = unit, unit.engine
        engine = unit.engine
        super().__init__(
            {
                **{f"from_{name}": In(source_layout(unit.lanes)) for name in SOURCES},
                "operands": In(operands_port(engine.rows, engine.columns)),
                "weight_word": In(engine.columns * WORD),
            }
        )
        #: Sources of bits by name.
        self.sources = {
            "drain": self.from_drain,
            "sign_norm": self.from_sign_norm,
            "head_norm": self.from_head_norm,
            "attention": self.from_attention,
        }

    def elaborate(self, platform: object) -> Module:
        """Build the memories, their write ports and the operand multiplexers."""
        m = Module()
        stores: dict[OperandMemory, SlotMemory] = {}
        shapes = self.unit.memories
        for memory in OperandMemory:
            stores[memory] = SlotMemory.of(shapes[str(memory)])
            m.submodules[str(memory)] = stores[memory]
            self._write(m, memory, stores[memory])
        self._read(m, stores)
        return m

    def _write(self, m: Module, memory: OperandMemory, store: SlotMemory) -> None:
        """Register the chunk of whichever source is writing `memory`."""
        en = Signal(name=f"{memory}_en")
        m.d.sync += connect(store.w_en, en)
        for source, targets in SOURCES.items():
            if memory not in targets:
                continue
            port = self.sources[source]
            addr, slot, clear = self._place(memory, port)
            with m.If(port.en & (port.mem == memory)):
                m.d.comb += en.eq(1)
                m.d.sync += [
                    connect_address(store.w_addr, addr),
                    connect_address(store.w_slot, slot),
                    connect(store.w_clear, clear),
                    connect(store.w_data, port.data),
                ]

    def _place(self, memory: OperandMemory, port: data.View) -> tuple[Value, Value, Value]:
        """Return word, slot and clear of a chunk in `memory`."""
        in_word = exact_log2(WORD // self.unit.lanes)
        part = port.chunk[:in_word]
        if memory in ROW_MEMORIES:
            return port.addr + port.chunk[in_word:], Cat(part, port.row), part == 0
        token = (port.token + port.row)[: len(port.token)]
        if memory == OperandMemory.KEY:
            column = exact_log2(self.engine.columns)
            return port.addr + token[column:], Cat(part, token[:column]), part == 0
        in_group = exact_log2(self.engine.columns // self.unit.lanes)
        bit = exact_log2(WORD)
        return port.addr + token[bit:], Cat(port.chunk[:in_group], token[:bit]), token[:bit] == 0

    def _read(self, m: Module, stores: dict[OperandMemory, SlotMemory]) -> None:
        """Give every memory the address, and choose the word by the memory asked for a cycle ago."""
        port = self.operands
        a_mem, w_mem = Signal.like(port.a_mem, name="a_mem_read"), Signal.like(port.w_mem, name="w_mem_read")
        m.d.sync += [connect(a_mem, port.a_mem), connect(w_mem, port.w_mem)]
        m.d.comb += [port.a.eq(0), connect(port.w, self.weight_word)]
        for memory in ROW_MEMORIES:
            m.d.comb += connect_address(stores[memory].r_addr, port.a_addr)
            with m.If(a_mem == memory):
                m.d.comb += connect(port.a, stores[memory].r_data)
        for column, memory in _COLUMNS.items():
            m.d.comb += connect_address(stores[memory].r_addr, port.w_addr)
            with m.If(w_mem == column):
                m.d.comb += port.w.eq(self._columns(memory, stores[memory].r_data))

    def _columns(self, memory: OperandMemory, word: Value) -> Value:
        """Bring a word into column order; value words are stored token by token."""
        if memory == OperandMemory.KEY:
            return word
        columns = self.engine.columns
        # A single assignment of all bits keeps the transposition pure wiring in the Verilog.
        return Cat(*(word[token * columns + c] for c in range(columns) for token in range(WORD)))
