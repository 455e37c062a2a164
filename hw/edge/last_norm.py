"""The last norm of the edge: finished images are pooled, summed, and normalised for the classifier."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.flow.edge import EdgeUnit
from ...sim.flow.edge_settings import EDGE_SETTINGS, edge_setting_bits
from ..flow.jobs import Credits, following
from ..flow.part_memory import PartMemory
from ..parts.arithmetic import delay_flag, delayed, product
from ..parts.component import Component
from ..parts.connect import connect, connect_address
from ..parts.divider import Divider
from ..parts.memory import LoadableMemory, WordMemory
from ..parts.norm_root import NormRoot
from ..parts.row_walk import RowWalk
from ..parts.stream import LOAD_BUS, read_port, write_port
from .place_walk import StrideWalk
from .token_walk import TokenWalk

_BITS = dict(EDGE_SETTINGS)


class LastNorm(Component):
    """For each row of the classifier: sum its tokens, sum the channels and their squares, R, Q, and y.

    ``X = sum over tokens >> shift``, S1 and R of `NormRoot`, ``Q = floor(2^head_m / R)``, and
    ``y[c] = ((N*x[c] - S1)*Q) >> (head_m - head_frac_bits)``. One thing after the other, a channel a cycle; x is read a
    word a cycle. y is kept until it has been read.

    Timing: `EdgeUnit.pool_cycles` and `EdgeUnit.norm_cycles`; an image begins one cycle after it is finished, or
        after `y_read`. Reader of y: one cycle of latency.
    Numerics: exact. A sum of N tokens has ceil(log2 N) bits more than X, as many as the shift takes away again. y fits
        `EdgeUnit.y_bits`: d[c] = N_c*x[c] - S1 adds up to 0 and its squares to N_c * (V - Eps), so d[c]^2 is at most
        (N_c - 1) * (V - Eps), and Eps >= 1 gives V - Eps <= 2*R^2. Hence |d[c]|*Q / 2^head_m is at most
        sqrt(2*(N_c - 1)), whatever the row.

    Parameters
    ----------
    unit : EdgeUnit

    Members
    -------
    settings : In
        `edge_setting_bits`.
    finished : In(1)
        Pulse: x of the next image is complete.
    x_read : Out(read_port)
        Reader of x, data `ResidualAddUnit.x_cycles` after the address.
    pooled : Out(1)
        Pulse: x of the image has been read.
    ready : Out(1)
        There is y of an image.
    y_read : In(1)
        Pulse, where `ready`: y is read for the last time.
    y : In(read_port)
        Reader of y.
    q_en, q, y_write : Out
        Q, and what is written to y; for observation.
    load, bank : In
        Load bus, and the bank in use.
    """

    def __init__(self, unit: EdgeUnit):
        self.unit = unit
        residual = unit.flow.engine.formats.residual_bits
        super().__init__(
            {
                "settings": In(data.StructLayout(edge_setting_bits(unit.flow))),
                "finished": In(1),
                "x_read": Out(read_port(unit.x_addr_bits, unit.side * unit.columns * residual)),
                "pooled": Out(1),
                "ready": Out(1),
                "y_read": In(1),
                "y": In(read_port(unit.y_addr_bits, signed(unit.y_bits))),
                "q_en": Out(1),
                "q": Out(unit.q_bits),
                "y_write": Out(write_port(unit.y_addr_bits, signed(unit.y_bits))),
                "load": In(LOAD_BUS),
                "bank": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Take an image; each part starts the next one, and the last one the next row."""
        m = Module()
        u, settings = self.unit, self.settings
        m.submodules.waiting = waiting = Credits(u.banks)
        take, row, last_row, busy, ready = Signal(), Signal(), Signal(), Signal(), Signal()
        left = Signal(_BITS["head_rows"])  # rows behind this one
        m.d.comb += [
            connect(waiting.give, self.finished),
            *(take.eq(waiting.some & ~busy), waiting.take.eq(take)),
            *(last_row.eq(left == 0), connect(self.ready, ready)),
        ]
        x, walk, sums = self._channels(m, *self._pool(m, take, row, last_row))
        s1 = self._statistics(m, x, walk.active & (walk.chunk == 0), walk.end & sums)
        row_end = self._normalise(m, x, s1, walk.active & ~sums, walk.end & ~sums, take)
        m.d.comb += row.eq(row_end & ~last_row)
        with m.If(row_end):
            m.d.sync += [left.eq(left - 1), ready.eq(last_row)]
        with m.If(self.y_read):
            m.d.sync += [busy.eq(0), ready.eq(0)]
        with m.If(take):
            m.d.sync += [busy.eq(1), left.eq(settings.head_rows - 1)]
        return m

    def _pool(self, m: Module, take: Value, row: Value, last_row: Value) -> tuple[PartMemory, Value]:
        """Sum the tokens of a row, word after word; return their memory, and when the row is there."""
        u, settings = self.unit, self.settings
        m.submodules.pool_walk = walk = RowWalk(_BITS["row_stride"], _BITS["pool_tokens"])
        m.submodules.tokens = tokens = StrideWalk(u) if u.flow.windows else TokenWalk(u)
        m.submodules.pooled_row = memory = PartMemory(u.pool_bits, u.columns, u.memories["pooled"].depth)
        base, addr = Signal(u.x_addr_bits), Signal(u.x_addr_bits, reset_less=True)
        with m.If(take):
            m.d.sync += base.eq(following(base, u.banks * u.bank_words, u.bank_words))
        m.d.sync += addr.eq(tokens.addr + walk.row)
        m.d.comb += [
            walk.start.eq(take | row),
            *(connect(walk.rows, settings.row_stride), connect(walk.chunks, settings.pool_tokens)),
            *(tokens.start.eq(take), connect(tokens.base, base), connect(tokens.stride, settings.row_stride)),
            tokens.step.eq(walk.active & (~walk.row_end | walk.end)),
            *(tokens.back.eq(walk.row_end & ~walk.end), tokens.keep.eq(walk.end)),
            connect(self.x_read.addr, addr),
            self.pooled.eq(walk.end & last_row),
        ]
        bits, chosen = u.flow.engine.formats.residual_bits, delayed(m, tokens.row, 3, "row_delay")
        first = delay_flag(m, walk.active & (walk.chunk == 0), 3, "first_line")
        sums = []
        for column in range(u.columns):
            rows = [self.x_read.data.word_select(row * u.columns + column, bits) for row in range(u.side)]
            x_3 = (Array(rows)[chosen] if u.side > 1 else rows[0]).as_signed()
            sum_4 = Signal(signed(u.pool_bits), name=f"sum_4_{column}", reset_less=True)
            m.d.sync += sum_4.eq(Mux(first, 0, sum_4) + x_3)
            sums.append(sum_4)
        m.d.comb += [
            memory.w_en.eq(delay_flag(m, walk.row_end, u.pool_stage, "write_line")),
            memory.w_addr.eq(delayed(m, walk.row[: len(memory.w_addr)], u.pool_stage, "w_addr_delay")),
            memory.w_data.eq(Cat(sums)),
        ]
        return memory, delay_flag(m, walk.end, u.pool_stage, "end_line")

    def _channels(self, m: Module, memory: PartMemory, there: Value) -> tuple[Signal, RowWalk, Signal]:
        """Read the row twice; return x, in `norm_x_stage`, the walk over channels, and whether it is the first one."""
        u = self.unit
        m.submodules.channel_walk = walk = RowWalk(1, _BITS["channels"])
        sums, bits = Signal(), (u.columns - 1).bit_length()
        x = Signal(signed(u.widths.x_bits), reset_less=True)
        m.d.comb += [
            walk.start.eq(there | self.q_en),
            *(walk.rows.eq(1), connect(walk.chunks, self.settings.channels)),
            memory.r_addr[0].eq(walk.chunk >> bits),
            memory.r_part[0].eq(walk.chunk[:bits]),
        ]
        m.d.sync += x.eq(memory.r_data[0].as_signed() >> self.settings.pool_shift)
        with m.If(walk.start):
            m.d.sync += sums.eq(there)
        return x, walk, sums

    def _statistics(self, m: Module, x: Signal, first: Value, end: Value) -> Signal:
        """S1 and S2, then R, then Q; return S1."""
        u, widths, cycles = self.unit, self.unit.widths, self.unit.square_cycles
        formats = u.flow.engine.formats
        square = product(m, x, x, "square", block=u.flow.engine.block_bits, cycles=cycles)
        s1 = Signal(signed(widths.s1_bits), reset_less=True)
        s2 = Signal(widths.s2_bits, reset_less=True)
        begins = delay_flag(m, first, u.norm_x_stage + cycles, "begins_line")
        m.d.sync += [
            s1.eq(Mux(begins, 0, s1) + delayed(m, x, cycles, "x_delay")),
            s2.eq(Mux(begins, 0, s2) + square.as_unsigned()[: widths.s2_bits]),
        ]
        m.submodules.last_eps = eps = LoadableMemory(u.load_memories["last_eps"])
        m.submodules.root = root = NormRoot(widths, 1)
        m.submodules.divider = divider = Divider(formats.head_m, widths.r_bits)
        m.d.comb += [
            *(connect(eps.load, self.load), connect(eps.bank, self.bank)),
            root.sums_valid.eq(delay_flag(m, end, u.sums_stage, "summed_line")),
            *(root.s1.eq(s1), root.s2.eq(s2)),
            root.channels.eq(self.settings.channels[: len(root.channels)]),
            root.eps.eq(eps.r_data),
            *(connect(divider.start, root.stat_en), connect(divider.divisor, root.stat_r)),
            *(connect(self.q_en, divider.done), connect(self.q, divider.quotient)),
        ]
        row_s1 = Signal.like(s1, reset_less=True)
        with m.If(root.stat_en):
            m.d.sync += connect(row_s1, root.stat_s1)
        return row_s1

    def _normalise(self, m: Module, x: Signal, s1: Signal, goes: Value, end: Value, take: Value) -> Value:
        """N*x, minus S1, times Q, into the memory of y; return when a row of it is complete."""
        u, formats, block = self.unit, self.unit.flow.engine.formats, self.unit.flow.engine.block_bits
        m.submodules.y_words = words = WordMemory.of(u.memories["y"])
        channels = self.settings.channels[: u.widths.channels_bits]
        scaled = product(m, x, channels, "scaled", block=block, cycles=u.scaled_cycles)
        centred = Signal(signed(u.widths.s1_bits + 1), reset_less=True)
        m.d.sync += centred.eq(scaled - s1)
        y = product(m, centred, self.q, "normalised", block=block, cycles=u.normalised_cycles)
        addr = Signal.like(self.y_write.addr, reset_less=True)
        with m.If(self.y_write.en):
            m.d.sync += addr.eq(addr + 1)
        with m.If(take):
            m.d.sync += addr.eq(0)
        m.d.comb += [
            self.y_write.en.eq(delay_flag(m, goes, u.y_stage, "y_line")),
            connect(self.y_write.addr, addr),
            self.y_write.data.eq(y >> (formats.head_m - formats.head_frac_bits)),
            connect(words.w_en, self.y_write.en),
            connect_address(words.w_addr, self.y_write.addr),
            connect(words.w_data, self.y_write.data),
            connect_address(words.r_addr[0], self.y.addr),
            connect(self.y.data, words.r_data[0]),
        ]
        return delay_flag(m, end, u.y_stage, "row_line")
