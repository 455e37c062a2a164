"""Control of the array: walks the steps of a tile, and drains its sums with the tile's epilogue fields."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...sim.engine import commands
from ...sim.engine.commands import Preload
from ...sim.units.matmul import MatmulUnit
from ..parts.arithmetic import delay_stages
from ..parts.connect import connect
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


class Matmul(wiring.Component):
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

        m.d.comb += [
            self.capture.eq(delay_stages(m, last, self.unit.capture_stage, "last", reset_less=False)[-1]),
            self.captured.eq(delay_stages(m, epilogue, self.unit.capture_stage, "epilogue", reset_less=True)[-1]),
            connect(array.capture, self.capture),
        ]
        self._drain(m, array)
        return m

    def _steps(self, m: Module) -> tuple[Signal, Signal, data.View, data.View]:
        """Count the steps; return first, last and the fields of the tile in the cycle of the read."""
        held = Signal(command_layout(commands.Matmul), reset_less=True)
        step = Signal.like(held.steps, reset_less=True)
        first, last = Signal(), Signal()
        epilogue, preload = Signal(EPILOGUE_LAYOUT), Signal(_PRELOAD_LAYOUT)
        m.d.comb += [
            first.eq(self.active & (step == 0)),
            last.eq(self.active & (step == held.steps - 1)),
            connect(self.operands.a_mem, held.a_mem),
            connect(self.operands.w_mem, held.w_mem),
            self.operands.a_addr.eq(held.a_addr + step),
            self.operands.w_addr.eq(held.w_addr + step),
            *(connect(epilogue[name], held[name]) for name in _EPILOGUE),
            *(connect(preload[name], held[name]) for name in _PRELOAD),
        ]
        command = self.command.matmul
        with m.If(command.issue):
            m.d.sync += [connect(held, command.fields), step.eq(0), self.active.eq(1)]
        with m.Elif(self.active):
            m.d.sync += [step.eq(step + 1), self.active.eq(~last)]
        return first, last, epilogue, preload

    def _drain(self, m: Module, array: XnorArray) -> None:
        """Walk rows and chunks of the captured tile."""
        lanes_bits = self.unit.lanes * self.engine.acc_bits
        chunk_bits = _bits(self.engine.columns // self.unit.lanes)
        last_chunk = Signal()
        m.d.comb += [
            last_chunk.eq(self.drain_chunk == self.fields.chunks - 1),
            array.shift.eq(self.drain_en & last_chunk),
            self.drain_data.eq(array.o.word_select(self.drain_chunk[:chunk_bits], lanes_bits)),
        ]
        with m.If(self.drain_en):
            m.d.sync += self.drain_chunk.eq(Mux(last_chunk, 0, self.drain_chunk + 1))
            with m.If(last_chunk):
                m.d.sync += self.drain_row.eq(self.drain_row + 1)
                with m.If(self.drain_row == self.fields.rows - 1):
                    m.d.sync += self.drain_en.eq(0)
        with m.If(self.capture):
            m.d.sync += [
                self.drain_en.eq(1),
                self.drain_row.eq(0),
                self.drain_chunk.eq(0),
                connect(self.fields, self.captured),
            ]


def _bits(choices: int) -> int:
    """Width of an index that tells `choices` apart; at least one bit."""
    return max(1, (choices - 1).bit_length())
