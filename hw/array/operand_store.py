"""The memories of both operands: who writes them, and what the array reads."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ...sim.engine.words import WORD
from ...sim.flow.head_norm import HeadNormUnit
from ...sim.flow.matmul import MatmulUnit
from ...sim.flow.operation import ColumnMemory, RowMemory
from ...sim.flow.sign_norm import SignNormUnit
from ...sim.flow.softmax import SoftmaxUnit
from ..flow.head_norm import head_bits
from ..flow.jobs import scaled
from ..flow.sign_norm import sign_bits
from ..parts.arithmetic import delayed
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from .lane_writer import LaneWriter, collect
from .row_store import RowStore
from .token_memory import TokenMemory


def attention_bits(unit: SoftmaxUnit) -> data.StructLayout:
    """Bits of the softmax: slot of the attention, row group, word of the row, and the lanes."""
    fields = {
        "en": 1,
        "slot": (unit.flow.attention_slots - 1).bit_length(),
        "group": (unit.row_groups - 1).bit_length(),
        "word": unit.job_bits["chunks"],
        "data": unit.lanes,
    }
    return data.StructLayout(fields)


def tile_bits(unit: MatmulUnit) -> data.StructLayout:
    """Where the sign bits of a whole tile go, which follow in the next cycle."""
    fields = unit.operands.fields
    return data.StructLayout({"en": 1, **{name: fields[f"dst_{name}"] for name in ("mem", "addr", "chunk")}})


def row_bits(unit: MatmulUnit) -> data.StructLayout:
    """Bits of some rows of a tile: to which memory, word of token 0, chunk of the word's 64 bits; first row's token."""
    fields, side = unit.operands.fields, unit.flow.value_rows
    place = {name: fields[f"dst_{name}"] for name in ("mem", "addr", "chunk")}
    return data.StructLayout(
        {"en": 1, **place, "token": fields["token"], "here": side, "data": side * unit.flow.engine.columns}
    )


class OperandStore(Component):
    """Four memories of the row operand, keys and values; weights are read outside.

    Timing: bits of a tile are written in the cycle of `tile`, those of rows a cycle after they come, those of units
    `MatmulUnit.write_cycles` after, or `key_write_cycles`; operands come `MatmulUnit.operand_stage` after their
    addresses. After `clear` all words are swept, one of each memory a cycle, `Operands.clear_cycles`.

    Numerics: bit 1 is +1 (attention: 1).

    Parameters
    ----------
    unit : MatmulUnit

    Members
    -------
    tile_place, tile : In
        Where the bits of a whole tile go; in the cycle after it, all of them, which are 0 while `clearing`.
    rows : In(row_bits)
        Bits row by row.
    norm_bits, head_bits, attention_bits : In
        Bits of SignNorm, HeadNorm and the softmax.
    a_mem, a_addr, a : In, In, Out
        Reader of the row operand.
    w_mem, w_addr, w, weights : In, In, Out, In
        Reader of the column operand; the word of the weights at the same address, as late as all others.
    clear, clearing : In(1), Out(1)
        Pulse: write 0 everywhere; from the next cycle on, while that lasts.
    """

    def __init__(self, unit: MatmulUnit):
        self.unit, self.flow, self.engine, self.operands = unit, unit.flow, unit.flow.engine, unit.operands
        engine, fields = unit.flow.engine, unit.operands.fields
        self.token_bits = fields["token"]
        self.norm, self.softmax = SignNormUnit(unit.flow), SoftmaxUnit(unit.flow)
        self.head = HeadNormUnit(unit.flow, sum(unit.operands.tag.values()))
        self.row_stores = {memory: self._row_store(memory) for memory in RowMemory}
        self.keys, self.values = self._token_memory(ColumnMemory.KEYS), self._token_memory(ColumnMemory.VALUES)
        super().__init__(
            {
                "tile_place": In(tile_bits(unit)),
                "tile": In(engine.rows * engine.columns),
                "rows": In(row_bits(unit)),
                "norm_bits": In(sign_bits(self.norm)),
                "head_bits": In(head_bits(self.head)),
                "attention_bits": In(attention_bits(self.softmax)),
                "a_mem": In(fields["a_mem"]),
                "a_addr": In(fields["a_addr"]),
                "a": Out(engine.rows * WORD),
                "w_mem": In(fields["w_mem"]),
                "w_addr": In(fields["w_addr"]),
                "w": Out(engine.columns * WORD),
                "weights": In(engine.columns * WORD),
                "clear": In(1),
                "clearing": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Sweep, write, read."""
        m = Module()
        sweep = self._sweep(m)
        self._rows(m, self._tile(m, sweep), self._units(m, sweep))
        m.submodules.values, m.submodules.keys = self.values, self.keys
        self._write_values(m)
        self._write_keys(m)
        for memory in (self.keys, self.values):
            m.d.comb += [connect(memory.clear, self.clearing), connect_address(memory.clear_addr, sweep)]
        self._read(m)
        return m

    def _sweep(self, m: Module) -> Signal:
        """Count through the words of the deepest memory."""
        cycles = self.operands.clear_cycles
        clearing, addr = Signal(), Signal(range(max(2, cycles)), reset_less=True)
        m.d.comb += connect(self.clearing, clearing)
        m.d.sync += addr.eq(addr + 1)
        with m.If(addr == cycles - 1):
            m.d.sync += clearing.eq(0)
        with m.If(self.clear):
            m.d.sync += [clearing.eq(1), addr.eq(0)]
        return addr

    def _tile(self, m: Module, sweep: Signal) -> tuple[Signal, Signal, Signal]:
        """Return, registered, which memory the bits of a whole tile go to, its word, and the chunk of the 64 bits."""
        place = self.tile_place
        en = Signal(len(RowMemory), name="tile_en")
        addr = Signal.like(place.addr, name="tile_addr")
        chunks = Signal(WORD // self.engine.columns, name="tile_chunks")
        m.d.sync += [
            en.eq(Cat(place.en & (place.mem == memory) for memory in RowMemory)),
            connect(addr, place.addr),
            chunks.eq(Cat(place.chunk == number for number in range(len(chunks)))),
        ]
        with m.If(self.clearing):
            m.d.sync += [en.eq(1 << RowMemory.BITS), connect_address(addr, sweep), chunks.eq(-1)]
        return en, addr, chunks

    def _units(self, m: Module, sweep: Signal) -> dict[RowMemory, LaneWriter]:
        """Return what units write, registered."""
        norm, head, attention = self.norm_bits, self.head_bits, self.attention_bits
        slots, rings = self.flow.norm_slots, range(2)
        norm_base = scaled(Mux(norm.ring, norm.slot + slots, norm.slot), len(rings) * slots, self.operands.embed_words)
        attention_base = scaled(attention.slot, self.flow.attention_slots, self.operands.token_words)
        tag = data.View(data.StructLayout(self.operands.tag), head.tag)
        sources = {
            RowMemory.NORM: (self.norm.side, self.norm.columns, norm_base, norm.en, norm.group, norm.word, norm.data),
            RowMemory.QUERY: (
                *(self.head.side, self.head.columns, tag.addr, head.en & ~tag.key),
                *(head.group, head.word, head.data),
            ),
            RowMemory.ATTENTION: (
                *(self.softmax.rows, self.softmax.columns, attention_base, attention.en),
                *(attention.group, attention.word, attention.data),
            ),
        }
        writers = {}
        for memory, (side, columns, base, en, group, word, bits) in sources.items():
            writers[memory] = writer = LaneWriter(
                rows=self.engine.rows,
                side=side,
                columns=columns,
                part=self.engine.columns,
                addr_bits=max(1, (self.operands.row_depths[memory] - 1).bit_length()),
                word_bits=len(word),
            )
            m.submodules[f"{memory.name.lower()}_writer"] = writer
            m.d.comb += [
                *(connect(writer.en, en), connect_address(writer.addr, base), connect_address(writer.group, group)),
                *(connect(writer.word, word), connect(writer.data, bits)),
                *(connect(writer.clear, self.clearing), connect_address(writer.clear_addr, sweep)),
            ]
        return writers

    def _rows(self, m: Module, tile: tuple[Signal, Signal, Signal], units: dict[RowMemory, LaneWriter]) -> None:
        """Write what a whole tile and the unit of a memory give; never both at a time."""
        tile_en, tile_addr, chunks = tile
        for memory, store in self.row_stores.items():
            m.submodules[memory.name.lower()] = store
            if memory == RowMemory.BITS:
                m.d.comb += [
                    connect(store.w_en, tile_en[memory]),
                    connect_address(store.w_addr, tile_addr),
                    *(store.w_rows.eq(-1), connect(store.w_parts, chunks), connect(store.w_data, self.tile)),
                ]
                continue
            unit = units[memory]
            en = Const(0, 1) if memory == RowMemory.NORM else tile_en[memory]
            m.d.comb += [
                store.w_en.eq(unit.w_en | en),
                connect_address(store.w_addr, Mux(en, tile_addr, unit.w_addr)),
                store.w_rows.eq(unit.w_rows | en.replicate(len(store.w_rows))),
                store.w_parts.eq(Mux(en, chunks, unit.w_parts)),
                store.w_data.eq(unit.w_data | (self.tile & en.replicate(len(self.tile)))),
            ]

    def _row_store(self, memory: RowMemory) -> RowStore:
        """Return a memory of the row operand."""
        return RowStore(
            rows=self.engine.rows,
            part_bits=self.engine.columns,
            depth=self.operands.row_depths[memory],
            style=self.unit.flow.style_of(memory.name.lower()),
            read_cycles=self.unit.operand_stage,
        )

    def _token_memory(self, memory: ColumnMemory) -> TokenMemory:
        """Return the memory of keys, a column a token; or that of values, a token a slot of all columns."""
        columns, operands = self.engine.columns, self.operands
        keys = memory == ColumnMemory.KEYS
        return TokenMemory(
            tokens=columns if keys else operands.value_tokens,
            banks=self.unit.key_banks if keys else self.unit.value_banks,
            slot_bits=WORD if keys else columns,
            part_bits=columns,
            token_bits=self.token_bits,
            depth=operands.key_depth if keys else operands.value_depth,
            style=self.unit.flow.style_of("keys" if keys else "values"),
            read_cycles=self.unit.operand_stage,
        )

    def _write_values(self, m: Module) -> None:
        """Values come row by row."""
        rows, values = self.rows, self.values
        m.d.comb += [
            values.w_en.eq(rows.en & (rows.mem == ColumnMemory.VALUES)),
            connect(values.w_here, rows.here),
            connect_address(values.w_addr, rows.addr),
            connect(values.w_token, rows.token),
            *(values.w_parts.eq(-1), connect(values.w_data, rows.data)),
        ]

    def _write_keys(self, m: Module) -> None:
        """Keys come from HeadNorm, of which the first row's token is found first, or row by row."""
        rows, bits, keys, columns = self.rows, self.head_bits, self.keys, self.engine.columns
        tag = data.View(data.StructLayout(self.operands.tag), bits.tag)
        head = self.head
        en_next = bits.en & tag.key
        en, here = Signal(name="key_en"), Signal.like(bits.here, name="key_here", reset_less=True)
        addr, token = Signal.like(tag.addr, name="key_addr"), Signal(self.token_bits, name="key_token")
        parts, pieces = Signal.like(keys.w_parts, name="key_parts"), columns // head.columns
        found = collect(m, en_next, bits.word, bits.data, side=head.side, columns=head.columns, part=columns)
        m.d.sync += [
            *(en.eq(en_next), connect(here, bits.here), connect(addr, tag.addr)),
            token.eq(tag.token + scaled(bits.group, head.most_groups, head.side)),
            parts.eq(Cat(bits.word[exact_log2(pieces) :] == number for number in range(len(parts)))),
        ]
        chunks = Cat(rows.chunk == number for number in range(len(parts)))
        m.d.comb += [
            keys.w_en.eq(en | (rows.en & (rows.mem == ColumnMemory.KEYS))),
            keys.w_here.eq(Mux(en, here, rows.here)),
            connect_address(keys.w_addr, Mux(en, addr, rows.addr)),
            keys.w_token.eq(Mux(en, token, rows.token)),
            keys.w_parts.eq(Mux(en, parts, chunks)),
            keys.w_data.eq(Mux(en, found, rows.data)),
        ]

    def _read(self, m: Module) -> None:
        """Give every memory the address, and choose the word by the memory that was asked for."""
        stores, keys, values, columns = self.row_stores, self.keys, self.values, self.engine.columns
        cycles = self.unit.operand_stage
        asked = [self.w_mem == memory for memory in (ColumnMemory.KEYS, ColumnMemory.VALUES)]
        a_mem = delayed(m, self.a_mem, cycles, "a_mem_read")
        late = delayed(m, Cat(*asked, ~(asked[0] | asked[1])), cycles, "w_mem_read")
        for store in stores.values():
            m.d.comb += connect_address(store.r_addr, self.a_addr)
        for tokens in (keys, values):
            m.d.comb += connect_address(tokens.r_addr, self.w_addr)
        turned = [Signal(WORD, name=f"value_column_{column}") for column in range(columns)]
        for column, bits in enumerate(turned):  # values lie token by token; those that no network has are 0
            m.d.comb += bits.eq(Cat(values.r_data[token * columns + column] for token in range(values.tokens)))
        with m.Switch(a_mem):
            for memory in RowMemory:
                with m.Case(memory):
                    m.d.comb += connect(self.a, stores[memory].r_data)
        # Each with a bit of its own, so that a word of the weights, which comes late, passes one look-up table.
        words = (keys.r_data, Cat(turned), self.weights)
        chosen = [Mux(one, word, 0) for word, one in zip(words, late, strict=True)]
        m.d.comb += self.w.eq(chosen[0] | chosen[1] | chosen[2])
