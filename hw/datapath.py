"""The datapath: the units between pixels and logits, their memories, and the wires of docs/accelerator.md's picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..sim.engine.commands import ISSUED, Attention, Command, Embed, Epilogue, HeadNorm, OperandMemory, Output, SignNorm
from ..sim.engine.config import EngineConfig
from ..sim.network.formats import HEAD_BIAS_BITS
from ..sim.units.attention_threshold import AttentionThresholdUnit
from ..sim.units.bit_store import BitStoreUnit
from ..sim.units.dense import DenseUnit
from ..sim.units.last_norm import LastNormUnit
from ..sim.units.machine import Machine
from ..sim.units.matmul import MatmulUnit
from ..sim.units.norm import HeadNormUnit, SignNormUnit
from ..sim.units.residual_add import ResidualAddUnit
from ..sim.units.stores import HeadBuffer, PreloadStore, ResidualStore, WeightStore
from ..sim.units.unit import Unit
from ..sim.units.value_sums import ValueSumsUnit
from .parts.component import Component
from .parts.connect import connect, connect_address
from .parts.memory import LoadableMemory, WordMemory
from .parts.stream import (
    CHUNK_BITS,
    LOAD_BUS,
    X_ADDR_BITS,
    command_port,
    field_bits,
    given,
    read_port,
    takers,
    write_port,
)
from .units.attention_threshold import AttentionThreshold
from .units.bit_store import BitStore
from .units.dense import Dense
from .units.last_norm import LastNorm
from .units.matmul import Matmul
from .units.norm import Norm
from .units.residual_add import ResidualAdd
from .units.value_sums import ValueSums

#: What the units carry out; the logits leave outside of them.
DATAPATH_COMMANDS = tuple(command for command in ISSUED if command is not Output)


def _store(unit: Unit) -> WordMemory:
    return WordMemory.of(unit.memories[unit.name])


def _loaded_store(unit: Unit) -> LoadableMemory:
    return LoadableMemory(unit.load_memories[unit.name])


#: What the units of the datapath are built of.
COMPONENTS: dict[type[Unit], Callable[[Any], wiring.Component]] = {
    DenseUnit: Dense,
    SignNormUnit: Norm,
    HeadNormUnit: Norm,
    MatmulUnit: Matmul,
    BitStoreUnit: BitStore,
    ValueSumsUnit: ValueSums,
    ResidualAddUnit: ResidualAdd,
    AttentionThresholdUnit: AttentionThreshold,
    LastNormUnit: LastNorm,
    ResidualStore: _store,
    WeightStore: _loaded_store,
    PreloadStore: _loaded_store,
    HeadBuffer: _store,
}


def datapath_ports(engine: EngineConfig) -> dict[str, wiring.Member]:
    """Return the ports of `Datapath`, by name."""
    return {
        "command": In(command_port(*DATAPATH_COMMANDS)),
        "load": In(LOAD_BUS),
        "bank": In(1),
        "pixels": Out(read_port(field_bits(Embed, "row_bytes"), 8, strobed=True)),
        "strip_done": Out(1),
        "logit_write": Out(write_port(field_bits(Output, "classes"), engine.lanes * HEAD_BIAS_BITS)),
        "array_active": Out(1),
        "saturations": Out(8),
    }


class Datapath(Component):
    """Everything that computes: commands and pixels in, logits out.

    Timing: each unit as its description in `sim.units` says; nothing here waits for anything.

    Parameters
    ----------
    engine : EngineConfig
        Shape of the engine.

    Members
    -------
    command : In
        As of `Sequencer`.
    load, bank : In
        Load bus, and the bank in use.
    pixels, strip_done : Out
        Reader of the current strip, and its release, as `PixelBuffer`.
    logit_write : Out(write_port)
        Writer of the logits, as `Dense`.
    array_active : Out(1)
        The array takes a step.
    saturations : Out
        Residuals limited in this cycle.
    """

    commands = DATAPATH_COMMANDS

    def __init__(self, engine: EngineConfig):
        self.engine = engine
        self.machine = machine = Machine(engine)
        self.units: dict[str, Any] = {kind.name: build(machine[kind]) for kind, build in COMPONENTS.items()}
        super().__init__(datapath_ports(engine))

    def elaborate(self, platform: object) -> Module:
        """Connect the units."""
        m = Module()
        for name, unit in self.units.items():
            m.submodules[name] = unit
            if hasattr(unit, "load"):
                m.d.comb += [connect(unit.load, self.load), connect(unit.bank, self.bank)]
        self._commands(m)
        self._streams(m)
        self._residual(m)
        self._operands(m)
        self._bits(m)
        self._head_norm(m)
        return m

    def _commands(self, m: Module) -> None:
        """Give every unit its commands."""
        for command, unit in takers(DATAPATH_COMMANDS, self.units).items():
            wiring.connect(m, wiring.flipped(given(self.command, command)), given(unit.command, command))

    def _streams(self, m: Module) -> None:
        """Pixels in, logits out."""
        dense, last_norm = self.units["dense"], self.units["last_norm"]
        wiring.connect(m, dense.pixels, wiring.flipped(self.pixels))
        wiring.connect(m, dense.y, last_norm.y)
        wiring.connect(m, dense.logit_write, wiring.flipped(self.logit_write))
        m.d.comb += connect(self.strip_done, dense.strip_done)

    def _residual(self, m: Module) -> None:
        """The memory of X: three writers and three readers, one at a time by schedule."""
        x, matmul, add, last_norm, dense, norm = (
            self.units[name] for name in ("x", "matmul", "residual_add", "last_norm", "dense", "sign_norm")
        )
        drains = matmul.drain_en & (matmul.fields.epilogue == Epilogue.RESIDUAL)
        row_start = Signal(X_ADDR_BITS, reset_less=True)
        add_addr = (row_start + matmul.drain_chunk)[:X_ADDR_BITS]
        with m.If(matmul.capture):
            m.d.sync += connect(row_start, matmul.captured.dst_addr)
        with m.Elif(matmul.drain_row_end):
            m.d.sync += row_start.eq(row_start + matmul.fields.stride)
        reader = last_norm.x_read
        for write in (dense.x_write, last_norm.x_write, add.x_write):
            with m.If(write.en):
                m.d.comb += [x.w_en.eq(1), connect_address(x.w_addr, write.addr), connect(x.w_data, write.data)]
        m.d.comb += [
            connect_address(
                x.r_addr[0], Mux(drains, add_addr, Mux(last_norm.x_read.en, last_norm.x_read.addr, norm.x.addr))
            ),
            *(connect(word, x.r_data[0]) for word in (add.x_data, reader.data, norm.x.data)),
            connect(add.en, drains),
            connect(add.addr, add_addr),
            add.param_addr.eq(matmul.fields.param_addr + matmul.drain_chunk),
            connect(add.sums, matmul.drain_data),
        ]
        wiring.connect(m, last_norm.stats, norm.stats)
        # Registered: only the total matters, and three adders deep is long enough.
        m.d.sync += self.saturations.eq(dense.saturations + add.saturations)

    def _operands(self, m: Module) -> None:
        """Weights, preloads and operand bits to the array."""
        matmul, store, sums, weights, preload = (
            self.units[name] for name in ("matmul", "bit_store", "value_sums", "weights", "preload")
        )
        wiring.connect(m, matmul.operands, store.operands)
        wiring.connect(m, matmul.sums, sums.read)
        m.d.comb += [
            connect_address(weights.r_addr, matmul.operands.w_addr),
            connect(store.weight_word, weights.r_data),
            connect_address(preload.r_addr, matmul.preload.addr),
            connect(matmul.preload.data, preload.r_data),
            connect(self.array_active, matmul.active),
        ]

    def _bits(self, m: Module) -> None:
        """Bits of sums, norms and attention to the operand memories; scores to the attention unit."""
        matmul, store, sums, attention = (
            self.units[name] for name in ("matmul", "bit_store", "value_sums", "attention_threshold")
        )
        fields = matmul.fields
        bits = self._thresholded(matmul)
        is_bits = matmul.drain_en & (fields.epilogue == Epilogue.BITS)
        value = OperandMemory.VALUE
        chunk = (matmul.drain_chunk + fields.dst_chunk)[:CHUNK_BITS]
        scores = Cat(
            matmul.drain_data.word_select(lane, self.engine.acc_bits)[: self.engine.score_bits]
            for lane in range(self.machine[MatmulUnit].lanes)
        )
        m.d.comb += [
            connect(store.from_drain.en, is_bits),
            connect(store.from_drain.mem, fields.dst_mem),
            connect(store.from_drain.addr, fields.dst_addr),
            connect(store.from_drain.token, fields.token),
            connect(store.from_drain.row, matmul.drain_row),
            connect(store.from_drain.chunk, chunk),
            connect(store.from_drain.data, bits),
            sums.capture.eq(
                matmul.capture & (matmul.captured.epilogue == Epilogue.BITS) & (matmul.captured.dst_mem == value)
            ),
            connect(sums.capture_group, matmul.captured.param_addr),
            connect(sums.capture_first, matmul.captured.first),
            sums.en.eq(is_bits & (fields.dst_mem == value)),
            connect(sums.last, matmul.drain_end),
            connect(sums.chunk, matmul.drain_chunk),
            connect(sums.bits, bits),
            attention.score_en.eq(matmul.drain_en & (fields.epilogue == Epilogue.SCORES)),
            connect(attention.score_row, matmul.drain_row),
            connect(attention.score_chunk, chunk),
            connect(attention.score_data, scores),
        ]
        self._unit_bits(m, SignNorm, "sign_norm")
        self._unit_bits(m, HeadNorm, "head_norm")
        self._unit_bits(m, Attention, "attention_threshold")

    def _thresholded(self, matmul: Matmul) -> Value:
        """Bits of a drained chunk: sums of 0 or more, and 0 beyond the tile's columns."""
        lanes, bits = self.machine[MatmulUnit].lanes, self.engine.acc_bits
        columns = [
            ~matmul.drain_data.word_select(lane, bits)[-1] & (matmul.drain_chunk * lanes + lane < matmul.fields.columns)
            for lane in range(lanes)
        ]
        return Cat(columns)

    def _unit_bits(self, m: Module, kind: type[Command], unit_name: str) -> None:
        """Send a unit's bits where its last command said."""
        unit, source = self.units[unit_name], kind.name
        port, command = self.units["bit_store"].sources[source], given(self.command, kind).fields
        held = {name: Signal(len(port[name]), name=f"{source}_{name}") for name in ("mem", "addr", "token")}
        attention = kind is Attention
        sources = {
            "mem": Const(OperandMemory.ATTENTION, len(port.mem)) if attention else command.dst_mem,
            "addr": command.dst_addr,
            "token": Const(0, len(port.token)) if attention else command.token,
        }
        # A norm's first pass has no destination, and must not touch that of the second pass before it.
        with m.If(given(self.command, kind).issue & (1 if attention else command.apply)):
            m.d.sync += [connect(held[name], value) for name, value in sources.items()]
        m.d.comb += [
            connect(port.en, unit.bits.en),
            *(connect(port[name], value) for name, value in held.items()),
            connect(port.row, unit.bits.row),
            connect(port.chunk, unit.bits.chunk),
            connect(port.data, unit.bits.data),
        ]

    def _head_norm(self, m: Module) -> None:
        """The buffer of drained sums that HeadNorm reads: a row of one head after the other."""
        matmul, buffer, norm = (self.units[name] for name in ("matmul", "head_buffer", "head_norm"))
        chunks = self.machine[HeadBuffer].row_chunks
        fields = matmul.fields
        m.d.comb += [
            buffer.w_en.eq(matmul.drain_en & (fields.epilogue == Epilogue.HEAD_NORM)),
            connect_address(buffer.w_addr, matmul.drain_row * chunks + matmul.drain_chunk + fields.dst_chunk),
            connect(buffer.w_data, matmul.drain_data),
            connect_address(buffer.r_addr[0], norm.x.addr),
            connect(norm.x.data, buffer.r_data[0]),
        ]
