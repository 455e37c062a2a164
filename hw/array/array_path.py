"""The array with all that its operands come from and its sums go through, up to the units that take them."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...sim.engine.words import Memory
from ...sim.flow.matmul import MatmulUnit
from ...sim.flow.operation import ColumnMemory, Done, Way
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.memory import LoadableMemory, WordMemory
from ..parts.stream import LOAD_BUS, write_port
from .matmul import Matmul, operation, way_out
from .operand_store import OperandStore
from .row_writer import RowWriter
from .shadow import Shadow
from .sum_array import SumArray
from .value_sums import ValueSums

#: Ways of sums, which leave by the drain.
SUMS = (Way.RESIDUAL, Way.HEAD, Way.SCORE)


class ArrayPath(Component):
    """Operations in; their bits into the memories of operands, or their sums out.

    Timing: `MatmulUnit.times`. Operations may follow each other without a gap; those of which sums leave end
    `drain_cycles` apart, those whose bits go row by row `MatmulUnit.writer_gap`.

    Numerics: a sum is half a dot product, plus what it began with; its bit says that it is not negative.

    Parameters
    ----------
    unit : MatmulUnit

    Members
    -------
    op : In(operation)
        An operation.
    keys : In
        Keys of a row of scores: handed on, since it is the same for all operations.
    norm_bits, head_bits, head_done, attention_bits : In
        Bits of SignNorm, HeadNorm and the softmax; with the last bits of a job of HeadNorm its `done`.
    sums_en : Out(3)
        A word of sums, of RESIDUAL, HEAD or SCORE.
    sums, scores : Out
        `drain_rows` rows; and of each sum the bits of a score.
    sums_last, sums_end : Out(1)
        The operation's last word; the last one of a job of HeadNorm.
    score_rows, score_keys, score_set, score_head : Out
        Beside sums, of SCORE.
    score_bias, score_mask, score_kind : Out
        Likewise: first words of bias and mask, and edges of the window; only with windows.
    done : Out(Done)
        What is complete: the last bits are written in this cycle, from an operation or from HeadNorm.
    active : Out(1)
        A step is read.
    clear, clearing : In(1), Out(1)
        Pulse: write 0 to all memories of bits; from the next cycle on, while that lasts.
    load, bank : In
        Load bus, and the bank in use.
    weights_write : In(write_port)
        Weights that are streamed; only then.
    """

    def __init__(self, unit: MatmulUnit):
        self.unit, self.engine = unit, unit.flow.engine
        self.store = OperandStore(unit)
        fields, engine = unit.operands.fields, unit.flow.engine
        #: Ports beside sums of SCORE that only engines with windows have, and their fields.
        self._biased = {"score_bias": "bias", "score_mask": "mask", "score_kind": "kind"} if unit.flow.windows else {}
        of_store = self.store.signature.members
        rows = unit.flow.drain_rows * engine.columns
        weights = unit.memories.get("weights")
        streamed = {"weights_write": In(weights_port(weights))} if weights else {}
        super().__init__(
            {
                "op": In(operation(unit)),
                "keys": In(self.store.softmax.key_bits),
                **{name: of_store[name] for name in ("norm_bits", "head_bits", "attention_bits")},
                "head_done": In(1),
                "sums_en": Out(len(SUMS)),
                "sums": Out(unit.word_bits),
                "scores": Out(rows * engine.score_bits),
                "sums_last": Out(1),
                "sums_end": Out(1),
                "score_rows": Out(fields["rows"]),
                "score_keys": Out(self.store.softmax.key_bits),
                "score_set": Out(fields["set"]),
                "score_head": Out(fields["head"]),
                **{port: Out(fields[name]) for port, name in self._biased.items()},
                "done": Out(len(Done)),
                "active": Out(1),
                "clear": In(1),
                "clearing": Out(1),
                "load": In(LOAD_BUS),
                "bank": In(1),
                **streamed,
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Wire operands, array and the three ways of its sums."""
        m = Module()
        m.submodules.operands = store = self.store
        m.submodules.matmul = control = Matmul(self.unit)
        m.submodules.grid = array = SumArray(self.engine)
        m.submodules.value_sums = value_sums = ValueSums(self.unit)
        self._operands(m, control, array)
        m.d.comb += [
            connect(value_sums.read.addr, control.sums.addr),
            connect(control.sums.data, value_sums.read.data),
        ]
        # Of the next stage: fields, and the signs of all sums.
        way = Signal(way_out(self.unit), name="way_signs", reset_less=True)
        signs = Signal(self.engine.rows * self.engine.columns)
        bits = self.engine.acc_bits
        m.d.sync += connect(way.as_value(), control.way.as_value())
        m.d.sync += Signal(name="signs_en").eq(control.tile)  # for observation
        with m.If(control.tile | control.rows):
            m.d.sync += signs.eq(Cat(~array.o.word_select(k, bits)[-1] for k in range(len(signs))))
        with m.If(store.clearing):
            m.d.sync += signs.eq(0)

        tile_done = Signal(len(Done))
        m.d.sync += tile_done.eq(control.way.done & control.tile.replicate(len(Done)))
        m.d.comb += [
            connect(store.tile_place.en, control.tile),
            connect(store.tile_place.mem, control.way.dst_mem),
            connect(store.tile_place.addr, control.way.dst_addr),
            connect(store.tile_place.chunk, control.way.dst_chunk),
            connect(store.tile, signs),
        ]
        rows_done = self._rows(m, control, way, signs, value_sums)
        m.d.comb += self.done.eq(tile_done | rows_done | self._head_done(m))
        self._drain(m, control, array, way)
        return m

    def _operands(self, m: Module, control: Matmul, array: SumArray) -> None:
        """Operation, memories, array."""
        store = self.store
        loaded = {name: LoadableMemory(spec) for name, spec in self.unit.load_memories.items()}
        m.submodules.weights, address, word = self._weights(m, loaded)
        m.submodules.preload = preload = loaded["preload"]
        # The memory of the weights is the largest, and spread over much of the chip: a register on the way to it. A run
        # that begins does not reset it, for a load may go on meanwhile.
        bus = Signal(LOAD_BUS, name="load_bus", reset_less=True)
        m.d.sync += connect(bus.as_value(), self.load.as_value())
        for memory in loaded.values():
            m.d.comb += [connect(memory.load, bus), connect(memory.bank, self.bank)]
        m.d.comb += [
            connect(control.op.as_value(), self.op.as_value()),
            connect(self.active, control.active),
            connect_address(address, control.w_addr),
            connect_address(preload.r_addr, control.preload.addr),
            connect(control.preload.data, preload.r_data),
            *(connect(getattr(store, name), getattr(control, name)) for name in ("a_mem", "a_addr", "w_mem", "w_addr")),
            connect(store.weights, word),
            *(connect(array.a, store.a), connect(array.w, store.w)),
            *(connect(array.first, control.first), connect(array.start, control.start)),
            *(connect(store.clear, self.clear), connect(self.clearing, store.clearing)),
            *(connect(getattr(store, name).as_value(), getattr(self, name).as_value()) for name in _UNIT_BITS),
        ]

    def _weights(self, m: Module, loaded: dict[str, LoadableMemory]) -> tuple[Component, Value, Value]:
        """Return the memory of the weights, loaded or streamed, and its read port."""
        if "weights" in loaded:
            memory = loaded["weights"]
            return memory, memory.r_addr, memory.r_data
        ring, write = weight_ring(self.unit), self.weights_write
        m.d.comb += [
            *(connect(ring.w_en, write.en), connect(ring.w_addr, write.addr), connect(ring.w_data, write.data)),
        ]
        return ring, ring.r_addr[0], ring.r_data[0]

    def _rows(self, m: Module, control: Matmul, way: data.View, signs: Signal, value_sums: ValueSums) -> Signal:
        """Signs go row by row to keys or values; return what is done with the last ones."""
        engine, store = self.engine, self.store
        writer = RowWriter(
            rows=engine.rows, columns=engine.columns, side=self.unit.flow.value_rows, token_bits=store.token_bits
        )
        m.submodules.row_writer = writer
        start, held = Signal(), Signal(way_out(self.unit), name="way_rows", reset_less=True)
        m.d.sync += connect(start, control.rows)
        with m.If(start):
            m.d.sync += connect(held.as_value(), way.as_value())
        m.d.comb += [
            connect(writer.start, start),
            connect(writer.tile_rows, way.rows),
            connect(writer.tile_token, way.token),
            connect(writer.tile, signs),
            *(connect(getattr(store.rows, name), getattr(writer, name)) for name in ("en", "token", "here", "data")),
            connect(store.rows.mem, held.dst_mem),
            connect(store.rows.addr, held.dst_addr),
            connect(store.rows.chunk, held.dst_chunk),
            connect(value_sums.start, start),
            value_sums.store.eq(way.dst_mem == ColumnMemory.VALUES),
            *(connect(value_sums.first, way.first), connect(value_sums.dst, way.sums_dst)),
            *(connect(getattr(value_sums, name), getattr(writer, name)) for name in ("en", "last", "here", "data")),
        ]
        return held.done & value_sums.written.replicate(len(Done))

    def _head_done(self, m: Module) -> Signal:
        """What is done with bits of HeadNorm, in the cycle in which they are written."""
        tag = data.View(data.StructLayout(self.unit.operands.tag), self.head_bits.tag)
        done = Signal(len(Done), name="head_bits_done")
        late = Signal(name="keys_late")  # which are written a cycle later than queries
        whole = self.head_done & tag.done
        m.d.sync += [late.eq(whole & tag.key), done.eq((whole & ~tag.key) << Done.QUERY | late << Done.KEYS)]
        return done

    def _drain(self, m: Module, control: Matmul, array: SumArray, way: data.View) -> None:
        """Sums leave through the shadow registers."""
        engine, flow = self.engine, self.unit.flow
        bits = engine.acc_bits
        shadow = Shadow(rows=engine.rows, row_bits=engine.columns * bits, side=flow.drain_rows)
        m.submodules.shadow = shadow
        start, held = Signal(name="drain_start"), Signal(way_out(self.unit), name="way_sums", reset_less=True)
        kinds = Signal(len(SUMS))
        m.d.sync += connect(start, control.drain)
        with m.If(start):
            m.d.sync += [connect(held.as_value(), way.as_value()), kinds.eq(Cat(way.way == one for one in SUMS))]
        sums = [shadow.o.word_select(k, bits) for k in range(flow.drain_rows * engine.columns)]
        m.d.comb += [
            connect(shadow.capture, control.drain),
            connect(shadow.sums, array.o),
            self.sums_en.eq(kinds & shadow.en.replicate(len(SUMS))),
            connect(self.sums, shadow.o),
            self.scores.eq(Cat(one[: engine.score_bits] for one in sums)),
            connect(self.sums_last, shadow.last),
            self.sums_end.eq(shadow.last & held.end),
            *(connect(self.score_rows, held.rows), connect(self.score_keys, self.keys)),
            *(connect(self.score_set, held.set), connect(self.score_head, held.head)),
            *(connect(getattr(self, port), held[name]) for port, name in self._biased.items()),
        ]


def weight_ring(unit: MatmulUnit) -> WordMemory:
    """Return the memory of streamed weights.

    Parameters
    ----------
    unit : MatmulUnit
        Of an engine with such.
    """
    spec = unit.memories["weights"]
    return WordMemory(spec.width, spec.depth, read_cycles=unit.operand_stage, style=spec.style)


def weights_port(weights: Memory) -> wiring.Signature:
    """Return the port that streamed weights are written by.

    Parameters
    ----------
    weights : Memory
        The memory that they lie in.
    """
    return write_port(max(1, (weights.depth - 1).bit_length()), weights.width)


#: Bits of units, which the memories take.
_UNIT_BITS = ("norm_bits", "head_bits", "attention_bits")
