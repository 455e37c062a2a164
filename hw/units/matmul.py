"""Control of the array: walks the steps of a tile, and drains its sums with the tile's epilogue fields."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.engine import commands
from ...sim.engine.commands import Preload
from ...sim.units.matmul import MatmulUnit
from ..parts.arithmetic import delay_stages
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.row_walk import RowWalk
from ..parts.stream import CHUNK_BITS, ROW_BITS, command_layout, command_port, operands_port, read_port
from .xnor_array import XnorArray

_FIELDS = commands.Matmul.layout()
#: Fields that travel with a tile to its drain.
_EPILOGUE = (
    "epilogue",
    "rows",
    "chunks",
    "columns",
    "dst_mem",
    "dst_addr",
    "dst_chunk",
    "token",
    "stride",
    "param_addr",
    "first",
)
EPILOGUE_LAYOUT = data.StructLayout({name: _FIELDS[name].width for name in _EPILOGUE})
_PRELOAD = ("preload", "preload_addr", "preload_const")
_PRELOAD_LAYOUT = data.StructLayout({name: _FIELDS[name].width for name in _PRELOAD})


class Matmul(Component):
    """Sequence one tile: `steps` reads of both operands, then `rows` x `chunks` drained chunks.

    Timing: `sim.units.matmul`; a new tile may start `steps` cycles after the last one, if its drain does not
    meet the other's.

    Parameters
    ----------
    unit : MatmulUnit

    Members
    -------
    command : In
        A tile.
    active : Out(1)
        A step is being read in this cycle.
    operands : Out(operands_port)
        Reader of the operands.
    preload, sums : Out(read_port)
        Readers of both preload memories, at the same address.
    capture : Out(1)
        The next cycle is the first of a drain.
    captured : Out(EPILOGUE_LAYOUT)
        The tile's fields, while `capture`.
    drain_en, drain_row, drain_chunk, drain_data : Out
        A chunk of `lanes` sums of `acc_bits`.
    drain_row_end, drain_end : Out(1)
        The chunk is the last of its row; of the tile.
    fields : Out(EPILOGUE_LAYOUT)
        The tile's fields, while it drains.
    """

    def __init__(self, unit: MatmulUnit):
        self.unit, self.engine, self.commands = unit, unit.engine, unit.commands
        engine = unit.engine
        sums_bits = engine.columns * engine.acc_bits
        super().__init__(
            {
                "command": In(command_port(*self.commands)),
                "active": Out(1),
                "operands": Out(operands_port(engine.rows, engine.columns)),
                **{name: Out(read_port(_FIELDS["preload_addr"].width, sums_bits)) for name in ("preload", "sums")},
                "capture": Out(1),
                "captured": Out(EPILOGUE_LAYOUT),
                "drain_en": Out(1),
                "drain_row": Out(ROW_BITS),
                "drain_chunk": Out(CHUNK_BITS),
                "drain_row_end": Out(1),
                "drain_end": Out(1),
                "drain_data": Out(unit.lanes * engine.acc_bits),
                "fields": Out(EPILOGUE_LAYOUT),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build step counter, pipelines beside the array, and drain counter."""
        m = Module()
        m.submodules.xnor_array = array = XnorArray(self.engine)
        first, last, epilogue, preload = self._steps(m)
        m.d.comb += [connect(array.a, self.operands.a), connect(array.w, self.operands.w)]

        # The preload memories are read so that their word, with the constant added, meets the first step in the
        # accumulator.
        firsts = delay_stages(m, first, self.unit.first_stage, "first", reset_less=False)
        preloads = delay_stages(m, preload, self.unit.preload_stage + 1, "preload", reset_less=True)
        fetch, select = preloads[-2], preloads[-1]
        start_of_sums = Signal(len(array.preload), reset_less=True)
        bits = self.engine.acc_bits
        m.d.comb += [
            connect(self.preload.addr, fetch.preload_addr),
            connect(self.sums.addr, fetch.preload_addr),
            connect(array.preload, start_of_sums),
            array.first.eq(firsts[-1]),
        ]
        for c in range(self.engine.columns):
            word = Signal(bits, name=f"preload_{c}")
            with m.If(select.preload == Preload.PRELOAD):
                m.d.comb += word.eq(self.preload.data.word_select(c, bits))
            with m.If(select.preload == Preload.VALUE_SUMS):
                m.d.comb += word.eq(self.sums.data.word_select(c, bits))
            m.d.sync += start_of_sums.word_select(c, bits).eq(word + select.preload_const.as_signed())

        lasts = delay_stages(m, last, self.unit.capture_stage, "last", reset_less=False)
        epilogues = delay_stages(m, epilogue, self.unit.capture_stage, "epilogue", reset_less=True)
        m.d.comb += [connect(self.capture, lasts[-1]), self.captured.eq(epilogues[-1])]
        self._drain(m, array, lasts[-2], epilogues[-2])
        return m

    def _steps(self, m: Module) -> tuple[Signal, Signal, data.View, data.View]:
        """Count the steps; return first, last and the fields of the tile in the cycle of the read."""
        command = self.command.matmul
        held = Signal(command_layout(commands.Matmul), reset_less=True)
        first, last = Signal(), Signal()
        epilogue, preload = Signal(EPILOGUE_LAYOUT), Signal(_PRELOAD_LAYOUT)
        m.submodules.steps = steps = RowWalk(1, len(held.steps))  # a tile is one row
        m.d.comb += [
            connect(steps.start, command.issue),
            steps.rows.eq(1),
            connect(steps.chunks, command.fields.steps),
            connect(self.active, steps.active),
            connect(last, steps.end),
            connect(self.operands.a_mem, held.a_mem),
            connect(self.operands.w_mem, held.w_mem),
            *(connect(epilogue[name], held[name]) for name in _EPILOGUE),
            *(connect(preload[name], held[name]) for name in _PRELOAD),
        ]
        m.d.sync += connect(first, command.issue)
        for port, start in (
            (self.operands.a_addr, command.fields.a_addr),
            (self.operands.w_addr, command.fields.w_addr),
        ):
            address = Signal.like(port, reset_less=True)
            m.d.sync += address.eq(Mux(command.issue, start, address + 1))
            m.d.comb += connect(port, address)
        with m.If(command.issue):
            m.d.sync += connect(held, command.fields)
        return first, last, epilogue, preload

    def _drain(self, m: Module, array: XnorArray, capture_next: Value, fields: data.View) -> None:
        """Walk rows and chunks of the captured tile; every enable that all sums hang on comes out of a register."""
        chunk_bits = _bits(self.engine.columns // self.unit.lanes)
        m.submodules.drain = walk = RowWalk(len(self.drain_row), len(self.drain_chunk))  # one cycle ahead
        m.d.comb += [
            connect(walk.start, capture_next),
            connect(walk.rows, fields.rows),
            connect(walk.chunks, fields.chunks),
            connect(array.capture, self.capture),
            self.drain_data.eq(
                array.o.word_select(self.drain_chunk[:chunk_bits], self.unit.lanes * self.engine.acc_bits)
            ),
        ]
        m.d.sync += [
            array.move.eq(capture_next | walk.row_end),
            connect(self.drain_en, walk.active),
            connect(self.drain_row, walk.row),
            connect(self.drain_chunk, walk.chunk),
            connect(self.drain_row_end, walk.row_end),
            connect(self.drain_end, walk.end),
        ]
        with m.If(self.capture):
            m.d.sync += connect(self.fields, self.captured)


def _bits(choices: int) -> int:
    """Width of an index that tells `choices` apart; at least one bit."""
    return max(1, (choices - 1).bit_length())
